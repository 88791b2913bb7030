// Products of bfloat16 tiles on AMX: packing, and the loops over tiles.
//
// A tile is 16 rows of 64 bytes, 1 KB, and is stored contiguously wherever we choose
// the layout. An operand on the left holds 16 rows of 32 numbers; one on the right
// holds 32 rows of 16 numbers with rows 2r and 2r + 1 interleaved ("paired").
#pragma once
#include <cstdint>
#include <immintrin.h>

using bfloat16 = uint16_t;
constexpr int64_t tile_items = 512; // bfloat16 numbers in a tile

// Eight tiles of 16 rows x 64 bytes; per thread, before the first product.
inline void use_tiles() {
    alignas(64) uint8_t shape[64] = {1};
    for (int tile = 0; tile < 8; ++tile) {
        shape[16 + 2 * tile] = 64;
        shape[48 + tile] = 16;
    }
    _tile_loadconfig(shape);
}

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

// GCC does not know that loading a tile reads memory; without this it may move what was
// written for the tile unit behind the load.
inline void finish_stores() { __asm__ volatile("" ::: "memory"); }

// A 32 x 32 block of sums in tiles 0 to 3, rows of `stride` floats. Either start of the
// sums also makes the operands written so far visible to `add_products`.
inline void zero_sums() {
    finish_stores();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

inline void load_sums(const float* from, int64_t stride) {
    finish_stores();
    _tile_loadd(0, from, stride * 4);
    _tile_loadd(1, from + 16, stride * 4);
    _tile_loadd(2, from + 16 * stride, stride * 4);
    _tile_loadd(3, from + 16 * stride + 16, stride * 4);
}

inline void store_sums(float* to, int64_t stride) {
    _tile_stored(0, to, stride * 4);
    _tile_stored(1, to + 16, stride * 4);
    _tile_stored(2, to + 16 * stride, stride * 4);
    _tile_stored(3, to + 16 * stride + 16, stride * 4);
}

// Adds one step of 32 in k: two tiles of the left operand (rows 0 and 16, each of
// `left_stride` bytes a row) and two of the right (columns 0 and 16).
inline void add_products(const bfloat16* upper, const bfloat16* lower, int64_t left_stride,
                         const bfloat16* left, const bfloat16* right) {
    _tile_loadd(4, upper, left_stride);
    _tile_loadd(6, left, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, lower, left_stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}
