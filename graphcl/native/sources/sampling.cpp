// Built once per instruction set, as contrast.cpp is.
#include "sampling.h"
#include "edge_hash.h"
#include "workers.h"

// Work on rows [begin, end) of every thread's share; -1 when memory ran out.
template <class Work> static int on_shares(int64_t rows, int32_t threads, int64_t least, Work work) {
    int many = int(std::max<int64_t>(1, std::min<int64_t>(threads, rows / least)));
    try {
        return on_threads(many, [&](int t) { work(rows * t / many, rows * (t + 1) / many); });
    } catch (const std::bad_alloc&) {
        return -1;
    }
}

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

static int64_t scaled(double uniform, int64_t total) {
    return std::min<int64_t>(int64_t(uniform * double(total)), total - 1);
}

// The r-th free item (from 0) is r + #{j: s_j - j <= r} with s the taken items.
static int64_t by_rank(const Negatives& n, int64_t row) {
    const int64_t user = n.user[row], begin = n.pointer[user], base = user * n.items;
    const int64_t taken = n.pointer[user + 1] - begin, free = n.items - taken;
    if (free == 0) return scaled(n.uniform[row], n.items);
    const int64_t rank = scaled(n.uniform[row], free);
    const int64_t* key = n.key + begin;
    return rank + first_false(taken, [&](int64_t j) { return key[j] - base - j <= rank; });
}

// The same with items as wide as their weights.
static int64_t by_weight(const Negatives& n, int64_t row) {
    const int64_t user = n.user[row], begin = n.pointer[user], base = user * n.items;
    const int64_t taken = n.pointer[user + 1] - begin;
    const int64_t *key = n.key + begin, *before = n.taken_below + begin;
    const int64_t all = n.below[n.items], free = all - (before[taken] - before[0]);
    int64_t place;
    if (free == 0) {
        place = scaled(n.uniform[row], all);
    } else {
        const int64_t rank = scaled(n.uniform[row], free);
        int64_t passed = first_false(taken, [&](int64_t j) {
            return n.below[key[j] - base] - (before[j] - before[0]) <= rank;
        });
        place = rank + before[passed] - before[0];
    }
    return first_false(n.items - 1, [&](int64_t item) { return n.below[item + 1] <= place; });
}

int sample_negatives(const Negatives* negatives) {
    const Negatives& n = *negatives;
    return on_shares(n.rows, n.threads, 4096, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
            // The next users' offsets and keys lie anywhere: ask for them early.
            if (row + 24 < end) __builtin_prefetch(n.pointer + n.user[row + 24]);
            if (row + 12 < end) {
                const int64_t user = n.user[row + 12];
                __builtin_prefetch(n.key + (n.pointer[user] + n.pointer[user + 1]) / 2);
            }
            n.negative[row] = n.below ? by_weight(n, row) : by_rank(n, row);
        }
    });
}

int sample_neighbours(const Neighbours* neighbours) {
    const Neighbours& n = *neighbours;
    const EdgeHash hash(n.seed);
    return on_shares(n.nodes, n.threads, 256, [&](int64_t first, int64_t last) {
        std::vector<std::pair<uint32_t, int64_t>> drawn;
        for (int64_t i = first; i < last; ++i) {
            const int64_t begin = n.pointer[n.node[i]], count = n.pointer[n.node[i] + 1] - begin;
            int64_t* to = n.entry + n.offset[i];
            const int64_t wanted = n.offset[i + 1] - n.offset[i];
            if (wanted == count) {
                for (int64_t e = 0; e < count; ++e) to[e] = begin + e;
                continue;
            }
            drawn.clear();
            for (int64_t e = 0; e < count; ++e)
                drawn.push_back({hash.draw(uint32_t(n.node[i]), uint32_t(e)), begin + e});
            std::nth_element(drawn.begin(), drawn.begin() + wanted, drawn.end());
            for (int64_t e = 0; e < wanted; ++e) to[e] = drawn[size_t(e)].second;
            std::sort(to, to + wanted);
        }
    });
}

int64_t number_nodes(int64_t count, const int64_t* node, int64_t known_count, int64_t* known,
                     int64_t* number, int64_t* result) {
    for (int64_t i = 0; i < count; ++i) {
        if (i + 16 < count) __builtin_prefetch(number + node[i + 16], 1);
        int64_t& own = number[node[i]];
        if (own < 0) {
            own = known_count;
            known[known_count++] = node[i];
        }
        result[i] = own;
    }
    return known_count;
}
