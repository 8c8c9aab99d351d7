// Adding rows of bits: carry-save adders, one counter per bit position.
#pragma once

#include "../layout.hpp"
#include "vectors.hpp"

namespace {

template <class V>
struct Added {
    V sum, carry;
};

template <class V>
inline Added<V> full_add(V a, V b, V c) {
    return {parity(a, b, c), majority(a, b, c)};
}

// Rows named by items, each `Scale` bytes per unit of the item. Items are loaded two at a time: loads are scarce.
template <class V, bool Inverted, int Count>
struct RowReader {
    static constexpr size_t kScale = sizeof(V) / 8;

    inline RowReader(const uint8_t* rows, const uint32_t* items) : rows_(rows) {
#pragma GCC unroll 8
        for (int i = 0; i < Count / 2; ++i) {
            pair_[i] = load<uint64_t>(items + 2 * i);
            asm("" : "+r"(pair_[i]));  // keeps the compiler from loading the halves apart
        }
    }

    inline V operator[](int i) const {
        const uint32_t item = i % 2 ? static_cast<uint32_t>(pair_[i / 2] >> 32) : static_cast<uint32_t>(pair_[i / 2]);
        const V row = load<V>(rows_ + item * kScale);
        return Inverted ? ~row : row;
    }

  private:
    const uint8_t* rows_;
    uint64_t pair_[Count / 2];
};

// Counters of 4 + High bits, one bit plane each. Adders form a tree, so that a group waits for a plane only once.
template <class V, int High>
struct Counter {
    V plane[4 + High];

    inline Counter() {
#pragma GCC unroll 16
        for (int i = 0; i < 4 + High; ++i) plane[i] = V{};
    }

    template <int Level>
    inline __attribute__((always_inline)) void ripple(V carry) {
#pragma GCC unroll 16
        for (int i = Level; i < 4 + High; ++i) {
            const V next = plane[i] & carry;
            plane[i] ^= carry;
            carry = next;
        }
    }

    // Adds two bits to a plane; gives the carry.
    template <int Level>
    inline __attribute__((always_inline)) V settle(V a, V b) {
        const Added<V> added = full_add(a, b, plane[Level]);
        plane[Level] = added.sum;
        return added.carry;
    }

    template <bool Inverted>
    inline __attribute__((always_inline)) void add_sixteen(const uint8_t* rows, const uint32_t* items) {
        const RowReader<V, Inverted, 16> row(rows, items);
        const auto a = full_add(row[0], row[1], row[2]), b = full_add(row[3], row[4], row[5]);
        const auto c = full_add(row[6], row[7], row[8]), d = full_add(row[9], row[10], row[11]);
        const auto e = full_add(row[12], row[13], row[14]);
        const auto f = full_add(a.sum, b.sum, c.sum), g = full_add(d.sum, e.sum, row[15]);
        const V two = settle<0>(f.sum, g.sum);
        const auto k = full_add(a.carry, b.carry, c.carry), l = full_add(d.carry, e.carry, f.carry);
        const auto m = full_add(k.sum, l.sum, g.carry);
        const V four = settle<1>(m.sum, two);
        const auto n = full_add(k.carry, l.carry, m.carry);
        const V eight = settle<2>(n.sum, four);
        ripple<4>(settle<3>(n.carry, eight));
    }

    template <bool Inverted>
    inline __attribute__((always_inline)) void add(const uint8_t* rows, const uint32_t* items, uint32_t count) {
        for (uint32_t i = 0; i < count; i += isospike::kGroup) add_sixteen<Inverted>(rows, items + i);
    }
};

// Sums rows[items] for `plus` items, and inverted rows for the `minus` items after them; both whole groups. An
// inverted row adds 1 - bit, so that every counter is too high by `minus`; a difference of counters is exact.
// Gives the number of planes written.
template <class V, int High>
__attribute__((noinline)) int sum_rows_with(
    const uint8_t* rows, const uint32_t* items, uint32_t plus, uint32_t minus, void* planes) {
    Counter<V, High> counter;
    counter.template add<false>(rows, items, plus);
    if (minus) counter.template add<true>(rows, items + plus, minus);
#pragma GCC unroll 16
    for (int i = 0; i < 4 + High; ++i) store(static_cast<V*>(planes) + i, counter.plane[i]);
    return 4 + High;
}

constexpr uint32_t kMostPlus = 2048;
constexpr uint32_t kMostMinus = 2032;
constexpr int kMostSumPlanes = 12;

// The same, with planes enough for plus + minus; few kinds, so that the branch is foreseen.
template <class V>
inline int sum_rows(const uint8_t* rows, const uint32_t* items, uint32_t plus, uint32_t minus, void* planes) {
    if (plus + minus < 1 << 8) return sum_rows_with<V, 4>(rows, items, plus, minus, planes);
    if (plus + minus < 1 << 10) return sum_rows_with<V, 6>(rows, items, plus, minus, planes);
    return sum_rows_with<V, 8>(rows, items, plus, minus, planes);
}

}  // namespace
