// Products of bfloat16 tiles on AMX. The same names as in tiles_avx512.h.
#pragma once
#include "tiles.h"

// Of a block of products, which with all it needs, twice as much with two parts, stays in
// the second-level cache.
template <int Parts> constexpr int64_t block_side = Parts == 1 ? 384 : 256;

// Eight tiles of 16 rows x 64 bytes; per thread, before the first product.
inline void begin_products() {
    alignas(64) uint8_t shape[64] = {1};
    for (int tile = 0; tile < 8; ++tile) {
        shape[16 + 2 * tile] = 64;
        shape[48 + tile] = 16;
    }
    _tile_loadconfig(shape);
}

inline void end_products() { _tile_release(); }

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

inline void add_products(const Factors& f) {
    _tile_loadd(4, f.upper, f.stride * 2);
    _tile_loadd(6, f.left, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, f.right, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, f.lower, f.stride * 2);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

// sums = products, or sums += products when `add`, over the factors of `steps` steps.
// After each step `between` may do other work, which runs beside the tile unit's.
template <class Step, class Between>
inline void sum_products(float* sums, int64_t stride, bool add, int64_t steps, Step factors, Between between) {
    if (add) load_sums(sums, stride);
    else zero_sums();
    for (int64_t step = 0; step < steps; ++step) {
        add_products(factors(step));
        between(step);
    }
    store_sums(sums, stride);
}
