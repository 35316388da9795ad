// Perceptrons, rollouts of them, the tangents along these, and the gradients of all; kernels.py calls this.
//
// One call takes a tile of states at a time through all layers, and all steps, so that its activations stay in the
// cache; for gradients they are computed again there. Every state is computed alike wherever it stands, and sums over
// states are those of a member alone: a member has the same bits in any ensemble.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifdef __AVX512F__
constexpr long BYTES = 64;  // of a vector
#else
constexpr long BYTES = 32;
#endif
constexpr long TILE = 32;  // states that go through all layers together
constexpr int ROWS = 6;    // of a product, which registers hold

template <class T> struct Vectors;
template <> struct Vectors<float> {
    typedef float Vector __attribute__((vector_size(BYTES), aligned(4), may_alias));
    typedef int32_t Integers __attribute__((vector_size(BYTES), aligned(4), may_alias));
};
template <> struct Vectors<double> {
    typedef double Vector __attribute__((vector_size(BYTES), aligned(8), may_alias));
    typedef int64_t Integers __attribute__((vector_size(BYTES), aligned(8), may_alias));
};
template <class T> using Vector = typename Vectors<T>::Vector;
template <class T> constexpr long LANES = BYTES / sizeof(T);
template <class T> static long padded(long n) { return (n + LANES<T> - 1) / LANES<T> * LANES<T>; }

template <class T> static inline Vector<T> load(const T* from) { return *reinterpret_cast<const Vector<T>*>(from); }
template <class T> static inline void store(T* to, Vector<T> v) { *reinterpret_cast<Vector<T>*>(to) = v; }
template <class T> static inline Vector<T> all(T x) { return x - Vector<T>{}; }

// a b + c, rounded once where the processor does so. Compilers may not choose (native.py): they choose by what stands
// around, and states would differ by their places.
template <class V> static inline V fused(V a, V b, V c) { return a * b + c; }
#ifdef __AVX512F__
template <> inline Vector<float> fused(Vector<float> a, Vector<float> b, Vector<float> c) { return _mm512_fmadd_ps(a, b, c); }
template <> inline Vector<double> fused(Vector<double> a, Vector<double> b, Vector<double> c) { return _mm512_fmadd_pd(a, b, c); }
#elif defined(__FMA__)
template <> inline Vector<float> fused(Vector<float> a, Vector<float> b, Vector<float> c) { return _mm256_fmadd_ps(a, b, c); }
template <> inline Vector<double> fused(Vector<double> a, Vector<double> b, Vector<double> c) { return _mm256_fmadd_pd(a, b, c); }
#endif

// c_0 r^n + c_1 r^{n-1} + ...
template <class T, int N> static inline Vector<T> polynomial(const T (&c)[N], Vector<T> r) {
    Vector<T> sum = all(c[0]);
    for (int i = 1; i < N; i++) sum = fused(sum, r, all(c[i]));
    return sum;
}

// e^x to an ulp or two, by the approximations of the Cephes library (S. L. Moshier); what is no number stays none.
static inline Vector<float> exponential(Vector<float> x) {
    x = x > 88.0f ? all(88.0f) : x;
    x = x < -87.0f ? all(-87.0f) : x;
    const Vector<float> magic = all(12582912.0f), n = fused(x, all(1.44269504088896341f), magic) - magic;  // rounds
    const Vector<float> r = fused(n, all(2.12194440e-4f), fused(n, all(-0.693359375f), x));
    const Vector<float> p = polynomial<float>({1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}, r);
    Vectors<float>::Integers power = (__builtin_convertvector(n, Vectors<float>::Integers) + 127) << 23;
    return (fused(p * r, r, r) + 1.0f) * reinterpret_cast<Vector<float>&>(power);
}
static inline Vector<double> exponential(Vector<double> x) {
    x = x > 709.0 ? all(709.0) : x;
    x = x < -708.0 ? all(-708.0) : x;
    const Vector<double> magic = all(6755399441055744.0), n = fused(x, all(1.4426950408889634074), magic) - magic;
    const Vector<double> r = fused(n, all(-1.42860682030941723212e-6), fused(n, all(-6.93145751953125e-1), x)), s = r * r;
    const Vector<double> p = r * polynomial<double>({1.26177193074810590878e-4, 3.02994407707441961300e-2, 1.0}, s);
    const Vector<double> q = polynomial<double>({3.00198505138664455042e-6, 2.52448340349684104192e-3, 2.27265548208155028766e-1, 2.0}, s);
    Vectors<double>::Integers power = (__builtin_convertvector(n, Vectors<double>::Integers) + 1023) << 52;
    return (1.0 + 2.0 * p / (q - p)) * reinterpret_cast<Vector<double>&>(power);
}

