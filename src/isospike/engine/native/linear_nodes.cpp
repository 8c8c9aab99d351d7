#include "linear_nodes.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace isospike {

namespace {

struct PixelState : State {
    explicit PixelState(const Shape& shape) : frame(shape.size()) {}
    std::vector<int32_t> frame;
};

// What comes in at each step, where that is not spikes; empty for a step that brings nothing.
struct FrameState : State {
    FrameState(uint32_t steps, size_t groups, size_t rows) : frames(steps), lists(groups), list(rows + 1) {}
    std::vector<std::vector<int32_t>> frames;
    std::vector<std::vector<WeightedRow>> lists;  // by group
    std::vector<WeightedRow> list;                // a whole receptive field, and one more
    std::vector<uint32_t> units;
};

struct FlattenState : State {
    explicit FlattenState(int32_t channels) : values(static_cast<size_t>(channels)) {}
    std::vector<int32_t> values;
};

}  // namespace

EventNode::EventNode(size_t number, Shape shape, size_t repeats) : Node(number, shape), repeats_(repeats) {}

std::unique_ptr<State> EventNode::make_state(uint32_t steps) const {
    return std::make_unique<EventState>(shape, steps);
}

Events& EventNode::events_of(Workspace& workspace) const { return state_of<EventState>(workspace, *this).events; }

const Events* EventNode::find_events(const Workspace& workspace) const {
    return &static_cast<const EventState&>(*workspace.states[number]).events;
}

bool EventNode::add(Workspace& workspace, size_t position, uint32_t step, int32_t* target) const {
    const EventView events = events_of(workspace).view();
    const size_t slot = position * events.steps + step;
    const uint32_t start = events.start[slot], end = events.start[slot + 1], middle = start + events.positive[slot];
    for (uint32_t i = start; i < middle; ++i) ++target[events.items[i]];
    for (uint32_t i = middle; i < end; ++i) --target[events.items[i]];
    return start != end;
}

PixelNode::PixelNode(size_t number, Shape shape, std::vector<int32_t> offset, bool held)
    : Node(number, shape), offset_(std::move(offset)), held_(held) {}

std::unique_ptr<State> PixelNode::make_state(uint32_t) const { return std::make_unique<PixelState>(shape); }

void PixelNode::run(Workspace& workspace) const {
    int32_t* const frame = state_of<PixelState>(workspace, *this).frame.data();
    const size_t positions = shape.positions(), channels = offset_.size();
    for (size_t c = 0; c < channels; ++c) {
        const uint8_t* const plane = workspace.pixels + c * positions;
        for (size_t i = 0; i < positions; ++i) frame[i * channels + c] = plane[i] - offset_[c];
    }
}

bool PixelNode::add(Workspace& workspace, size_t position, uint32_t step, int32_t* target) const {
    if (step && !held_) return false;
    const int32_t* const frame = state_of<PixelState>(workspace, *this).frame.data() + position * offset_.size();
    for (size_t c = 0; c < offset_.size(); ++c) target[c] += frame[c];
    return true;
}

Rows::Rows(const int32_t* weight, const Window& window, int32_t out_channels, int32_t groups)
    : taps_(static_cast<size_t>(window.kernel_height) * static_cast<size_t>(window.kernel_width)),
      groups_(static_cast<size_t>(groups)),
      in_group_(static_cast<size_t>(window.in_channels / groups)),
      out_group_(static_cast<size_t>(out_channels / groups)) {
    const size_t size = static_cast<size_t>(out_channels) * in_group_ * taps_;
    const bool narrow = std::all_of(weight, weight + size, [](int32_t w) {
        return w >= std::numeric_limits<int16_t>::min() && w <= std::numeric_limits<int16_t>::max();
    });
    narrow ? narrow_.resize(size) : wide_.resize(size);
    int32_t largest = 1;
    for (size_t i = 0; narrow && i < size; ++i) largest = std::max(largest, std::abs(weight[i]));
    most_ = narrow && largest <= std::numeric_limits<int16_t>::max()
                ? static_cast<size_t>(std::numeric_limits<int16_t>::max() / largest)
                : 0;
    for (size_t out = 0; out < static_cast<size_t>(out_channels); ++out) {
        for (size_t in = 0; in < in_group_; ++in) {
            for (size_t tap = 0; tap < taps_; ++tap) {
                const size_t group = out / out_group_;
                const size_t at = ((group * taps_ + tap) * in_group_ + in) * out_group_ + out % out_group_;
                const int32_t value = weight[(out * in_group_ + in) * taps_ + tap];
                if (narrow) {
                    narrow_[at] = static_cast<int16_t>(value);
                } else {
                    wide_[at] = value;
                }
            }
        }
    }
}

uint32_t Rows::row_of(size_t tap, size_t channel) const {
    return static_cast<uint32_t>((group_of(channel) * taps_ + tap) * in_group_ + channel % in_group_);
}

