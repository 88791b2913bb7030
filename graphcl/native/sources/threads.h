// Deals stripes of columns to threads, and joins what each of them gathers.
#pragma once
#include "sums.h"
#include "workers.h"

// Stripes of columns for one thread, dealt out there and back so that the long and
// the short stripes of a triangle are shared evenly. Fixed by the number of threads
// alone: the same call gives the same bits.
inline std::vector<int64_t> stripes_of(int thread, int threads, int64_t stripes) {
    std::vector<int64_t> mine;
    for (int64_t turn = 0; turn * threads < stripes; ++turn) {
        int64_t place = turn % 2 == 0 ? thread : threads - 1 - thread;
        int64_t stripe = stripes - 1 - (turn * threads + place);
        if (stripe >= 0) mine.push_back(stripe);
    }
    return mine;
}

inline int threads_for(const Contrast& c, int64_t stripes) {
    return int(std::max<int64_t>(1, std::min<int64_t>(c.threads, stripes)));
}

template <class Real> void add(Real* to, const Real* from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

// Calls work(thread, sums of rows, sums of columns) on every thread and writes the sums.
// A stripe is one thread's alone, so that the sums of columns need not be joined.
template <class Real, class Work>
int gather(const Contrast& c, int threads, Real* rows, Real* columns, Work work) {
    std::vector<Sums<Real>> by_thread;
    for (int t = 0; t < threads; ++t) by_thread.emplace_back(c.rows);
    Sums<Real> of_columns(c.self_similar || !c.two_sided ? 0 : c.columns);
    int status = on_threads(threads, [&](int t) {
        Sums<Real>& of_rows = by_thread[size_t(t)];
        work(t, of_rows, c.self_similar ? of_rows : of_columns);
    });
    if (status) return status;
    for (int t = 1; t < threads; ++t) by_thread[0].merge(by_thread[size_t(t)], c.bounded);
    by_thread[0].write(rows, c.rows, c.bounded);
    if (of_columns.total.size() && columns) of_columns.write(columns, c.columns, c.bounded);
    return 0;
}

// Where gradients are added; null: not wanted.
template <class Real> struct Target {
    Real *query, *key, *query_term, *key_term;
};

// Calls work(thread, target) on every thread; the gradients of the rows, to which every
// stripe adds, are kept by thread and joined at the end, in order.
template <class Real, class Work>
int scatter(const Contrast& c, int threads, const ContrastGradient& g, Work work) {
    std::vector<Buffer<Real>> to_query, to_term;
    bool wants_query = g.query || (c.self_similar && g.key);
    bool wants_term = g.query_term || (c.self_similar && g.key_term);
    for (int t = 1; t < threads; ++t) {
        to_query.emplace_back(wants_query ? c.rows * c.dimension : 0);
        to_term.emplace_back(wants_term ? c.rows : 0);
    }
    int status = on_threads(threads, [&](int t) {
        Target<Real> target{(Real*)g.query, (Real*)g.key, (Real*)g.query_term, (Real*)g.key_term};
        if (t > 0) {
            target.query = wants_query ? to_query[size_t(t - 1)].get() : nullptr;
            target.query_term = wants_term ? to_term[size_t(t - 1)].get() : nullptr;
        }
        if (c.self_similar) {
            target.key = target.query;
            target.key_term = target.query_term;
        }
        work(t, target);
    });
    if (status) return status;
    for (Buffer<Real>& part : to_query) add((Real*)g.query, part.get(), part.size());
    for (Buffer<Real>& part : to_term) add((Real*)g.query_term, part.get(), part.size());
    return 0;
}
