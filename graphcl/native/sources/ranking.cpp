// Ranking all columns for every row: the best k, and how many stand above given targets.
// Built once per instruction set, as contrast.cpp is.
//
// Scores come as a matrix, or as products of two sets of vectors that are formed tile by
// tile and never kept. A row's own tile lies in the cache while it is scanned.
#include "ranking.h"
#include "memory.h"
#include "product.h"
#include "workers.h"
#include <atomic>
#include <limits>
#include <utility>

// The best k of a row, gathered in a buffer that is cut down to k when it is full.
template <class Real> class Best {
  public:
    explicit Best(int64_t k) : k_(k), room_(2 * k + 64) { found_.reserve(size_t(room_)); }

    void clear() {
        found_.clear();
        full_ = false;
    }
    bool open() const { return !full_; }
    Real threshold() const { return threshold_; }

    // Columns come in ascending order, so that one equal to the threshold has lost.
    void offer(Real score, int64_t column) {
        if (full_ && !(score > threshold_)) return;
        found_.push_back({score, column});
        if (int64_t(found_.size()) == room_) shrink();
    }

    void write(int64_t* top, Real* score) {
        std::sort(found_.begin(), found_.end(), before);
        for (int64_t i = 0; i < k_; ++i) {
            bool there = i < int64_t(found_.size());
            top[i] = there ? found_[size_t(i)].second : -1;
            score[i] = there ? found_[size_t(i)].first : -std::numeric_limits<Real>::infinity();
        }
    }

  private:
    using Entry = std::pair<Real, int64_t>;
    static bool before(const Entry& a, const Entry& b) {
        return a.first > b.first || (a.first == b.first && a.second < b.second);
    }
    void shrink() {
        std::nth_element(found_.begin(), found_.begin() + (k_ - 1), found_.end(), before);
        threshold_ = found_[size_t(k_ - 1)].first;
        found_.resize(size_t(k_));
        full_ = true;
    }

    int64_t k_, room_;
    std::vector<Entry> found_;
    Real threshold_ = 0;
    bool full_ = false;
};