// The Chebyshev series, on 0 < t <= 1, of log(e^{z^2} erfc(z) / t) with t = 2 / (2 + z); computed with 40 digits.
constexpr double SERIES[] = {
    -1.3026537197817094342,  0.6419697923564902603,     0.019476473204185836312,   -0.0095615147868086316419,  -0.0009465953444820368663,
    0.00036683949785276145,  0.000042523324806907771645, -0.000020278578112534243, -1.6242900046470255135e-6,  1.3036558355805232018e-6,
    1.5626441722066143178e-8, -8.5238095914926542525e-8, 6.5290544390988514964e-9, 5.0593434955514689418e-9,   -9.9136415649303308674e-10,
    -2.2736512229318358557e-10, 9.6467911020155268018e-11, 2.3940380830391147467e-12, -6.8860275264975534004e-12, 8.9448792730907257311e-13,
    3.1309213993429580736e-13, -1.1270822361367252428e-13, 3.8109052551892473959e-16, 7.1060976136092349755e-15, -1.523028201457102384e-15,
    -9.4574945712913625751e-17, 1.2102371892242818918e-16, -2.8166630877470985386e-17};

// The activations of activations.py, alone and with their derivatives: the third, `jerk`, only where there is room for it.
struct Silu {
    template <class T> static inline Vector<T> value(Vector<T> z) { return z * (T(1) / (T(1) + exponential(-z))); }
    template <class T> static inline void at(Vector<T> z, Vector<T>& h, Vector<T>& slope, Vector<T>& curvature, Vector<T>* jerk = nullptr) {
        const Vector<T> s = T(1) / (T(1) + exponential(-z));
        h = z * s;
        slope = s + h * (T(1) - s);
        curvature = (T(1) - s) * (s + slope - h * s);
        if (jerk) *jerk = s * (T(1) - s) * (T(3) - T(6) * s + z * (T(1) - T(6) * s * (T(1) - s)));
    }
};
struct Tanh {
    template <class T> static inline Vector<T> value(Vector<T> z) {
        const Vector<T> e = exponential(T(-2) * z);
        return (T(1) - e) / (T(1) + e);
    }
    template <class T> static inline void at(Vector<T> z, Vector<T>& h, Vector<T>& slope, Vector<T>& curvature, Vector<T>* jerk = nullptr) {
        h = value<T>(z);
        slope = T(1) - h * h;
        curvature = T(-2) * h * slope;
        if (jerk) *jerk = slope * (T(6) * h * h - T(2));
    }
};
struct Gelu {
    template <class T> static inline Vector<T> mass(Vector<T> z) {
        const Vector<T> size = (z < T(0) ? -z : z) * T(0.70710678118654752440), t = T(2) / (T(2) + size), y = T(2) * t - T(1);
        Vector<T> above = {}, two = {};
        for (int n = sizeof(T) == 4 ? 13 : 27; n > 0; n--) {
            const Vector<T> next = fused(T(2) * y, above, T(SERIES[n]) - two);
            two = above;
            above = next;
        }
        const Vector<T> beyond = T(0.5) * t * exponential(y * above - two + T(0.5 * SERIES[0]) - size * size);
        return z < T(0) ? beyond : T(1) - beyond;
    }
    template <class T> static inline Vector<T> value(Vector<T> z) { return z * mass<T>(z); }
    template <class T> static inline void at(Vector<T> z, Vector<T>& h, Vector<T>& slope, Vector<T>& curvature, Vector<T>* jerk = nullptr) {
        const Vector<T> below = mass<T>(z);
        const Vector<T> density = exponential(T(-0.5) * z * z) * T(0.39894228040143267794);
        h = z * below;
        slope = below + z * density;
        curvature = density * (T(2) - z * z);
        if (jerk) *jerk = density * z * (z * z - T(4));
    }
};

