// A spiking network made ready for a number of steps, and its run over a batch of images on several threads.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "integrate_and_fire.hpp"
#include "joining_nodes.hpp"
#include "linear_nodes.hpp"
#include "spiking_nodes.hpp"

namespace isospike {

// Where a run leaves its results, each array (time, batch, ...) and zero at the start.
struct Record {
    int32_t* logits;                   // (time, batch, classes)
    int64_t* positive;                 // (spiking, time, batch)
    int64_t* negative;                 // (spiking, time, batch)
    int64_t* sops;                     // (work, time, batch)
    uint8_t* settled;                  // (time, batch)
    std::vector<int32_t*> counts;      // per spiking node (batch, channel, height, width); empty: not wanted
};

class Network {
  public:
    // restart: a rate-coded network begins anew after so many of the steps, some of its neurons silenced; 0: it does
    // not. held: the pixels and the readout's bias are presented at every step.
    Network(uint32_t steps, const std::string& isa, bool held, uint32_t restart);
    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;

    // Each adds a node after those it takes its signal from, and gives its number.
    // Throws std::invalid_argument where the arguments do not fit together.
    size_t add_input(Shape shape, std::vector<int32_t> offset);
    size_t add_convolution(
        size_t source, const int32_t* weight, int32_t out_channels, int32_t in_group, Window window, int32_t groups);
    size_t add_ternary(
        size_t source, const int8_t* weight, int32_t out_channels, int32_t in_group, Window window, int32_t groups,
        Thresholds thresholds);
    size_t add_sum_pool(size_t source, Window window);
    // signs: 1 or -1 per channel; -1 tracks the minimum.
    size_t add_max_pool(size_t source, Window window, int32_t limit, std::vector<int32_t> signs);
    size_t add_flatten(size_t source);
    // gains: [source][channel].
    size_t add_sum(const std::vector<size_t>& sources, std::vector<int32_t> gains);
    size_t add_concatenation(const std::vector<size_t>& sources);
    // start: the membranes before the first step, [position][channel]; empty: zero.
    size_t add_neuron(size_t source, Thresholds thresholds, std::vector<int32_t> start);
    size_t add_integrate_and_fire(size_t source, Potentials potentials);
    // gain, bias: one per channel.
    size_t add_affine(size_t source, std::vector<int32_t> gain, std::vector<int32_t> bias);
    size_t add_readout(size_t source, std::vector<int32_t> bias);

    // Counts the synapses that the spikes of a node reach, one number per position.
    void add_work(size_t source, std::vector<int64_t> synapses);

    bool gives_spikes(size_t node) const { return find(node).most_repeats() != 0; }
    bool accepts_ternary(size_t source, Window window) const;

    void run(const uint8_t* pixels, size_t images, unsigned threads, const Record& record) const;

    const Node& find(size_t node) const;
    const Kernels& kernels() const { return kernels_; }
    uint32_t steps() const { return steps_; }
    const std::vector<size_t>& spiking() const { return spiking_; }
    size_t work_count() const { return works_.size(); }
    const Shape& in_shape() const { return find(0).shape; }
    size_t classes() const;

  private:
    struct Work {
        size_t source;
        std::vector<int64_t> synapses;
    };

    // Adds a node of class N; workspaces of the network as it was are no good any more.
    template <class N, class... Arguments>
    size_t add(Shape shape, Arguments&&... arguments);
    void check_shape(const Shape& shape) const;
    std::vector<const Node*> find_all(const std::vector<size_t>& sources) const;
    Window slide(size_t source, Window window, int32_t out_channels, int32_t groups, Shape& shape) const;
    void check_thresholds(const Thresholds& thresholds, const Shape& shape) const;
    std::unique_ptr<Workspace> make_workspace() const;
    std::unique_ptr<Workspace> take_workspace() const;
    void give_back(std::unique_ptr<Workspace> workspace) const;
    void run_image(Workspace& workspace, size_t image, size_t images, const Record& record) const;
    void count_spikes(const Workspace& workspace, size_t image, const Record& record) const;

    const Kernels& kernels_;
    uint32_t steps_;
    bool held_;
    uint32_t restart_;
    std::vector<std::unique_ptr<Node>> nodes_;
    std::vector<size_t> spiking_;
    std::vector<Work> works_;
    size_t readout_ = 0;

    // Workspaces wait here for the next run: making one costs as much as a small image. Several runs may be under way.
    mutable std::mutex guard_;
    mutable std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace isospike
