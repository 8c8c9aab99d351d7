// Membrane potentials as bit planes: integrating row sums and comparing with thresholds.
#pragma once

#include "rows.hpp"

namespace {

template <size_t Size>
struct HalfOf;
template <>
struct HalfOf<64> {
    using Type = Bits32;
};
template <>
struct HalfOf<32> {
    using Type = Bits16;
};
template <>
struct HalfOf<16> {
    using Type = Bits8;
};

// membrane += (first halves of the sums) - (second halves), modulo 2^planes. `sums` holds `count` planes.
// Gives, in a build with checks, the neurons that left the range 0 .. 2^planes - 1: none, by interval analysis.
template <class H>
inline H integrate(H* membrane, uint32_t planes, const H* sums, uint32_t count) {
    H carry{}, debt{}, lost{};
    uint32_t i = 0;
    for (; i < planes && i < count; ++i) {
        const H plus = sums[2 * i], minus = sums[2 * i + 1], old = membrane[i];
        const H raised = parity(old, plus, carry);
        carry = majority(old, plus, carry);
        membrane[i] = parity(raised, minus, debt);
        debt = borrow(raised, minus, debt);
    }
    for (; i < planes; ++i) {
        const H old = membrane[i], raised = old ^ carry;
        carry &= old;
        membrane[i] = raised ^ debt;
        debt = ~raised & debt;
    }
#if defined(ISOSPIKE_CHECKS)
    for (; i < count; ++i) {
        const H plus = sums[2 * i], minus = sums[2 * i + 1], raised = plus ^ carry;
        carry &= plus;
        lost |= parity(raised, minus, debt);
        debt = borrow(raised, minus, debt);
    }
    lost |= carry ^ debt;
#endif
    return lost;
}

// The neurons whose membrane is above its ceiling: none, by interval analysis.
template <class H>
inline H find_above(const H* membrane, uint32_t planes, const uint8_t* ceiling) {
    H debt{};
    for (uint32_t i = 0; i < planes; ++i) debt = borrow(load<H>(ceiling + i * sizeof(H)), membrane[i], debt);
    return debt;
}

// Which neurons reach each level, four levels at a time; stops where no neuron is, nor has been.
// Gives the number of levels that matter, a multiple of 4.
template <class H>
inline uint32_t compare_levels(
    const H* membrane, uint32_t planes, const uint8_t* thresholds, uint32_t levels, H* reached, const H* count) {
    for (uint32_t k = 0; k < levels; k += 4) {
        H a{}, b{}, c{}, d{};
        for (uint32_t i = 0; i < planes; ++i, thresholds += 4 * sizeof(H)) {
            const H value = membrane[i];
            a = borrow(value, load<H>(thresholds), a);
            b = borrow(value, load<H>(thresholds + sizeof(H)), b);
            c = borrow(value, load<H>(thresholds + 2 * sizeof(H)), c);
            d = borrow(value, load<H>(thresholds + 3 * sizeof(H)), d);
        }
        reached[k] = ~a, reached[k + 1] = ~b, reached[k + 2] = ~c, reached[k + 3] = ~d;
        if (!any(reached[k + 3] | count[k + 3])) return k + 4;
    }
    return levels;
}

}  // namespace
