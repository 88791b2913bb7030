// What a pass gathers for every row or column.
#pragma once
#include "blocks.h"

// Per position: a plain sum when bounded, else a running maximum and the sum
// relative to it. In double, as they gather one partial sum per block.
template <class Real> struct Sums {
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