// C (+)= A B, for matrices of `width` columns; the elements of A are `across` (rows) and `along` (its depth) apart.
template <class T, int M>
static inline void some_rows(long depth, const T* a, long across, long along, const T* b, T* c, long width, bool add) {
    long j = 0;
    for (; j + 2 * LANES<T> <= width; j += 2 * LANES<T>) {
        Vector<T> sum[M][2];
        for (int i = 0; i < M; i++)
            for (int v = 0; v < 2; v++) sum[i][v] = add ? load(c + i * width + j + v * LANES<T>) : Vector<T>{};
        for (long k = 0; k < depth; k++) {
            const Vector<T> left = load(b + k * width + j), right = load(b + k * width + j + LANES<T>);
            for (int i = 0; i < M; i++) {
                const Vector<T> x = all(a[i * across + k * along]);
                sum[i][0] = fused(x, left, sum[i][0]);
                sum[i][1] = fused(x, right, sum[i][1]);
            }
        }
        for (int i = 0; i < M; i++)
            for (int v = 0; v < 2; v++) store(c + i * width + j + v * LANES<T>, sum[i][v]);
    }
    if (j < width) {
        Vector<T> sum[M];
        for (int i = 0; i < M; i++) sum[i] = add ? load(c + i * width + j) : Vector<T>{};
        for (long k = 0; k < depth; k++) {
            const Vector<T> row = load(b + k * width + j);
            for (int i = 0; i < M; i++) sum[i] = fused(all(a[i * across + k * along]), row, sum[i]);
        }
        for (int i = 0; i < M; i++) store(c + i * width + j, sum[i]);
    }
}
template <class T>
static void product(long rows, long depth, const T* a, long across, long along, const T* b, T* c, long width, bool add = false) {
    long i = 0;
    for (; i + ROWS <= rows; i += ROWS) some_rows<T, ROWS>(depth, a + i * across, across, along, b, c + i * width, width, add);
    for (; i + 2 <= rows; i += 2) some_rows<T, 2>(depth, a + i * across, across, along, b, c + i * width, width, add);
    for (; i < rows; i++) some_rows<T, 1>(depth, a + i * across, across, along, b, c + i * width, width, add);
}

// Matrices of some columns to those of more, filled up with zeros, and back; and the transpose of one.
template <class T> static void pad(long rows, const T* from, long columns, T* to, long width) {
    for (long i = 0; i < rows; i++) {
        std::copy_n(from + i * columns, columns, to + i * width);
        std::fill_n(to + i * width + columns, width - columns, T(0));
    }
}
template <class T> static void cut(long rows, const T* from, long width, T* to, long columns) {
    for (long i = 0; i < rows; i++) std::copy_n(from + i * width, columns, to + i * columns);
}
template <class T> static void transpose(long rows, long columns, const T* from, T* to, long width) {
    for (long j = 0; j < columns; j++) {
        for (long i = 0; i < rows; i++) to[j * width + i] = from[i * columns + j];
        std::fill_n(to + j * width + rows, width - rows, T(0));
    }
}

template <class T> struct Network {
    long members, states, tangents, dimension, width, hidden, outputs;  // `hidden`: the number of hidden layers
    long pairs;               // of the tangents, the last are second derivatives along so many pairs of the others,
    const long *first, *second;  // these
    const T* const* weights;  // of each layer (E, in, out), a member `apart` elements after the other
    const T* const* biases;   // (E, 1, out)
    const long* apart;        // of all weights, then of all biases

    long inputs_of(long layer) const { return layer ? width : dimension; }
    long outputs_of(long layer) const { return layer < hidden ? width : outputs; }
};

