#include "spiking_nodes.hpp"

#include <algorithm>
#include <cstdlib>

#include "linear_nodes.hpp"

namespace isospike {

namespace {

struct NeuronState : EventState {
    NeuronState(const Shape& shape, uint32_t steps, const PlainNeurons& neurons)
        : EventState(shape, steps),
          membrane(neurons.words * size_t{64}),
          masks(size_t{neurons.words} * 2 * (size_t{neurons.levels} + neurons.limit)) {}

    PlainState place(const PlainNeurons& neurons) {
        const size_t counts = size_t{neurons.words} * neurons.levels;
        return {masks.data(), masks.data() + counts, masks.data() + 2 * counts, 0};
    }

    std::vector<int32_t> membrane;
    std::vector<uint64_t> masks;
};

struct PoolState : EventState {
    PoolState(const Shape& shape, uint32_t steps, size_t taps)
        : EventState(shape, steps),
          sums(taps * static_cast<size_t>(shape.channels)),
          emitted(static_cast<size_t>(shape.channels)) {}

    std::vector<int32_t> sums, emitted;
};

struct ReadoutState : State {
    explicit ReadoutState(size_t classes) : membrane(classes) {}
    std::vector<int32_t> membrane;
};

size_t count_taps(const Window& window) {
    return static_cast<size_t>(window.kernel_height) * static_cast<size_t>(window.kernel_width);
}

}  // namespace

NeuronNode::NeuronNode(size_t number, const Node& source, Thresholds thresholds, std::vector<int32_t> start)
    : EventNode(number, source.shape, thresholds.limit),
      source_(source),
      thresholds_(std::move(thresholds)),
      start_(std::move(start)) {
    const size_t channels = thresholds_.low.size(), padded = padded_channels(shape);
    std::vector<int32_t> first(thresholds_.levels * padded, 1);  // channels that do not exist stay at 0 and never fire
    for (size_t k = 0; k < thresholds_.levels; ++k) {
        std::copy_n(thresholds_.first.data() + k * channels, channels, first.data() + k * padded);
    }
    thresholds_.first = std::move(first);
    neurons_ = {
        thresholds_.first.data(), static_cast<uint32_t>(channels), static_cast<uint32_t>(padded / 64),
        thresholds_.levels, thresholds_.limit};
}

std::unique_ptr<State> NeuronNode::make_state(uint32_t steps) const {
    return std::make_unique<NeuronState>(shape, steps, neurons_);
}

void NeuronNode::run(Workspace& workspace) const {
    auto& state = state_of<NeuronState>(workspace, *this);
    EventSink sink = state.events.open();
    const uint32_t arriving = source_.count_steps(workspace);
    const auto channels = static_cast<size_t>(shape.channels);
    size_t slot = 0;
    for (size_t position = 0; position < shape.positions(); ++position) {
        PlainState plain = state.place(neurons_);
        std::fill(state.membrane.begin(), state.membrane.end(), 0);
        if (!start_.empty()) std::copy_n(start_.data() + position * channels, channels, state.membrane.data());
        std::fill_n(plain.count, size_t{neurons_.words} * neurons_.levels, 0);
        bool agree = false;
        for (uint32_t step = 0; step < workspace.steps; ++step, ++slot) {
            bool changed = step < arriving && source_.add(workspace, position, step, state.membrane.data());
            if (changed) check(workspace, state.membrane.data());
            if (changed || !agree) {
                changed |= !step;
                agree = workspace.kernels.step_neurons(
                    neurons_, plain, state.membrane.data(), changed, slot, sink);
            } else {
                Events::close_slot(sink, slot, 0);
            }
            if (!agree) workspace.unsettled[step] = 1;
        }
    }
}

void NeuronNode::check([[maybe_unused]] Workspace& workspace, [[maybe_unused]] const int32_t* membrane) const {
#if defined(ISOSPIKE_CHECKS)
    for (size_t c = 0; c < thresholds_.low.size(); ++c) {
        if (membrane[c] < thresholds_.low[c] || membrane[c] > thresholds_.high[c]) workspace.overflow = true;
    }
#endif
}

MaxPoolNode::MaxPoolNode(
    size_t number, Shape shape, const Node& source, const Window& window, int32_t limit, std::vector<int32_t> signs)
    : EventNode(number, shape, static_cast<size_t>(limit)),
      source_(source),
      window_(window),
      limit_(limit),
      signs_(std::move(signs)) {}

std::unique_ptr<State> MaxPoolNode::make_state(uint32_t steps) const {
    return std::make_unique<PoolState>(shape, steps, count_taps(window_));
}

void MaxPoolNode::run(Workspace& workspace) const {
    auto& state = state_of<PoolState>(workspace, *this);
    EventSink sink = state.events.open();
    const auto channels = static_cast<size_t>(shape.channels);
    size_t slot = 0;
    for (size_t position = 0; position < shape.positions(); ++position) {
        std::fill(state.sums.begin(), state.sums.end(), 0);
        std::fill(state.emitted.begin(), state.emitted.end(), 0);
        bool agree = true;
        for (uint32_t step = 0; step < workspace.steps; ++step, ++slot) {
            if (step && step == workspace.restart) {
                std::fill(state.sums.begin(), state.sums.end(), 0);
                std::fill(state.emitted.begin(), state.emitted.end(), 0);
                agree = true;
            }
            bool current = false;
            size_t inside = 0;
            visit_window(window_, position, [&](size_t, size_t from) {
                current |= source_.add(workspace, from, step, state.sums.data() + inside++ * channels);
            });
            if (current || !agree) {
                agree = track(state.sums.data(), inside, state.emitted.data(), slot, sink);
            } else {
                Events::close_slot(sink, slot, 0);
            }
            if (!agree) workspace.unsettled[step] = 1;
        }
    }
}

bool MaxPoolNode::track(int32_t* sums, size_t taps, int32_t* emitted, size_t slot, EventSink& sink) const {
    const auto channels = static_cast<size_t>(shape.channels);
    const size_t begin = sink.size;
    size_t positive = 0;
    bool agree = true;
    for (const int sign : {1, -1}) {
        for (size_t c = 0; c < channels; ++c) {
            int32_t most = signs_[c] * sums[c];
            for (size_t tap = 1; tap < taps; ++tap) most = std::max(most, signs_[c] * sums[tap * channels + c]);
            const int64_t owed = (int64_t{signs_[c] * most} - emitted[c]) * sign;
            if (owed <= 0) continue;
            const auto spikes = static_cast<int32_t>(std::min<int64_t>(owed, limit_));
            agree &= owed == spikes;
            emitted[c] += sign * spikes;
            Events::reserve(sink, static_cast<size_t>(spikes));
            std::fill_n(sink.items + sink.size, spikes, static_cast<uint32_t>(c));
            sink.size += static_cast<size_t>(spikes);
        }
        if (sign > 0) positive = sink.size - begin;
    }
    Events::close_slot(sink, slot, positive);
    return agree;
}

ReadoutNode::ReadoutNode(size_t number, const Node& source, std::vector<int32_t> bias, bool held)
    : Node(number, source.shape), source_(source), bias_(std::move(bias)), held_(held) {}

std::unique_ptr<State> ReadoutNode::make_state(uint32_t) const { return std::make_unique<ReadoutState>(bias_.size()); }

void ReadoutNode::run(Workspace& workspace) const {
    auto& membrane = state_of<ReadoutState>(workspace, *this).membrane;
    std::fill(membrane.begin(), membrane.end(), 0);
    for (uint32_t step = 0; step < workspace.steps; ++step) {
        if (step && step == workspace.restart) std::fill(membrane.begin(), membrane.end(), 0);
        source_.add(workspace, 0, step, membrane.data());
        for (size_t c = 0; held_ && c < bias_.size(); ++c) membrane[c] += bias_[c];
        int32_t* const logits = workspace.logits + step * workspace.logits_stride;
        for (size_t c = 0; c < bias_.size(); ++c) logits[c] = membrane[c] + (held_ ? 0 : bias_[c]);
    }
}

}  // namespace isospike
