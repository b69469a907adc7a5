// The element-wise work of S and T on a CPU, for fp32 and bf16. Each function passes over memory once and computes in fp32.
//
// `native.py` declares these functions to Python, and `Kernels` says what each of them does. Matrices are row-major with a row
// stride in elements (`..._row`), vectors contiguous; a null pointer stands for None. Threads never share a sum, and each sum
// has one order, so that results are the same bits for any number of threads and for a token whatever others there are.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define BF16_VECTORS
#include <immintrin.h>
#endif

namespace {

constexpr float LOWEST = -3.40282347e38f; // of fp32
constexpr int64_t IGNORED = -100;
constexpr int64_t STRIP = 256; // numbers of a vector, or columns of a matrix, that are worked on at a time
constexpr int64_t PAST_CACHES = 1 << 22; // fp32 numbers of a result, 16 MiB, from which on a cache has better use than to hold it

struct bf16 {
    uint16_t bits;
};

inline float wide(float x) { return x; }

inline float wide(bf16 x) {
    const uint32_t bits = uint32_t(x.bits) << 16;
    float out;
    std::memcpy(&out, &bits, sizeof out);
    return out;
}

inline void put(float& to, float x) { to = x; }

// To nearest, ties to even. A NaN stays one: what arithmetic makes of bf16 numbers has zeros below bf16's digits.
inline void put(bf16& to, float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits += 0x7fff + ((bits >> 16) & 1);
    to.bits = uint16_t(bits >> 16);
}

// exp(x) for x <= 88, to an ulp or so: x = n ln 2 + r with |r| <= ln 2 / 2, 2^n times a Taylor polynomial in r. 0 where the
// result is not a normal number, as products of bf16 take it; NaN of NaN.
inline float exponential(float x) {
    constexpr float ROUND = 12582912.0f; // 1.5·2^23: the last digits of what it is added to are an integer
    const float in_range = x < -87.0f ? -87.0f : x;
    const float shifted = in_range * 1.44269504f + ROUND;
    const float n = shifted - ROUND;
    float r = std::fma(n, -0.693145752f, in_range); // ln 2 in two parts, the first short enough that n times it is exact
    r = std::fma(n, -1.42860677e-6f, r);
    float p = 1.0f / 720;
    p = std::fma(p, r, 1.0f / 120);
    p = std::fma(p, r, 1.0f / 24);
    p = std::fma(p, r, 1.0f / 6);
    p = std::fma(p, r, 0.5f);
    p = std::fma(p, r, 1.0f);
    p = std::fma(p, r, 1.0f);
    uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return x < -87.0f ? 0.0f : p * power;
}

// tanh(x); slope: 1 - tanh²(x), with its relative precision where tanh is nearly 1. Near 0 it is a + a³·P(a²), P fitted to
// tanh(a)/a at Chebyshev points: 8e-8 off.
inline float hyperbolic(float x, float& slope) {
    const float a = std::fabs(x), square = a * a;
    const float decay = exponential(-2.0f * a);
    const float share = 1.0f / (1.0f + decay);
    float series = -0.005691985663136067f;
    series = series * square + 0.020626291823206352f;
    series = series * square - 0.05373531884942157f;
    series = series * square + 0.133313813543598f;
    series = series * square - 0.33333279208370553f;
    const float result = a < 0.625f ? a + a * (square * series) : 1.0f - 2.0f * decay * share;
    slope = 4.0f * decay * share * share;
    return std::copysign(result, x);
}

// l of z and dl/dz without the factor `scale`; cap 0: none.
struct Curve {
    float scale, cap;

