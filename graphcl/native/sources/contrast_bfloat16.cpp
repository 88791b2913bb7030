// Bounded passes with bfloat16 products, accumulated in float.
//
// The sums of e^s and all weights stay in float; only what enters a product is
// rounded. While AMX's tile unit works on one 32 x 32 block of products, the vector
// unit turns the previous one into exponentials.
//
// With two parts a float is split into its rounding and the rounding of the rest,
// x = a + b, and a product x y is computed as a a' + a b' + b a': three products for
// an error of 2^-16 in place of 2^-9. To the loops over tiles that is one product
// whose inner dimension is three times as long.
#include "contrast.cpp"
#ifdef __AMX_BF16__
#include "tiles_amx.h"
#else
#include "tiles_avx512.h"
#endif

namespace {

// 2^(s * factor), clamped as `exponential_in_range`, with a relative error of 3e-6 beside
// one part, and of 8e-8 beside two.
template <int Parts> inline __m512 quick_exponential(__m512 s, __m512 factor) {
    using V = Vector<float, 16>;
    const __m512 round = _mm512_set1_ps(V::round);
    // The second operand is what these instructions give for NaN.
    __m512 power = _mm512_max_ps(_mm512_set1_ps(V::lowest), _mm512_mul_ps(s, factor));
    power = _mm512_min_ps(_mm512_set1_ps(V::highest), power);
    __m512 shifted = _mm512_add_ps(power, round);
    __m512 f = _mm512_sub_ps(power, _mm512_sub_ps(shifted, round));
    __m512 p;
    if (Parts == 1) {
        p = _mm512_fmadd_ps(_mm512_set1_ps(0.009666368515385448f), f, _mm512_set1_ps(0.05592197584225585f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24022349038020361f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69312104520342710f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    } else {
        p = Vector<float, 16>::polynomial(f);
    }
    return _mm512_castsi512_ps(_mm512_add_epi32(
        _mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(shifted), 23)));
}

// Which part of the left and of the right operand the three terms of a product take.
template <int Parts> constexpr int terms = Parts == 1 ? 1 : 3;
constexpr int left_part[] = {0, 0, 1}, right_part[] = {0, 1, 0};

constexpr auto nothing = [](int64_t) {};

template <int Parts> class RoundedPass {
    static constexpr int64_t side = block_side<Parts>;
    using Floats = Arithmetic<float, 16, side>;
    using Sums = typename Floats::Sums;
    using Target = typename Floats::Target;
    static constexpr int64_t stride = Floats::stride, panels = side / 16, pairs = side / 32;

  public:
    explicit RoundedPass(const Contrast& c)
        : c_(c), floats_(c), d_(padded(c.dimension)), row_blocks_((c.rows + side - 1) / side),
          stripes_((c.columns + side - 1) / side), threads_(threads_for(c, stripes_)),
          factor_(_mm512_set1_ps(float(c.scale * 1.4426950408889634074))),
          query_(Parts * row_blocks_ * side * d_), query_weight_(row_blocks_ * side) {
        for (int part = 0; part < Parts; ++part)
            round_rows((const float*)c.query, c.rows, c.dimension, query_part(part), row_blocks_ * side, d_, part);
        if (floats_.two_sided()) std::copy_n((const float*)c.query_term, c.rows, query_weight_.get());
    }

    int forward(float* rows, float* columns) {
        return gather<float>(c_, threads_, rows, columns, [&](int thread, Sums& of_rows, Sums& of_columns) {
            begin_products();
            Scratch scratch(d_, false);
            for (int64_t stripe : stripes_of(thread, threads_, stripes_))
                forward_stripe(stripe, scratch, of_rows, of_columns);
            end_products();
        });
    }

    int backward(const ContrastGradient& g) {
        const int64_t items = row_blocks_ * side * d_;
        Buffer<bfloat16> transposed(g.key ? Parts * items : 0);
        Buffer<float> row_share(row_blocks_ * side);
        std::copy_n((const float*)g.row_share, c_.rows, row_share.get());
        if (g.key)
            for (int64_t item = 0; item < Parts * items; item += 32 * d_)
                transpose_rows(query_.get() + item, d_, transposed.get() + item);
        return scatter<float>(c_, threads_, g, [&](int thread, const Target& target) {
            begin_products();
            Scratch scratch(d_, true);
            for (int64_t stripe : stripes_of(thread, threads_, stripes_))
                backward_stripe(stripe, scratch, g, row_share.get(), transposed.get(), target);
            end_products();
        });
    }

  private:
    // At least one step of 32: `each_block` uses a block during the steps of the next.
    static int64_t padded(int64_t dimension) { return std::max<int64_t>(1, (dimension + 31) / 32) * 32; }

    struct Scratch {
        typename Floats::Scratch floats;
        Buffer<bfloat16> key, key_transposed, key_paired, gradient, gradient_paired;
        Buffer<float> products, row_totals, to_key, to_query;
        Scratch(int64_t d, bool backward)
            : key(side * d), key_transposed(Parts * side * d),
              key_paired(backward ? Parts * side * d : 0), gradient(backward ? Parts * side * side : 0),
              gradient_paired(backward ? Parts * side * side : 0), products(2 * 32 * 32),
              row_totals(backward ? 0 : side * 16), to_key(backward ? d * side : 0),
              to_query(backward ? side * d : 0) {}
    };

    Block block(int64_t row_block, int64_t stripe) const {
        int64_t row = row_block * side, column = stripe * side;
        return {row, std::min(side, c_.rows - row), column, std::min(side, c_.columns - column)};
    }

    void load_stripe(const Block& b, Scratch& scratch, const ContrastGradient* g) const {
        floats_.load_stripe(b, scratch.floats, g);
        for (int part = 0; part < Parts; ++part) {
            round_rows((const float*)c_.key + b.column * c_.dimension, b.width, c_.dimension,
                       scratch.key.get(), side, d_, part);
            bfloat16* transposed = scratch.key_transposed.get() + part * side * d_;
            for (int64_t panel = 0; panel < panels; ++panel)
                pair_columns(scratch.key.get() + panel * 16 * d_, d_, transposed + panel * 16 * d_);
            if (!g) continue;
            bfloat16* paired = scratch.key_paired.get() + part * side * d_;
            for (int64_t pair = 0; pair < pairs; ++pair)
                pair_rows(scratch.key.get() + pair * 32 * d_, d_, paired + pair * 32 * d_);
        }
    }

    // The term of a step, and the step within the term.
    static std::pair<int64_t, int64_t> place(int64_t step, int64_t chunks) {
        return Parts == 1 ? std::pair(int64_t(0), step) : std::pair(step / chunks, step % chunks);
    }

    // Visits the 32 x 32 blocks of products; `use(i, j, products, from, to)` gets rows
    // [from, to) of the block computed before during the steps of the next.
    template <class Use> void each_block(const Block& b, Scratch& scratch, Use use) const {
        const int64_t chunks = d_ / 32, all = terms<Parts> * chunks;
        float* buffers[2] = {scratch.products.get(), scratch.products.get() + 32 * 32};
        int64_t before_i = -1, before_j = -1;
        int current = 0;
        for (int64_t j = 0; j < b.width; j += 32) {
            for (int64_t i = 0; i < b.height; i += 32) {
                auto factors = [&](int64_t step) -> Factors {
                    const auto [term, chunk] = place(step, chunks);
                    const bfloat16* upper = query_part(left_part[term]) + (b.row + i) * d_ + chunk * 32;
                    const bfloat16* left = scratch.key_transposed.get() + right_part[term] * side * d_ +
                                           j * d_ + chunk * tile_items;
                    return {upper, upper + 16 * d_, d_, left, left + 16 * d_};
                };
                int64_t done = 0;
                sum_products(buffers[current], 32, false, all, factors, [&](int64_t step) {
                    int64_t until = (step + 1) * 16 / all * 2;
                    if (before_i >= 0 && until > done) use(before_i, before_j, buffers[current ^ 1], done, until);
                    done = until;
                });
                before_i = i;
                before_j = j;
                current ^= 1;
            }
        }
        use(before_i, before_j, buffers[current ^ 1], int64_t(0), int64_t(32));
    }

    void copy_products(const Block& b, Scratch& scratch) const {
        float* to = scratch.floats.products.get();
        each_block(b, scratch, [&](int64_t i, int64_t j, const float* products, int64_t from, int64_t until) {
            for (int64_t row = from; row < until; ++row)
                std::memcpy(to + (i + row) * stride + j, products + row * 32, 32 * sizeof(float));
        });
    }

    bool plain(const Block& b, bool with_columns) const {
        return !Listed(c_.row_excluded).touches(b) && (!with_columns || !Listed(c_.column_excluded).touches(b));
    }

    void forward_stripe(int64_t stripe, Scratch& scratch, Sums& rows, Sums& columns) const {
        int64_t last = c_.self_similar ? stripe + 1 : row_blocks_;
        load_stripe(block(0, stripe), scratch, nullptr);
        for (int64_t row_block = 0; row_block < last; ++row_block) {
            Block b = block(row_block, stripe);
            if (floats_.without_candidates(b)) continue;
            bool serves_columns = floats_.two_sided() && !(c_.self_similar && row_block == stripe);
            if (plain(b, serves_columns)) {
                add_plain_sums(b, serves_columns, scratch, rows, columns);
            } else {
                copy_products(b, scratch);
                floats_.add_sums(b, serves_columns, scratch.floats, rows, columns);
            }
        }
    }

    void add_plain_sums(const Block& b, bool serves_columns, Scratch& scratch, Sums& rows,
                        Sums& columns) const {
        float *row_totals = scratch.row_totals.get(), *column_totals = scratch.floats.column_total.get();
        const float *weight = scratch.floats.key_term.get(), *row_weight = query_weight_.get() + b.row;
        std::fill_n(row_totals, side * 16, 0.0f);
        std::fill_n(column_totals, side, 0.0f);
        each_block(b, scratch, [&](int64_t i, int64_t j, const float* products, int64_t from, int64_t until) {
            __m512 weights[2], totals[2];
            for (int half = 0; half < 2; ++half) {
                weights[half] = _mm512_loadu_ps(weight + j + half * 16);
                totals[half] = _mm512_loadu_ps(column_totals + j + half * 16);
            }
            for (int64_t row = from; row < until; ++row) {
                __m512 mine = _mm512_set1_ps(row_weight[i + row]);
                __m512 left = quick_exponential<Parts>(_mm512_loadu_ps(products + row * 32), factor_);
                __m512 right = quick_exponential<Parts>(_mm512_loadu_ps(products + row * 32 + 16), factor_);
                float* total = row_totals + (i + row) * 16;
                __m512 sum = _mm512_fmadd_ps(left, weights[0], _mm512_loadu_ps(total));
                _mm512_storeu_ps(total, _mm512_fmadd_ps(right, weights[1], sum));
                totals[0] = _mm512_fmadd_ps(left, mine, totals[0]);
                totals[1] = _mm512_fmadd_ps(right, mine, totals[1]);
            }
            for (int half = 0; half < 2; ++half) _mm512_storeu_ps(column_totals + j + half * 16, totals[half]);
        });
        for (int64_t i = 0; i < b.height; ++i)
            rows.total[b.row + i] += double(_mm512_reduce_add_ps(_mm512_loadu_ps(row_totals + i * 16)));
        if (serves_columns)
            for (int64_t j = 0; j < b.width; ++j) columns.total[b.column + j] += double(column_totals[j]);
    }

    void backward_stripe(int64_t stripe, Scratch& scratch, const ContrastGradient& g, const float* row_share,
                         const bfloat16* transposed, const Target& target) const {
        int64_t last = c_.self_similar ? stripe + 1 : row_blocks_;
        Block first = block(0, stripe);
        load_stripe(first, scratch, &g);
        if (target.key) std::fill_n(scratch.to_key.get(), d_ * side, 0.0f);
        for (int64_t row_block = 0; row_block < last; ++row_block) {
            Block b = block(row_block, stripe);
            if (floats_.without_candidates(b)) continue;
            bool mirrors = floats_.two_sided();
            bool serves_columns = mirrors && !(c_.self_similar && row_block == stripe);
            if (plain(b, mirrors) && !target.key_term && !target.query_term) {
                plain_gradient(b, scratch, row_share);
            } else {
                copy_products(b, scratch);
                floats_.to_gradient(b, mirrors, serves_columns, scratch.floats, g, target);
                round_gradient(b, scratch);
            }
            if (target.query) add_to_query(b, scratch, target.query);
            if (target.key && (serves_columns || !mirrors)) add_to_key(b, scratch, transposed);
        }
        if (!target.key) return;
        for (int64_t j = 0; j < first.width; ++j)
            for (int64_t f = 0; f < c_.dimension; ++f)
                target.key[(first.column + j) * c_.dimension + f] += scratch.to_key[f * side + j];
    }

    // Two rows of 32 entries of G, rounded, in both layouts.
    static void put(Scratch& scratch, int64_t i, int64_t j, __m512 first[2], __m512 second[2]) {
        bfloat16* rows = scratch.gradient.get() + (i / 16 * pairs + j / 32) * tile_items + i % 16 * 32;
        bfloat16* paired = scratch.gradient_paired.get() + (j / 16 * pairs + i / 32) * tile_items + i % 32 * 16;
#pragma GCC unroll 2
        for (int part = 0; part < Parts; ++part, rows += side * side, paired += side * side) {
            _mm512_storeu_si512(rows, rounded_pair(first[0], first[1]));
            _mm512_storeu_si512(rows + 32, rounded_pair(second[0], second[1]));
            _mm512_storeu_si512(paired, interleaved(first[0], second[0]));
            _mm512_storeu_si512(paired + pairs * tile_items, interleaved(first[1], second[1]));
            if (part + 1 == Parts) break;
            for (int half = 0; half < 2; ++half) {
                first[half] = rest(first[half]);
                second[half] = rest(second[half]);
            }
        }
    }

    void plain_gradient(const Block& b, Scratch& scratch, const float* row_share) const {
        const float *weight = scratch.floats.key_term.get(), *share = scratch.floats.column_share.get();
        const float *mine = row_share + b.row, *row_weight = query_weight_.get() + b.row;
        each_block(b, scratch, [&](int64_t i, int64_t j, const float* products, int64_t from, int64_t until) {
            __m512 weights[2], shares[2];
            for (int half = 0; half < 2; ++half) {
                weights[half] = _mm512_loadu_ps(weight + j + half * 16);
                shares[half] = _mm512_loadu_ps(share + j + half * 16);
            }
            for (int64_t row = from; row < until; row += 2) {
                __m512 block[2][2];
#pragma GCC unroll 2
                for (int next = 0; next < 2; ++next) {
                    __m512 of_row = _mm512_set1_ps(mine[i + row + next]);
                    __m512 of_columns = _mm512_set1_ps(row_weight[i + row + next]);
#pragma GCC unroll 2
                    for (int half = 0; half < 2; ++half) {
                        __m512 e = quick_exponential<Parts>(_mm512_loadu_ps(products + (row + next) * 32 + half * 16), factor_);
                        __m512 both = _mm512_fmadd_ps(of_row, weights[half], _mm512_mul_ps(of_columns, shares[half]));
                        block[next][half] = _mm512_mul_ps(e, both);
                    }
                }
                put(scratch, i + row, j, block[0], block[1]);
            }
        });
    }

    void round_gradient(const Block& b, Scratch& scratch) const {
        const float* s = scratch.floats.products.get();
        for (int64_t j = 0; j < b.width; j += 32)
            for (int64_t i = 0; i < (b.height + 31) / 32 * 32; i += 2) {
                __m512 block[2][2];
                for (int next = 0; next < 2; ++next)
                    for (int half = 0; half < 2; ++half) {
                        int64_t column = j + half * 16;
                        int64_t count = i + next < b.height ? b.width - column : 0;
                        block[next][half] = lanes(s + (i + next) * stride + column, count);
                    }
                put(scratch, i, j, block[0], block[1]);
            }
    }

    // query_I += G key_J.
    void add_to_query(const Block& b, Scratch& scratch, float* query) const {
        bool direct = d_ == c_.dimension && b.height % 32 == 0;
        float* to = direct ? query + b.row * d_ : scratch.to_query.get();
        const int64_t steps = (b.width + 31) / 32;
        for (int64_t i = 0; i < b.height; i += 32)
            for (int64_t f = 0; f < d_; f += 32) {
                auto factors = [&](int64_t step) -> Factors {
                    const auto [term, chunk] = place(step, steps);
                    const bfloat16* upper = scratch.gradient.get() + left_part[term] * side * side +
                                            (i / 16 * pairs + chunk) * tile_items;
                    const bfloat16* left = scratch.key_paired.get() + right_part[term] * side * d_ +
                                           (f / 16 + chunk * (d_ / 16)) * tile_items;
                    return {upper, upper + pairs * tile_items, 32, left, left + tile_items};
                };
                sum_products(to + i * d_ + f, d_, direct, terms<Parts> * steps, factors, nothing);
            }
        if (direct) return;
        for (int64_t i = 0; i < b.height; ++i)
            add(query + (b.row + i) * c_.dimension, to + i * d_, c_.dimension);
    }

    // key_J^T += query_I^T G.
    void add_to_key(const Block& b, Scratch& scratch, const bfloat16* transposed) const {
        const int64_t steps = (b.height + 31) / 32;
        for (int64_t j = 0; j < b.width; j += 32)
            for (int64_t f = 0; f < d_; f += 32) {
                auto factors = [&](int64_t step) -> Factors {
                    const auto [term, chunk] = place(step, steps);
                    const bfloat16* upper = transposed + left_part[term] * row_blocks_ * side * d_ + b.row * d_ +
                                            (f / 16 + chunk * (d_ / 16)) * tile_items;
                    const bfloat16* left = scratch.gradient_paired.get() + right_part[term] * side * side +
                                           (j / 16 * pairs + chunk) * tile_items;
                    return {upper, upper + tile_items, 32, left, left + pairs * tile_items};
                };
                sum_products(scratch.to_key.get() + f * side + j, side, true, terms<Parts> * steps, factors, nothing);
            }
    }

    bfloat16* query_part(int part) { return query_.get() + part * row_blocks_ * side * d_; }
    const bfloat16* query_part(int part) const { return query_.get() + part * row_blocks_ * side * d_; }

    const Contrast& c_;
    Floats floats_;
    int64_t d_, row_blocks_, stripes_;
    int threads_;
    __m512 factor_;
    Buffer<bfloat16> query_;
    Buffer<float> query_weight_; // zero for padding, and when only rows are summed
};

} // namespace

int contrast_forward_bfloat16(const Contrast* c, float* rows, float* columns) {
    return status_of([&] { return RoundedPass<1>(*c).forward(rows, columns); });
}

int contrast_backward_bfloat16(const Contrast* c, const ContrastGradient* g) {
    return status_of([&] { return RoundedPass<1>(*c).backward(*g); });
}

#ifdef __AMX_BF16__ // elsewhere three products take longer than one in float
int contrast_forward_bfloat16x3(const Contrast* c, float* rows, float* columns) {
    return status_of([&] { return RoundedPass<2>(*c).forward(rows, columns); });
}

int contrast_backward_bfloat16x3(const Contrast* c, const ContrastGradient* g) {
    return status_of([&] { return RoundedPass<2>(*c).backward(*g); });
}
#endif
