// One random number per edge, computed from its two nodes and a seed: the same wherever
// the edge is met (both directions, forward and backward), and nothing is stored.
//
// A draw is 30 bits; an edge of keep probability p stays when its draw is below
// p * 2^30, so that 0 and 1 are exact. `graphcl/kernels/edge_hash.py` is the same.
#pragma once
#include <cstdint>

// A bijection of 32 bits by shifts and odd multipliers, each output bit depending on all
// input bits (constants: Wellons 2018, hash prospector).
static inline uint32_t mixed(uint32_t x) {
    x ^= x >> 16;
    x *= 0x21f0aaadu;
    x ^= x >> 15;
    x *= 0x735a2d97u;
    x ^= x >> 15;
    return x;
}

struct EdgeHash {
    uint32_t first, second; // halves of the seed

    explicit EdgeHash(uint64_t seed) : first(uint32_t(seed)), second(uint32_t(seed >> 32)) {}

    uint32_t draw(uint32_t from, uint32_t to) const {
        return mixed((mixed(from + first) + to) ^ second) >> 2;
    }
};