    inline float operator()(float z, float& slope) const {
        const float l = z * scale;
        slope = 1.0f;
        return cap == 0.0f ? l : hyperbolic(l / cap, slope) * cap;
    }
};

// work(0) to work(count - 1), in so many threads.
template <class Work> inline void each(int64_t count, int threads, Work work) {
#pragma omp parallel for num_threads(threads) if (threads > 1 && count > 1) schedule(static)
    for (int64_t i = 0; i < count; ++i)
        work(i);
}

// work(begin, end) for the strips of 0 to `length`.
template <class Work> inline void each_strip(int64_t length, int threads, Work work) {
    each((length + STRIP - 1) / STRIP, threads, [=](int64_t i) {
        const int64_t begin = i * STRIP, end = begin + STRIP < length ? begin + STRIP : length;
        work(begin, end);
    });
}

// A target's place among `count` rows or columns from `first`; -1: it is not among them.
inline int64_t place(int64_t id, int64_t first, int64_t count) {
    const int64_t at = id - first;
    return at >= 0 && at < count ? at : -1;
}

// Σ of(c) over the columns; Part: what a few hundred of them are added in, before their sum joins the others in fp64.
template <class Part, class Of> inline float summed(int64_t columns, Of of) {
    double sum = 0;
    for (int64_t begin = 0; begin < columns; begin += STRIP) {
        const int64_t end = begin + STRIP < columns ? begin + STRIP : columns;
        Part part = 0;
#pragma omp simd reduction(+ : part)
        for (int64_t c = begin; c < end; ++c)
            part += of(c);
        sum += part;
    }
    return float(sum);
}

template <class N> inline float largest(const N* of, int64_t columns, float floor) {
    float highest = floor;
#pragma omp simd reduction(max : highest)
    for (int64_t c = 0; c < columns; ++c) {
        const float l = wide(of[c]);
        highest = l > highest ? l : highest;
    }
    return highest;
}

// Of the bits, twice as many at a time: as integers positive numbers are in order, negative ones in reverse, below them.
inline float largest(const bf16* of, int64_t columns, float floor) {
    int16_t most = INT16_MIN, least = INT16_MAX;
#pragma omp simd reduction(max : most) reduction(min : least)
    for (int64_t c = 0; c < columns; ++c) {
        const int16_t bits = int16_t(of[c].bits);
        most = bits > most ? bits : most;
        least = bits < least ? bits : least;
    }
    const float highest = columns ? wide(bf16{uint16_t(most < 0 ? least : most)}) : floor;
    return highest > floor ? highest : floor;
}

// to = exp(from - maximum), and their sum.
template <class N> inline float exponentials(const N* from, N* to, int64_t columns, float maximum) {
    return summed<float>(columns, [=](int64_t c) {
        const float e = exponential(wide(from[c]) - maximum);
        put(to[c], e);
        return e;
    });
}

template <class N> inline float dotted(const N* one, const N* other, int64_t columns) {
    return summed<float>(columns, [=](int64_t c) { return wide(one[c]) * wide(other[c]); });
}

// to = by·from + own·w; w may be null. large: see PAST_CACHES.
template <class P, class N>
inline void mix(float* to, float by, const P* from, float own, const N* w, int64_t columns, bool /* large */) {
    if (!w) {
#pragma omp simd
        for (int64_t i = 0; i < columns; ++i)
            to[i] = by * wide(from[i]);
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i)
        to[i] = by * wide(from[i]) + own * wide(w[i]);
}

#ifdef BF16_VECTORS
inline __m512 wide(__m256i bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)); }

// A large result is written past the caches, which saves reading it first; the numbers are the same.
inline void mix(float* to, float by, const bf16* from, float own, const bf16* w, int64_t columns, bool large) {
    const __m512 of_from = _mm512_set1_ps(by), of_w = _mm512_set1_ps(own);
    const auto mixed = [=](int64_t i, __mmask16 there) {
        const __m512 one = _mm512_mul_ps(of_from, wide(_mm256_maskz_loadu_epi16(there, from + i)));
        return w ? _mm512_fmadd_ps(of_w, wide(_mm256_maskz_loadu_epi16(there, w + i)), one) : one;
    };
    const int64_t whole = columns / 16 * 16;
    if (large && uintptr_t(to) % 64 == 0) {
        for (int64_t i = 0; i < whole; i += 16)
            _mm512_stream_ps(to + i, mixed(i, 0xffff));
        _mm_sfence(); // before another thread reads it
    } else {
        for (int64_t i = 0; i < whole; i += 16)
            _mm512_storeu_ps(to + i, mixed(i, 0xffff));
    }
    const __mmask16 there = __mmask16((1u << (columns - whole)) - 1);
    if (there)
        _mm512_mask_storeu_ps(to + whole, there, mixed(whole, there));
}

// exp(x) for x <= 88, sixteen at once: x log2 e = n + f with |f| <= 1/2, 2^n times 1 + f·P(f), P fitted to the least relative error,
// 1.1e-7, to which rounding x log2 e adds 4e-8·|x|. 0 from -200 on; what is not a normal number before, a sum still counts, but
// the conversion to bf16 takes for 0. NaN of NaN.
inline __m512 exponential(__m512 x) {
    const __m512 power = _mm512_mul_ps(_mm512_max_ps(_mm512_set1_ps(-200.0f), x), _mm512_set1_ps(1.44269504f));
    const __m512 n = _mm512_roundscale_ps(power, 8), f = _mm512_sub_ps(power, n);
    __m512 p = _mm512_set1_ps(0.001326472731f);
    constexpr float SERIES[] = {0.009671512991f, 0.05550733581f, 0.2402224243f, 0.6931470037f, 1.0f};
    for (const float next : SERIES)
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(next));
    return _mm512_scalef_ps(p, n);
}

