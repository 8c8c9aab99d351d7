// Layers with other weights than ternary ones: int32 membranes, rows added one by one.
#pragma once

#include "../kernels.hpp"
#include "emission.hpp"
#include "firing.hpp"

namespace {

using isospike::PlainNeurons;
using isospike::PlainState;

using Sums = int32_t __attribute__((vector_size(64)));
using Narrow = int16_t __attribute__((vector_size(32)));

inline Sums widen(const int16_t* row) { return __builtin_convertvector(load<Narrow>(row), Sums); }
inline Sums widen(const int32_t* row) { return load<Sums>(row); }

// Adds a list of rows to `Vectors` * 16 sums, which stay in registers.
template <int Vectors, class W>
inline void add_strip(
    int32_t* target, const W* weights, uint32_t width, const isospike::WeightedRow* list, size_t count) {
    Sums sums[Vectors];
    for (int v = 0; v < Vectors; ++v) sums[v] = load<Sums>(target + 16 * v);
    for (size_t i = 0; i < count; ++i) {
        const W* const row = weights + size_t{list[i].row} * width;
        for (int v = 0; v < Vectors; ++v) {
            sums[v] += widen(row + 16 * v) * list[i].factor;
        }
    }
    for (int v = 0; v < Vectors; ++v) store(target + 16 * v, sums[v]);
}

// Sums wrap around (-fwrapv), and are exact where the final sum fits.
template <class W>
void add_rows(int32_t* target, const W* weights, uint32_t width, const isospike::WeightedRow* list, size_t count) {
    uint32_t at = 0;
    for (; at + 96 <= width; at += 96) add_strip<6>(target + at, weights + at, width, list, count);
    for (; at + 32 <= width; at += 32) add_strip<2>(target + at, weights + at, width, list, count);
    for (; at + 16 <= width; at += 16) add_strip<1>(target + at, weights + at, width, list, count);
    for (size_t i = 0; at < width && i < count; ++i) {
        const W* const row = weights + size_t{list[i].row} * width;
        for (uint32_t j = at; j < width; ++j) target[j] += list[i].factor * row[j];
    }
}

using Short32 = int16_t __attribute__((vector_size(64)));
using Wide32 = int32_t __attribute__((vector_size(128)));
using Short8 = int16_t __attribute__((vector_size(16)));
using Wide8 = int32_t __attribute__((vector_size(32)));

// Adds rows to `Vectors` vectors of sums that stay in registers: 16 bits wide, and emptied before they can overflow.
template <class Short, class Wide, int Vectors>
inline void add_unit_strip(
    int32_t* target, const int16_t* weights, uint32_t width, const uint32_t* rows, size_t plus, size_t minus,
    size_t most) {
    constexpr int Lanes = sizeof(Short) / 2;
    const size_t count = plus + minus;
    for (size_t first = 0; first < count; first += most) {
        const size_t last = count - first < most ? count : first + most, middle = plus < last ? plus : last;
        Short sums[Vectors] = {};
        size_t i = first;
        for (; i < middle; ++i) {
            const int16_t* const row = weights + size_t{rows[i]} * width;
            for (int v = 0; v < Vectors; ++v) sums[v] += load<Short>(row + Lanes * v);
        }
        for (; i < last; ++i) {
            const int16_t* const row = weights + size_t{rows[i]} * width;
            for (int v = 0; v < Vectors; ++v) sums[v] -= load<Short>(row + Lanes * v);
        }
        for (int v = 0; v < Vectors; ++v) {
            int32_t* const to = target + Lanes * v;
            store(to, load<Wide>(to) + __builtin_convertvector(sums[v], Wide));
        }
    }
}

void add_unit_rows(
    int32_t* target, const int16_t* weights, uint32_t width, const uint32_t* rows, size_t plus, size_t minus,
    size_t most) {
    uint32_t at = 0;
    for (; at + 128 <= width; at += 128) {
        add_unit_strip<Short32, Wide32, 4>(target + at, weights + at, width, rows, plus, minus, most);
    }
    for (; at + 32 <= width; at += 32) {
        add_unit_strip<Short32, Wide32, 1>(target + at, weights + at, width, rows, plus, minus, most);
    }
    for (; at + 8 <= width; at += 8) {
        add_unit_strip<Short8, Wide8, 1>(target + at, weights + at, width, rows, plus, minus, most);
    }
    for (size_t i = 0; at < width && i < plus + minus; ++i) {
        const int16_t* const row = weights + size_t{rows[i]} * width;
        for (uint32_t j = at; j < width; ++j) target[j] += i < plus ? row[j] : -row[j];
    }
}

// Bit i: value[i] >= threshold[i], for 64 values.
inline uint64_t compare_word(const int32_t* value, const int32_t* threshold) {
    uint64_t word = 0;
#if defined(__AVX512F__)
    for (int i = 0; i < 64; i += 16) {
        const __m512i v = _mm512_loadu_si512(value + i), t = _mm512_loadu_si512(threshold + i);
        word |= uint64_t{_mm512_cmpge_epi32_mask(v, t)} << i;
    }
#elif defined(__AVX2__)
    for (int i = 0; i < 64; i += 8) {
        const __m256i v = load<__m256i>(value + i), t = load<__m256i>(threshold + i);
        const int below = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(t, v)));
        word |= static_cast<uint64_t>(~below & 0xFF) << i;
    }
