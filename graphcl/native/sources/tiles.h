// Tiles of bfloat16 numbers: rounding and packing.
//
// A tile is 16 rows of 64 bytes, 1 KB, and is stored contiguously wherever we choose
// the layout. An operand on the left holds 16 rows of 32 numbers; one on the right
// holds 32 rows of 16 numbers with rows 2r and 2r + 1 interleaved ("paired"), which is
// how both AMX and AVX-512 (dot products of two numbers a lane) multiply them.
#pragma once
#include <cstdint>
#include <immintrin.h>

using bfloat16 = uint16_t;
constexpr int64_t tile_items = 512; // bfloat16 numbers in a tile

// One step of 32 in the inner dimension of a product of 32 x 32: two tiles of the left
// operand (rows 0 and 16, `stride` numbers from row to row) and two of the right
// (columns 0 and 16).
struct Factors {
    const bfloat16 *upper, *lower;
    int64_t stride;
    const bfloat16 *left, *right;
};

inline __m512i rounded_pair(__m512 low, __m512 high) {
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// Sixteen dwords (first[n], second[n]) from two rows of 16 floats.
inline __m512i interleaved(__m512 first, __m512 second) {
    const __m512i order = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4,
        19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, rounded_pair(first, second));
}

inline __m512 lanes(const float* from, int64_t count) {
    return _mm512_maskz_loadu_ps(__mmask16(count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1), from);
}

// What rounding to bfloat16 takes away.
inline __m512 rest(__m512 x) {
    __m512i rounded = _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)), 16);
    return _mm512_sub_ps(x, _mm512_castsi512_ps(rounded));
}

// Rows of bfloat16, padded by zeros: (rows x columns) floats -> (padded_rows x padded_columns).
// Part 0 is the rounding of the floats, part 1 the rounding of what that took away.
inline void round_rows(const float* x, int64_t rows, int64_t columns, bfloat16* to,
                       int64_t padded_rows, int64_t padded_columns, int part) {
    for (int64_t row = 0; row < padded_rows; ++row)
        for (int64_t column = 0; column < padded_columns; column += 32) {
            __m512 low = _mm512_setzero_ps(), high = low;
            if (row < rows) {
                low = lanes(x + row * columns + column, columns - column);
                high = lanes(x + row * columns + column + 16, columns - column - 16);
            }
            if (part == 1) {
                low = rest(low);
                high = rest(high);
            }
            _mm512_storeu_si512(to + row * padded_columns + column, rounded_pair(low, high));
        }
}

// Right operand x^T of 16 rows of x: chunk k holds columns 32 k to 32 k + 31, paired.
inline void pair_columns(const bfloat16* x, int64_t columns, bfloat16* to) {
    // Two numbers at a time, through a type that may stand for any other.
    typedef uint32_t __attribute__((may_alias)) Pair;
    const Pair* pairs = reinterpret_cast<const Pair*>(x);
    Pair* out = reinterpret_cast<Pair*>(to);
    for (int64_t pair = 0; pair < columns / 2; ++pair)
        for (int64_t row = 0; row < 16; ++row) *out++ = pairs[row * (columns / 2) + pair];
}

// Right operand x of 32 rows: tile f holds columns 16 f to 16 f + 15, rows paired.
inline void pair_rows(const bfloat16* x, int64_t columns, bfloat16* to) {
    for (int64_t column = 0; column < columns; column += 16)
        for (int64_t row = 0; row < 32; row += 2)
            for (int64_t lane = 0; lane < 16; ++lane) {
                *to++ = x[row * columns + column + lane];
                *to++ = x[(row + 1) * columns + column + lane];
            }
}

// Left operand x^T of 32 rows of x: tile f holds columns 16 f to 16 f + 15 as its rows.
inline void transpose_rows(const bfloat16* x, int64_t columns, bfloat16* to) {
    for (int64_t column = 0; column < columns; ++column)
        for (int64_t row = 0; row < 32; ++row) *to++ = x[row * columns + column];
}
