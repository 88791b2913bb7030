// The interface of the compiled samplers: plain C on arrays that the caller owns.
#pragma once
#include <cstdint>

extern "C" {

// One item per row that the row's user has not taken.
struct Negatives {
    int64_t rows, items;
    const int64_t* user;    // (rows)
    const double* uniform;  // (rows) in [0, 1)
    const int64_t* pointer; // (users + 1): where a user's keys begin
    const int64_t* key;     // (taken): user * items + item, ascending
    const int64_t* below;   // (items + 1): weight of all items before one; null: one each
    const int64_t* taken_below; // (taken + 1): weight of all keys before one
    int64_t* negative;      // (rows)
    int32_t threads;
};
int sample_negatives(const Negatives*);

// For each node the `fan_out` of its entries whose draws are lowest, in storage order.
struct Neighbours {
    int64_t nodes, fan_out;
    const int64_t* node;    // (nodes)
    const int64_t* pointer; // of the whole graph
    const int64_t* offset;  // (nodes + 1): where a node's entries go
    uint64_t seed;
    int64_t* entry;
    int32_t threads;
};
int sample_neighbours(const Neighbours*);

// Numbers nodes in the order in which they are met; `number` holds -1 for those not met
// yet. Returns how many are known afterwards; the new ones are appended to `known`.
int64_t number_nodes(int64_t count, const int64_t* node, int64_t known_count, int64_t* known,
                     int64_t* number, int64_t* result);

} // extern "C"
