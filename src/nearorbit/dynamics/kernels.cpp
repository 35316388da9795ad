// Perceptrons and the tangents that go through them, and the gradients of both; kernels.py calls this.
//
// One call takes a tile of states at a time through all layers, so that its activations stay in the cache. Every state
// is computed alike wherever it stands, and sums over states are those of a member alone: a member has the same bits in
// any ensemble.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

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

// e^x to an ulp or two, by the approximations of the Cephes library (S. L. Moshier); what is no number stays none.
static inline Vector<float> exponential(Vector<float> x) {
    x = x > 88.0f ? all(88.0f) : x;
    x = x < -87.0f ? all(-87.0f) : x;
    const Vector<float> magic = all(12582912.0f), n = (x * 1.44269504088896341f + magic) - magic;  // rounds
    const Vector<float> r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Vector<float> p = 1.9875691500e-4f * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    Vectors<float>::Integers power = (__builtin_convertvector(n, Vectors<float>::Integers) + 127) << 23;
    return p * reinterpret_cast<Vector<float>&>(power);
}
static inline Vector<double> exponential(Vector<double> x) {
    x = x > 709.0 ? all(709.0) : x;
    x = x < -708.0 ? all(-708.0) : x;
    const Vector<double> magic = all(6755399441055744.0), n = (x * 1.4426950408889634074 + magic) - magic;
    const Vector<double> r = x - n * 6.93145751953125e-1 - n * 1.42860682030941723212e-6, s = r * r;
    const Vector<double> p = r * ((1.26177193074810590878e-4 * s + 3.02994407707441961300e-2) * s + 1.0);
    const Vector<double> q = ((3.00198505138664455042e-6 * s + 2.52448340349684104192e-3) * s + 2.27265548208155028766e-1) * s + 2.0;
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

// The activations of activations.py, alone and with their first and second derivatives.
struct Silu {
    template <class T> static inline Vector<T> value(Vector<T> z) { return z * (T(1) / (T(1) + exponential(-z))); }
    template <class T> static inline void at(Vector<T> z, Vector<T>& h, Vector<T>& slope, Vector<T>& curvature) {
        const Vector<T> s = T(1) / (T(1) + exponential(-z));
        h = z * s;
        slope = s + h * (T(1) - s);
        curvature = (T(1) - s) * (s + slope - h * s);
    }
};
struct Tanh {
    template <class T> static inline Vector<T> value(Vector<T> z) {
        const Vector<T> e = exponential(T(-2) * z);
        return (T(1) - e) / (T(1) + e);
    }
    template <class T> static inline void at(Vector<T> z, Vector<T>& h, Vector<T>& slope, Vector<T>& curvature) {
        const Vector<T> e = exponential(T(-2) * z);
        h = (T(1) - e) / (T(1) + e);
        slope = T(1) - h * h;
        curvature = T(-2) * h * slope;
    }
};
struct Gelu {
    template <class T> static inline Vector<T> mass(Vector<T> z) {
        const Vector<T> size = (z < T(0) ? -z : z) * T(0.70710678118654752440), t = T(2) / (T(2) + size), y = T(2) * t - T(1);
        Vector<T> above = {}, two = {};
        for (int n = sizeof(T) == 4 ? 13 : 27; n > 0; n--) {
            const Vector<T> next = T(2) * y * above - two + T(SERIES[n]);
            two = above;
            above = next;
        }
        const Vector<T> beyond = T(0.5) * t * exponential(y * above - two + T(0.5 * SERIES[0]) - size * size);
        return z < T(0) ? beyond : T(1) - beyond;
    }
    template <class T> static inline Vector<T> value(Vector<T> z) { return z * mass<T>(z); }
    template <class T> static inline void at(Vector<T> z, Vector<T>& h, Vector<T>& slope, Vector<T>& curvature) {
        const Vector<T> below = mass<T>(z);
        const Vector<T> density = exponential(T(-0.5) * z * z) * T(0.39894228040143267794);
        h = z * below;
        slope = below + z * density;
        curvature = density * (T(2) - z * z);
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
                sum[i][0] += x * left;
                sum[i][1] += x * right;
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
            for (int i = 0; i < M; i++) sum[i] += all(a[i * across + k * along]) * row;
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
    const T* const* weights;  // of each layer (E, in, out), a member `apart` elements after the other
    const T* const* biases;   // (E, 1, out)
    const long* apart;        // of all weights, then of all biases

    long inputs_of(long layer) const { return layer ? width : dimension; }
    long outputs_of(long layer) const { return layer < hidden ? width : outputs; }
    const T* weights_of(long layer, long member) const { return weights[layer] + member * apart[layer]; }
    const T* biases_of(long layer, long member) const { return biases[layer] + member * apart[hidden + 1 + layer]; }
    // Where rows of a member, (E, N, K, columns), begin; of what is kept, also of which hidden layer.
    long at(long member, long state, long each, long columns) const { return (member * states + state) * each * columns; }
    long kept(long layer, long member, long state, long each, long wide) const {
        return ((layer * members + member) * states + state) * each * wide;
    }
};

// x (E, N, D), u (E, N, K, D) -> f (E, N, O), a = J u (E, N, K, O). What gradients need is kept: before the activations
// the states, z, and their tangents, t, with shapes (H, E, N, W) and (H, E, N, K, W), W filled up to whole vectors.
template <class T, class Activation>
static void forward(const Network<T>& net, const T* x, const T* u, T* f, T* a, T* z, T* t) {
    const long K = net.tangents, D = net.dimension, W = padded<T>(net.width), O = padded<T>(net.outputs), H = net.hidden;
    std::vector<T> h(TILE * W), g(TILE * K * W), out(TILE * std::max(K, 1L) * O), p(z ? 0 : TILE * W), q(z ? 0 : TILE * K * W);
    std::vector<std::vector<T>> weights(H + 1), biases(H);
    for (long e = 0; e < net.members; e++) {
        for (long l = 0; l <= H; l++) {
            const long in = net.inputs_of(l), width = l < H ? W : O;
            weights[l].resize(in * width);
            pad(in, net.weights_of(l, e), net.outputs_of(l), weights[l].data(), width);
            if (l < H) biases[l].resize(W), pad(1, net.biases_of(l, e), net.width, biases[l].data(), W);
        }
        const T* last = net.biases_of(H, e);
        for (long begin = 0; begin < net.states; begin += TILE) {
            const long n = std::min(TILE, net.states - begin);
            for (long l = 0; l < H; l++) {
                T* before = z ? z + net.kept(l, e, begin, 1, W) : p.data();
                T* moved = t ? t + net.kept(l, e, begin, K, W) : q.data();
                const T* w = weights[l].data();
                if (l) {
                    product(n, net.width, h.data(), W, 1, w, before, W);
                    product(n * K, net.width, g.data(), W, 1, w, moved, W);
                } else {
                    product(n, D, x + net.at(e, begin, 1, D), D, 1, w, before, W);
                    product(n * K, D, u + net.at(e, begin, K, D), D, 1, w, moved, W);
                }
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
                        for (long k = i * K; k < (i + 1) * K; k++)
                            store(g.data() + k * W + j, load(moved + k * W + j) * slope);
                    }
            }
            T* to = f + net.at(e, begin, 1, net.outputs);
            product(n, net.width, h.data(), W, 1, weights[H].data(), out.data(), O);
            for (long i = 0; i < n; i++)
                for (long o = 0; o < net.outputs; o++) to[i * net.outputs + o] = out[i * O + o] + last[o];
            product(n * K, net.width, g.data(), W, 1, weights[H].data(), out.data(), O);
            cut(n * K, out.data(), O, a + net.at(e, begin, K, net.outputs), net.outputs);
        }
    }
}

// The gradients of x and u, of weights and of biases (E, in, out), of those of f and a.
template <class T, class Activation>
static void backward(const Network<T>& net, const T* x, const T* u, const T* z, const T* t, const T* df, const T* da, T* dx, T* du,
                     T* const* dweights, T* const* dbiases) {
    const long K = net.tangents, D = padded<T>(net.dimension), W = padded<T>(net.width), O = padded<T>(net.outputs), H = net.hidden;
    const long each = std::max(K, 1L);
    const long wide = std::max(W, O);
    std::vector<T> h(TILE * W), g(TILE * K * W), dh(TILE * wide), dg(TILE * K * wide), dz(TILE * wide), dt(TILE * K * wide);
    std::vector<T> back(TILE * each * D);
    std::vector<std::vector<T>> across(H + 1), weights(H + 1), biases(H + 1);
    for (long e = 0; e < net.members; e++) {
        for (long l = 0; l <= H; l++) {
            const long in = net.inputs_of(l), out = net.outputs_of(l), above = l ? W : D, width = l < H ? W : O;
            across[l].resize(out * above);
            transpose(in, out, net.weights_of(l, e), across[l].data(), above);
            weights[l].assign(in * width, 0), biases[l].assign(width, 0);
        }
        for (long begin = 0; begin < net.states; begin += TILE) {
            const long n = std::min(TILE, net.states - begin);
            pad(n, df + net.at(e, begin, 1, net.outputs), net.outputs, dz.data(), O);
            pad(n * K, da + net.at(e, begin, K, net.outputs), net.outputs, dt.data(), O);
            for (long i = 0; i < n; i++)
                for (long j = 0; j < O; j++) biases[H][j] += dz[i * O + j];
            for (long l = H; l > 0; l--) {  // dz and dt are those of layer l, and become those of the one before
                const long out = net.outputs_of(l), width = l < H ? W : O;
                product(n, out, dz.data(), width, 1, across[l].data(), dh.data(), W);
                product(n * K, out, dt.data(), width, 1, across[l].data(), dg.data(), W);
                const T* before = z + net.kept(l - 1, e, begin, 1, W);
                const T* moved = t + net.kept(l - 1, e, begin, K, W);
                for (long i = 0; i < n; i++)  // what that one gave, again
                    for (long j = 0; j < W; j += LANES<T>) {
                        Vector<T> activated, slope, curvature;
                        Activation::template at<T>(load(before + i * W + j), activated, slope, curvature);
                        store(h.data() + i * W + j, activated);
                        store(dh.data() + i * W + j, load(dh.data() + i * W + j) * slope);
                        Vector<T> sum = {};
                        for (long k = i * K; k < (i + 1) * K; k++) {
                            const Vector<T> tangent = load(moved + k * W + j), d = load(dg.data() + k * W + j);
                            store(g.data() + k * W + j, tangent * slope);
                            store(dg.data() + k * W + j, d * slope);
                            sum += d * tangent;
                        }
                        store(dh.data() + i * W + j, load(dh.data() + i * W + j) + sum * curvature);
                    }
                product(net.width, n, h.data(), 1, W, dz.data(), weights[l].data(), width, true);
                product(net.width, n * K, g.data(), 1, W, dt.data(), weights[l].data(), width, true);
                std::swap(dz, dh), std::swap(dt, dg);
                for (long i = 0; i < n; i++)
                    for (long j = 0; j < W; j += LANES<T>) store(biases[l - 1].data() + j, load(biases[l - 1].data() + j) + load(dz.data() + i * W + j));
            }
            const long d = net.dimension;
            product(d, n, x + net.at(e, begin, 1, d), 1, d, dz.data(), weights[0].data(), W, true);
            product(d, n * K, u + net.at(e, begin, K, d), 1, d, dt.data(), weights[0].data(), W, true);
            if (dx) {
                product(n, net.width, dz.data(), W, 1, across[0].data(), back.data(), D);
                cut(n, back.data(), D, dx + net.at(e, begin, 1, d), d);
            }
            if (du) {
                product(n * K, net.width, dt.data(), W, 1, across[0].data(), back.data(), D);
                cut(n * K, back.data(), D, du + net.at(e, begin, K, d), d);
            }
        }
        for (long l = 0; l <= H; l++) {
            const long in = net.inputs_of(l), out = net.outputs_of(l), width = l < H ? W : O;
            cut(in, weights[l].data(), width, dweights[l] + e * in * out, out);
            cut(1, biases[l].data(), width, dbiases[l] + e * out, out);
        }
    }
}

#define EXPORT(name, T, Activation)                                                                                                    \
    extern "C" void forward_##name(const Network<T>* net, const T* x, const T* u, T* f, T* a, T* z, T* t) {                            \
        forward<T, Activation>(*net, x, u, f, a, z, t);                                                                                \
    }                                                                                                                                  \
    extern "C" void backward_##name(const Network<T>* net, const T* x, const T* u, const T* z, const T* t, const T* df, const T* da,   \
                                    T* dx, T* du, T* const* dweights, T* const* dbiases) {                                             \
        backward<T, Activation>(*net, x, u, z, t, df, da, dx, du, dweights, dbiases);                                                  \
    }
EXPORT(silu_float32, float, Silu)
EXPORT(silu_float64, double, Silu)
EXPORT(tanh_float32, float, Tanh)
EXPORT(tanh_float64, double, Tanh)
EXPORT(gelu_float32, float, Gelu)
EXPORT(gelu_float64, double, Gelu)
extern "C" long vector_bytes() { return BYTES; }
