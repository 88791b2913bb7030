// Samplers of negatives and of neighbours. Built once per instruction set, as contrast.cpp is.
#include "sampling.h"
#include "edge_hash.h"
#include "workers.h"

// Number of positions below `count` where holds(position), which holds for the first ones.
template <class Holds> static int64_t first_false(int64_t count, Holds holds) {
    int64_t low = 0;
    while (count > 0) {
        int64_t half = count / 2;
        bool yes = holds(low + half);
        low = yes ? low + half + 1 : low;
        count = yes ? count - half - 1 : half;
    }
    return low;
}

// The item under a point of the row's line: taken items before it are skipped.
static int64_t unit_item(const FreeDraws& d, int64_t row, int64_t point) {
    const int64_t* key = d.key + d.begin[row];
    const int64_t base = d.base[row];
    return point + first_false(d.end[row] - d.begin[row],
                               [&](int64_t j) { return key[j] - base - j <= point; });
}

static int64_t weighted_item(const FreeDraws& d, int64_t row, int64_t point) {
    const int64_t base = d.base[row], before = d.taken_up_to[d.begin[row]];
    const int64_t* key = d.key + d.begin[row];
    const int64_t* taken = d.taken_up_to + d.begin[row];
    const int64_t place = point + d.offset[row];
    const int64_t passed = first_false(d.end[row] - d.begin[row], [&](int64_t j) {
        return d.up_to[key[j] - base] - (taken[j] - before) <= place;
    });
    const int64_t target = place + taken[passed] - before;
    return first_false(d.items - 1, [&](int64_t item) { return d.up_to[item + 1] <= target; });
}

static void draw_rows(const FreeDraws& d, int64_t first, int64_t last) {
    constexpr int64_t ahead = 12;
    for (int64_t row = first; row < last; ++row) {
        // The next rows' keys lie anywhere: ask for their middles early.
        if (row + ahead < last)
            __builtin_prefetch(d.key + (d.begin[row + ahead] + d.end[row + ahead]) / 2);
        const int64_t free = d.free ? d.free[row] : d.items - (d.end[row] - d.begin[row]);
        for (int64_t i = row * d.count; i < (row + 1) * d.count; ++i) {
            const int64_t point = std::min(int64_t(d.uniform[i] * double(free)), free - 1);
            if (free <= 0)
                d.item[i] = -1;
            else
                d.item[i] = d.up_to ? weighted_item(d, row, point) : unit_item(d, row, point);
        }
    }
}

int draw_free(const FreeDraws* draws) {
    const FreeDraws& d = *draws;
    const int64_t useful = d.rows * d.count / 4096;
    const int threads = int(std::max<int64_t>(1, std::min<int64_t>(d.threads, useful)));
    return status_of([&] {
        return on_threads(threads, [&](int t) {
            draw_rows(d, d.rows * t / threads, d.rows * (t + 1) / threads);
        });
    });
}

// `wanted` of 0 .. count - 1, ascending, each set equally likely (Floyd's algorithm: the j-th
// draw is among one more than the draw before, and what was drawn already gives way to the
// last of them). Quadratic in `wanted`, which is some tens.
static void choose(const EdgeHash& hash, int64_t node, int64_t count, int64_t wanted, int64_t* to) {
    for (int64_t taken = 0; taken < wanted; ++taken) {
        const int64_t last = count - wanted + taken;
        const uint64_t draw = hash.draw(uint32_t(node), uint32_t(taken));
        const int64_t place = int64_t((draw * uint64_t(last + 1)) >> 30);
        to[taken] = std::find(to, to + taken, place) == to + taken ? place : last;
    }
    std::sort(to, to + wanted);
}

int sample_neighbours(NeighbourSample* sample) {
    NeighbourSample& s = *sample;
    for (int64_t i = 0; i < s.seeds; ++i) s.number[s.node[i]] = int32_t(i);
    s.nodes = s.seeds;
    s.edges = 0;
    int64_t expanded = 0;
    for (int64_t hop = 0; hop < s.hops; ++hop) {
        const EdgeHash hash(s.seed[hop]);
        const int64_t first_edge = s.edges, known = s.nodes;
        for (; expanded < known; ++expanded) {
            const int64_t node = s.node[expanded], begin = s.pointer[node];
            const int64_t count = s.pointer[node + 1] - begin;
            const bool all = s.fan_out[hop] < 0 || count <= s.fan_out[hop];
            const int64_t taken = all ? count : s.fan_out[hop];
            int64_t* entry = s.entry + s.edges;
            if (all)
                for (int64_t e = 0; e < count; ++e) entry[e] = e;
            else
                choose(hash, node, count, taken, entry);
            for (int64_t e = 0; e < taken; ++e) {
                entry[e] += begin;
                s.target[s.edges + e] = expanded;
            }
            s.edges += taken;
        }
        for (int64_t e = first_edge; e < s.edges; ++e) {
            if (e + 16 < s.edges) __builtin_prefetch(s.number + s.column[s.entry[e + 16]], 1);
            const int64_t node = s.column[s.entry[e]];
            if (s.number[node] >= 0) continue;
            s.number[node] = 0; // met; its number follows when all are sorted
            s.node[s.nodes++] = node;
        }
        std::sort(s.node + known, s.node + s.nodes);
        for (int64_t i = known; i < s.nodes; ++i) s.number[s.node[i]] = int32_t(i);
        for (int64_t e = first_edge; e < s.edges; ++e)
            s.source[e] = s.number[s.column[s.entry[e]]];
    }
    for (int64_t i = 0; i < s.nodes; ++i) s.number[s.node[i]] = -1;
    return 0;
}
