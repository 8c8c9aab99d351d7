#include "counting.hpp"

#include <algorithm>

#include "threads.hpp"

namespace isospike {

namespace {

// Neurons that are worth a thread of their own.
constexpr size_t kWorth = size_t{1} << 15;

}  // namespace

void step_neurons_of_doubles(
    const Kernels& kernels, const CountingRule& rule, const CountingState& state, size_t positions, double* fired,
    CountingTotals* totals, size_t images, unsigned threads) {
    const size_t neurons = positions * rule.channels;
    const size_t most = 1 + images * neurons / kWorth;
    share(images, static_cast<unsigned>(std::min<size_t>(threads, most)), [&](Numbers& numbers) {
        for (size_t image; numbers.take(image);) {
            const size_t first = image * neurons;
            const CountingState at{
                state.current ? state.current + first : nullptr, state.membrane + first, state.count + first,
                state.spikes + first};
            totals[image] = kernels.step_counting(rule, at, positions, fired + image * positions);
        }
    });
}

}  // namespace isospike
