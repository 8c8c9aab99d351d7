// What every node of a prepared network can do. Signals are channels-last: position = y * width + x.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "events.hpp"
#include "kernels.hpp"

namespace isospike {

struct Shape {
    int32_t channels, height, width;

    size_t positions() const { return static_cast<size_t>(height) * static_cast<size_t>(width); }
    size_t size() const { return positions() * static_cast<size_t>(channels); }
};

// Channels rounded up to whole words of 64, as neurons read membranes.
inline size_t padded_channels(const Shape& shape) { return padded_words(static_cast<size_t>(shape.channels)) * 64; }

// What one thread keeps of one node.
struct State {
    virtual ~State() = default;
};

// One thread at work on one image.
struct Workspace {
    const Kernels& kernels;
    uint32_t steps;
    std::vector<std::unique_ptr<State>> states;
    std::vector<uint8_t> unsettled;  // per step
    const uint8_t* pixels = nullptr;
    int32_t* logits = nullptr;  // those of the image at the first step
    size_t logits_stride = 0;   // between steps
    bool overflow = false;      // seen by a build with checks
    uint32_t restart = 0;       // the step at which a rate-coded network begins anew; 0: it does not
};

class Node {
  public:
    Node(size_t number, Shape shape) : number(number), shape(shape) {}
    virtual ~Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    // What a thread needs to run this node.
    virtual std::unique_ptr<State> make_state(uint32_t /*steps*/) const { return nullptr; }

    // Works through one image and all steps; nothing to do where `add` works out everything when it is asked.
    virtual void run(Workspace&) const {}

    // Adds what this node gives at a position and step to target[0 .. channels); false where that is nothing.
    virtual bool add(Workspace&, size_t position, uint32_t step, int32_t* target) const = 0;

    // Whether it gives the same at every step: what depends on held pixels alone.
    virtual bool is_constant() const { return false; }

    // The number of steps, from the first, that may bring anything.
    virtual uint32_t count_steps(const Workspace& workspace) const { return workspace.steps; }

    // The spikes, where this node gives nothing else.
    virtual const Events* find_events(const Workspace&) const { return nullptr; }

    // How often at most a channel is listed in one slot of the events; 0 for a node that gives other signals.
    virtual size_t most_repeats() const { return 0; }

    const size_t number;
    const Shape shape;
};

// A node that gives spikes, with its state.
struct EventState : State {
    EventState(const Shape& shape, uint32_t steps) : events(shape.positions(), steps) {}
    Events events;
};

class EventNode : public Node {
  public:
    EventNode(size_t number, Shape shape, size_t repeats);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    bool add(Workspace&, size_t position, uint32_t step, int32_t* target) const override;
    const Events* find_events(const Workspace&) const override;
    size_t most_repeats() const override { return repeats_; }

  protected:
    Events& events_of(Workspace& workspace) const;

  private:
    size_t repeats_;
};

template <class T>
T& state_of(Workspace& workspace, const Node& node) {
    return static_cast<T&>(*workspace.states[node.number]);
}

}  // namespace isospike
