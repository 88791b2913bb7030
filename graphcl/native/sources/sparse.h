// The interface between Python and the compiled sparse products: plain C, no torch.
//
// The caller owns every array and keeps it alive during a call. Dense matrices are
// row-major and contiguous; `real` below is float or double, by the function called.
#pragma once
#include <cstdint>

extern "C" {

// out = diag(out_scale) (factor diag(row_scale) A diag(column_scale) x + add_factor add)
//
// A has the entries of a CSR matrix with their values (ones without), of which those that
// the hash drops are left out. Null pointers stand for ones, or for "not wanted".
struct SparseProduct {
    int64_t rows, width;
    const int64_t* pointer; // (rows + 1)
    const int32_t* column;  // (entries)
    const void* value;      // (entries) or null
    const void* x;          // (columns, width)
    const void* row_scale;    // (rows) or null
    const void* column_scale; // (columns) or null
    const void* out_scale;    // (rows) or null
    const void* add;          // (rows, width) or null
    double factor, add_factor;
    void* out; // (rows, width), not x
    // Dropping; used when `drop` is set.
    uint64_t seed;
    const int32_t* threshold; // (entries) or null for `threshold_of_all`
    int32_t threshold_of_all;
    int32_t drop;
    int32_t undirected;      // the draw is of the unordered pair
    int32_t transposed;      // the draw is of (column, row)
    int32_t keep_self_loops; // entries on the diagonal are not dropped
    int32_t divide;          // kept entries are divided by their keep probability
    int32_t threads;
};

// Each returns 0, or -1 when memory ran out.
int sparse_product_float(const SparseProduct*);
int sparse_product_double(const SparseProduct*);

// Row sums of A as above (row_scale, column_scale, x, add and factors are not read).
int sparse_row_sum_float(const SparseProduct*);
int sparse_row_sum_double(const SparseProduct*);

// out[e] = <left[row of e], right[column of e]> for every entry e. `x` is the right
// matrix, `add` the left one; dropping and scales are not read.
int sparse_sampled_float(const SparseProduct*);
int sparse_sampled_double(const SparseProduct*);

} // extern "C"
