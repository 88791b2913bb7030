// The interface between Python and the compiled contrast kernels: plain C, no torch.
//
// The caller owns every array and keeps it alive during a call. All matrices are
// row-major and contiguous; `real` below is float or double, by the function called.
#pragma once
#include <cstdint>

extern "C" {

// A set of (row, column) pairs left out of a sum: listed pairs in CSR form, ids whose
// equality excludes, and groups whose inequality excludes. Null: not used.
struct Exclusion {
    const int64_t* pointer;       // (rows + 1)
    const int32_t* columns;       // (pairs), ascending within a row
    const int32_t* row_ids;       // (rows)
    const int32_t* column_ids;    // (columns)
    const int32_t* row_groups;    // (rows)
    const int32_t* column_groups; // (columns)
};

// With s_ij = scale <query_i, key_j>, the sums of `forward` are
//   rows_i    = sum_j e^{s_ij} key_term_j      columns_j = sum_i e^{s_ij} query_term_i
// when `bounded` (e^s cannot overflow; the terms are weights), and otherwise their
// logarithms, computed with a running maximum (the terms are biases in logit units).
struct Contrast {
    int64_t rows, columns, dimension;
    const void* query; // (rows, dimension)
    const void* key;   // (columns, dimension); the query itself when self_similar
    double scale;
    const void* query_term; // (rows)
    const void* key_term;   // (columns)
    Exclusion row_excluded, column_excluded;
    int32_t self_similar; // only blocks on and above the diagonal are visited
    int32_t two_sided;    // the column sums are wanted too
    int32_t bounded;
    int32_t same_excluded; // the two exclusions hold the same pairs
    int32_t threads;
};

// What `backward` reads and fills. In bounded passes the shares are gradient / sum,
// otherwise `*_sum` holds the log-sum-exps and `*_share` the gradients. The outputs
// arrive zeroed and leave out the factor `scale`; null ones are not computed.
struct ContrastGradient {
    const void *row_sum, *row_share;       // (rows)
    const void *column_sum, *column_share; // (columns)
    void *query, *key;                     // (rows, dimension), (columns, dimension)
    void *query_term, *key_term;           // (rows), (columns)
};

// Each returns 0, or -1 when memory ran out. `rows` and `columns` receive the sums.
int contrast_forward_float(const Contrast*, float* rows, float* columns);
int contrast_forward_double(const Contrast*, double* rows, double* columns);
int contrast_backward_float(const Contrast*, const ContrastGradient*);
int contrast_backward_double(const Contrast*, const ContrastGradient*);

// The same for float arrays whose products are computed from bfloat16 roundings and
// summed in float; bounded passes only. In the libraries for AMX and AVX-512 BF16.
int contrast_forward_bfloat16(const Contrast*, float* rows, float* columns);
int contrast_backward_bfloat16(const Contrast*, const ContrastGradient*);

// Likewise, with every float split into two bfloat16 parts. In the library for AMX alone.
int contrast_forward_bfloat16x3(const Contrast*, float* rows, float* columns);
int contrast_backward_bfloat16x3(const Contrast*, const ContrastGradient*);

} // extern "C"