// A member at work: its weights in whole vectors, and a tile of states between its layers.
template <class T, class Activation> class Member {
    const Network<T>& net;
    const long K, Q, d, W, O, D, H;  // tangents, those of first order; dimension; width, outputs, dimension in whole vectors; layers
    std::vector<std::vector<T>> weights, biases, across, z, t, dweights, dbiases;
    std::vector<T> h, g, out, dz, dt, dh, dg;

  public:
    Member(const Network<T>& net, bool gradients)
        : net(net), K(net.tangents), Q(K - net.pairs), d(net.dimension), W(padded<T>(net.width)), O(padded<T>(net.outputs)), D(padded<T>(d)), H(net.hidden),
          weights(H + 1), biases(H + 1), across(H + 1), z(H), t(H), dweights(H + 1), dbiases(H + 1) {
        const long wide = std::max({W, O, D}), rows = TILE * std::max(K, 1L);
        h.resize(TILE * W), g.resize(TILE * K * W), out.resize(rows * wide);
        for (long l = 0; l < H; l++) z[l].resize(TILE * W), t[l].resize(TILE * K * W);
        if (gradients) dz.resize(TILE * wide), dt.resize(rows * wide), dh.resize(TILE * wide), dg.resize(rows * wide);
        for (long l = 0; l <= H; l++) {
            const long in = net.inputs_of(l), width = l < H ? W : O;
            weights[l].resize(in * width), biases[l].resize(width);
            if (gradients) across[l].resize(net.outputs_of(l) * (l ? W : D)), dweights[l].resize(in * width), dbiases[l].resize(width);
        }
    }

    void become(long member) {
        for (long l = 0; l <= H; l++) {
            const long in = net.inputs_of(l), outs = net.outputs_of(l), width = l < H ? W : O;
            const T* from = net.weights[l] + member * net.apart[l];
            pad(in, from, outs, weights[l].data(), width);
            pad(1, net.biases[l] + member * net.apart[H + 1 + l], outs, biases[l].data(), width);
            if (across[l].empty()) continue;
            transpose(in, outs, from, across[l].data(), l ? W : D);
            std::fill(dweights[l].begin(), dweights[l].end(), T(0)), std::fill(dbiases[l].begin(), dbiases[l].end(), T(0));
        }
    }

    // x (n, D), u (n, K, D) -> f (n, O), a = J u (n, K, O)
    void evaluate(long n, const T* x, const T* u, T* f, T* a) {
        for (long l = 0; l < H; l++) {
            T *before = z[l].data(), *moved = t[l].data();
            product(n, net.inputs_of(l), l ? h.data() : x, l ? W : d, 1, weights[l].data(), before, W);
            product(n * K, net.inputs_of(l), l ? g.data() : u, l ? W : d, 1, weights[l].data(), moved, W);
            for (long i = 0; i < n; i++)
                for (long j = 0; j < W; j += LANES<T>) {
                    const Vector<T> value = load(before + i * W + j) + load(biases[l].data() + j);
                    store(before + i * W + j, value);
                    if (!K) {
                        store(h.data() + i * W + j, Activation::template value<T>(value));
                        continue;
                    }
                    Vector<T> activated, slope, curvature;
                    Activation::template at<T>(value, activated, slope, curvature);
                    store(h.data() + i * W + j, activated);
                    const T* from = moved + i * K * W + j;
                    T* to = g.data() + i * K * W + j;
                    for (long k = 0; k < Q; k++) store(to + k * W, load(from + k * W) * slope);
                    for (long p = 0; p < net.pairs; p++) {
                        const Vector<T> both = load(from + net.first[p] * W) * load(from + net.second[p] * W);
                        store(to + (Q + p) * W, load(from + (Q + p) * W) * slope + both * curvature);
                    }
                }
        }
        product(n, net.width, h.data(), W, 1, weights[H].data(), out.data(), O);
        for (long i = 0; i < n; i++)
            for (long o = 0; o < net.outputs; o++) f[i * net.outputs + o] = out[i * O + o] + biases[H][o];
        product(n * K, net.width, g.data(), W, 1, weights[H].data(), out.data(), O);
        cut(n * K, out.data(), O, a, net.outputs);
    }

    // After an evaluation at the same x and u: the gradients dx and du, of df and da; those of weights and biases are summed.
    void pull_back(long n, const T* x, const T* u, const T* df, const T* da, T* dx, T* du) {
        pad(n, df, net.outputs, dz.data(), O);
        pad(n * K, da, net.outputs, dt.data(), O);
        for (long l = H; l >= 0; l--) {  // dz and dt are those of layer l, and become those of the one before
            const long width = l < H ? W : O;
            for (long i = 0; i < n; i++)
                for (long j = 0; j < width; j += LANES<T>) {
                    T* sum = dbiases[l].data() + j;
                    store(sum, load(sum) + load(dz.data() + i * width + j));
                }
            if (!l) break;
            product(n, net.outputs_of(l), dz.data(), width, 1, across[l].data(), dh.data(), W);
            product(n * K, net.outputs_of(l), dt.data(), width, 1, across[l].data(), dg.data(), W);
            for (long i = 0; i < n; i++)
                for (long j = 0; j < W; j += LANES<T>) {
                    Vector<T> activated, slope, curvature, jerk = {}, sum = {}, third = {};
                    Activation::template at<T>(load(z[l - 1].data() + i * W + j), activated, slope, curvature, net.pairs ? &jerk : nullptr);
                    store(h.data() + i * W + j, activated);
                    const T* from = t[l - 1].data() + i * K * W + j;
                    T *to = g.data() + i * K * W + j, *gradients = dg.data() + i * K * W + j;
                    for (long k = 0; k < K; k++) {
                        const Vector<T> tangent = load(from + k * W), gradient = load(gradients + k * W);
                        store(to + k * W, tangent * slope);
                        sum += gradient * tangent;
                        if (k < Q) store(gradients + k * W, gradient * slope);
                    }
                    for (long p = 0; p < net.pairs; p++) {
                        const long a = net.first[p] * W, b = net.second[p] * W, own = (Q + p) * W;
                        const Vector<T> left = load(from + a), right = load(from + b), gradient = load(gradients + own), bent = gradient * curvature;
                        store(to + own, load(to + own) + left * right * curvature);
                        store(gradients + a, load(gradients + a) + bent * right);
                        store(gradients + b, load(gradients + b) + bent * left);
                        store(gradients + own, gradient * slope);
                        third += gradient * left * right;
                    }
                    store(dh.data() + i * W + j, load(dh.data() + i * W + j) * slope + sum * curvature + third * jerk);
                }
            product(net.width, n, h.data(), 1, W, dz.data(), dweights[l].data(), width, true);
            product(net.width, n * K, g.data(), 1, W, dt.data(), dweights[l].data(), width, true);
            std::swap(dz, dh), std::swap(dt, dg);
        }
        product(d, n, x, 1, d, dz.data(), dweights[0].data(), W, true);
        product(d, n * K, u, 1, d, dt.data(), dweights[0].data(), W, true);
        product(n, net.width, dz.data(), W, 1, across[0].data(), out.data(), D);
        cut(n, out.data(), D, dx, d);
        product(n * K, net.width, dt.data(), W, 1, across[0].data(), out.data(), D);
        cut(n * K, out.data(), D, du, d);
    }

    // The gradients of its weights and biases, into those of all members.
    void give(long member, T* const* to_weights, T* const* to_biases) const {
        for (long l = 0; l <= H; l++) {
            const long in = net.inputs_of(l), outs = net.outputs_of(l), width = l < H ? W : O;
            cut(in, dweights[l].data(), width, to_weights[l] + member * in * outs, outs);
            cut(1, dbiases[l].data(), width, to_biases[l] + member * outs, outs);
        }
    }
};

