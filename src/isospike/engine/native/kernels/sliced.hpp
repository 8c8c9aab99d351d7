// A ternary layer with its neurons: one position at a time over all steps, so that membranes stay in the first cache.
#pragma once

#include "../kernels.hpp"
#include "emission.hpp"
#include "firing.hpp"
#include "membranes.hpp"
#include "receptive_field.hpp"

namespace {

using isospike::SlicedBlock;
using isospike::SlicedLayer;
using isospike::SlicedScratch;

constexpr uint32_t kMostBlocks = 1024;
constexpr int32_t kFewChannels = 64;

// Where the state of a block lies: membrane [planes], reached [levels], count [levels], moves [limit][2].
template <class H>
struct BlockState {
    H* membrane;
    H* reached;
    H* count;
    Moves<H>* moves;

    BlockState(const SlicedLayer& layer, uint8_t* at)
        : membrane(reinterpret_cast<H*>(at)),
          reached(membrane + layer.planes),
          count(reached + layer.levels),
          moves(reinterpret_cast<Moves<H>*>(count + layer.levels)) {}
};

inline size_t block_bytes(const SlicedLayer& layer, uint32_t width) {
    return (layer.planes + 2 * layer.levels + 2 * layer.limit) * size_t{width} / 8;
}

template <class H>
void reset_block(const SlicedLayer& layer, const SlicedBlock& block, uint8_t* at) {
    BlockState<H> state(layer, at);
    std::memcpy(state.membrane, block.start, layer.planes * sizeof(H));
    for (uint32_t k = 0; k < layer.levels; ++k) state.count[k] = H{};
}

// What the last step did to a block: the rounds in which it fired, the levels that matter, and whether its neurons
// agree afterwards.
struct Outcome {
    uint32_t rounds;
    uint32_t used;
    bool agree;
};

// Adds the rows of the list to the membranes, in chunks that the counters hold.
template <class V, class H>
void integrate_rows(
    const SlicedLayer& layer, const SlicedBlock& block, H* membrane, RowList rows, const SlicedScratch& scratch) {
    const uint32_t* plus = scratch.list;
    const uint32_t* minus = plus + rows.plus;
    [[maybe_unused]] H lost{};
    while (rows.plus | rows.minus) {
        const uint32_t p = rows.plus < kMostPlus ? rows.plus : kMostPlus;
        // the parts of a chunk must lie side by side: negative spikes wait until no positive ones are left
        const uint32_t m = p < rows.plus ? 0 : rows.minus < kMostMinus ? rows.minus : kMostMinus;
        alignas(sizeof(V)) H halves[2 * kMostSumPlanes];
        const int count = sum_rows<V>(block.rows, p ? plus : minus, p, m, halves);
        lost |= integrate(membrane, layer.planes, halves, static_cast<uint32_t>(count));
        plus += p, minus += m;
        rows.plus -= p, rows.minus -= m;
    }
#if defined(ISOSPIKE_CHECKS)
    if (any(lost | find_above(membrane, layer.planes, block.ceiling))) *scratch.overflow = true;
#endif
}

template <class V>
Outcome advance_block(
    const SlicedLayer& layer, const SlicedBlock& block, uint8_t* at, RowList rows, uint32_t used,
    const SlicedScratch& scratch) {
    using H = typename HalfOf<sizeof(V)>::Type;
    BlockState<H> state(layer, at);
    if (rows.plus | rows.minus | !used) {
        integrate_rows<V>(layer, block, state.membrane, rows, scratch);
        used = compare_levels(
            state.membrane, layer.planes, block.thresholds, layer.levels, state.reached, state.count);
    }
    uint32_t rounds = 0;
    while (rounds < layer.limit) {
        const Moves<H> moves = find_moves(state.reached, state.count, used, 1);
        if (!any(moves.up | moves.down)) return {rounds, used, true};
        state.moves[rounds++] = moves;
        move_counts(state.count, used, 1, moves);
    }
    return {rounds, used, all_agree(state.reached, state.count, used, 1)};
}

template <class H>
uint32_t* append_moves(
    uint32_t* to, const SlicedLayer& layer, uint8_t* at, uint32_t rounds, bool up, uint32_t channel) {
    BlockState<H> state(layer, at);
    for (uint32_t round = 0; round < rounds; ++round) {
        const H mask = up ? state.moves[round].up : state.moves[round].down;
        if (!any(mask)) continue;
        uint64_t words[sizeof(H) / 8];
        std::memcpy(words, &mask, sizeof(H));
        for (uint32_t i = 0; i < sizeof(H) / 8; ++i) to = append_bits(to, words[i], channel + 64 * i);
    }
    return to;
}

// The functions of a block, by its width.
struct BlockCode {
    void (*reset)(const SlicedLayer&, const SlicedBlock&, uint8_t*);
    Outcome (*advance)(const SlicedLayer&, const SlicedBlock&, uint8_t*, RowList, uint32_t, const SlicedScratch&);
    uint32_t* (*append)(uint32_t*, const SlicedLayer&, uint8_t*, uint32_t, bool, uint32_t);
};

template <class V>
constexpr BlockCode make_code() {
    using H = typename HalfOf<sizeof(V)>::Type;
    return {reset_block<H>, advance_block<V>, append_moves<H>};
}

inline BlockCode find_code([[maybe_unused]] uint32_t width) {
#if defined(__AVX512F__)
    if (width == 256) return make_code<Bits64>();
#endif
#if defined(__AVX2__)
    if (width == 128) return make_code<Bits32>();
#endif
    return make_code<Bits16>();
}

// One position of a sliced layer over all steps.
class SlicedPosition {
  public:
    SlicedPosition(const SlicedLayer& layer, const SlicedScratch& scratch) : layer_(layer), scratch_(scratch) {
        uint8_t* at = scratch.state;
        for (uint32_t b = 0; b < layer.block_count; ++b) {
            code_[b] = find_code(layer.blocks[b].width);
            state_[b] = at;
            at += block_bytes(layer, layer.blocks[b].width);
        }
    }

