// Integrate-and-fire neurons with reset by subtraction, of rate-coded networks.
#pragma once

#include "node.hpp"

namespace isospike {

// One number per channel each; lower and residual are empty where there is none.
struct Potentials {
    std::vector<int64_t> threshold, initial, lower, residual;
};

// V += I; fires +1 where V >= threshold, -1 where V < lower and more spikes were fired than taken back; then
// V -= spike * threshold. Where the network begins anew, neurons whose V is not above the residual are silenced.
// Membranes have 64 bits: currents of 32 bits over at most 2^16 steps cannot leave them.
class IntegrateAndFireNode : public EventNode {
  public:
    IntegrateAndFireNode(size_t number, const Node& source, Potentials potentials);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    void run(Workspace&) const override;

  private:
    struct Layer;
    void begin(Layer& layer) const;
    void restart(Layer& layer) const;
    void fire(Layer& layer, size_t slot, EventSink& sink) const;

    const Node& source_;
    Potentials potentials_;
};

}  // namespace isospike
