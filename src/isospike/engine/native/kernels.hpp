// The inner loops, compiled once per instruction set, as a table of functions.
#pragma once

#include "layout.hpp"

namespace isospike {

struct Kernels {
    const char* name;

    // Block widths that this instruction set prefers, the largest first; ends with 0.
    const uint32_t* widths;

    // A ternary layer with its neurons over one image and all steps.
    void (*run_sliced)(const SlicedLayer&, const EventView&, EventSink&, const SlicedScratch&);

    // target[i] += factor * weights[row * width + i] for i < width, over the rows of a list.
    void (*add_rows)(
        int32_t* target, const int16_t* weights, uint32_t width, const WeightedRow* list, size_t count);
    void (*add_wide_rows)(
        int32_t* target, const int32_t* weights, uint32_t width, const WeightedRow* list, size_t count);

    // target[i] += the sum of `plus` rows minus that of the `minus` rows after them; `most` rows fit in 16 bits.
    void (*add_unit_rows)(
        int32_t* target, const int16_t* weights, uint32_t width, const uint32_t* rows, size_t plus, size_t minus,
        size_t most);

    // One step of the neurons at one position, into `slot` of the sink; true where all agree afterwards. `changed`: the
    // membrane has moved.
    bool (*step_neurons)(
        const PlainNeurons&, PlainState&, const int32_t* membrane, bool changed, size_t slot, EventSink&);

    // target[place * width + i] += factor * row[i] for i < width, over the landings of a list.
    void (*scatter_row)(double* target, const double* row, size_t width, const Landing* landings, size_t count);

    // One step of counting neurons over the positions of one image; `fired` gets the spikes at each position.
    CountingTotals (*step_counting)(const CountingRule&, const CountingState&, size_t positions, double* fired);
};

// Bytes of SlicedScratch::state for a layer.
size_t sliced_state_bytes(const SlicedLayer& layer);

#if defined(__aarch64__)
const Kernels& neon_kernels();
#else
const Kernels& baseline_kernels();
#endif
#if defined(__x86_64__)
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
#endif

}  // namespace isospike
