#include "joining_nodes.hpp"

#include <algorithm>

namespace isospike {

namespace {

struct SumState : State {
    explicit SumState(int32_t channels) : branch(static_cast<size_t>(channels)) {}
    std::vector<int32_t> branch;
};

uint32_t most_steps(const std::vector<const Node*>& sources, const Workspace& workspace) {
    uint32_t steps = 0;
    for (const Node* source : sources) steps = std::max(steps, source->count_steps(workspace));
    return steps;
}

bool are_constant(const std::vector<const Node*>& sources) {
    return std::all_of(sources.begin(), sources.end(), [](const Node* source) { return source->is_constant(); });
}

// How often a channel of the joined spikes is listed at most; 0 where a source gives other signals.
size_t most_repeats_of(const std::vector<const Node*>& sources) {
    size_t most = 0;
    for (const Node* source : sources) {
        if (!source->most_repeats()) return 0;
        most = std::max(most, source->most_repeats());
    }
    return most;
}

}  // namespace

AddNode::AddNode(size_t number, Shape shape, std::vector<const Node*> sources, std::vector<int32_t> gains)
    : Node(number, shape),
      sources_(std::move(sources)),
      gains_(std::move(gains)),
      plain_(std::all_of(gains_.begin(), gains_.end(), [](int32_t gain) { return gain == 1; })) {}

std::unique_ptr<State> AddNode::make_state(uint32_t) const { return std::make_unique<SumState>(shape.channels); }

bool AddNode::add(Workspace& workspace, size_t position, uint32_t step, int32_t* target) const {
    bool any = false;
    auto& branch = state_of<SumState>(workspace, *this).branch;
    for (size_t i = 0; i < sources_.size(); ++i) {
        if (plain_) {
            any |= sources_[i]->add(workspace, position, step, target);
            continue;
        }
        std::fill(branch.begin(), branch.end(), 0);
        if (!sources_[i]->add(workspace, position, step, branch.data())) continue;
        any = true;
        const int32_t* const gain = gains_.data() + i * branch.size();
        for (size_t c = 0; c < branch.size(); ++c) target[c] += gain[c] * branch[c];
    }
    return any;
}

uint32_t AddNode::count_steps(const Workspace& workspace) const { return most_steps(sources_, workspace); }

bool AddNode::is_constant() const { return are_constant(sources_); }

ConcatenateNode::ConcatenateNode(size_t number, Shape shape, std::vector<const Node*> sources)
    : EventNode(number, shape, most_repeats_of(sources)), sources_(std::move(sources)) {}

void ConcatenateNode::run(Workspace& workspace) const {
    if (!most_repeats()) return;
    EventSink sink = events_of(workspace).open();
    const size_t slots = shape.positions() * workspace.steps;
    for (size_t slot = 0; slot < slots; ++slot) {
        const size_t begin = sink.size;
        size_t positive = 0;
        for (const bool rising : {true, false}) {
            uint32_t first = 0;
            for (const Node* source : sources_) {
                const EventView from = source->find_events(workspace)->view();
                const uint32_t middle = from.start[slot] + from.positive[slot];
                const uint32_t start = rising ? from.start[slot] : middle;
                const uint32_t end = rising ? middle : from.start[slot + 1];
                Events::reserve(sink, end - start);
                for (uint32_t i = start; i < end; ++i) sink.items[sink.size++] = from.items[i] + first;
                first += static_cast<uint32_t>(source->shape.channels);
            }
            if (rising) positive = sink.size - begin;
        }
        Events::close_slot(sink, slot, positive);
    }
}

bool ConcatenateNode::add(Workspace& workspace, size_t position, uint32_t step, int32_t* target) const {
    bool any = false;
    for (const Node* source : sources_) {
        any |= source->add(workspace, position, step, target);
        target += source->shape.channels;
    }
    return any;
}

uint32_t ConcatenateNode::count_steps(const Workspace& workspace) const { return most_steps(sources_, workspace); }

bool ConcatenateNode::is_constant() const { return are_constant(sources_); }

const Events* ConcatenateNode::find_events(const Workspace& workspace) const {
    return most_repeats() ? EventNode::find_events(workspace) : nullptr;
}

}  // namespace isospike
