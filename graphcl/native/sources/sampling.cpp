// Samplers of negatives and of neighbours. Built once per instruction set, as contrast.cpp is.
#include "sampling.h"
#include "edge_hash.h"
#include "workers.h"

// Draws that are searched for side by side: alone, each step would wait for memory.
static constexpr int lanes = 64;
using Lanes = int64_t[lanes];

// For each lane, the number of positions below `count` where holds(lane, position), which
// holds for the first ones. A lane that is done looks again without effect.
template <class Holds> static inline void bisect(Lanes& count, Lanes& low, Holds holds) {
    int64_t widest = 0;
    for (int i = 0; i < lanes; ++i) {
        low[i] = 0;
        widest = std::max(widest, count[i]);
    }
    for (; widest > 0; widest /= 2)
        for (int i = 0; i < lanes; ++i) {
            const int64_t half = count[i] / 2;
            const bool up = (count[i] > 0) & holds(i, low[i] + half);
            low[i] = up ? low[i] + half + 1 : low[i];
            count[i] = up ? count[i] - half - 1 : half;
        }
}

// The draws [first, first + number) of all, at most as many as there are lanes.
static void draw_lanes(const FreeDraws& d, int64_t first, int64_t number) {
    const int64_t *__restrict key = d.key, *__restrict up_to = d.up_to;
    const int64_t *__restrict taken_up_to = d.taken_up_to, last = d.keys - 1, items = d.items;
    // Of each lane: its row's keys, the mass of keys before them, and the point.
    Lanes begin = {}, base = {}, taken = {}, point = {}, low, count = {}, full = {};
    for (int i = 0; i < number; ++i) {
        const int64_t row = d.count == 1 ? first + i : (first + i) / d.count;
        begin[i] = d.begin[d.end ? row : d.row[row]];
        count[i] = (d.end ? d.end[row] : d.begin[d.row[row] + 1]) - begin[i];
        base[i] = d.row[row] * items;
        const int64_t free = d.free ? d.free[row] : items - count[i];
        full[i] = free <= 0;
        if (full[i]) count[i] = 0;
        const int64_t wide = full[i] ? items : free;
        point[i] = std::min(int64_t(d.uniform[first + i] * double(wide)), wide - 1);
        if (up_to) {
            taken[i] = taken_up_to[begin[i]];
            point[i] += d.offset[row];
        }
    }
    if (!up_to) {
        bisect(count, low, [&](int i, int64_t j) {
            return key[std::min(begin[i] + j, last)] - base[i] - j <= point[i];
        });
        for (int i = 0; i < number; ++i)
            d.item[first + i] = full[i] && !d.anything ? -1 : point[i] + low[i];
        return;
    }
    bisect(count, low, [&](int i, int64_t j) {
        const int64_t at = std::min(begin[i] + j, last);
        const int64_t item = std::min(std::max<int64_t>(key[at] - base[i], 0), items);
        return up_to[item] - (taken_up_to[at] - taken[i]) <= point[i];
    });
    for (int i = 0; i < number; ++i) {
        point[i] += taken_up_to[begin[i] + low[i]] - taken[i];
        count[i] = full[i] ? 0 : items - 1;
    }
    bisect(count, low,
           [&](int i, int64_t item) { return up_to[std::min(item + 1, items)] <= point[i]; });
    for (int i = 0; i < number; ++i) d.item[first + i] = full[i] ? -1 : low[i];
}

int draw_free(const FreeDraws* draws) {
    const FreeDraws& d = *draws;
    const int64_t total = d.rows * d.count, blocks = (total + lanes - 1) / lanes;
    const int threads = int(std::max<int64_t>(1, std::min<int64_t>(d.threads, blocks / 256)));
    return status_of([&] {
        return on_threads(threads, [&](int t) {
            for (int64_t block = blocks * t / threads; block < blocks * (t + 1) / threads; ++block)
                draw_lanes(d, block * lanes, std::min<int64_t>(lanes, total - block * lanes));
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