// Σ one·other, thirty-two columns at once: pairs of products join sums in fp32, these one in fp64, as in `summed`.
inline float dotted(const bf16* one, const bf16* other, int64_t columns) {
    double sum = 0;
    for (int64_t begin = 0; begin < columns; begin += STRIP) {
        const int64_t end = begin + STRIP < columns ? begin + STRIP : columns;
        __m512 part = _mm512_setzero_ps();
        for (int64_t c = begin; c < end; c += 32) {
            const __mmask32 there = end - c < 32 ? __mmask32((1u << (end - c)) - 1) : __mmask32(0xffffffff);
            const __m512i a = _mm512_maskz_loadu_epi16(there, one + c), b = _mm512_maskz_loadu_epi16(there, other + c);
            part = _mm512_dpbf16_ps(part, (__m512bh)a, (__m512bh)b);
        }
        sum += _mm512_reduce_add_ps(part);
    }
    return float(sum);
}

// Where the processor rounds to bf16 by itself; compilers do not make that of `put`.
inline float exponentials(const bf16* from, bf16* to, int64_t columns, float maximum) {
    const __m512 highest = _mm512_set1_ps(maximum);
    const auto of = [=](__m256i bits) {
        return exponential(_mm512_sub_ps(wide(bits), highest));
    };
    double sum = 0;
    for (int64_t begin = 0; begin < columns; begin += STRIP) {
        const int64_t end = begin + STRIP < columns ? begin + STRIP : columns;
        __m512 part = _mm512_setzero_ps();
        int64_t c = begin;
        for (; c + 16 <= end; c += 16) { // without masks: a store with one takes longer
            const __m512 e = of(_mm256_loadu_si256((const __m256i*)(from + c)));
            part = _mm512_add_ps(part, e);
            _mm256_storeu_si256((__m256i*)(to + c), (__m256i)_mm512_cvtneps_pbh(e));
        }
        if (c < end) {
            const __mmask16 there = __mmask16((1u << (end - c)) - 1);
            const __m512 e = of(_mm256_maskz_loadu_epi16(there, from + c));
            part = _mm512_mask_add_ps(part, there, part, e);
            _mm256_mask_storeu_epi16(to + c, there, (__m256i)_mm512_cvtneps_pbh(e));
        }
        sum += _mm512_reduce_add_ps(part);
    }
    return float(sum);
}
#endif

template <class N>
void exponentiate(N* z, int64_t z_row, N* out, int64_t out_row, const int64_t* ids, int64_t first, const float* floor,
                  float* maximum, float* total, int64_t tokens, int64_t columns, int threads) {
    each(tokens, threads, [=](int64_t t) {
        N *const from = z + t * z_row, *const to = out + t * out_row;
        const int64_t target = place(ids[t], first, columns);
        if (target >= 0)
            put(from[target], -INFINITY);
        maximum[t] = largest(from, columns, floor ? floor[t] : LOWEST);
        total[t] = exponentials(from, to, columns, maximum[t]);
    });
}

// The same for logits that a curve makes of z, which is left as it is.
template <class N>
void exponentiate_curved(const N* z, int64_t z_row, N* out, int64_t out_row, const int64_t* ids, int64_t first,
                         const float* floor, float* maximum, float* total, float* logit_sum, N* slopes, int64_t slopes_row,
                         int64_t tokens, int64_t columns, float scale, float cap, int threads) {
    const Curve curve{scale, cap};
    each(tokens, threads, [=](int64_t t) {
        const N* const from = z + t * z_row;
        N *const to = out + t * out_row, *const to_slopes = slopes ? slopes + t * slopes_row : nullptr;
        const int64_t target = place(ids[t], first, columns);
        if (logit_sum) // of both signs; before z may be overwritten
            logit_sum[t] += summed<double>(columns, [=](int64_t c) {
                float slope;
                return curve(wide(from[c]), slope);
            });
        float least = INFINITY, greatest = -INFINITY; // the curve keeps the order, or turns it around
#pragma omp simd reduction(min : least) reduction(max : greatest)
        for (int64_t c = 0; c < columns; ++c) {
            const float one = wide(from[c]);
            const float low = c == target ? INFINITY : one, high = c == target ? -INFINITY : one;
            least = low < least ? low : least;
            greatest = high > greatest ? high : greatest;
        }
        float highest = floor ? floor[t] : LOWEST, unused;
        if (least <= greatest) {
            const float one = curve(least, unused), other = curve(greatest, unused);
            const float both = one > other ? one : other;
            highest = both > highest ? both : highest;
        }
        maximum[t] = highest;
        total[t] = summed<float>(columns, [=](int64_t c) {
            float slope;
            const float l = curve(wide(from[c]), slope);
            const float e = c == target ? 0.0f : exponential(l - highest);
            put(to[c], e * slope);
            if (to_slopes)
                put(to_slopes[c], slope);
            return e;
        });
    });
}

