// Where branches meet: sums of signals, and signals one after another along their channels.
#pragma once

#include "node.hpp"

namespace isospike {

// gains[0] * source 0 + gains[1] * source 1 + ..., one gain per source and channel.
class AddNode : public Node {
  public:
    AddNode(size_t number, Shape shape, std::vector<const Node*> sources, std::vector<int32_t> gains);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    bool add(Workspace&, size_t position, uint32_t step, int32_t* target) const override;
    uint32_t count_steps(const Workspace&) const override;
    bool is_constant() const override;

  private:
    std::vector<const Node*> sources_;
    std::vector<int32_t> gains_;  // [source][channel]
    bool plain_;                  // every gain is 1
};

// Channels of several signals. Of spikes it gives spikes.
class ConcatenateNode : public EventNode {
  public:
    ConcatenateNode(size_t number, Shape shape, std::vector<const Node*> sources);
    void run(Workspace&) const override;
    bool add(Workspace&, size_t position, uint32_t step, int32_t* target) const override;
    uint32_t count_steps(const Workspace&) const override;
    const Events* find_events(const Workspace&) const override;
    bool is_constant() const override;

  private:
    std::vector<const Node*> sources_;
};

}  // namespace isospike
