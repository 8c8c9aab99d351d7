// Windows that slide over a feature map, checked.
#pragma once

#include <stdexcept>

#include "layout.hpp"

namespace isospike {

constexpr int64_t kMostSize = int64_t{1} << 30;  // numbers of a node
constexpr int32_t kMostSide = 1 << 15;

inline void expect(bool holds, const char* message) {
    if (!holds) throw std::invalid_argument(message);
}

inline bool within(int32_t low, int32_t value, int32_t high) { return low <= value && value <= high; }

// The window with the sizes of what comes in and of what goes out.
// Throws std::invalid_argument where its kernel, stride, padding or dilation make no sense or do not fit.
Window fit_window(Window window, int32_t in_channels, int32_t in_height, int32_t in_width);

}  // namespace isospike