template <class N>
void exponentiate_again(N* z, int64_t z_row, N* out, int64_t out_row, const int64_t* ids, int64_t first,
                        const float* maximum, int64_t tokens, int64_t columns, int threads) {
    each(tokens, threads, [=](int64_t t) {
        N *const from = z + t * z_row, *const to = out + t * out_row;
        const int64_t target = place(ids[t], first, columns);
        if (target >= 0)
            put(from[target], -INFINITY);
        exponentials(from, to, columns, maximum[t]);
    });
}

template <class N>
void exponentiate_again_curved(const N* z, int64_t z_row, N* out, int64_t out_row, const int64_t* ids, int64_t first,
                               const float* maximum, const float* factor, const float* every, int64_t tokens,
                               int64_t columns, float scale, float cap, int threads) {
    const Curve curve{scale, cap};
    each(tokens, threads, [=](int64_t t) {
        const N* const from = z + t * z_row;
        N* const to = out + t * out_row;
        const int64_t target = place(ids[t], first, columns);
        const float highest = maximum[t], by = factor ? factor[t] : 1.0f, more = every ? every[t] : 0.0f;
#pragma omp simd
        for (int64_t c = 0; c < columns; ++c) {
            float slope;
            const float l = curve(wide(from[c]), slope);
            const float e = c == target ? 0.0f : exponential(l - highest);
            put(to[c], (by * e + more) * slope);
        }
    });
}

template <class N>
void target_logits(const N* x, int64_t x_row, const N* weight, int64_t weight_row, const N* bias, const int64_t* ids,
                   int64_t start, int64_t rows, float* logits, float* slopes, int64_t tokens, int64_t hidden, float scale,
                   float cap, int threads) {
    const Curve curve{scale, cap};
    each(tokens, threads, [=](int64_t t) {
        const int64_t row = place(ids[t], start, rows);
        logits[t] = -INFINITY;
        slopes[t] = 0.0f;
        if (row < 0)
            return;
        const N *const of = x + t * x_row, *const w = weight + row * weight_row;
        const float dot = dotted(of, w, hidden);
        float slope;
        logits[t] = curve(bias ? dot + wide(bias[row]) : dot, slope);
        slopes[t] = slope * scale;
    });
}

// out [T, h] = factor ⊙ product + target ⊙ W[y]; it may be the product.
template <class P, class N>
void finished(const P* product, int64_t product_row, float* out, int64_t out_row, const N* weight, int64_t weight_row,
              const int64_t* ids, int64_t start, int64_t rows, const float* factor, const float* target, int64_t tokens,
              int64_t hidden, int threads) {
    const bool large = tokens * hidden >= PAST_CACHES && out_row % 16 == 0; // every row or none: one by one is slower
    each(tokens, threads, [=](int64_t t) {
        const int64_t row = place(ids[t], start, rows);
        const P* const from = product + t * product_row;
        float* const to = out + t * out_row;
        const float by = factor ? factor[t] : 1.0f, own = row < 0 ? 0.0f : target[t];
        mix(to, by, from, own, row < 0 ? (const N*)nullptr : weight + row * weight_row, hidden, large);
    });
}

// out = factor ⊙ product, or with `add` out += that.
template <class N>
void added(float* out, int64_t out_row, const N* product, int64_t product_row, const float* factor, bool add, int64_t rows,
           int64_t columns, int threads) {
    each(rows, threads, [=](int64_t t) {
        const N* const from = product + t * product_row;
        float* const to = out + t * out_row;
        const float by = factor ? factor[t] : 1.0f;
        if (add) {
#pragma omp simd
            for (int64_t i = 0; i < columns; ++i)
                to[i] += by * wide(from[i]);
        } else {
#pragma omp simd
            for (int64_t i = 0; i < columns; ++i)
                to[i] = by * wide(from[i]);
        }
    });
}