template <class Real, int Width> class Ranker {
  public:
    using P = Product<Real, Width>;
    using V = typename Vector<Real, Width>::type;
    using Bits = typename Vector<Real, Width>::bits;

    explicit Ranker(const Ranking& r)
        : r_(r), scores_((const Real*)r.scores), query_((const Real*)r.query),
          key_((const Real*)r.key), tiles_((r.columns + tile - 1) / tile),
          panels_(scores_ ? 0 : tiles_ * tile * r.dimension) {}

    int run() {
        const int64_t blocks = (r_.rows + rows_in_block - 1) / rows_in_block;
        const int threads = int(std::max<int64_t>(1, std::min<int64_t>(r_.threads, blocks)));
        if (!scores_) {
            int status = on_threads(threads, [&](int t) {
                for (int64_t i = t; i < tiles_; i += threads)
                    P::pack_transposed(key_ + i * tile * r_.dimension,
                                       std::min(tile, r_.columns - i * tile), r_.dimension,
                                       r_.dimension, panels_.get() + i * tile * r_.dimension);
            });
            if (status) return status;
        }
        std::atomic<int64_t> next{0};
        std::atomic<bool> invalid{false};
        int status = on_threads(threads, [&](int) {
            Scratch scratch(r_);
            for (int64_t block; (block = next++) < blocks;)
                if (!one_block(block * rows_in_block, scratch)) invalid = true;
        });
        return status ? status : invalid ? 1 : 0;
    }

  private:
    static constexpr int64_t tile = 512, rows_in_block = 48;
    static constexpr int64_t ahead = 4096 / int64_t(sizeof(Real));
    static_assert(tile % P::panel == 0, "tiles are whole panels");

    struct Row {
        std::vector<int64_t> excluded; // ascending, distinct
        size_t passed = 0;             // of these, those before the tile
        std::vector<Real> own;
    };

    struct Scratch {
        Buffer<Real> products, panel, pairs;
        std::vector<Row> rows;
        std::vector<Best<Real>> best;
        explicit Scratch(const Ranking& r)
            : products(rows_in_block * tile), panel(P::panel * r.dimension), pairs(P::panel),
              rows(size_t(rows_in_block)) {
            for (int64_t i = 0; r.k && i < rows_in_block; ++i) best.emplace_back(r.k);
        }
    };

    bool one_block(int64_t first, Scratch& scratch) {
        const int64_t height = std::min(rows_in_block, r_.rows - first);
        bool single = scores_ && !r_.k;
        for (int64_t i = 0; i < height; ++i) {
            Row& row = scratch.rows[size_t(i)];
            list_excluded(first + i, row);
            own_scores(first + i, row, scratch);
            single &= row.own.size() == 1;
            for (int64_t t = target_begin(first + i); t < target_end(first + i); ++t)
                r_.higher[t] = r_.tied[t] = 0;
            if (r_.k) scratch.best[size_t(i)].clear();
        }
        bool valid = true;
        for (int64_t i = 0; single && i < height; ++i)
            valid &= count_single(first + i, scratch.rows[size_t(i)]);
        if (single) return valid;
        for (int64_t at = 0; at < tiles_; ++at) {
            const int64_t column = at * tile, width = std::min(tile, r_.columns - column);
            if (scores_)
                for (int64_t i = 0; i < height; ++i)
                    std::memcpy(scratch.products.get() + i * tile,
                                scores_ + (first + i) * r_.columns + column, size_t(width) * sizeof(Real));
            else
                P::multiply(height, tile, r_.dimension, query_ + first * r_.dimension, r_.dimension,
                            1, panels_.get() + column * r_.dimension, scratch.products.get(), tile,
                            false);
            for (int64_t i = 0; i < height; ++i)
                valid &= scan(first + i, column, width, scratch.products.get() + i * tile,
                              scratch.rows[size_t(i)], r_.k ? &scratch.best[size_t(i)] : nullptr);
        }
        for (int64_t i = 0; r_.k && i < height; ++i)
            scratch.best[size_t(i)].write(r_.top + (first + i) * r_.k,
                                          (Real*)r_.top_score + (first + i) * r_.k);
        return valid;
    }

    int64_t target_begin(int64_t row) const { return r_.target_pointer ? r_.target_pointer[row] : 0; }
    int64_t target_end(int64_t row) const { return r_.target_pointer ? r_.target_pointer[row + 1] : 0; }

    void list_excluded(int64_t row, Row& to) const {
        to.excluded.clear();
        to.passed = 0;
        if (!r_.excluded_pointer) return;
        auto& list = to.excluded;
        list.assign(r_.excluded + r_.excluded_pointer[row], r_.excluded + r_.excluded_pointer[row + 1]);
        if (!std::is_sorted(list.begin(), list.end())) std::sort(list.begin(), list.end());
        list.erase(std::unique(list.begin(), list.end()), list.end());
        if (!r_.keep_targets) return;
        for (int64_t t = target_begin(row); t < target_end(row); ++t) {
            auto found = std::lower_bound(list.begin(), list.end(), r_.target[t]);
            if (found != list.end() && *found == r_.target[t]) list.erase(found);
        }
    }

    // The scores of a row's targets, with the same roundings as in its tiles.
    void own_scores(int64_t row, Row& to, Scratch& scratch) const {
        const int64_t begin = target_begin(row), count = target_end(row) - begin;
        to.own.resize(size_t(count));
        if (scores_) {
            for (int64_t t = 0; t < count; ++t)
                to.own[size_t(t)] = scores_[row * r_.columns + r_.target[begin + t]];
            return;
        }
        for (int64_t from = 0; from < count; from += P::panel) {
            const int64_t width = std::min<int64_t>(P::panel, count - from);
            for (int64_t lane = 0; lane < width; ++lane) {
                const Real* vector = key_ + r_.target[begin + from + lane] * r_.dimension;
                for (int64_t d = 0; d < r_.dimension; ++d)
                    scratch.panel[d * P::panel + lane] = vector[d];
            }
            P::multiply(1, P::panel, r_.dimension, query_ + row * r_.dimension, r_.dimension, 1,
                        scratch.panel.get(), scratch.pairs.get(), P::panel, false);
            std::copy(scratch.pairs.get(), scratch.pairs.get() + width, to.own.begin() + from);
        }
    }

    // The one target of a row of given scores, in one pass where they lie; false when one is NaN.
    bool count_single(int64_t row, const Row& lists) const {
        const Real* score = scores_ + row * r_.columns;
        const Real own = lists.own[0];
        const V owns = V{} + own;
        Bits wrong = {}, higher = {}, tied = {};
        int64_t j = 0;
        for (; j + Width <= r_.columns; j += Width) {
            // A page ahead, into the next row at the end of this one: memory is what it waits for.
            __builtin_prefetch(score + j + ahead);
            V v = load<Real, Width>(score + j);
            wrong |= v != v;
            higher -= v > owns;
            tied -= v == owns;
        }
        bool valid = !any(wrong);
        int64_t above = total(higher), equal = total(tied);
        for (; j < r_.columns; ++j) {
            valid &= score[j] == score[j];
            above += score[j] > own;
            equal += score[j] == own;
        }
        for (int64_t place : lists.excluded) {
            above -= score[place] > own;
            equal -= score[place] == own;
        }
        r_.higher[target_begin(row)] = above;
        r_.tied[target_begin(row)] = equal;
        return valid;
    }

    // One row's scores of the columns [column, column + width); false when one is NaN.
    bool scan(int64_t row, int64_t column, int64_t width, Real* score, Row& lists,
              Best<Real>* best) const {
        constexpr Real nan = std::numeric_limits<Real>::quiet_NaN();
        const int64_t whole = (width + Width - 1) / Width * Width;
        for (int64_t j = width; j < whole; ++j) score[j] = 0;
        Bits wrong = {};
        for (int64_t j = 0; j < whole; j += Width) {
            V v = load<Real, Width>(score + j);
            wrong |= v != v;
        }
        // NaN is neither above nor equal to anything, so it is never counted nor chosen.
        for (int64_t j = width; j < whole; ++j) score[j] = nan;
        for (; lists.passed < lists.excluded.size(); ++lists.passed) {
            int64_t place = lists.excluded[lists.passed] - column;
            if (place >= width) break;
            score[place] = nan;
        }
        for (size_t t = 0; t < lists.own.size(); ++t) {
            const V own = V{} + lists.own[t];
            Bits higher = {}, tied = {};
            for (int64_t j = 0; j < whole; j += Width) {
                V v = load<Real, Width>(score + j);
                higher -= v > own;
                tied -= v == own;
            }
            const int64_t place = target_begin(row) + int64_t(t);
            r_.higher[place] += total(higher);
            r_.tied[place] += total(tied);
        }
        if (best) choose(column, whole, score, *best);
        return !any(wrong);
    }

    static void choose(int64_t column, int64_t whole, const Real* score, Best<Real>& best) {
        constexpr int64_t group = 4 * Width;
        for (int64_t from = 0; from < whole; from += group) {
            const int64_t to = std::min(from + group, whole);
            if (!best.open()) {
                const V threshold = V{} + best.threshold();
                Bits above = {};
                for (int64_t j = from; j < to; j += Width)
                    above |= load<Real, Width>(score + j) > threshold;
                if (!any(above)) continue;
            }
            for (int64_t j = from; j < to; ++j)
                if (score[j] == score[j]) best.offer(score[j], column + j);
        }
    }

    static bool any(Bits bits) {
        uint64_t words[sizeof(Bits) / 8], together = 0;
        std::memcpy(words, &bits, sizeof bits);
        for (uint64_t word : words) together |= word;
        return together != 0;
    }

    static int64_t total(Bits bits) {
        int64_t sum = 0;
        for (int lane = 0; lane < Width; ++lane) sum += bits[lane];
        return sum;
    }

    const Ranking& r_;
    const Real *scores_, *query_, *key_;
    const int64_t tiles_;
    Buffer<Real> panels_;
};

template <class Real> using Rank = Ranker<Real, VECTOR_BYTES / int(sizeof(Real))>;

int rank_float(const Ranking* r) { return status_of([&] { return Rank<float>(*r).run(); }); }
int rank_double(const Ranking* r) { return status_of([&] { return Rank<double>(*r).run(); }); }
