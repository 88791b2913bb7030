// What one block of products adds to the sums and to the gradients, for one vector width.
//
// Three ways, from fast to general: "plain" for bounded logits without excluded pairs,
// "masked" for bounded ones with, "running" for logits that need a maximum.
#pragma once
#include "product.h"
#include "threads.h"

// `side` is that of a block: a multiple of the panel and of the rows of the inner
// product for all widths, such that what a block needs stays in the second-level cache.
template <class Real, int Width, int64_t side> class Arithmetic {
  public:
    using P = Product<Real, Width>;
    using V = typename Vector<Real, Width>::type;
    using Sums = ::Sums<Real>;
    using Target = ::Target<Real>;

    // Not a power of two, so that a column of the block does not fall on one cache set.
    static constexpr int64_t stride = side + 64 / int64_t(sizeof(Real));

    explicit Arithmetic(const Contrast& c)
        : c_(c), query_term_((const Real*)c.query_term), key_term_((const Real*)c.key_term),
          factor_(Real(c.scale * 1.4426950408889634074)) {}

    // A block of products, room for a second one, and the terms of the block's columns.
    struct Scratch {
        Buffer<Real> products, mirrored, key_term, column_share, column_shift, column_total;
        Scratch()
            : products(side * stride), mirrored(side * stride), key_term(side),
              column_share(side), column_shift(side), column_total(side) {}
    };

    // Adds the block's sums. The products and `mirrored` are overwritten.
    void add_sums(const Block& b, bool serves_columns, Scratch& scratch, Sums& rows,
                  Sums& columns) const {
        bool fast = c_.bounded && !Listed(c_.row_excluded).touches(b) &&
                    (!serves_columns || !Listed(c_.column_excluded).touches(b));
        if (fast && serves_columns)
            add_plain_sums<true>(b, scratch, rows, columns);
        else if (fast)
            add_plain_sums<false>(b, scratch, rows, columns);
        else if (c_.bounded)
            add_masked_sums(b, serves_columns, scratch, rows, columns);
        else
            add_running_sums(b, serves_columns, scratch, rows, columns);
    }

    // Whether groups leave the block no candidate, for its rows and its columns.
    bool without_candidates(const Block& b) const {
        return Listed(c_.row_excluded).covers(b) &&
               (!two_sided() || c_.same_excluded || Listed(c_.column_excluded).covers(b));
    }

    // Turns the products into the block of G, with ds = G up to the factor scale.
    void to_gradient(const Block& b, bool mirrors, bool serves_columns, Scratch& scratch,
                     const ContrastGradient& g, const Target& target) const {
        bool fast = c_.bounded && !target.key_term && !target.query_term &&
                    !Listed(c_.row_excluded).touches(b) &&
                    (!mirrors || !Listed(c_.column_excluded).touches(b));
        if (fast)
            plain_gradient(b, mirrors, scratch, g);
        else
            masked_gradient(b, mirrors, serves_columns, scratch, g, target);
    }

    // Per stripe: the terms of its columns, padded by zeros (bounded) up to the panel.
    void load_stripe(const Block& b, Scratch& scratch, const ContrastGradient* g) const {
        std::fill_n(scratch.key_term.get(), side, Real(0));
        std::fill_n(scratch.column_share.get(), side, Real(0));
        std::copy_n(key_term_ + b.column, b.width, scratch.key_term.get());
        if (!g || !g->column_share) return;
        std::copy_n((const Real*)g->column_share + b.column, b.width, scratch.column_share.get());
        std::copy_n((const Real*)g->column_sum + b.column, b.width, scratch.column_shift.get());
    }

    bool two_sided() const { return c_.two_sided || c_.self_similar; }

    static int64_t padded(int64_t width) { return (width + P::panel - 1) / P::panel * P::panel; }

  private:
    template <bool Columns>
    void add_plain_sums(const Block& b, Scratch& scratch, Sums& rows, Sums& columns) const {
        Real *s = scratch.products.get(), *total = scratch.column_total.get();
        const Real* weight = scratch.key_term.get();
        int64_t width = padded(b.width);
        if (Columns) std::fill_n(total, width, Real(0));
        for (int64_t i = 0; i < b.height; ++i) {
            Real row_weight = query_term_[b.row + i];
            V sum[2] = {};
            for (int64_t j = 0; j < width; j += P::panel)
                for (int half = 0; half < 2; ++half) {
                    int64_t at = j + half * Width;
                    V e = exponential_in_range<Real, Width>(load<Real, Width>(s + i * stride + at), factor_);
                    sum[half] += e * load<Real, Width>(weight + at);
                    if (Columns)
                        store<Real, Width>(total + at, load<Real, Width>(total + at) + row_weight * e);
                }
            rows.total[b.row + i] += double(horizontal_sum<Real, Width>(sum[0] + sum[1]));
        }
        if (Columns)
            for (int64_t j = 0; j < b.width; ++j) columns.total[b.column + j] += double(total[j]);
    }

    void add_masked_sums(const Block& b, bool serves_columns, Scratch& scratch, Sums& rows,
                         Sums& columns) const {
        Real *for_rows = scratch.products.get(), *for_columns = masked_exponentials(b, serves_columns, scratch);
        for (int64_t i = 0; i < b.height; ++i) {
            double sum = 0;
            for (int64_t j = 0; j < b.width; ++j) sum += double(for_rows[i * stride + j] * scratch.key_term[j]);
            rows.total[b.row + i] += sum;
            if (!serves_columns) continue;
            Real weight = query_term_[b.row + i];
            for (int64_t j = 0; j < b.width; ++j)
                columns.total[b.column + j] += double(for_columns[i * stride + j] * weight);
        }
    }

    // e^s with the excluded pairs at 0, in `products` for the rows; returns where it is
    // for the columns (the same place when they leave out the same pairs).
    Real* masked_exponentials(const Block& b, bool mirrors, Scratch& scratch) const {
        Real *s = scratch.products.get(), *other = s;
        int64_t width = padded(b.width);
        for (int64_t i = 0; i < b.height; ++i)
            for (int64_t j = 0; j < width; j += Width) {
                Real* at = s + i * stride + j;
                store<Real, Width>(at, exponential_in_range<Real, Width>(load<Real, Width>(at), factor_));
            }
        if (mirrors && !c_.same_excluded) {
            other = scratch.mirrored.get();
            std::memcpy(other, s, size_t(b.height * stride) * sizeof(Real));
            fill(c_.column_excluded, b, other, Real(0));
        }
        fill(c_.row_excluded, b, s, Real(0));
        return other;
    }

    static void fill(const Exclusion& e, const Block& b, Real* block, Real value) {
        if (any(e)) Listed(e).each(b, [&](int64_t i, int64_t j) { block[i * stride + j] = value; });
    }

    // Logits of the rows in `products` and, if wanted, of the columns in `mirrored`.
    void logits(const Block& b, bool mirrors, Scratch& scratch) const {
        Real *s = scratch.products.get(), *other = scratch.mirrored.get();
        const Real scale = Real(c_.scale), outside = -std::numeric_limits<Real>::infinity();
        for (int64_t i = 0; i < b.height; ++i) {
            Real bias = query_term_[b.row + i];
            for (int64_t j = 0; j < b.width; ++j) {
                Real logit = s[i * stride + j] * scale;
                if (mirrors) other[i * stride + j] = logit + bias;
                s[i * stride + j] = logit + scratch.key_term[j];
            }
            for (int64_t j = b.width; j < padded(b.width); ++j) s[i * stride + j] = other[i * stride + j] = outside;
        }
        fill(c_.row_excluded, b, s, outside);
        if (mirrors) fill(c_.column_excluded, b, other, outside);
    }

    void add_running_sums(const Block& b, bool serves_columns, Scratch& scratch, Sums& rows,
                          Sums& columns) const {
        logits(b, serves_columns, scratch);
        Real *s = scratch.products.get(), *other = scratch.mirrored.get();
        Real *shift = scratch.column_shift.get(), *total = scratch.column_total.get();
        int64_t width = padded(b.width);
        for (int64_t i = 0; i < b.height; ++i) {
            Real highest = s[i * stride];
            for (int64_t j = 1; j < b.width; ++j) highest = std::max(highest, s[i * stride + j]);
            if (std::isinf(highest) && highest < 0) continue;
            V sum = {};
            for (int64_t j = 0; j < width; j += Width)
                sum += exponential<Real, Width>((load<Real, Width>(s + i * stride + j) - highest) * log2e);
            rows.include(b.row + i, double(highest), double(horizontal_sum<Real, Width>(sum)));
        }
        if (!serves_columns) return;
        std::fill_n(shift, width, -std::numeric_limits<Real>::infinity());
        std::fill_n(total, width, Real(0));
        for (int64_t i = 0; i < b.height; ++i)
            for (int64_t j = 0; j < width; ++j) shift[j] = std::max(shift[j], other[i * stride + j]);
        for (int64_t j = 0; j < width; ++j)
            if (std::isinf(shift[j])) shift[j] = shift[j] < 0 ? Real(0) : shift[j];
        for (int64_t i = 0; i < b.height; ++i)
            for (int64_t j = 0; j < width; j += Width) {
                V e = exponential<Real, Width>(
                    (load<Real, Width>(other + i * stride + j) - load<Real, Width>(shift + j)) * log2e);
                store<Real, Width>(total + j, load<Real, Width>(total + j) + e);
            }
        for (int64_t j = 0; j < b.width; ++j)
            if (total[j] != 0) columns.include(b.column + j, double(shift[j]), double(total[j]));
    }

    void plain_gradient(const Block& b, bool mirrors, Scratch& scratch, const ContrastGradient& g) const {
        Real* s = scratch.products.get();
        const Real *weight = scratch.key_term.get(), *share = scratch.column_share.get();
        const Real* row_share = (const Real*)g.row_share;
        int64_t width = padded(b.width);
        for (int64_t i = 0; i < b.height; ++i) {
            Real mine = row_share[b.row + i], row_weight = mirrors ? query_term_[b.row + i] : Real(0);
            for (int64_t j = 0; j < width; j += Width) {
                Real* at = s + i * stride + j;
                V e = exponential_in_range<Real, Width>(load<Real, Width>(at), factor_);
                store<Real, Width>(at, e * (mine * load<Real, Width>(weight + j) +
                                            row_weight * load<Real, Width>(share + j)));
            }
        }
    }

    void masked_gradient(const Block& b, bool mirrors, bool serves_columns, Scratch& scratch,
                         const ContrastGradient& g, const Target& target) const {
        Real *s = scratch.products.get(), *other = scratch.mirrored.get();
        const Real *row_share = (const Real*)g.row_share, *row_shift = (const Real*)g.row_sum;
        if (c_.bounded)
            other = masked_exponentials(b, mirrors, scratch);
        else
            logits(b, mirrors, scratch);
        int64_t width = padded(b.width);
        for (int64_t i = 0; i < b.height; ++i) {
            Real mine = row_share[b.row + i], to_row = 0;
            Real row_weight = mirrors ? query_term_[b.row + i] : Real(0);
            for (int64_t j = 0; j < width; j += Width) {
                Real *at = s + i * stride + j, *at_other = other + i * stride + j;
                V of_row, of_column = {};
                V share = load<Real, Width>(scratch.column_share.get() + j);
                if (c_.bounded) {
                    of_row = load<Real, Width>(at) * (mine * load<Real, Width>(scratch.key_term.get() + j));
                    if (mirrors) of_column = load<Real, Width>(at_other) * (row_weight * share);
                } else {
                    of_row = mine * exponential<Real, Width>((load<Real, Width>(at) - row_shift[b.row + i]) * log2e);
                    V shift = load<Real, Width>(scratch.column_shift.get() + j);
                    if (mirrors)
                        of_column = share * exponential<Real, Width>((load<Real, Width>(at_other) - shift) * log2e);
                }
                if (target.key_term)
                    for (int64_t lane = 0; lane < Width && j + lane < b.width; ++lane)
                        target.key_term[b.column + j + lane] += of_row[lane];
                if (target.query_term && serves_columns)
                    for (int64_t lane = 0; lane < Width && j + lane < b.width; ++lane) to_row += of_column[lane];
                store<Real, Width>(at, of_row + of_column);
            }
            if (target.query_term && serves_columns) target.query_term[b.row + i] += to_row;
        }
    }

    static constexpr Real log2e = Real(1.4426950408889634074);

    const Contrast& c_;
    const Real *query_term_, *key_term_;
    Real factor_;
};