template <class N>
void scaled(const N* x, int64_t x_row, const float* factor, N* out, int64_t out_row, int64_t tokens, int64_t hidden,
            int threads) {
    each(tokens, threads, [=](int64_t t) {
        const N* const from = x + t * x_row;
        N* const to = out + t * out_row;
        const float by = factor[t];
#pragma omp simd
        for (int64_t i = 0; i < hidden; ++i)
            put(to[i], by * wide(from[i]));
    });
}

// Several tokens may share a row, so threads share out the columns.
template <class N>
void add_target_rows(float* gradient, int64_t gradient_row, float* bias_gradient, const N* x, int64_t x_row,
                     const int64_t* ids, int64_t start, int64_t rows, const float* target, int64_t tokens, int64_t hidden,
                     int threads) {
    const int64_t share = (hidden + threads - 1) / threads;
    each(threads, threads, [=](int64_t thread) {
        const int64_t begin = thread * share, end = begin + share < hidden ? begin + share : hidden;
        for (int64_t t = 0; t < tokens; ++t) {
            const int64_t row = place(ids[t], start, rows);
            if (row < 0)
                continue;
            const N* const from = x + t * x_row;
            float* const to = gradient + row * gradient_row;
            const float by = target[t];
#pragma omp simd
            for (int64_t i = begin; i < end; ++i)
                to[i] += by * wide(from[i]);
            if (bias_gradient && thread == 0)
                bias_gradient[row] += by;
        }
    });
}

// Both at once, row by row: what a row gets of its tokens joins it while it is in the cache. gradient: of rows from `start` on.
template <class N>
void add_with_target_rows(float* gradient, int64_t gradient_row, float* bias_gradient, const N* product, int64_t product_row,
                          const N* x, int64_t x_row, const int64_t* ids, int64_t start, int64_t rows, const float* target,
                          int64_t tokens, int64_t hidden, int threads) {
    std::vector<int64_t> of_row(rows, -1), next(tokens); // a row's first token, a token's next one in its row
    for (int64_t t = tokens - 1; t >= 0; --t)
        if (const int64_t row = place(ids[t], start, rows); row >= 0) {
            next[t] = of_row[row];
            of_row[row] = t;
        }
    const int64_t *const first = of_row.data(), *const then = next.data();
    each(rows, threads, [=](int64_t row) {
        float* const to = gradient + row * gradient_row;
        const N* const from = product + row * product_row;
        for (int64_t begin = 0; begin < hidden; begin += STRIP) {
            const int64_t end = begin + STRIP < hidden ? begin + STRIP : hidden;
#pragma omp simd
            for (int64_t i = begin; i < end; ++i)
                to[i] += wide(from[i]);
            for (int64_t t = first[row]; t >= 0; t = then[t]) {
                const N* const of = x + t * x_row;
                const float by = target[t];
#pragma omp simd
                for (int64_t i = begin; i < end; ++i)
                    to[i] += by * wide(of[i]);
            }
        }
        for (int64_t t = first[row]; bias_gradient && t >= 0; t = then[t])
            bias_gradient[row] += target[t];
    });
}

template <class N>
void add_column_sums(float* sums, const N* columns, int64_t columns_row, const float* factor, int64_t tokens, int64_t width,
                     int threads) {
    each_strip(width, threads, [=](int64_t begin, int64_t end) {
        double strip[STRIP] = {};
        for (int64_t t = 0; t < tokens; ++t) {
            const N* const from = columns + t * columns_row + begin;
            const float by = factor ? factor[t] : 1.0f;
#pragma omp simd
            for (int64_t c = 0; c < end - begin; ++c)
                strip[c] += double(by * wide(from[c]));
        }
        for (int64_t c = begin; c < end; ++c)
            sums[c] += float(strip[c - begin]);
    });
}

// What turns exponentials above `maximum` into dL/dz; 0 where nothing is asked of them, whatever they are.
inline float factor_of(float maximum, float base, float unit, float softmax, float scale) {
    return softmax != 0.0f ? exponential(maximum - base) * unit * scale * softmax : 0.0f;
}

} // namespace

