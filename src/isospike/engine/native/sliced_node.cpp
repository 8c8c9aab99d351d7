#include <algorithm>
#include <bit>

#include "spiking_nodes.hpp"

namespace isospike {

namespace {

constexpr size_t kMostList = size_t{1} << 24;
constexpr size_t kMostTaps = 1024;

struct SlicedState : EventState {
    SlicedState(const Shape& shape, uint32_t steps, size_t list, size_t bytes)
        : EventState(shape, steps), list(list * sizeof(uint32_t)), blocks(bytes) {}

    AlignedBytes list, blocks;
};

size_t count_taps(const Window& window) {
    return static_cast<size_t>(window.kernel_height) * static_cast<size_t>(window.kernel_width);
}

size_t count_rows(const Window& window) { return count_taps(window) * static_cast<size_t>(window.in_channels); }

// One bit per lane in each plane; lanes and planes in order of significance.
void set_bits(uint8_t* planes, size_t stride, uint32_t lane, uint64_t value, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        if (value >> i & 1) planes[i * stride + lane / 8] |= static_cast<uint8_t>(1 << (lane % 8));
    }
}

uint32_t count_planes(const Thresholds& thresholds) {
    uint64_t range = 0;
    for (size_t c = 0; c < thresholds.low.size(); ++c) {
        range = std::max(range, static_cast<uint64_t>(int64_t{thresholds.high[c]} - thresholds.low[c]));
    }
    return static_cast<uint32_t>(std::bit_width(range + 1));
}

}  // namespace

bool SlicedNode::accepts(const Node& source, const Window& window) {
    const size_t repeats = source.most_repeats();
    return repeats && count_taps(window) <= kMostTaps && repeats <= kMostList / count_rows(window);
}

SlicedNode::SlicedNode(
    size_t number, Shape shape, const Node& source, const Window& window, int32_t groups, const int8_t* weight,
    const Thresholds& thresholds, const Kernels& kernels)
    : EventNode(number, shape, thresholds.limit),
      source_(source),
      list_size_(count_rows(window) * source.most_repeats() + 2 * kGroup + kSlack) {
    layer_.window = window;
    layer_.planes = count_planes(thresholds);
    layer_.levels = (thresholds.levels + 3) / 4 * 4;
    layer_.limit = thresholds.limit;
    layer_.zero_row = static_cast<uint32_t>(count_rows(window) * 8);
    const auto channels = static_cast<uint32_t>(shape.channels);
    for (uint32_t channel = 0; channel < channels;) {
        // the widest block that is not half empty, or the narrowest one
        const uint32_t* width = kernels.widths;
        while (width[1] && channels - channel <= width[1]) ++width;
        pack_block(channel, *width, groups, weight, thresholds);
        channel += *width;
    }
    layer_.blocks = blocks_.data();
    layer_.block_count = static_cast<uint32_t>(blocks_.size());
}

void SlicedNode::pack_block(
    uint32_t channel, uint32_t width, int32_t groups, const int8_t* weight, const Thresholds& thresholds) {
    const Window& w = layer_.window;
    const size_t taps = count_taps(w), rows = count_rows(w), row_bytes = width / 4, half = width / 8;
    const auto channels = static_cast<size_t>(shape.channels), in_channels = static_cast<size_t>(w.in_channels);
    const size_t in_group = in_channels / static_cast<size_t>(groups);
    const size_t out_group = channels / static_cast<size_t>(groups);
    const uint32_t planes = layer_.planes;
    AlignedBytes row((rows + 1) * row_bytes), first(size_t{layer_.levels} * planes * half), start(planes * half),
        ceiling(planes * half);
    for (uint32_t lane = 0; lane < width; ++lane) {
        const size_t out = channel + lane;
        const bool exists = out < channels;
        for (uint32_t k = 0; k < layer_.levels; ++k) {
            const bool level = exists && k < thresholds.levels;
            // a threshold of all ones is above every membrane
            const int64_t value = level ? int64_t{thresholds.first[k * channels + out]} - thresholds.low[out] : -1;
            uint8_t* const at = first.data() + (size_t{k / 4} * planes * 4 + k % 4) * half;
            set_bits(at, 4 * half, lane, static_cast<uint64_t>(value), planes);
        }
        if (!exists) continue;
        set_bits(start.data(), half, lane, static_cast<uint64_t>(-int64_t{thresholds.low[out]}), planes);
        const int64_t range = int64_t{thresholds.high[out]} - thresholds.low[out];
        set_bits(ceiling.data(), half, lane, static_cast<uint64_t>(range), planes);
        for (size_t in = 0; in < in_group; ++in) {
            for (size_t tap = 0; tap < taps; ++tap) {
                const int8_t value = weight[(out * in_group + in) * taps + tap];
                if (!value) continue;
                const size_t at = (tap * in_channels + out / out_group * in_group + in) * row_bytes;
                set_bits(row.data() + at + (value < 0 ? half : 0), 0, lane, 1, 1);
            }
        }
    }
    blocks_.push_back({row.data(), first.data(), start.data(), ceiling.data(), width, channel});
    for (AlignedBytes* each : {&row, &first, &start, &ceiling}) storage_.push_back(std::move(*each));
}

std::unique_ptr<State> SlicedNode::make_state(uint32_t steps) const {
    return std::make_unique<SlicedState>(shape, steps, list_size_, sliced_state_bytes(layer_));
}

void SlicedNode::run(Workspace& workspace) const {
    auto& state = state_of<SlicedState>(workspace, *this);
    EventSink sink = state.events.open();
    const SlicedScratch scratch{
        reinterpret_cast<uint32_t*>(state.list.data()), state.blocks.data(), workspace.unsettled.data(),
        &workspace.overflow};
    workspace.kernels.run_sliced(layer_, source_.find_events(workspace)->view(), sink, scratch);
}

}  // namespace isospike