void Rows::add(
    const Kernels& kernels, int32_t* target, size_t group, const WeightedRow* list, size_t count) const {
    const auto width = static_cast<uint32_t>(out_group_);
    target += group * out_group_;
    if (wide_.empty()) {
        kernels.add_rows(target, narrow_.data(), width, list, count);
    } else {
        kernels.add_wide_rows(target, wide_.data(), width, list, count);
    }
}

void Rows::add_units(
    const Kernels& kernels, int32_t* target, const uint32_t* rows, size_t plus, size_t minus) const {
    kernels.add_unit_rows(target, narrow_.data(), static_cast<uint32_t>(out_group_), rows, plus, minus, most_);
}

ConvolutionNode::ConvolutionNode(size_t number, Shape shape, const Node& source, const Window& window, Rows rows)
    : Node(number, shape), source_(source), window_(window), rows_(std::move(rows)) {}

std::unique_ptr<State> ConvolutionNode::make_state(uint32_t steps) const {
    const bool whole = !source_.most_repeats() && rows_.groups() == 1;
    const size_t taps = static_cast<size_t>(window_.kernel_height) * static_cast<size_t>(window_.kernel_width);
    return std::make_unique<FrameState>(
        steps, rows_.groups(), whole ? taps * static_cast<size_t>(window_.in_channels) : 0);
}

void ConvolutionNode::run(Workspace& workspace) const {
    if (source_.most_repeats()) return;
    auto& frames = state_of<FrameState>(workspace, *this).frames;
    const auto channels = static_cast<size_t>(source_.shape.channels);
    const uint32_t steps = source_.is_constant() ? 1 : workspace.steps;  // one frame stands for all
    for (uint32_t step = 0; step < steps; ++step) {
        frames[step].clear();
        if (step >= source_.count_steps(workspace)) continue;
        frames[step].resize(source_.shape.size());
        bool any = false;
        for (size_t position = 0; position < source_.shape.positions(); ++position) {
            any |= source_.add(workspace, position, step, frames[step].data() + position * channels);
        }
        if (!any) frames[step].clear();
    }
}

bool ConvolutionNode::add(Workspace& workspace, size_t position, uint32_t step, int32_t* target) const {
    auto& state = state_of<FrameState>(workspace, *this);
    if (source_.is_constant()) step = 0;
    if (!source_.most_repeats() && rows_.groups() == 1) {
        if (state.frames[step].empty()) return false;
        const size_t count = list_frame(state.frames[step].data(), position, state.list.data());
        rows_.add(workspace.kernels, target, 0, state.list.data(), count);
        return count != 0;
    }
    if (source_.most_repeats() && rows_.takes_units()) return add_events(workspace, position, step, target);
    for (auto& list : state.lists) list.clear();
    if (source_.most_repeats()) {
        const Events& events = *source_.find_events(workspace);
        visit_window(window_, position, [&](size_t tap, size_t from) {
            list_events(events, tap, from * workspace.steps + step, state.lists);
        });
    } else if (const auto& frame = state.frames[step]; !frame.empty()) {
        visit_window(window_, position, [&](size_t tap, size_t from) {
            list_grouped_frame(frame.data() + from * static_cast<size_t>(window_.in_channels), tap, state.lists);
        });
    }
    bool any = false;
    for (size_t group = 0; group < state.lists.size(); ++group) {
        if (state.lists[group].empty()) continue;
        any = true;
        rows_.add(workspace.kernels, target, group, state.lists[group].data(), state.lists[group].size());
    }
    return any;
}

bool ConvolutionNode::add_events(Workspace& workspace, size_t position, uint32_t step, int32_t* target) const {
    const EventView view = source_.find_events(workspace)->view();
    size_t size = 0, plus = 0;
    visit_window(window_, position, [&](size_t, size_t from) {
        const size_t slot = from * workspace.steps + step;
        size += view.start[slot + 1] - view.start[slot];
        plus += view.positive[slot];
    });
    if (!size) return false;
    auto& units = state_of<FrameState>(workspace, *this).units;
    if (units.size() < size) units.resize(size);
    uint32_t* positive = units.data();
    uint32_t* negative = units.data() + plus;
    visit_window(window_, position, [&](size_t tap, size_t from) {
        const size_t slot = from * workspace.steps + step;
        const uint32_t start = view.start[slot], end = view.start[slot + 1], middle = start + view.positive[slot];
        const auto first = static_cast<uint32_t>(tap * static_cast<size_t>(window_.in_channels));
        for (uint32_t i = start; i < middle; ++i) *positive++ = first + view.items[i];
        for (uint32_t i = middle; i < end; ++i) *negative++ = first + view.items[i];
    });
    rows_.add_units(workspace.kernels, target, units.data(), plus, size - plus);
    return true;
}

void ConvolutionNode::list_events(const Events& events, size_t tap, size_t slot, Lists& lists) const {
    const EventView view = events.view();
    const uint32_t start = view.start[slot], end = view.start[slot + 1], middle = start + view.positive[slot];
    for (uint32_t i = start; i < end; ++i) {
        const uint32_t channel = view.items[i];
        lists[rows_.group_of(channel)].push_back({rows_.row_of(tap, channel), i < middle ? 1 : -1});
    }
}

