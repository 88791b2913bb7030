// The interface of the compiled ranking: plain C on arrays that the caller owns, as sparse.h.
#pragma once
#include <cstdint>

extern "C" {

// Lists are in CSR form, in any order, repetitions allowed.
struct Ranking {
    int64_t rows, columns, dimension;
    const void* scores; // (rows, columns), or null: <query_i, key_j>
    const void* query;  // (rows, dimension)
    const void* key;    // (columns, dimension)
    const int64_t* excluded_pointer; // (rows + 1), or null: nothing is excluded
    const int64_t* excluded;
    const int64_t* target_pointer; // (rows + 1), or null: no targets
    const int64_t* target;
    int64_t k;      // columns wanted of each row, 0 for none
    int64_t* top;   // (rows, k): best first, of equal ones the lower; -1 where none is left
    void* top_score; // (rows, k): minus infinity there
    int64_t* higher; // (targets): columns with a higher score
    int64_t* tied;   // (targets): columns with the same score, the target among them
    int32_t keep_targets; // targets are not excluded
    int32_t threads;
};

// 0, -1 when memory ran out, or 1 when a score is NaN.
int rank_float(const Ranking*);
int rank_double(const Ranking*);

} // extern "C"
