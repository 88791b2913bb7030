// Products of bfloat16 tiles with the dot products of AVX-512, where there is no AMX
// (AMD from Zen 4 on). The same names as in tiles_amx.h.
#pragma once
#include "tiles.h"

// Of a block of products. Half of AMX's side: products take longer beside what a block
// costs once, and small blocks waste less of a triangle and at the edges (Zen 4: 0.98 of
// float's time for 300 rows among themselves, d = 64, where 384 took 1.42; 0.59 and 0.61
// for 810 x 18,357).
template <int Parts> constexpr int64_t block_side = 192;

inline void begin_products() {}
inline void end_products() {}

// sums = products, or sums += products when `add`, over the factors of `steps` steps of
// a block of 32 x 32 with rows of `stride` floats. `between` is called for every step;
// what it does and the products share the vector units, so nothing is gained by turns.
template <class Step, class Between>
inline void sum_products(float* sums, int64_t stride, bool add, int64_t steps, Step factors, Between between) {
    // Two numbers at a time, through a type that may stand for any other.
    typedef int32_t __attribute__((may_alias)) Pair;
    constexpr int height = 8; // rows in flight: 16 of the 32 registers hold sums
    for (int64_t row = 0; row < 32; row += height) {
        float* to = sums + row * stride;
        __m512 sum[height][2];
#pragma GCC unroll 8
        for (int r = 0; r < height; ++r)
            for (int half = 0; half < 2; ++half)
                sum[r][half] = add ? _mm512_loadu_ps(to + r * stride + half * 16) : _mm512_setzero_ps();
        for (int64_t step = 0; step < steps; ++step) {
            const Factors f = factors(step);
            const bfloat16* from = row < 16 ? f.upper + row * f.stride : f.lower + (row - 16) * f.stride;
            for (int64_t pair = 0; pair < 16; ++pair) {
                const __m512bh left = (__m512bh)_mm512_loadu_si512(f.left + pair * 32);
                const __m512bh right = (__m512bh)_mm512_loadu_si512(f.right + pair * 32);
#pragma GCC unroll 8
                for (int r = 0; r < height; ++r) {
                    const Pair* both = reinterpret_cast<const Pair*>(from + r * f.stride + 2 * pair);
                    const __m512bh factor = (__m512bh)_mm512_set1_epi32(*both);
                    sum[r][0] = _mm512_dpbf16_ps(sum[r][0], factor, left);
                    sum[r][1] = _mm512_dpbf16_ps(sum[r][1], factor, right);
                }
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < height; ++r)
            for (int half = 0; half < 2; ++half) _mm512_storeu_ps(to + r * stride + half * 16, sum[r][half]);
    }
    for (int64_t step = 0; step < steps; ++step) between(step);
}
