// Nodes that fire: counting neurons, with or without a ternary layer in one, and max-pool trackers. And the readout.
#pragma once

#include "aligned.hpp"
#include "node.hpp"

namespace isospike {

// Thresholds of counting neurons, [level][channel]: the first membrane potential that deserves count level + 1; and the
// range of the membrane per channel.
struct Thresholds {
    std::vector<int32_t> first;
    std::vector<int32_t> low, high;
    uint32_t levels;
    uint32_t limit;
};

class NeuronNode : public EventNode {
  public:
    // start: the membranes before the first step, [position][channel]; empty: zero.
    NeuronNode(size_t number, const Node& source, Thresholds thresholds, std::vector<int32_t> start);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    void run(Workspace&) const override;

  private:
    void check(Workspace&, const int32_t* membrane) const;

    const Node& source_;
    Thresholds thresholds_;
    std::vector<int32_t> start_;
    PlainNeurons neurons_;
};

// A ternary layer, bit-sliced, with its neurons.
class SlicedNode : public EventNode {
  public:
    // weight: int8 (out, in / groups, height, width), each -1, 0 or 1.
    SlicedNode(
        size_t number, Shape shape, const Node& source, const Window& window, int32_t groups, const int8_t* weight,
        const Thresholds& thresholds, const Kernels& kernels);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    void run(Workspace&) const override;

    // Whether a layer can be bit-sliced: its lists of rows stay within bounds.
    static bool accepts(const Node& source, const Window& window);

  private:
    void pack_block(uint32_t channel, uint32_t width, int32_t groups, const int8_t* weight, const Thresholds&);

    const Node& source_;
    SlicedLayer layer_;
    std::vector<SlicedBlock> blocks_;
    std::vector<AlignedBytes> storage_;
    size_t list_size_;
};

class MaxPoolNode : public EventNode {
  public:
    // signs: 1 or -1 per channel; -1 tracks the minimum.
    MaxPoolNode(
        size_t number, Shape shape, const Node& source, const Window& window, int32_t limit,
        std::vector<int32_t> signs);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    void run(Workspace&) const override;

  private:
    bool track(int32_t* sums, size_t taps, int32_t* emitted, size_t slot, EventSink& sink) const;

    const Node& source_;
    Window window_;
    int32_t limit_;
    std::vector<int32_t> signs_;
};

class ReadoutNode : public Node {
  public:
    // held: the bias is added at every step.
    ReadoutNode(size_t number, const Node& source, std::vector<int32_t> bias, bool held);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    void run(Workspace&) const override;
    bool add(Workspace&, size_t, uint32_t, int32_t*) const override { return false; }

  private:
    const Node& source_;
    std::vector<int32_t> bias_;
    bool held_;
};

}  // namespace isospike
