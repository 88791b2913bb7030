// Dense products of blocks that fit the second-level cache.
//
// C (m x n) += A (m x k) B (k x n). B is packed in panels of `2 Width` columns, each
// panel contiguous in k, so that the inner loop reads it in order; A may be read
// through any strides, which serves A and its transpose alike.
#pragma once
#include "exponential.h"

template <class Real, int Width> struct Product {
    using V = typename Vector<Real, Width>::type;
    static constexpr int panel = 2 * Width;
    // Rows of C per inner loop: enough sums in flight to hide the latency of the
    // multiply-adds, few enough to stay in registers (16, or 32 with AVX-512).
    static constexpr int height = Width * sizeof(Real) >= 64 ? 12 : Width * sizeof(Real) >= 32 ? 6 : 4;

    template <int Height>
    static inline void inner(const Real* a, int64_t row_stride, int64_t k_stride, const Real* b,
                             int64_t k, Real* c, int64_t c_stride, bool add) {
        V sum[Height][2];
#pragma GCC unroll 16
        for (int r = 0; r < Height; ++r) {
            sum[r][0] = add ? load<Real, Width>(c + r * c_stride) : V{};
            sum[r][1] = add ? load<Real, Width>(c + r * c_stride + Width) : V{};
        }
        for (int64_t step = 0; step < k; ++step) {
            V left = load<Real, Width>(b), right = load<Real, Width>(b + Width);
#pragma GCC unroll 16
            for (int r = 0; r < Height; ++r) {
                Real factor = a[r * row_stride];
                sum[r][0] += factor * left;
                sum[r][1] += factor * right;
            }
            a += k_stride;
            b += panel;
        }
#pragma GCC unroll 16
        for (int r = 0; r < Height; ++r) {
            store<Real, Width>(c + r * c_stride, sum[r][0]);
            store<Real, Width>(c + r * c_stride + Width, sum[r][1]);
        }
    }

    template <int Height>
    static void remainder(int rows, const Real* a, int64_t row_stride, int64_t k_stride,
                          const Real* b, int64_t k, Real* c, int64_t c_stride, bool add) {
        if constexpr (Height > 0) {
            if (rows == Height)
                inner<Height>(a, row_stride, k_stride, b, k, c, c_stride, add);
            else
                remainder<Height - 1>(rows, a, row_stride, k_stride, b, k, c, c_stride, add);
        }
    }

    // `n` is a multiple of `panel`; the rows of C have room for it.
    static void multiply(int64_t m, int64_t n, int64_t k, const Real* a, int64_t row_stride,
                         int64_t k_stride, const Real* b, Real* c, int64_t c_stride, bool add) {
        for (int64_t column = 0; column < n; column += panel, b += k * panel) {
            int64_t row = 0;
            for (; row + height <= m; row += height)
                inner<height>(a + row * row_stride, row_stride, k_stride, b, k,
                              c + row * c_stride + column, c_stride, add);
            remainder<height - 1>(int(m - row), a + row * row_stride, row_stride, k_stride, b, k,
                                  c + row * c_stride + column, c_stride, add);
        }
    }

    // Panels of x (rows x columns): B = x, with columns padded by zeros.
    static void pack(const Real* x, int64_t rows, int64_t columns, int64_t stride, Real* to) {
        for (int64_t column = 0; column < columns; column += panel) {
            int64_t width = columns - column < panel ? columns - column : panel;
            for (int64_t row = 0; row < rows; ++row, to += panel) {
                const Real* from = x + row * stride + column;
                if (width == panel) {
                    std::memcpy(to, from, panel * sizeof(Real));
                    continue;
                }
                for (int64_t lane = 0; lane < panel; ++lane) to[lane] = lane < width ? from[lane] : Real(0);
            }
        }
    }

    // Panels of the transpose: B = x^T, where x is (rows x columns); rows padded by zeros.
    static void pack_transposed(const Real* x, int64_t rows, int64_t columns, int64_t stride,
                                Real* to) {
        for (int64_t row = 0; row < rows; row += panel, to += columns * panel) {
            int64_t width = rows - row < panel ? rows - row : panel;
            for (int64_t lane = 0; lane < panel; ++lane)
                for (int64_t column = 0; column < columns; ++column)
                    to[column * panel + lane] = lane < width ? x[(row + lane) * stride + column] : Real(0);
        }
    }
};
