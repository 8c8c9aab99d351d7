#include "integrate_and_fire.hpp"

#include <algorithm>

namespace isospike {

// The neurons at one position, by channel.
struct IntegrateAndFireNode::Layer : EventState {
    Layer(const Shape& shape, uint32_t steps)
        : EventState(shape, steps),
          current(padded_channels(shape)),
          membrane(static_cast<size_t>(shape.channels)),
          count(membrane.size()),
          spike(membrane.size()),
          heard(membrane.size()) {}

    std::vector<int32_t> current;
    std::vector<int64_t> membrane;
    std::vector<int32_t> count;  // spikes fired minus those taken back
    std::vector<int8_t> spike;
    std::vector<uint8_t> heard;
};

IntegrateAndFireNode::IntegrateAndFireNode(size_t number, const Node& source, Potentials potentials)
    : EventNode(number, source.shape, 1), source_(source), potentials_(std::move(potentials)) {}

std::unique_ptr<State> IntegrateAndFireNode::make_state(uint32_t steps) const {
    return std::make_unique<Layer>(shape, steps);
}

void IntegrateAndFireNode::run(Workspace& workspace) const {
    auto& layer = state_of<Layer>(workspace, *this);
    EventSink sink = layer.events.open();
    const uint32_t arriving = source_.count_steps(workspace);
    const bool constant = source_.is_constant();
    size_t slot = 0;
    for (size_t position = 0; position < shape.positions(); ++position) {
        std::fill(layer.heard.begin(), layer.heard.end(), 1);
        begin(layer);
        for (uint32_t step = 0; step < workspace.steps; ++step, ++slot) {
            if (step && step == workspace.restart) restart(layer);
            if (!constant || !step) {
                std::fill(layer.current.begin(), layer.current.end(), 0);
                if (step < arriving) source_.add(workspace, position, step, layer.current.data());
            }
            fire(layer, slot, sink);
        }
    }
    std::fill(workspace.unsettled.begin(), workspace.unsettled.end(), 1);  // rates certify nothing
}

void IntegrateAndFireNode::begin(Layer& layer) const {
    std::copy(potentials_.initial.begin(), potentials_.initial.end(), layer.membrane.begin());
    std::fill(layer.count.begin(), layer.count.end(), 0);
}

void IntegrateAndFireNode::restart(Layer& layer) const {
    for (size_t c = 0; c < potentials_.residual.size(); ++c) {
        layer.heard[c] = layer.membrane[c] > potentials_.residual[c];
    }
    begin(layer);
}

void IntegrateAndFireNode::fire(Layer& layer, size_t slot, EventSink& sink) const {
    const size_t channels = layer.membrane.size();
    const int64_t* const threshold = potentials_.threshold.data();
    bool any = false, negative = false;
    for (size_t c = 0; c < channels; ++c) {
        const int64_t membrane = layer.membrane[c] + layer.current[c];
        const bool fires = membrane >= threshold[c];
        layer.spike[c] = fires;
        layer.membrane[c] = membrane;
        any |= fires;
    }
    if (!potentials_.lower.empty()) {
        for (size_t c = 0; c < channels; ++c) {
            const bool returns = (layer.membrane[c] < potentials_.lower[c]) & (layer.count[c] > 0);
            layer.spike[c] = static_cast<int8_t>(layer.spike[c] - returns);
            negative |= returns;
        }
    }
    if (!any && !negative) {
        Events::close_slot(sink, slot, 0);
        return;
    }
    for (size_t c = 0; c < channels; ++c) {
        layer.membrane[c] -= layer.spike[c] * threshold[c];
        layer.count[c] += layer.spike[c];
        layer.spike[c] = static_cast<int8_t>(layer.spike[c] * layer.heard[c]);
    }
    Events::reserve(sink, 2 * channels);
    const size_t begin = sink.size;
    for (size_t c = 0; c < channels; ++c) {  // without branches: written first, kept where it fired
        sink.items[sink.size] = static_cast<uint32_t>(c);
        sink.size += layer.spike[c] > 0;
    }
    const size_t positive = sink.size - begin;
    for (size_t c = 0; negative && c < channels; ++c) {
        sink.items[sink.size] = static_cast<uint32_t>(c);
        sink.size += layer.spike[c] < 0;
    }
    Events::close_slot(sink, slot, positive);
}

}  // namespace isospike
