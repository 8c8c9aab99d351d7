#include "network.hpp"

#include <algorithm>
#include <stdexcept>

#include "kernel_choice.hpp"
#include "threads.hpp"
#include "window.hpp"

namespace isospike {

namespace {

constexpr int64_t kMostChannels = 65535;
constexpr uint32_t kMostSteps = 1 << 16;
constexpr size_t kMostSources = 1024;
constexpr int64_t kMostPotential = int64_t{1} << 50;

}  // namespace

Network::Network(uint32_t steps, const std::string& isa, bool held, uint32_t restart)
    : kernels_(choose_kernels(isa)), steps_(steps), held_(held), restart_(restart) {
    expect(restart < steps, "restart: expected fewer steps before it than there are");
    expect(steps >= 1 && steps <= kMostSteps, "steps: expected 1 to 65536 time steps");
}

const Node& Network::find(size_t node) const {
    expect(node < nodes_.size(), "no node has this number");
    return *nodes_[node];
}

size_t Network::classes() const {
    expect(readout_ != 0, "the network has no readout yet");
    return static_cast<size_t>(find(readout_).shape.channels);
}

void Network::check_shape(const Shape& shape) const {
    expect(
        within(1, shape.height, kMostSide) && within(1, shape.width, kMostSide) && shape.channels >= 1,
        "feature map: expected 1 to 32768 rows and columns");
    const int64_t positions = int64_t{shape.height} * shape.width;
    expect(positions * steps_ <= kMostSize && positions * shape.channels <= kMostSize, "feature map: too large");
}

template <class N, class... Arguments>
size_t Network::add(Shape shape, Arguments&&... arguments) {
    check_shape(shape);
    const size_t number = nodes_.size();
    nodes_.push_back(std::make_unique<N>(number, std::forward<Arguments>(arguments)...));
    idle_.clear();
    return number;
}

size_t Network::add_input(Shape shape, std::vector<int32_t> offset) {
    expect(nodes_.empty(), "the input must come first");
    expect(shape.channels >= 1 && offset.size() == static_cast<size_t>(shape.channels), "offset: one per channel");
    return add<PixelNode>(shape, shape, std::move(offset), held_);
}

Window Network::slide(size_t source, Window w, int32_t out_channels, int32_t groups, Shape& shape) const {
    const Shape& in = find(source).shape;
    expect(within(1, groups, in.channels) && in.channels % groups == 0, "groups: must divide the channels coming in");
    expect(out_channels >= 1 && out_channels % groups == 0, "groups: must divide the channels going out");
    w = fit_window(w, in.channels, in.height, in.width);
    shape = {out_channels, w.out_height, w.out_width};
    return w;
}

void Network::check_thresholds(const Thresholds& thresholds, const Shape& shape) const {
    const auto channels = static_cast<size_t>(shape.channels);
    expect(shape.channels <= kMostChannels, "neurons: at most 65535 channels");
    expect(thresholds.levels >= 1 && thresholds.limit >= 1, "neurons: at least 1 level and 1 spike per step");
    expect(thresholds.limit <= thresholds.levels, "neurons: the limit must not exceed the levels");
    expect(int64_t{thresholds.levels} * shape.channels <= kMostSize / 4, "thresholds: too many");
    expect(thresholds.low.size() == channels && thresholds.high.size() == channels, "range: one per channel");
    expect(thresholds.first.size() == thresholds.levels * channels, "thresholds: (levels, channels)");
    for (size_t c = 0; c < channels; ++c) {
        expect(thresholds.low[c] <= 0 && thresholds.high[c] >= 0, "range: must hold 0");
        int64_t least = thresholds.low[c];
        for (size_t k = 0; k < thresholds.levels; ++k) {
            const int32_t value = thresholds.first[k * channels + c];
            const bool inside = value >= least && value <= int64_t{thresholds.high[c]} + 1;
            expect(inside, "thresholds: must rise within the range");
            least = value;
        }
    }
}

size_t Network::add_convolution(
    size_t source, const int32_t* weight, int32_t out_channels, int32_t in_group, Window window, int32_t groups) {
    Shape shape;
    window = slide(source, window, out_channels, groups, shape);
    expect(in_group == window.in_channels / groups, "weight: does not fit the channels coming in");
    Rows rows(weight, window, out_channels, groups);
    return add<ConvolutionNode>(shape, shape, find(source), window, std::move(rows));
}

bool Network::accepts_ternary(size_t source, Window window) const {
    Shape shape;
    return SlicedNode::accepts(find(source), slide(source, window, 1, 1, shape));
}

size_t Network::add_ternary(
    size_t source, const int8_t* weight, int32_t out_channels, int32_t in_group, Window window, int32_t groups,
    Thresholds thresholds) {
    Shape shape;
    window = slide(source, window, out_channels, groups, shape);
    expect(in_group == window.in_channels / groups, "weight: does not fit the channels coming in");
    expect(SlicedNode::accepts(find(source), window), "ternary layer: its source must give few enough spikes");
    check_thresholds(thresholds, shape);
    const int64_t size = int64_t{out_channels} * in_group * window.kernel_height * window.kernel_width;
    for (int64_t i = 0; i < size; ++i) expect(within(-1, weight[i], 1), "weight: expected -1, 0 and 1");
    const size_t number = add<SlicedNode>(shape, shape, find(source), window, groups, weight, thresholds, kernels_);
    spiking_.push_back(number);
    return number;
}

size_t Network::add_sum_pool(size_t source, Window window) {
    Shape shape;
    window = slide(source, window, find(source).shape.channels, 1, shape);
    return add<SumPoolNode>(shape, shape, find(source), window);
}

size_t Network::add_max_pool(size_t source, Window window, int32_t limit, std::vector<int32_t> signs) {
    Shape shape;
    window = slide(source, window, find(source).shape.channels, 1, shape);
    expect(!find(source).is_constant(), "max pool: its source is the same at every step");
    expect(limit >= 1 && limit <= kMostChannels, "max pool: expected a limit of 1 to 65535 spikes per step");
    expect(shape.channels <= kMostChannels, "max pool: at most 65535 channels");
    expect(
        2 * window.padding_height <= window.kernel_height && 2 * window.padding_width <= window.kernel_width,
        "max pool: padding must be at most half of the kernel");
    const int64_t taps = int64_t{window.kernel_height} * window.kernel_width;
    expect(taps * shape.channels <= kMostSize, "max pool: kernel too large");
    expect(signs.size() == static_cast<size_t>(shape.channels), "max pool: expected one sign per channel");
    for (const int32_t sign : signs) expect(sign == 1 || sign == -1, "max pool: expected signs of 1 and -1");
    const size_t number = add<MaxPoolNode>(shape, shape, find(source), window, limit, std::move(signs));
    spiking_.push_back(number);
    return number;
}

size_t Network::add_flatten(size_t source) {
    const Shape& in = find(source).shape;
    return add<FlattenNode>({static_cast<int32_t>(in.size()), 1, 1}, find(source));
}

std::vector<const Node*> Network::find_all(const std::vector<size_t>& sources) const {
    expect(!sources.empty() && sources.size() <= kMostSources, "branches: expected 1 to 1024");
    std::vector<const Node*> found;
    for (const size_t source : sources) found.push_back(&find(source));
    return found;
}

size_t Network::add_sum(const std::vector<size_t>& sources, std::vector<int32_t> gains) {
    const auto branches = find_all(sources);
    const Shape shape = branches.front()->shape;
    for (const Node* each : branches) {
        const Shape& other = each->shape;
        const bool same = other.channels == shape.channels && other.height == shape.height && other.width == shape.width;
        expect(same, "sum: expected signals of one shape");
    }
    const size_t size = branches.size() * static_cast<size_t>(shape.channels);
    expect(gains.size() == size, "gains: expected one per branch and channel");
    return add<AddNode>(shape, shape, branches, std::move(gains));
}

size_t Network::add_concatenation(const std::vector<size_t>& sources) {
    const auto branches = find_all(sources);
    Shape shape = branches.front()->shape;
    int64_t channels = 0;
    for (const Node* each : branches) {
        const bool same = each->shape.height == shape.height && each->shape.width == shape.width;
        expect(same, "concatenation: expected feature maps of one size");
        channels += each->shape.channels;
    }
    expect(channels <= kMostSize, "concatenation: too many channels");
    shape.channels = static_cast<int32_t>(channels);
    return add<ConcatenateNode>(shape, shape, branches);
}

size_t Network::add_neuron(size_t source, Thresholds thresholds, std::vector<int32_t> start) {
    const Shape shape = find(source).shape;
    check_thresholds(thresholds, shape);
    expect(start.empty() || start.size() == shape.size(), "start: expected one per neuron, or none");
    const size_t number = add<NeuronNode>(shape, find(source), std::move(thresholds), std::move(start));
    spiking_.push_back(number);
    return number;
}

size_t Network::add_integrate_and_fire(size_t source, Potentials potentials) {
    const Shape shape = find(source).shape;
    const auto channels = static_cast<size_t>(shape.channels);
    expect(shape.channels <= kMostChannels, "neurons: at most 65535 channels");
    for (const auto* each : {&potentials.threshold, &potentials.initial, &potentials.lower, &potentials.residual}) {
        const bool optional = each == &potentials.lower || each == &potentials.residual;
        expect(each->size() == channels || (optional && each->empty()), "potentials: expected one per channel");
        for (const int64_t value : *each) {
            expect(value >= -kMostPotential && value <= kMostPotential, "potentials: at most 2^50");
        }
    }
    for (const int64_t value : potentials.threshold) expect(value > 0, "threshold: expected more than 0");
    const size_t number = add<IntegrateAndFireNode>(shape, find(source), std::move(potentials));
    spiking_.push_back(number);
    return number;
}

size_t Network::add_affine(size_t source, std::vector<int32_t> gain, std::vector<int32_t> bias) {
    const Shape shape = find(source).shape;
    const auto channels = static_cast<size_t>(shape.channels);
    expect(gain.size() == channels && bias.size() == channels, "affine: expected one gain and bias per channel");
    return add<AffineNode>(shape, find(source), std::move(gain), std::move(bias));
}

size_t Network::add_readout(size_t source, std::vector<int32_t> bias) {
    const Shape shape = find(source).shape;
    expect(readout_ == 0, "readout: expected one only");
    expect(shape.positions() == 1, "readout: expected features, got a feature map");
    expect(bias.size() == static_cast<size_t>(shape.channels), "bias: expected one per class");
    return readout_ = add<ReadoutNode>(shape, find(source), std::move(bias), held_);
}

void Network::add_work(size_t source, std::vector<int64_t> synapses) {
    expect(gives_spikes(source), "work: its source gives no spikes");
    expect(synapses.size() == find(source).shape.positions(), "work: expected one number per position");
    works_.push_back({source, std::move(synapses)});
}

std::unique_ptr<Workspace> Network::make_workspace() const {
    auto workspace = std::make_unique<Workspace>(Workspace{kernels_, steps_, {}, {}});
    workspace->unsettled.resize(steps_);
    workspace->restart = restart_;
    for (const auto& node : nodes_) workspace->states.push_back(node->make_state(steps_));
    return workspace;
}

std::unique_ptr<Workspace> Network::take_workspace() const {
    {
        const std::lock_guard lock(guard_);
        if (!idle_.empty()) {
            auto workspace = std::move(idle_.back());
            idle_.pop_back();
            return workspace;
        }
    }
    return make_workspace();
}

void Network::give_back(std::unique_ptr<Workspace> workspace) const {
    const std::lock_guard lock(guard_);
    idle_.push_back(std::move(workspace));
}

void Network::run(const uint8_t* pixels, size_t images, unsigned threads, const Record& record) const {
    expect(readout_ != 0, "the network has no readout yet");
    expect(threads >= 1, "threads: expected at least 1");
    share(images, threads, [&](Numbers& numbers) {
        auto workspace = take_workspace();
        for (size_t image; numbers.take(image);) {
            workspace->pixels = pixels + image * in_shape().size();
            run_image(*workspace, image, images, record);
        }
        give_back(std::move(workspace));
    });
}

void Network::run_image(Workspace& workspace, size_t image, size_t images, const Record& record) const {
    std::fill(workspace.unsettled.begin(), workspace.unsettled.end(), 0);
    workspace.logits = record.logits + image * classes();
    workspace.logits_stride = images * classes();
    for (const auto& node : nodes_) node->run(workspace);
    if (workspace.overflow) throw std::logic_error("a membrane left the range that interval analysis proved for it");
    for (uint32_t step = 0; step < steps_; ++step) record.settled[step * images + image] = !workspace.unsettled[step];
    for (size_t i = 0; i < spiking_.size(); ++i) {
        const size_t at = i * steps_ * images + image;
        const Events& events = *find(spiking_[i]).find_events(workspace);
        events.tally(record.positive + at, record.negative + at, images);
    }
    for (size_t i = 0; i < works_.size(); ++i) {
        const Events& events = *find(works_[i].source).find_events(workspace);
        events.weigh(works_[i].synapses.data(), record.sops + i * steps_ * images + image, images);
    }
    if (!record.counts.empty()) count_spikes(workspace, image, record);
}

void Network::count_spikes(const Workspace& workspace, size_t image, const Record& record) const {
    for (size_t i = 0; i < spiking_.size(); ++i) {
        const Node& node = find(spiking_[i]);
        const EventView events = node.find_events(workspace)->view();
        const size_t positions = node.shape.positions();
        int32_t* const counts = record.counts[i] + image * node.shape.size();
        for (size_t slot = 0; slot < positions * steps_; ++slot) {
            if (slot % steps_ < restart_) continue;  // everything began anew after it
            const uint32_t start = events.start[slot], middle = start + events.positive[slot];
            for (uint32_t item = start; item < events.start[slot + 1]; ++item) {
                counts[events.items[item] * positions + slot / steps_] += item < middle ? 1 : -1;
            }
        }
    }
}

}  // namespace isospike