// Lists the rows of what is not 0, without branches: every value is written, and the next one over it where it was 0.
size_t ConvolutionNode::list_frame(const int32_t* frame, size_t position, WeightedRow* list) const {
    const auto channels = static_cast<size_t>(window_.in_channels);
    size_t size = 0;
    visit_runs(window_, position, [&](size_t tap, size_t from, size_t length) {
        const int32_t* const values = frame + from * channels;
        for (size_t i = 0; i < length * channels; ++i) {
            list[size] = {static_cast<uint32_t>(tap * channels + i), values[i]};
            size += values[i] != 0;
        }
    });
    return size;
}

void ConvolutionNode::list_grouped_frame(const int32_t* frame, size_t tap, Lists& lists) const {
    for (size_t c = 0; c < static_cast<size_t>(window_.in_channels); ++c) {
        if (frame[c]) lists[rows_.group_of(c)].push_back({rows_.row_of(tap, c), frame[c]});
    }
}

AffineNode::AffineNode(size_t number, const Node& source, std::vector<int32_t> gain, std::vector<int32_t> bias)
    : Node(number, source.shape),
      source_(source),
      gain_(std::move(gain)),
      bias_(std::move(bias)),
      plain_(std::all_of(gain_.begin(), gain_.end(), [](int32_t gain) { return gain == 1; })) {}

std::unique_ptr<State> AffineNode::make_state(uint32_t) const { return std::make_unique<FlattenState>(shape.channels); }

bool AffineNode::add(Workspace& workspace, size_t position, uint32_t step, int32_t* target) const {
    for (size_t c = 0; c < bias_.size(); ++c) target[c] += bias_[c];
    if (plain_) {
        source_.add(workspace, position, step, target);
        return true;
    }
    auto& values = state_of<FlattenState>(workspace, *this).values;
    std::fill(values.begin(), values.end(), 0);
    if (source_.add(workspace, position, step, values.data())) {
        for (size_t c = 0; c < values.size(); ++c) target[c] += gain_[c] * values[c];
    }
    return true;
}

SumPoolNode::SumPoolNode(size_t number, Shape shape, const Node& source, const Window& window)
    : EventNode(
          number, shape,
          source.most_repeats() * static_cast<size_t>(window.kernel_height) * static_cast<size_t>(window.kernel_width)),
      source_(source),
      window_(window) {}

void SumPoolNode::run(Workspace& workspace) const {
    if (!source_.most_repeats()) return;
    const EventView from = source_.find_events(workspace)->view();
    EventSink sink = events_of(workspace).open();
    const auto append = [&](uint32_t start, uint32_t end) {
        Events::reserve(sink, end - start);
        std::copy(from.items + start, from.items + end, sink.items + sink.size);
        sink.size += end - start;
    };
    for (size_t position = 0; position < shape.positions(); ++position) {
        for (uint32_t step = 0; step < workspace.steps; ++step) {
            const size_t begin = sink.size;
            visit_window(window_, position, [&](size_t, size_t at) {
                const size_t slot = at * from.steps + step;
                append(from.start[slot], from.start[slot] + from.positive[slot]);
            });
            const size_t positive = sink.size - begin;
            visit_window(window_, position, [&](size_t, size_t at) {
                const size_t slot = at * from.steps + step;
                append(from.start[slot] + from.positive[slot], from.start[slot + 1]);
            });
            Events::close_slot(sink, position * workspace.steps + step, positive);
        }
    }
}

bool SumPoolNode::add(Workspace& workspace, size_t position, uint32_t step, int32_t* target) const {
    if (source_.most_repeats()) return EventNode::add(workspace, position, step, target);
    bool any = false;
    visit_window(window_, position, [&](size_t, size_t from) { any |= source_.add(workspace, from, step, target); });
    return any;
}

const Events* SumPoolNode::find_events(const Workspace& workspace) const {
    return source_.most_repeats() ? EventNode::find_events(workspace) : nullptr;
}

FlattenNode::FlattenNode(size_t number, const Node& source)
    : Node(number, {static_cast<int32_t>(source.shape.size()), 1, 1}), source_(source) {}

std::unique_ptr<State> FlattenNode::make_state(uint32_t) const {
    return std::make_unique<FlattenState>(source_.shape.channels);
}

bool FlattenNode::add(Workspace& workspace, size_t, uint32_t step, int32_t* target) const {
    auto& values = state_of<FlattenState>(workspace, *this).values;
    const size_t positions = source_.shape.positions();
    bool any = false;
    for (size_t position = 0; position < positions; ++position) {
        std::fill(values.begin(), values.end(), 0);
        if (!source_.add(workspace, position, step, values.data())) continue;
        any = true;
        for (size_t c = 0; c < values.size(); ++c) target[c * positions + position] += values[c];
    }
    return any;
}

}  // namespace isospike
