// Plain structures that the kernels and the rest of the engine share. No standard library types: the kernels are
// compiled once per instruction set, and inline library code compiled for one must never be linked into another.
#pragma once

#include <cstddef>
#include <cstdint>

namespace isospike {

// A window that slides over a feature map of in_height * in_width positions.
struct Window {
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width;
    int32_t stride_height, stride_width;
    int32_t padding_height, padding_width;
    int32_t dilation_height, dilation_width;
};

// Where a number of a float layer lands: the number of an output position, and what the weights are multiplied by.
struct Landing {
    uint32_t place;
    double factor;
};

// Counting neurons in double precision: V deserves clip(floor((scale * V - threshold) / step) + 1, 0, levels) spikes,
// of which at most `limit` come in a step. One threshold and one step for each channel.
struct CountingRule {
    const double* threshold;
    const double* step;
    size_t channels;
    double scale;
    double levels;
    double limit;
};

// Their state in one image, [position][channel]; `current` may be null, `spikes` is written to.
struct CountingState {
    const double* current;
    double* membrane;
    double* count;
    double* spikes;
};

// What one image's neurons did in a step.
struct CountingTotals {
    double fired;    // positive spikes and negative ones
    double net;      // positive spikes minus negative ones
    double missing;  // spikes that are still deserved, either way
};

// The spikes of one node, one image, all steps: at slot = position * steps + step the channels that fire lie at
// items[start[slot] .. start[slot + 1]), the first positive[slot] of them firing +1 and the rest -1. A channel that
// fires twice is listed twice. Bit `step` of active[position * words ..] says that a slot is not empty.
struct EventView {
    const uint32_t* items;
    const uint32_t* start;
    const uint32_t* positive;
    const uint64_t* active;
    uint32_t steps;
    uint32_t words;
};

// The same, being written slot by slot. `grow` makes room for `need` more items.
struct EventSink {
    uint32_t* items;
    uint32_t* start;
    uint32_t* positive;
    uint64_t* active;
    uint32_t steps;
    uint32_t words;
    size_t size;
    size_t capacity;
    void* owner;
    void (*grow)(EventSink* sink, size_t need);
};

// Items may be read and written this far past their end.
constexpr size_t kSlack = 128;

// Kernels add rows in groups of this many; zero rows fill the last group.
constexpr uint32_t kGroup = 16;

// `width` output channels of a ternary layer, bit-sliced: a row is `width` bits of +1 weights followed by `width` bits
// of -1 weights; thresholds are [level / 4][plane][level % 4] and start is [plane], of `width` bits each.
struct SlicedBlock {
    const uint8_t* rows;
    const uint8_t* thresholds;
    const uint8_t* start;
    const uint8_t* ceiling;
    uint32_t width;
    uint32_t channel;
};

// A ternary layer and its counting neurons. Membranes are kept as V - low in `planes` bits.
struct SlicedLayer {
    Window window;
    const SlicedBlock* blocks;
    uint32_t block_count;
    uint32_t planes;
    uint32_t levels;  // a multiple of 4
    uint32_t limit;
    uint32_t zero_row;
};

// What a thread needs to run a sliced layer; every pointer is aligned to 64 bytes.
struct SlicedScratch {
    uint32_t* list;    // room for a receptive field of events, and slack
    uint8_t* state;    // sliced_state_bytes
    uint8_t* unsettled;  // one per step, set where a neuron disagrees
    bool* overflow;    // set by a build with checks
};

// A row of weights to be added `factor` times.
struct WeightedRow {
    uint32_t row;
    int32_t factor;
};

// Counting neurons that take an int32 membrane: words of 64 channels, thresholds [level][channel].
struct PlainNeurons {
    const int32_t* thresholds;
    uint32_t channels;
    uint32_t words;
    uint32_t levels;
    uint32_t limit;
};

// State of the neurons at one position; reached and count are [level][word].
struct PlainState {
    uint64_t* reached;
    uint64_t* count;
    uint64_t* fired;  // [round][up or down][word]
    uint32_t used;
};

constexpr size_t padded_words(size_t channels) { return (channels + 63) / 64; }

}  // namespace isospike