// x (E, N, D), u (E, N, K, D) -> f (E, N, O), a (E, N, K, O), of the second derivatives with their own part
template <class T, class Activation> static void push(const Network<T>& net, const T* x, const T* u, T* f, T* a) {
    Member<T, Activation> member(net, false);
    for (long e = 0; e < net.members; e++) {
        member.become(e);
        for (long begin = 0; begin < net.states; begin += TILE) {
            const long n = std::min(TILE, net.states - begin), at = e * net.states + begin, each = at * net.tangents;
            member.evaluate(n, x + at * net.dimension, u + each * net.dimension, f + at * net.outputs, a + each * net.outputs);
        }
    }
}
template <class T, class Activation>
static void pull(const Network<T>& net, const T* x, const T* u, const T* df, const T* da, T* dx, T* du, T* const* dweights, T* const* dbiases) {
    Member<T, Activation> member(net, true);
    std::vector<T> f(TILE * net.outputs), a(TILE * net.tangents * net.outputs);
    for (long e = 0; e < net.members; e++) {
        member.become(e);
        for (long begin = 0; begin < net.states; begin += TILE) {
            const long n = std::min(TILE, net.states - begin), at = e * net.states + begin, each = at * net.tangents, d = net.dimension, o = net.outputs;
            member.evaluate(n, x + at * d, u + each * d, f.data(), a.data());
            member.pull_back(n, x + at * d, u + each * d, df + at * o, da + each * o, dx + at * d, du + each * d);
        }
        member.give(e, dweights, dbiases);
    }
}

// A Runge-Kutta method of S stages: stage i begins at w_i0 x + w_i1 k_1 + ..., k_j its slope there and what pulls in stage
// j; row S is the end of the step. With tangents, which move alike, a row of a tile is a state followed by its tangents.
template <class T> struct Method {
    long samples, substeps, stages;
    const T* weights;               // (*, S + 1, S + 1), `weighed` elements apart along members, states and intervals
    const long* weighed;
    const T* pulls;                 // (*, D), `pulled` elements apart along members, states and times; or none
    const long* pulled;
    const long* moments;            // of stages: how many times after the begin of the step
};