    void reset(int y, int x) {
        field_.place(layer_.window, y, x);
        for (uint32_t b = 0; b < layer_.block_count; ++b) {
            code_[b].reset(layer_, layer_.blocks[b], state_[b]);
            outcome_[b] = {0, 0, false};
        }
    }

    uint64_t active(const EventView& events, uint32_t word) const { return field_.active(events, word); }

    // Runs one step and closes its slot; true where all neurons agree afterwards.
    bool advance(const EventView& events, uint32_t step, bool current, size_t slot, EventSink& sink) {
        RowList rows{0, 0};
        if (current && layer_.window.in_channels <= kFewChannels) {
            rows = gather_rows<16>(field_, events, step, layer_.zero_row, scratch_.list);
        } else if (current) {
            rows = gather_rows<32>(field_, events, step, layer_.zero_row, scratch_.list);
        }
        bool agree = true;
        for (uint32_t b = 0; b < layer_.block_count; ++b) {
            Outcome& outcome = outcome_[b];
            if (current || !outcome.agree) {
                outcome = code_[b].advance(layer_, layer_.blocks[b], state_[b], rows, outcome.used, scratch_);
            } else {
                outcome.rounds = 0;
            }
            agree &= outcome.agree;
        }
        emit(slot, sink);
        return agree;
    }

  private:
    void emit(size_t slot, EventSink& sink) {
        uint32_t rounds = 0;
        for (uint32_t b = 0; b < layer_.block_count; ++b) rounds += outcome_[b].rounds * layer_.blocks[b].width;
        if (!rounds) return close_slot(sink, slot, 0);
        reserve(sink, rounds);
        uint32_t* const begin = sink.items + sink.size;
        uint32_t* end = append(begin, true);
        const auto positive = static_cast<uint32_t>(end - begin);
        end = append(end, false);
        sink.size += static_cast<size_t>(end - begin);
        close_slot(sink, slot, positive);
    }

    uint32_t* append(uint32_t* to, bool up) {
        for (uint32_t b = 0; b < layer_.block_count; ++b) {
            if (!outcome_[b].rounds) continue;
            to = code_[b].append(to, layer_, state_[b], outcome_[b].rounds, up, layer_.blocks[b].channel);
        }
        return to;
    }

    const SlicedLayer& layer_;
    const SlicedScratch& scratch_;
    ReceptiveField field_;
    BlockCode code_[kMostBlocks];
    uint8_t* state_[kMostBlocks];
    Outcome outcome_[kMostBlocks];
};

void run_sliced(const SlicedLayer& layer, const EventView& events, EventSink& sink, const SlicedScratch& scratch) {
    SlicedPosition position(layer, scratch);
    size_t slot = 0;
    for (int y = 0; y < layer.window.out_height; ++y) {
        for (int x = 0; x < layer.window.out_width; ++x) {
            position.reset(y, x);
            bool agree = false;
            for (uint32_t word = 0; word < events.words; ++word) {
                const uint64_t active = position.active(events, word);
                const uint32_t last = sink.steps < 64 * (word + 1) ? sink.steps : 64 * (word + 1);
                for (uint32_t step = 64 * word; step < last; ++step, ++slot) {
                    const bool current = active >> (step % 64) & 1;
                    if (current || !agree) {
                        agree = position.advance(events, step, current, slot, sink);
                    } else {
                        close_slot(sink, slot, 0);
                    }
                    if (!agree) scratch.unsettled[step] = 1;
                }
            }
        }
    }
}

}  // namespace
