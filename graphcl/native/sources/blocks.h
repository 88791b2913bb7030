// The excluded pairs of one block.
#pragma once
#include "contrast.h"
#include "memory.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

inline bool any(const Exclusion& e) { return e.pointer || e.row_ids || e.row_groups; }

// A block of the product matrix: rows [row, row + height), columns [column, column + width).
struct Block {
    int64_t row, height, column, width;
};

// Finds the listed pairs of one block after the other, for blocks that walk down the
// rows of one stripe of columns.
class Listed {
  public:
    explicit Listed(const Exclusion& e) : excluded_(e) {}

    bool touches(const Block& b) const {
        if (excluded_.row_ids) return true;
        if (excluded_.row_groups) {
            auto rows = range(excluded_.row_groups, b.row, b.height);
            if (rows.first != rows.second || rows != range(excluded_.column_groups, b.column, b.width))
                return true;
        }
        if (!excluded_.pointer) return false;
        for (int64_t i = b.row; i < b.row + b.height; ++i)
            if (first(i, b.column) < first(i, b.column + b.width)) return true;
        return false;
    }

    // Whether groups exclude the whole block, which then need not be computed. The rows
    // come sorted by group, so that most blocks are of this kind when groups are small.
    bool covers(const Block& b) const {
        if (!excluded_.row_groups) return false;
        auto rows = range(excluded_.row_groups, b.row, b.height);
        auto columns = range(excluded_.column_groups, b.column, b.width);
        return rows.second < columns.first || columns.second < rows.first;
    }

    // Calls visit(i, j) in block coordinates for every excluded pair.
    template <class Visit> void each(const Block& b, Visit visit) const {
        for (int64_t i = 0; i < b.height; ++i) {
            int64_t row = b.row + i;
            if (excluded_.pointer) {
                const int32_t* end = first(row, b.column + b.width);
                for (const int32_t* at = first(row, b.column); at < end; ++at)
                    visit(i, *at - b.column);
            }
            if (excluded_.row_ids)
                for (int64_t j = 0; j < b.width; ++j)
                    if (excluded_.row_ids[row] == excluded_.column_ids[b.column + j]) visit(i, j);
            if (excluded_.row_groups)
                for (int64_t j = 0; j < b.width; ++j)
                    if (excluded_.row_groups[row] != excluded_.column_groups[b.column + j]) visit(i, j);
        }
    }

  private:
    // Lowest and highest group of some rows.
    static std::pair<int32_t, int32_t> range(const int32_t* groups, int64_t start, int64_t count) {
        auto found = std::minmax_element(groups + start, groups + start + count);
        return {*found.first, *found.second};
    }

    const int32_t* first(int64_t row, int64_t column) const {
        const int32_t* begin = excluded_.columns + excluded_.pointer[row];
        const int32_t* end = excluded_.columns + excluded_.pointer[row + 1];
        // Lists of one or two are the rule: the node itself and its positive.
        if (end - begin <= 4) {
            while (begin < end && *begin < column) ++begin;
            return begin;
        }
        return std::lower_bound(begin, end, int32_t(column));
    }

    const Exclusion& excluded_;
};
