// The mean of a kernel over all pairs of points of two clouds, with its gradient: see discrepancies.py.

#include <vector>

#ifdef __AVX512F__
constexpr long BYTES = 64;  // of a vector
#else
constexpr long BYTES = 32;
#endif
template <class T> struct Vectors;
template <> struct Vectors<float> { typedef float Vector __attribute__((vector_size(BYTES), aligned(4), may_alias)); };
template <> struct Vectors<double> { typedef double Vector __attribute__((vector_size(BYTES), aligned(8), may_alias)); };

template <class T> static T sum(const typename Vectors<T>::Vector& lanes) {
    T total = 0;
    for (long l = 0; l < BYTES / long(sizeof(T)); l++) total += lanes[l];
    return total;
}

// x (B, N, D), y (B, M, D) -> the means (B) of k(x_i, y_j) = sum of a^2 / (a^2 + |x_i - y_j|^2) over widths a, and, if
// there is room for it, the gradient with respect to x (B, N, D). Points that fill up vectors have no weight.
template <class T>
static void mean_kernel(long clouds, long points, long others, long dimension, long count, const T* widths, const T* x, const T* y, T* means, T* gradient) {
    typedef typename Vectors<T>::Vector Vector;
    const long lanes = BYTES / sizeof(T), vectors = (others + lanes - 1) / lanes;
    std::vector<T> far(dimension * vectors * lanes), weight(vectors * lanes, T(0));
    std::vector<Vector> apart(dimension), pull(dimension);
    for (long j = 0; j < others; j++) weight[j] = 1;
    for (long b = 0; b < clouds; b++, x += points * dimension, y += others * dimension) {
        for (long j = 0; j < others; j++)
            for (long c = 0; c < dimension; c++) far[c * vectors * lanes + j] = y[j * dimension + c];
        T total = 0;
        for (long i = 0; i < points; i++) {
            Vector value = {};
            for (long c = 0; c < dimension; c++) pull[c] = Vector{};
            for (long v = 0; v < vectors; v++) {
                Vector squares = {}, kernel = {}, slope = {};
                for (long c = 0; c < dimension; c++) {
                    apart[c] = x[i * dimension + c] - *reinterpret_cast<const Vector*>(&far[(c * vectors + v) * lanes]);
                    squares += apart[c] * apart[c];
                }
                for (long w = 0; w < count; w++) {
                    const T square = widths[w] * widths[w];
                    const Vector inverse = T(1) / (squares + square);
                    kernel += square * inverse;
                    slope += (square * inverse) * inverse;
                }
                const Vector counts = *reinterpret_cast<const Vector*>(&weight[v * lanes]);
                value += counts * kernel;
                if (gradient)
                    for (long c = 0; c < dimension; c++) pull[c] += (T(-2) * counts * slope) * apart[c];
            }
            total += sum<T>(value);
            if (gradient)
                for (long c = 0; c < dimension; c++) *gradient++ = sum<T>(pull[c]) / (points * others);
        }
        *means++ = total / (points * others);
    }
}

#define EXPORT(name, T)                                                                                                                    \
    extern "C" void mean_kernel_##name(long clouds, long points, long others, long dimension, long count, const T* widths, const T* x, \
                                       const T* y, T* means, T* gradient) {                                                            \
        mean_kernel<T>(clouds, points, others, dimension, count, widths, x, y, means, gradient);                                        \
    }
EXPORT(float32, float)
EXPORT(float64, double)
