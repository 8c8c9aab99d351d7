// One row of float weights, added where a channel's spikes land.
#pragma once

#include "../kernels.hpp"
#include "vectors.hpp"

namespace {

using isospike::Landing;

// Adds `Vectors` * kLanes numbers of the row, which stay in registers.
template <size_t Vectors>
inline void scatter_strip(double* target, const double* row, size_t width, const Landing* landings, size_t count) {
    Doubles weights[Vectors];
    for (size_t v = 0; v < Vectors; ++v) weights[v] = load<Doubles>(row + kLanes * v);
    for (size_t i = 0; i < count; ++i) {
        double* const to = target + size_t{landings[i].place} * width;
        for (size_t v = 0; v < Vectors; ++v) {
            store(to + kLanes * v, load<Doubles>(to + kLanes * v) + weights[v] * landings[i].factor);
        }
    }
}

void scatter_row(double* target, const double* row, size_t width, const Landing* landings, size_t count) {
    size_t at = 0;
    for (; at + 8 * kLanes <= width; at += 8 * kLanes) scatter_strip<8>(target + at, row + at, width, landings, count);
    for (; at + kLanes <= width; at += kLanes) scatter_strip<1>(target + at, row + at, width, landings, count);
    for (; at < width; ++at) {
        for (size_t i = 0; i < count; ++i) {
            target[size_t{landings[i].place} * width + at] += row[at] * landings[i].factor;
        }
    }
}

}  // namespace
