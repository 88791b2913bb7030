// Forward and backward over the blocks of the product matrix, for one vector width.
//
// Stripes of columns are dealt to threads; a stripe walks down its blocks of rows.
// Products are recomputed in backward; nothing of size rows x columns is stored.
#pragma once
#include "arithmetic.h"

template <class Real, int Width> class Pass {
    static constexpr int64_t side = 192;
    using Blocks = Arithmetic<Real, Width, side>;
    using P = typename Blocks::P;
    using Sums = typename Blocks::Sums;
    using Target = typename Blocks::Target;
    static constexpr int64_t stride = Blocks::stride;

  public:
    explicit Pass(const Contrast& c)
        : c_(c), blocks_(c), query_((const Real*)c.query), key_((const Real*)c.key),
          d_((c.dimension + P::panel - 1) / P::panel * P::panel),
          row_blocks_((c.rows + side - 1) / side), stripes_((c.columns + side - 1) / side),
          threads_(threads_for(c, stripes_)) {}

    int forward(Real* rows, Real* columns) const {
        return gather<Real>(c_, threads_, rows, columns, [&](int thread, Sums& of_rows, Sums& of_columns) {
            Scratch scratch(d_, false);
            for (int64_t stripe : stripes_of(thread, threads_, stripes_))
                forward_stripe(stripe, scratch, of_rows, of_columns);
        });
    }

    int backward(const ContrastGradient& g) const {
        return scatter<Real>(c_, threads_, g, [&](int thread, const Target& target) {
            Scratch scratch(d_, true);
            for (int64_t stripe : stripes_of(thread, threads_, stripes_))
                backward_stripe(stripe, scratch, g, target);
        });
    }

  private:
    struct Scratch : Blocks::Scratch {
        Buffer<Real> key_transposed, key_panels, query_panels, to_key, to_query;
        Scratch(int64_t d, bool backward)
            : key_transposed(side * d), key_panels(backward ? side * d : 0),
              query_panels(backward ? side * d : 0), to_key(backward ? side * d : 0),
              to_query(backward ? side * d : 0) {}
    };

    // rows x d from a padded block.
    void add_rows(Real* to, const Real* from, int64_t rows) const {
        for (int64_t row = 0; row < rows; ++row)
            add(to + row * c_.dimension, from + row * d_, c_.dimension);
    }

    Block block(int64_t row_block, int64_t stripe) const {
        int64_t row = row_block * side, column = stripe * side;
        return {row, std::min(side, c_.rows - row), column, std::min(side, c_.columns - column)};
    }

    void products(const Block& b, Scratch& scratch) const {
        P::multiply(b.height, Blocks::padded(b.width), c_.dimension, query_ + b.row * c_.dimension,
                    c_.dimension, 1, scratch.key_transposed.get(), scratch.products.get(), stride,
                    false);
    }

    void forward_stripe(int64_t stripe, Scratch& scratch, Sums& rows, Sums& columns) const {
        int64_t last = c_.self_similar ? stripe + 1 : row_blocks_;
        blocks_.load_stripe(block(0, stripe), scratch, nullptr);
        Block first = block(0, stripe);
        P::pack_transposed(key_ + first.column * c_.dimension, first.width, c_.dimension,
                           c_.dimension, scratch.key_transposed.get());
        for (int64_t row_block = 0; row_block < last; ++row_block) {
            Block b = block(row_block, stripe);
            if (blocks_.without_candidates(b)) continue;
            bool serves_columns = blocks_.two_sided() && !(c_.self_similar && row_block == stripe);
            products(b, scratch);
            blocks_.add_sums(b, serves_columns, scratch, rows, columns);
        }
    }

    void backward_stripe(int64_t stripe, Scratch& scratch, const ContrastGradient& g,
                         const Target& target) const {
        int64_t last = c_.self_similar ? stripe + 1 : row_blocks_, d = c_.dimension;
        Block first = block(0, stripe);
        const Real* key = key_ + first.column * d;
        blocks_.load_stripe(first, scratch, &g);
        P::pack_transposed(key, first.width, d, d, scratch.key_transposed.get());
        if (target.query) P::pack(key, first.width, d, d, scratch.key_panels.get());
        if (target.key) std::fill_n(scratch.to_key.get(), side * d_, Real(0));
        for (int64_t row_block = 0; row_block < last; ++row_block) {
            Block b = block(row_block, stripe);
            if (blocks_.without_candidates(b)) continue;
            bool serves_columns = blocks_.two_sided() && !(c_.self_similar && row_block == stripe);
            products(b, scratch);
            blocks_.to_gradient(b, blocks_.two_sided(), serves_columns, scratch, g, target);
            const Real* gradient = scratch.products.get();
            if (target.query) {
                P::multiply(b.height, d_, b.width, gradient, stride, 1, scratch.key_panels.get(),
                            scratch.to_query.get(), d_, false);
                add_rows(target.query + b.row * d, scratch.to_query.get(), b.height);
            }
            if (target.key && (serves_columns || !blocks_.two_sided())) {
                P::pack(query_ + b.row * d, b.height, d, d, scratch.query_panels.get());
                P::multiply(b.width, d_, b.height, gradient, 1, stride, scratch.query_panels.get(),
                            scratch.to_key.get(), d_, true);
            }
        }
        if (target.key) add_rows(target.key + first.column * d, scratch.to_key.get(), first.width);
    }

    const Contrast& c_;
    Blocks blocks_;
    const Real *query_, *key_;
    int64_t d_, row_blocks_, stripes_;
    int threads_;
};
