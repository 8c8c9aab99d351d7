// Steps of counting neurons in double precision.
#pragma once

#include "kernels.hpp"

namespace isospike {

// One step in each of `images` images, whose states follow one another, [image][position][channel].
//   fired: [image][position], the spikes of either sign at each position; totals: [image].
void step_neurons_of_doubles(
    const Kernels& kernels, const CountingRule& rule, const CountingState& state, size_t positions, double* fired,
    CountingTotals* totals, size_t images, unsigned threads);

}  // namespace isospike
