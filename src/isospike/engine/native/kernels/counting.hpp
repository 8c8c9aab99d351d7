// Counting neurons in double precision: integrating, comparing and firing in one pass over the memory.
#pragma once

#include "../kernels.hpp"
#include "vectors.hpp"

namespace {

using isospike::CountingRule;
using isospike::CountingState;
using isospike::CountingTotals;

inline double round_down(double value) { return __builtin_floor(value); }

inline Doubles round_down(Doubles values) {
#if defined(__AVX512F__)
    return (Doubles)_mm512_floor_pd((__m512d)values);
#elif defined(__AVX2__)
    return (Doubles)_mm256_floor_pd((__m256d)values);
#else
    for (size_t i = 0; i < kLanes; ++i) values[i] = round_down(values[i]);
    return values;
#endif
}

// V is Doubles, or double for the rest of a row.
template <class V>
inline V clip(V value, V low, V high) {
    const V raised = value < low ? low : value;
    return raised > high ? high : raised;
}

template <class V>
inline V magnitude(V value) {
    return value < V{} ? -value : value;
}

template <class V>
struct Tally {
    V fired{}, net{}, missing{};
};

// The neurons from `channel` on, as many as fit in V, whose state is at `at`.
template <class V>
inline void step_strip(
    const CountingRule& rule, const CountingState& state, size_t channel, size_t at, Tally<V>& sums) {
    V membrane = load<V>(state.membrane + at);
    if (state.current) {
        membrane += load<V>(state.current + at);
        store(state.membrane + at, membrane);
    }
    const V above = membrane * rule.scale - load<V>(rule.threshold + channel);
    const V deserved = clip(round_down(above / load<V>(rule.step + channel)) + 1.0, V{}, V{} + rule.levels);
    const V before = load<V>(state.count + at);
    const V spikes = clip(deserved - before, V{} - rule.limit, V{} + rule.limit), count = before + spikes;
    store(state.count + at, count);
    store(state.spikes + at, spikes);
    sums.fired += magnitude(spikes);
    sums.net += spikes;
    sums.missing += magnitude(deserved - count);
}

inline double total(Doubles values) {
    double sum = 0;
    for (size_t i = 0; i < kLanes; ++i) sum += values[i];
    return sum;
}

CountingTotals step_counting(const CountingRule& rule, const CountingState& state, size_t positions, double* fired) {
    Doubles net{}, missing{};
    CountingTotals totals{};
    size_t at = 0;
    for (size_t position = 0; position < positions; ++position) {
        Tally<Doubles> sums;
        Tally<double> rest;
        size_t channel = 0;
        for (; channel + kLanes <= rule.channels; channel += kLanes, at += kLanes) {
            step_strip(rule, state, channel, at, sums);
        }
        for (; channel < rule.channels; ++channel, ++at) step_strip(rule, state, channel, at, rest);
        fired[position] = total(sums.fired) + rest.fired;
        totals.fired += fired[position];
        totals.net += rest.net;
        totals.missing += rest.missing;
        net += sums.net;
        missing += sums.missing;
    }
    totals.net += total(net);
    totals.missing += total(missing);
    return totals;
}

}  // namespace
