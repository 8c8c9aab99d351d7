// The spikes of one node, one image, all steps.
#pragma once

#include <cstdint>
#include <vector>

#include "layout.hpp"

namespace isospike {

// Owns what EventView and EventSink (layout.hpp) look at; kept from image to image, so that it grows only at first.
class Events {
  public:
    Events(size_t positions, uint32_t steps);

    // Forgets all spikes and gives the sink for new ones. Its slots must be closed in order, each exactly once.
    EventSink open();

    // Ends a slot, whose items begin where the slot before it ended.
    static void close_slot(EventSink& sink, size_t slot, size_t positive);

    // Makes room for `need` more items.
    static void reserve(EventSink& sink, size_t need);

    EventView view() const;

    size_t positions() const { return positions_; }
    uint32_t steps() const { return steps_; }

    // Spikes per step, of either sign: sums over positions.
    void tally(int64_t* positive, int64_t* negative, size_t stride) const;

    // Sum over spikes, by magnitude, of `synapses` at their position, per step.
    void weigh(const int64_t* synapses, int64_t* sops, size_t stride) const;

  private:
    static void grow(EventSink* sink, size_t need);

    size_t positions_;
    uint32_t steps_;
    uint32_t words_;
    std::vector<uint32_t> items_;
    std::vector<uint32_t> start_;
    std::vector<uint32_t> positive_;
    std::vector<uint64_t> active_;
};

}  // namespace isospike
