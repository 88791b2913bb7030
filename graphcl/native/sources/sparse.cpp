// Sparse times dense, row by row, with entries dropped on the fly. Built once per instruction
// set, as contrast.cpp is.
//
// A row is summed in the order of its entries whatever the number of threads, so the
// result is the same to the bit for any of them.
#include "sparse.h"
#include "edge_hash.h"
#include "exponential.h"
#include "workers.h"

// Rows for each thread such that all get about as many entries.
static std::vector<int64_t> shares_of_rows(const int64_t* pointer, int64_t rows, int threads) {
    std::vector<int64_t> bounds(size_t(threads) + 1, rows);
    // A row counts one more than its entries: rows without any cost something too.
    int64_t total = pointer[rows] - pointer[0] + rows;
    int64_t row = 0;
    for (int t = 0; t < threads; ++t) {
        int64_t wanted = total / threads * t;
        int64_t high = rows;
        while (row < high) {
            int64_t middle = (row + high) / 2;
            if (pointer[middle] - pointer[0] + middle < wanted)
                row = middle + 1;
            else
                high = middle;
        }
        bounds[size_t(t)] = row;
    }
    bounds[0] = 0;
    return bounds;
}

template <class Real, int Width> class SparseKernel {
  public:
    explicit SparseKernel(const SparseProduct& p)
        : p_(p), hash_(p.seed), value_((const Real*)p.value), x_((const Real*)p.x),
          row_scale_((const Real*)p.row_scale), column_scale_((const Real*)p.column_scale),
          out_scale_((const Real*)p.out_scale), add_((const Real*)p.add), out_((Real*)p.out) {}

    int product() const {
        return on_row_shares([&](int64_t begin, int64_t end) {
            if (p_.drop || column_scale_) {
                List list;
                for (int64_t first = begin; first < end;) first = listed_block(first, end, list);
            } else {
                const int64_t last = p_.pointer[end];
                for (int64_t row = begin; row < end; ++row) {
                    int64_t from = p_.pointer[row], to = p_.pointer[row + 1];
                    finish(row, p_.column + from, value_ ? value_ + from : nullptr, to - from,
                           last - from);
                }
            }
        });
    }

    int row_sum() const {
        return on_row_shares([&](int64_t begin, int64_t end) {
            List list;
            for (int64_t row = begin; row < end; ++row) {
                list.clear();
                append(row, list);
                double total = 0;
                for (int64_t at = 0; at < list.count; ++at) total += list.weight[size_t(at)];
                out_[row] = Real(total);
            }
        });
    }

    int sampled() const {
        return on_row_shares([&](int64_t begin, int64_t end) {
            for (int64_t row = begin; row < end; ++row)
                for (int64_t e = p_.pointer[row]; e < p_.pointer[row + 1]; ++e) {
                    if (e + ahead < p_.pointer[end])
                        prefetch(x_ + int64_t(p_.column[e + ahead]) * p_.width, p_.width);
                    out_[e] = dot(add_ + row * p_.width, x_ + int64_t(p_.column[e]) * p_.width);
                }
        });
    }

  private:
    template <int Lanes> using V = typename Vector<Real, Lanes>::type;
    // Entries whose rows are asked for from memory before they are needed.
    static constexpr int64_t ahead = 16;
    static constexpr int64_t entries_in_list = 2048;

    // Kept entries of a few rows.
    struct List {
        std::vector<int32_t> column;
        std::vector<Real> weight;
        std::vector<uint32_t> draw;
        int64_t count = 0;
        void clear() { count = 0; }
        void make_room(int64_t more) {
            size_t needed = size_t(count + more);
            if (column.size() < needed) {
                column.resize(2 * needed);
                weight.resize(2 * needed);
            }
            if (draw.size() < size_t(more)) draw.resize(2 * size_t(more));
        }
    };

    template <class Work> int on_row_shares(Work work) const {
        int64_t entries = p_.pointer[p_.rows] - p_.pointer[0];
        // Starting a thread costs as much as some ten thousand multiply-adds.
        int64_t useful = (entries + p_.rows) * (p_.width + 8) / 65536;
        int threads = int(std::max<int64_t>(1, std::min<int64_t>(p_.threads, useful)));
        std::vector<int64_t> bounds = shares_of_rows(p_.pointer, p_.rows, threads);
        return on_threads(threads, [&](int t) { work(bounds[size_t(t)], bounds[size_t(t) + 1]); });
    }

    // Multiplies some rows from `first` and returns the row after them.
    int64_t listed_block(int64_t first, int64_t end, List& list) const {
        list.clear();
        int64_t bounds[65];
        int64_t row = first;
        bounds[0] = 0;
        while (row < end && row - first < 64 && list.count < entries_in_list) {
            append(row, list);
            ++row;
            bounds[row - first] = list.count;
        }
        for (int64_t r = first; r < row; ++r) {
            int64_t from = bounds[r - first], to = bounds[r - first + 1];
            finish(r, list.column.data() + from, list.weight.data() + from, to - from,
                   list.count - from);
        }
        return row;
    }

    void append(int64_t row, List& list) const {
        const int64_t from = p_.pointer[row], count = p_.pointer[row + 1] - from;
        list.make_room(count);
        const int32_t* column = p_.column + from;
        int32_t* to = list.column.data() + list.count;
        Real* weight = list.weight.data() + list.count;
        int64_t kept = count;
        if (p_.drop) {
            kept = 0;
            uint32_t* draw = list.draw.data();
            draws(row, column, count, draw);
            const int32_t* threshold = p_.threshold ? p_.threshold + from : nullptr;
            for (int64_t e = 0; e < count; ++e) {
                int32_t limit = threshold ? threshold[e] : p_.threshold_of_all;
                bool loop = p_.keep_self_loops && column[e] == row;
                Real own = value_ ? value_[from + e] : Real(1);
                if (p_.divide && !loop) own *= whole / Real(limit);
                to[kept] = column[e];
                weight[kept] = own;
                kept += loop | (int32_t(draw[e]) < limit);
            }
        } else {
            std::memcpy(to, column, size_t(count) * sizeof(int32_t));
            for (int64_t e = 0; e < count; ++e) weight[e] = value_ ? value_[from + e] : Real(1);
        }
        if (column_scale_)
            for (int64_t e = 0; e < kept; ++e) weight[e] *= column_scale_[to[e]];
        list.count += kept;
    }

    void draws(int64_t row, const int32_t* column, int64_t count, uint32_t* draw) const {
        const uint32_t own = uint32_t(row);
        if (p_.undirected)
            for (int64_t e = 0; e < count; ++e) {
                uint32_t other = uint32_t(column[e]);
                draw[e] = hash_.draw(own < other ? own : other, own < other ? other : own);
            }
        else if (p_.transposed)
            for (int64_t e = 0; e < count; ++e) draw[e] = hash_.draw(uint32_t(column[e]), own);
        else
            for (int64_t e = 0; e < count; ++e) draw[e] = hash_.draw(own, uint32_t(column[e]));
    }

    static void prefetch(const Real* row, int64_t width) {
        constexpr int64_t line = 64 / int64_t(sizeof(Real));
        // Beyond that the processor has noticed the pattern by itself.
        int64_t lines = std::min<int64_t>((width + line - 1) / line, 8);
        for (int64_t i = 0; i < lines; ++i) __builtin_prefetch(row + i * line);
    }

    // One row of the result from its kept entries; `known` columns may be read ahead.
    void finish(int64_t row, const int32_t* column, const Real* weight, int64_t count,
                int64_t known) const {
        if (weight)
            strips<true>(row, column, weight, count, known);
        else
            strips<false>(row, column, weight, count, known);
    }

    template <bool Weighted>
    void strips(int64_t row, const int32_t* column, const Real* weight, int64_t count,
                int64_t known) const {
        constexpr int most = 4 * 64 / int(sizeof(Real)) / Width; // as many lanes on any width
        int64_t at = 0;
        for (; at + most * Width <= p_.width; at += most * Width)
            strip<Weighted, Width, most>(row, at, column, weight, count, at ? 0 : known);
        rest<Weighted, Width, most / 2>(row, at, column, weight, count, at ? 0 : known);
    }

    // What is left is cut into strips of half the width, and half of that, down to one.
    template <bool Weighted, int Lanes, int Count>
    void rest(int64_t row, int64_t at, const int32_t* column, const Real* weight, int64_t count,
              int64_t known) const {
        if (p_.width - at >= Lanes * Count) {
            strip<Weighted, Lanes, Count>(row, at, column, weight, count, known);
            at += Lanes * Count;
            known = 0;
        }
        if constexpr (Count > 1)
            rest<Weighted, Lanes, Count / 2>(row, at, column, weight, count, known);
        else if constexpr (Lanes > 1)
            rest<Weighted, Lanes / 2, 1>(row, at, column, weight, count, known);
    }

    template <bool Weighted, int Lanes, int Count>
    void strip(int64_t row, int64_t at, const int32_t* column, const Real* weight, int64_t count,
               int64_t known) const {
        V<Lanes> sum[Count] = {};
        const Real* x = x_ + at;
        const int64_t safe = std::min(count, known - ahead);
        int64_t e = 0;
        for (; e < safe; ++e) {
            prefetch(x_ + int64_t(column[e + ahead]) * p_.width, p_.width);
            add_row<Weighted, Lanes, Count>(sum, x + int64_t(column[e]) * p_.width, weight, e);
        }
        for (; e < count; ++e)
            add_row<Weighted, Lanes, Count>(sum, x + int64_t(column[e]) * p_.width, weight, e);
        const Real factor = Real(p_.factor) * (row_scale_ ? row_scale_[row] : Real(1));
        const int64_t place = row * p_.width + at;
        for (int i = 0; i < Count; ++i) {
            V<Lanes> result = sum[i] * factor;
            if (add_) result += load<Real, Lanes>(add_ + place + i * Lanes) * Real(p_.add_factor);
            if (out_scale_) result *= out_scale_[row];
            store<Real, Lanes>(out_ + place + i * Lanes, result);
        }
    }

    template <bool Weighted, int Lanes, int Count>
    static inline void add_row(V<Lanes> (&sum)[Count], const Real* x, const Real* weight,
                               int64_t e) {
#pragma GCC unroll 16
        for (int i = 0; i < Count; ++i) {
            V<Lanes> part = load<Real, Lanes>(x + i * Lanes);
            if constexpr (Weighted)
                sum[i] += part * weight[e];
            else
                sum[i] += part;
        }
    }

    Real dot(const Real* left, const Real* right) const {
        V<Width> sum = {};
        int64_t i = 0;
        for (; i + Width <= p_.width; i += Width)
            sum += load<Real, Width>(left + i) * load<Real, Width>(right + i);
        Real total = horizontal_sum<Real, Width>(sum);
        for (; i < p_.width; ++i) total += left[i] * right[i];
        return total;
    }

    static constexpr Real whole = Real(1 << 30);

    const SparseProduct& p_;
    const EdgeHash hash_;
    const Real *value_, *x_, *row_scale_, *column_scale_, *out_scale_, *add_;
    Real* out_;
};

template <class Real> using Kernel = SparseKernel<Real, VECTOR_BYTES / int(sizeof(Real))>;

int sparse_product_float(const SparseProduct* p) { return status_of([&] { return Kernel<float>(*p).product(); }); }
int sparse_product_double(const SparseProduct* p) { return status_of([&] { return Kernel<double>(*p).product(); }); }
int sparse_row_sum_float(const SparseProduct* p) { return status_of([&] { return Kernel<float>(*p).row_sum(); }); }
int sparse_row_sum_double(const SparseProduct* p) { return status_of([&] { return Kernel<double>(*p).row_sum(); }); }
int sparse_sampled_float(const SparseProduct* p) { return status_of([&] { return Kernel<float>(*p).sampled(); }); }
int sparse_sampled_double(const SparseProduct* p) { return status_of([&] { return Kernel<double>(*p).sampled(); }); }
