// The interface of the compiled samplers: plain C on arrays that the caller owns.
#pragma once
#include <cstdint>

extern "C" {

// `count` items for each of some rows, from those that the row has not taken. Items have
// integer masses and are laid end to end without the taken ones; a uniform number is a
// point on that line.
struct FreeDraws {
    int64_t rows, count, items, keys;
    const double* uniform; // (rows, count) in [0, 1)
    const int64_t* row;    // (rows): their numbers
    const int64_t* key;    // (keys): number of a row times `items` + item, ascending
    const int64_t* begin;  // where keys begin: by number of a row, or (rows) when `end` is there
    const int64_t* end;    // (rows), or null: where those of the next number begin
    const int64_t* free;   // (rows) mass that is not taken; null: items that are not taken
    const int64_t* offset; // (rows) mass before the first item that may be drawn; null: 0
    const int64_t* up_to;  // (items + 1) mass of all items before one; null: one each
    const int64_t* taken_up_to; // (keys + 1) mass of all keys before one; null: one each
    int64_t* item;         // (rows, count)
    int32_t anything;      // where nothing is free: any item, otherwise -1
    int32_t threads;
};
int draw_free(const FreeDraws*);

// Some neighbours of some nodes, and some of theirs, hop by hop; a node that is met for the
// first time in one hop is expanded in the next. The new nodes of a hop come in ascending
// order, the edges in the order of the nodes that they lead to, entries ascending.
struct NeighbourSample {
    int64_t seeds, hops;
    const int64_t* pointer; // (nodes + 1)
    const int32_t* column;  // (entries)
    const int64_t* fan_out; // (hops): entries taken of a node at most; negative: all
    const uint64_t* seed;   // (hops): of the draws
    int32_t* number;        // (nodes): -1 everywhere, and again when done
    int64_t* node;  // room for all that may be met; the seeds are there
    int64_t* source; // room for all edges: numbers of nodes in `node`
    int64_t* target;
    int64_t* entry;
    int64_t nodes, edges; // how many there are at the end
};
int sample_neighbours(NeighbourSample*);

} // extern "C"