extern "C" {

// gathered [ranks, statistics, T] to lp, 1 - p_y, base, unit and, of a fourth statistic, its sum; and what a loss gets: lp and that
// sum again, and lse. The sums' order is the ranks', and the last steps are made in fp64.
void combine(const float* gathered, int64_t ranks, int64_t statistics, const int64_t* ids, float* lp, float* rest, float* base,
             float* unit, float* sums, float* lp_again, float* lse, float* sums_again, int64_t tokens, int threads) {
    each_strip(tokens, threads, [=](int64_t begin, int64_t end) {
        float top[STRIP];
        double sum[STRIP] = {}, logit_sum[STRIP] = {};
        const auto of = [=](int64_t rank, int64_t statistic) {
            return gathered + (rank * statistics + statistic) * tokens;
        };
        for (int64_t t = begin; t < end; ++t)
            top[t - begin] = LOWEST; // -inf - -inf would be NaN
        for (int64_t rank = 0; rank < ranks; ++rank)
            for (int64_t t = begin; t < end; ++t)
                top[t - begin] = of(rank, 0)[t] > top[t - begin] ? of(rank, 0)[t] : top[t - begin];
        for (int64_t rank = 0; rank < ranks; ++rank)
            for (int64_t t = begin; t < end; ++t) {
                sum[t - begin] += double(of(rank, 1)[t] * exponential(of(rank, 0)[t] - top[t - begin]));
                if (statistics > 3)
                    logit_sum[t - begin] += of(rank, 3)[t];
            }
        for (int64_t t = begin; t < end; ++t) {
            double own = -INFINITY; // NaN where one is
            for (int64_t rank = 0; rank < ranks; ++rank)
                own = of(rank, 2)[t] > own || std::isnan(of(rank, 2)[t]) ? of(rank, 2)[t] : own;
            const double highest = top[t - begin], greater = own > highest ? own : highest;
            const double total = sum[t - begin] * std::exp(highest - greater) + std::exp(own - greater);
            base[t] = float(greater);
            unit[t] = float(1.0 / total);
            lse[t] = float(greater + std::log(total));
            const double margin = ids[t] == IGNORED ? INFINITY : own - highest - std::log(sum[t - begin]); // y alone: infinity
            const double decay = std::exp(-std::fabs(margin)), more = std::log1p(decay);
            lp_again[t] = lp[t] = float((margin < 0 ? margin : 0.0) - more);
            rest[t] = float((margin >= 0 ? decay : 1.0) / (1.0 + decay));
            if (statistics > 3)
                sums_again[t] = sums[t] = float(logit_sum[t - begin]);
        }
    });
}

// by_lse and by_sum may be null, and then `every`.
void coefficients(const int64_t* ids, const float* lp, const float* rest, const float* base, const float* unit,
                  const float* maximum, const float* slope, float scale, const float* by_lp, const float* by_lse, const float* by_sum,
                  float* softmax, float* target, float* every, float* factor, int64_t tokens, int threads) {
    each_strip(tokens, threads, [=](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
            const bool counts = ids[t] != IGNORED;
            const float minus_lp = counts ? -by_lp[t] : 0.0f, of_lse = counts && by_lse ? by_lse[t] : 0.0f;
            softmax[t] = minus_lp + of_lse;
            target[t] = (by_lse ? of_lse * exponential(lp[t]) - minus_lp * rest[t] : -minus_lp * rest[t]) * slope[t];
            if (by_sum)
                every[t] = counts ? by_sum[t] * scale : 0.0f;
            factor[t] = factor_of(maximum[t], base[t], unit[t], softmax[t], scale);
        }
    });
}

void factor(const float* maximum, const float* base, const float* unit, const float* softmax, float scale, float* out, int64_t tokens,
            int threads) {
    each_strip(tokens, threads, [=](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
            out[t] = factor_of(maximum[t], base[t], unit[t], softmax[t], scale);
    });
}

// What Python finds: the templates' functions by their dtypes' names.
#define FOR_BOTH(form) \
    auto form##_float32 = &form<float>; \
    auto form##_bfloat16 = &form<bf16>;

FOR_BOTH(exponentiate)
FOR_BOTH(exponentiate_curved)
FOR_BOTH(exponentiate_again)
FOR_BOTH(exponentiate_again_curved)
FOR_BOTH(target_logits)
FOR_BOTH(added)
FOR_BOTH(scaled)
FOR_BOTH(add_target_rows)
FOR_BOTH(add_with_target_rows)
FOR_BOTH(add_column_sums)
auto finished_float32_float32 = &finished<float, float>;
auto finished_float32_bfloat16 = &finished<float, bf16>;
auto finished_bfloat16_bfloat16 = &finished<bf16, bf16>;

} // extern "C"