// x (E, N, D), u (E, N, K, D) -> the states (E, N, T, D) and tangents (E, N, T, K, D) at all samples. Where gradients are
// to come, `begun` keeps what stages begin at: for members, tiles, steps and stages (TILE, (1 + K) D).
template <class T, class Activation> class Rollout {
    const Network<T>& net;
    const Method<T>& method;
    Member<T, Activation> member;
    const long K, D, each, S, steps, tiles;  // `each`: the numbers of a state with its tangents
    std::vector<T> x, u, f, a, state, slopes, stage, end, dslopes;

    // A tile's rows in two: states and tangents.
    void part(long n, const T* rows, std::vector<T>& states, std::vector<T>& tangents) const {
        for (long i = 0; i < n; i++) {
            std::copy_n(rows + i * each, D, states.data() + i * D);
            std::copy_n(rows + i * each + D, K * D, tangents.data() + i * K * D);
        }
    }
    void join(long n, const std::vector<T>& states, const std::vector<T>& tangents, T* rows) const {
        for (long i = 0; i < n; i++) {
            std::copy_n(states.data() + i * D, D, rows + i * each);
            std::copy_n(tangents.data() + i * K * D, K * D, rows + i * each + D);
        }
    }
    const T* weights(long e, long state, long sample) const {
        return method.weights + e * method.weighed[0] + state * method.weighed[1] + sample * method.weighed[2];
    }
    const T* pull(long e, long state, long step, long stage) const {
        return method.pulls + e * method.pulled[0] + state * method.pulled[1] + (2 * step + method.moments[stage]) * method.pulled[2];
    }
    T* kept(T* begun, long e, long begin, long step, long stage) const {
        return begun + ((((e * tiles + begin / TILE) * steps) + step) * S + stage) * TILE * each;
    }

  public:
    Rollout(const Network<T>& net, const Method<T>& method, bool gradients)
        : net(net), method(method), member(net, gradients), K(net.tangents), D(net.dimension), each((1 + K) * D), S(method.stages),
          steps((method.samples - 1) * method.substeps), tiles((net.states + TILE - 1) / TILE), x(TILE * D), u(TILE * K * D), f(TILE * D),
          a(TILE * K * D), state(TILE * each), slopes(S * TILE * each), stage(TILE * each), end(TILE * each), dslopes(S * TILE * each) {}

    void forward(const T* start, const T* tangents, T* states, T* moved, T* begun) {
        for (long e = 0; e < net.members; e++) {
            member.become(e);
            for (long begin = 0; begin < net.states; begin += TILE) {
                const long n = std::min(TILE, net.states - begin), at = e * net.states + begin;
                std::copy_n(start + at * D, n * D, x.data());
                std::copy_n(tangents + at * K * D, n * K * D, u.data());
                join(n, x, u, state.data());
                put(n, at, 0, states, moved);
                for (long step = 0; step < steps; step++) {
                    for (long s = 0; s <= S; s++) {
                        T* to = s == S ? end.data() : begun ? kept(begun, e, begin, step, s) : stage.data();
                        for (long i = 0; i < n; i++) {
                            const T* w = weights(e, begin + i, step / method.substeps) + s * (S + 1);
                            for (long c = i * each; c < (i + 1) * each; c++) {
                                T sum = w[0] * state[c];
                                for (long j = 0; j < s; j++) sum += w[1 + j] * slopes[j * TILE * each + c];
                                to[c] = sum;
                            }
                        }
                        if (s == S) break;
                        part(n, to, x, u);
                        member.evaluate(n, x.data(), u.data(), f.data(), a.data());
                        if (method.pulls)
                            for (long i = 0; i < n; i++)
                                for (long c = 0; c < D; c++) f[i * D + c] += pull(e, begin + i, step, s)[c];
                        join(n, f, a, slopes.data() + s * TILE * each);
                    }
                    std::swap(state, end);
                    if ((step + 1) % method.substeps == 0) put(n, at, (step + 1) / method.substeps, states, moved);
                }
            }
        }
    }

    void backward(T* begun, const T* dstates, const T* dmoved, T* dstart, T* dtangents, T* const* dweights, T* const* dbiases) {
        for (long e = 0; e < net.members; e++) {
            member.become(e);
            for (long begin = 0; begin < net.states; begin += TILE) {
                const long n = std::min(TILE, net.states - begin), at = e * net.states + begin;
                std::fill(state.begin(), state.end(), T(0));  // the gradient of the state
                for (long step = steps - 1; step >= 0; step--) {
                    if ((step + 1) % method.substeps == 0) add(n, at, (step + 1) / method.substeps, dstates, dmoved);
                    spread(n, e, begin, step, S, state.data(), end.data(), true);
                    for (long s = S - 1; s >= 0; s--) {
                        part(n, kept(begun, e, begin, step, s), x, u);
                        member.evaluate(n, x.data(), u.data(), f.data(), a.data());
                        part(n, dslopes.data() + s * TILE * each, f, a);
                        member.pull_back(n, x.data(), u.data(), f.data(), a.data(), x.data(), u.data());
                        join(n, x, u, stage.data());
                        spread(n, e, begin, step, s, stage.data(), end.data(), false);
                    }
                    std::swap(state, end);
                }
                add(n, at, 0, dstates, dmoved);
                part(n, state.data(), x, u);
                std::copy_n(x.data(), n * D, dstart + at * D);
                std::copy_n(u.data(), n * K * D, dtangents + at * K * D);
            }
            member.give(e, dweights, dbiases);
        }
    }

  private:
    void put(long n, long at, long sample, T* states, T* moved) const {
        for (long i = 0; i < n; i++) {
            std::copy_n(state.data() + i * each, D, states + ((at + i) * method.samples + sample) * D);
            std::copy_n(state.data() + i * each + D, K * D, moved + ((at + i) * method.samples + sample) * K * D);
        }
    }
    void add(long n, long at, long sample, const T* dstates, const T* dmoved) {
        for (long i = 0; i < n; i++) {
            for (long c = 0; c < D; c++) state[i * each + c] += dstates[((at + i) * method.samples + sample) * D + c];
            for (long c = 0; c < K * D; c++) state[i * each + D + c] += dmoved[((at + i) * method.samples + sample) * K * D + c];
        }
    }
    // The gradient of what a stage begins at, or of the end of the step (first), goes to those of x and of earlier slopes.
    void spread(long n, long e, long begin, long step, long s, const T* gradient, T* dx, bool first) {
        for (long i = 0; i < n; i++) {
            const T* w = weights(e, begin + i, step / method.substeps) + s * (S + 1);
            for (long c = i * each; c < (i + 1) * each; c++) {
                dx[c] = (first ? T(0) : dx[c]) + w[0] * gradient[c];
                for (long j = 0; j < s; j++) {
                    T& slope = dslopes[j * TILE * each + c];
                    slope = (first ? T(0) : slope) + w[1 + j] * gradient[c];
                }
            }
        }
    }
};

