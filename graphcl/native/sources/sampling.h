// The interface of the compiled samplers: plain C on arrays that the caller owns.
#pragma once
#include <cstdint>

extern "C" {

// `count` items for each of some rows, from those that the row has not taken. Items have
// integer masses and are laid end to end without the taken ones; a uniform number is a
// point on that line.
struct FreeDraws {
    int64_t rows, count, items;
    const double* uniform; // (rows, count) in [0, 1)
    const int64_t* base;   // (rows): number of the row times `items`
    const int64_t* begin;  // (rows): where its keys begin among all
    const int64_t* end;    // (rows)
    const int64_t* key;    // row times `items` + item, ascending
    const int64_t* free;   // (rows) mass that is not taken; null: items that are not taken
    const int64_t* offset; // (rows) mass before the first item that may be drawn; null: 0
    const int64_t* up_to;  // (items + 1) mass of all items before one; null: one each
    const int64_t* taken_up_to; // (keys + 1) mass of all keys before one; null: one each
    int64_t* item;         // (rows, count): -1 where nothing is free
    int32_t threads;
};
int draw_free(const FreeDraws*);

} // extern "C"
