// Forward and backward over the blocks of the product matrix, for one vector width.
//
// Stripes of columns are dealt to threads; a stripe walks down its blocks of rows.
// Products are recomputed in backward; nothing of size rows x columns is stored.
#pragma once
#include "blocks.h"
#include "product.h"

// `side` is that of a block: a multiple of the panel and of the rows of the inner
// product for all widths, such that what a block needs stays in the second-level cache.
template <class Real, int Width, int64_t side = 192> class Pass {
  public:
    using P = Product<Real, Width>;
    using V = typename Vector<Real, Width>::type;

    // Not a power of two, so that a column of the block does not fall on one cache set.
    static constexpr int64_t stride = side + 64 / int64_t(sizeof(Real));

    explicit Pass(const Contrast& c)
        : c_(c), query_((const Real*)c.query), key_((const Real*)c.key),
          query_term_((const Real*)c.query_term), key_term_((const Real*)c.key_term),
          d_((c.dimension + P::panel - 1) / P::panel * P::panel),
          row_blocks_((c.rows + side - 1) / side), stripes_((c.columns + side - 1) / side),
          threads_(threads_for(c, stripes_)), factor_(Real(c.scale * 1.4426950408889634074)) {}

    int forward(Real* rows, Real* columns) const {
        std::vector<Sums> by_thread;
        for (int t = 0; t < threads_; ++t) by_thread.emplace_back(c_.rows);
        Sums of_columns(c_.self_similar || !c_.two_sided ? 0 : c_.columns);
        int status = on_threads(threads_, [&](int t) {
            Sums& of_rows = by_thread[size_t(t)];
            Scratch scratch(d_, false);
            for (int64_t stripe : stripes_of(t, threads_, stripes_))
                forward_stripe(stripe, scratch, of_rows, c_.self_similar ? of_rows : of_columns);
        });
        if (status) return status;
        for (int t = 1; t < threads_; ++t) by_thread[0].merge(by_thread[size_t(t)], c_.bounded);
        by_thread[0].write(rows, c_.rows, c_.bounded);
        if (of_columns.total.size() && columns) of_columns.write(columns, c_.columns, c_.bounded);
        return 0;
    }

    int backward(const ContrastGradient& g) const {
        std::vector<Buffer<Real>> to_query, to_term;
        bool wants_query = g.query || (c_.self_similar && g.key);
        bool wants_term = g.query_term || (c_.self_similar && g.key_term);
        for (int t = 1; t < threads_; ++t) {
            to_query.emplace_back(wants_query ? c_.rows * c_.dimension : 0);
            to_term.emplace_back(wants_term ? c_.rows : 0);
        }
        int status = on_threads(threads_, [&](int t) {
            Scratch scratch(d_, true);
            Target target{(Real*)g.query, (Real*)g.key, (Real*)g.query_term, (Real*)g.key_term};
            if (t > 0) {
                target.query = wants_query ? to_query[size_t(t - 1)].get() : nullptr;
                target.query_term = wants_term ? to_term[size_t(t - 1)].get() : nullptr;
            }
            if (c_.self_similar) {
                target.key = target.query;
                target.key_term = target.query_term;
            }
            for (int64_t stripe : stripes_of(t, threads_, stripes_))
                backward_stripe(stripe, scratch, g, target);
        });
        if (status) return status;
        for (Buffer<Real>& part : to_query) add((Real*)g.query, part.get(), part.size());
        for (Buffer<Real>& part : to_term) add((Real*)g.query_term, part.get(), part.size());
        return 0;
    }

    // Per position: a plain sum when bounded, else a running maximum and the sum
    // relative to it. In double, as they gather one partial sum per block.
    struct Sums {
        Buffer<double> total, maximum;
        explicit Sums(int64_t count) : total(count), maximum(count) {
            for (int64_t i = 0; i < count; ++i) maximum[i] = -std::numeric_limits<double>::infinity();
        }
        void merge(Sums& other, bool bounded) {
            for (int64_t i = 0; i < total.size(); ++i) {
                if (bounded)
                    total[i] += other.total[i];
                else
                    include(i, other.maximum[i], other.total[i]);
            }
        }
        // Adds e^maximum_added * added.
        void include(int64_t i, double maximum_added, double added) {
            double after = std::max(maximum[i], maximum_added);
            if (std::isinf(after) && after < 0) return;
            total[i] = scaled(total[i], maximum[i] - after) + scaled(added, maximum_added - after);
            maximum[i] = after;
        }
        void write(Real* to, int64_t count, bool bounded) {
            for (int64_t i = 0; i < count; ++i)
                to[i] = bounded ? Real(total[i]) : Real(maximum[i] + std::log(total[i]));
        }
        static double scaled(double value, double exponent) {
            return value == 0 ? 0 : value * std::exp(exponent);
        }
    };

    struct Scratch {
        Buffer<Real> products, mirrored, key_transposed, key_panels, query_panels, to_key, to_query;
        Buffer<Real> key_term, column_share, column_shift, column_total;
        Scratch(int64_t d, bool backward)
            : products(side * stride), mirrored(side * stride), key_transposed(side * d),
              key_panels(backward ? side * d : 0), query_panels(backward ? side * d : 0),
              to_key(backward ? side * d : 0), to_query(backward ? side * d : 0), key_term(side),
              column_share(side), column_shift(side), column_total(side) {}
    };

    struct Target {
        Real *query, *key, *query_term, *key_term;
    };

    // ---- one block, given its products (scratch.products) -------------------------

    // Adds the block's sums. `s` holds <q, k>; it and `mirrored` are overwritten.
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

    static void add(Real* to, const Real* from, int64_t count) {
        for (int64_t i = 0; i < count; ++i) to[i] += from[i];
    }

    // rows x d from a padded block.
    void add_rows(Real* to, const Real* from, int64_t rows) const {
        for (int64_t row = 0; row < rows; ++row)
            add(to + row * c_.dimension, from + row * d_, c_.dimension);
    }

  private:
    static int64_t padded(int64_t width) { return (width + P::panel - 1) / P::panel * P::panel; }

    Block block(int64_t row_block, int64_t stripe) const {
        int64_t row = row_block * side, column = stripe * side;
        return {row, std::min(side, c_.rows - row), column, std::min(side, c_.columns - column)};
    }

    void products(const Block& b, Scratch& scratch) const {
        P::multiply(b.height, padded(b.width), c_.dimension, query_ + b.row * c_.dimension,
                    c_.dimension, 1, scratch.key_transposed.get(), scratch.products.get(), stride,
                    false);
    }

    void forward_stripe(int64_t stripe, Scratch& scratch, Sums& rows, Sums& columns) const {
        int64_t last = c_.self_similar ? stripe + 1 : row_blocks_;
        load_stripe(block(0, stripe), scratch, nullptr);
        Block first = block(0, stripe);
        P::pack_transposed(key_ + first.column * c_.dimension, first.width, c_.dimension,
                           c_.dimension, scratch.key_transposed.get());
        for (int64_t row_block = 0; row_block < last; ++row_block) {
            Block b = block(row_block, stripe);
            if (without_candidates(b)) continue;
            bool serves_columns = two_sided() && !(c_.self_similar && row_block == stripe);
            products(b, scratch);
            add_sums(b, serves_columns, scratch, rows, columns);
        }
    }

    void backward_stripe(int64_t stripe, Scratch& scratch, const ContrastGradient& g,
                         const Target& target) const {
        int64_t last = c_.self_similar ? stripe + 1 : row_blocks_, d = c_.dimension;
        Block first = block(0, stripe);
        const Real* key = key_ + first.column * d;
        load_stripe(first, scratch, &g);
        P::pack_transposed(key, first.width, d, d, scratch.key_transposed.get());
        if (target.query) P::pack(key, first.width, d, d, scratch.key_panels.get());
        if (target.key) std::fill_n(scratch.to_key.get(), side * d_, Real(0));
        for (int64_t row_block = 0; row_block < last; ++row_block) {
            Block b = block(row_block, stripe);
            if (without_candidates(b)) continue;
            bool serves_columns = two_sided() && !(c_.self_similar && row_block == stripe);
            products(b, scratch);
            to_gradient(b, two_sided(), serves_columns, scratch, g, target);
            const Real* gradient = scratch.products.get();
            if (target.query) {
                P::multiply(b.height, d_, b.width, gradient, stride, 1, scratch.key_panels.get(),
                            scratch.to_query.get(), d_, false);
                add_rows(target.query + b.row * d, scratch.to_query.get(), b.height);
            }
            if (target.key && (serves_columns || !two_sided())) {
                P::pack(query_ + b.row * d, b.height, d, d, scratch.query_panels.get());
                P::multiply(b.width, d_, b.height, gradient, 1, stride, scratch.query_panels.get(),
                            scratch.to_key.get(), d_, true);
            }
        }
        if (target.key) add_rows(target.key + first.column * d, scratch.to_key.get(), first.width);
    }

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
    const Real *query_, *key_, *query_term_, *key_term_;
    int64_t d_, row_blocks_, stripes_;
    int threads_;
    Real factor_;
};
