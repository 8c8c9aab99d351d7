// The events that an output position sees, as one list of rows.
#pragma once

#include "../layout.hpp"
#include "vectors.hpp"

namespace {

using isospike::EventView;
using isospike::Window;

constexpr int kMostTaps = 1024;

// An input position under the kernel, and where its rows begin, in units of an eighth of a row.
struct Tap {
    uint32_t position;
    uint32_t offset;
};

struct ReceptiveField {
    Tap taps[kMostTaps];
    int count;

    void place(const Window& w, int y, int x) {
        count = 0;
        for (int ky = 0; ky < w.kernel_height; ++ky) {
            const int in_y = y * w.stride_height - w.padding_height + ky * w.dilation_height;
            if (in_y < 0 || in_y >= w.in_height) continue;
            for (int kx = 0; kx < w.kernel_width; ++kx) {
                const int in_x = x * w.stride_width - w.padding_width + kx * w.dilation_width;
                if (in_x < 0 || in_x >= w.in_width) continue;
                const auto row = static_cast<uint32_t>((ky * w.kernel_width + kx) * w.in_channels);
                taps[count++] = {static_cast<uint32_t>(in_y * w.in_width + in_x), row * 8};
            }
        }
    }

    // The steps of word `word` in which anything comes.
    uint64_t active(const EventView& events, uint32_t word) const {
        uint64_t steps = 0;
        for (int i = 0; i < count; ++i) steps |= events.active[size_t{taps[i].position} * events.words + word];
        return steps;
    }
};

using Items = uint32_t __attribute__((vector_size(64)));

// to[i] = from[i] * 8 + offset, `Chunk` at a time and once at least, so that most calls take no branch that varies:
// reads and writes up to `Chunk` items too many.
template <uint32_t Chunk>
inline uint32_t* append_items(uint32_t* to, const uint32_t* from, uint32_t count, uint32_t offset) {
    uint32_t i = 0;
    do {
#pragma GCC unroll 4
        for (uint32_t j = 0; j < Chunk; j += 16) store(to + i + j, load<Items>(from + i + j) * 8 + offset);
        i += Chunk;
    } while (i < count);
    return to + count;
}

// Fills the last group with the zero row.
inline uint32_t* pad_items(const uint32_t* list, uint32_t* end, uint32_t zero_row) {
    store(end, Items{} + zero_row);
    return end + (-static_cast<uint32_t>(end - list)) % isospike::kGroup;
}

// A list of positive spikes and then negative ones, each part filled up to whole groups.
struct RowList {
    uint32_t plus, minus;
};

// `Chunk` positive spikes of one input position are copied at a time.
template <uint32_t Chunk>
inline RowList gather_rows(
    const ReceptiveField& field, const EventView& events, uint32_t step, uint32_t zero_row, uint32_t* list) {
    uint32_t* end = list;
    uint32_t negative = 0;
    for (int i = 0; i < field.count; ++i) {
        const size_t slot = size_t{field.taps[i].position} * events.steps + step;
        const uint32_t start = events.start[slot], positive = events.positive[slot];
        negative += events.start[slot + 1] - start - positive;
        end = append_items<Chunk>(end, events.items + start, positive, field.taps[i].offset);
    }
    end = pad_items(list, end, zero_row);
    const auto plus = static_cast<uint32_t>(end - list);
    if (!negative) return {plus, 0};
    uint32_t* const middle = end;
    for (int i = 0; i < field.count; ++i) {
        const size_t slot = size_t{field.taps[i].position} * events.steps + step;
        const uint32_t start = events.start[slot] + events.positive[slot];
        end = append_items<16>(end, events.items + start, events.start[slot + 1] - start, field.taps[i].offset);
    }
    end = pad_items(middle, end, zero_row);
    return {plus, static_cast<uint32_t>(end - middle)};
}

}  // namespace