#else
    for (int i = 0; i < 64; ++i) word |= static_cast<uint64_t>(value[i] >= threshold[i]) << i;
#endif
    return word;
}

uint32_t compare_levels(const PlainNeurons& neurons, PlainState& state, const int32_t* membrane) {
    const uint32_t words = neurons.words;
    for (uint32_t k = 0; k < neurons.levels; ++k) {
        const int32_t* threshold = neurons.thresholds + size_t{k} * words * 64;
        uint64_t any = 0;
        for (uint32_t w = 0; w < words; ++w) {
            const uint64_t reached = compare_word(membrane + 64 * w, threshold + 64 * w);
            state.reached[k * words + w] = reached;
            any |= reached | state.count[k * words + w];
        }
        if (!any) return k;
    }
    return neurons.levels;
}

uint32_t* append_rounds(uint32_t* to, const uint64_t* fired, uint32_t rounds, uint32_t words) {
    for (uint32_t round = 0; round < rounds; ++round) {
        for (uint32_t w = 0; w < words; ++w) to = append_bits(to, fired[2 * words * round + w], 64 * w);
    }
    return to;
}

bool step_neurons(
    const PlainNeurons& neurons, PlainState& state, const int32_t* membrane, bool changed, size_t slot,
    EventSink& sink) {
    const uint32_t words = neurons.words;
    if (changed) state.used = compare_levels(neurons, state, membrane);
    uint32_t rounds = 0;
    bool agree = false;
    while (rounds < neurons.limit && !agree) {
        uint64_t* const fired = state.fired + size_t{2} * words * rounds;
        uint64_t any = 0;
        for (uint32_t w = 0; w < words; ++w) {
            const Moves<uint64_t> moves = find_moves(state.reached + w, state.count + w, state.used, words);
            fired[w] = moves.up;
            fired[words + w] = moves.down;
            any |= moves.up | moves.down;
            move_counts(state.count + w, state.used, words, moves);
        }
        agree = !any;
        rounds += !agree;
    }
    if (!agree) {
        agree = true;
        for (uint32_t w = 0; w < words; ++w) agree &= all_agree(state.reached + w, state.count + w, state.used, words);
    }
    reserve(sink, size_t{rounds} * words * 64);
    uint32_t* const begin = sink.items + sink.size;
    uint32_t* end = append_rounds(begin, state.fired, rounds, words);
    const auto positive = static_cast<uint32_t>(end - begin);
    end = append_rounds(end, state.fired + words, rounds, words);
    sink.size += static_cast<size_t>(end - begin);
    close_slot(sink, slot, positive);
    return agree;
}

}  // namespace
