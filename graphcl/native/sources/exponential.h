// 2^x for vectors: range reduction by adding a large constant, then a polynomial.
//
// Compiled without -ffast-math, which would cancel the constant away.
#pragma once
#include <cstdint>
#include <cstring>

template <class Real, int Width> struct Vector;

template <int Width> struct Vector<float, Width> {
    typedef float type __attribute__((vector_size(Width * 4)));
    typedef int32_t bits __attribute__((vector_size(Width * 4)));
    static constexpr float round = 12582912.0f; // 1.5 * 2^23
    static constexpr int mantissa = 23;
    static constexpr float lowest = -126.0f, highest = 127.0f; // exponents of normal numbers
    // Minimax on [-1/2, 1/2], relative error 8e-8.
    static inline type polynomial(type f) {
        type p = f * 0.0013390863364671234f + 0.0096760319183220541f;
        p = p * f + 0.055503571142190778f;
        p = p * f + 0.24022107485308338f;
        p = p * f + 0.69314718802622879f;
        return p * f + 1.000000075454897f;
    }
};

template <int Width> struct Vector<double, Width> {
    typedef double type __attribute__((vector_size(Width * 8)));
    typedef int64_t bits __attribute__((vector_size(Width * 8)));
    static constexpr double round = 6755399441055744.0; // 1.5 * 2^52
    static constexpr int mantissa = 52;
    static constexpr double lowest = -1022.0, highest = 1023.0;
    // Minimax on [-1/2, 1/2], relative error 3e-18.
    static inline type polynomial(type f) {
        type p = f * 4.455817908336064493e-10 + 7.0740942972885210056e-9;
        p = p * f + 1.0178057087733941105e-7;
        p = p * f + 1.3215432535912376166e-6;
        p = p * f + 0.000015252733841556772589;
        p = p * f + 0.00015403530463724354209;
        p = p * f + 0.0013333558146406470697;
        p = p * f + 0.0096181291075872566681;
        p = p * f + 0.055504108664821627039;
        p = p * f + 0.24022650695910159567;
        p = p * f + 0.69314718055994530925;
        return p * f + 0.99999999999999999693;
    }
};

template <class Real, int Width>
static inline typename Vector<Real, Width>::type load(const Real* from) {
    typename Vector<Real, Width>::type v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

template <class Real, int Width>
static inline void store(Real* to, typename Vector<Real, Width>::type v) {
    std::memcpy(to, &v, sizeof v);
}

// 2^(s * factor), with the product clamped to the exponents of normal numbers: a pass that
// only looks bounded may meet any logit, and must find a huge sum where one is too large.
// NaN stays NaN.
template <class Real, int Width>
static inline typename Vector<Real, Width>::type
exponential_in_range(typename Vector<Real, Width>::type s, Real factor) {
    using V = Vector<Real, Width>;
    const typename V::type low = (typename V::type){} + V::lowest, high = (typename V::type){} + V::highest;
    typename V::type power = s * factor;
    power = power < low ? low : power;
    power = power > high ? high : power;
    typename V::type shifted = power + V::round;
    typename V::type whole = shifted - V::round;
    typename V::type value = V::polynomial(power - whole);
    return (typename V::type)((typename V::bits)value +
                              ((typename V::bits)shifted << V::mantissa));
}

// 2^x for any x; below the exponents of normal numbers the result is 0, NaN stays NaN.
template <class Real, int Width>
static inline typename Vector<Real, Width>::type
exponential(typename Vector<Real, Width>::type x) {
    using V = Vector<Real, Width>;
    typename V::bits vanished = x < V::lowest;
    typename V::type clamped = vanished ? (typename V::type){} : x;
    clamped = clamped > V::highest ? (typename V::type){} + V::highest : clamped;
    typename V::type value = exponential_in_range<Real, Width>(clamped, Real(1));
    return (typename V::type)((typename V::bits)value & ~vanished);
}

template <class Real, int Width>
static inline Real horizontal_sum(typename Vector<Real, Width>::type v) {
    Real total = 0;
    for (int lane = 0; lane < Width; ++lane) total += v[lane];
    return total;
}