#define EXPORT(name, T, Activation)                                                                                                         \
    extern "C" void push_##name(const Network<T>* net, const T* x, const T* u, T* f, T* a) { push<T, Activation>(*net, x, u, f, a); }       \
    extern "C" void pull_##name(const Network<T>* net, const T* x, const T* u, const T* df, const T* da, T* dx, T* du, T* const* dweights,  \
                                T* const* dbiases) {                                                                                        \
        pull<T, Activation>(*net, x, u, df, da, dx, du, dweights, dbiases);                                                                 \
    }                                                                                                                                       \
    extern "C" void rollout_##name(const Network<T>* net, const Method<T>* method, const T* x, const T* u, T* states, T* moved, T* begun) { \
        Rollout<T, Activation>(*net, *method, false).forward(x, u, states, moved, begun);                                                   \
    }                                                                                                                                       \
    extern "C" void return_##name(const Network<T>* net, const Method<T>* method, T* begun, const T* dstates, const T* dmoved, T* dx,       \
                                  T* du, T* const* dweights, T* const* dbiases) {                                                           \
        Rollout<T, Activation>(*net, *method, true).backward(begun, dstates, dmoved, dx, du, dweights, dbiases);                            \
    }
EXPORT(silu_float32, float, Silu)
EXPORT(silu_float64, double, Silu)
EXPORT(tanh_float32, float, Tanh)
EXPORT(tanh_float64, double, Tanh)
EXPORT(gelu_float32, float, Gelu)
EXPORT(gelu_float64, double, Gelu)
extern "C" long tile() { return TILE; }
