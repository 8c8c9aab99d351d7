#include "events.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace isospike {

Events::Events(size_t positions, uint32_t steps)
    : positions_(positions),
      steps_(steps),
      words_((steps + 63) / 64),
      items_(kSlack),
      start_(positions * steps + 1),
      positive_(positions * steps),
      active_(positions * words_) {}

EventSink Events::open() {
    std::fill(active_.begin(), active_.end(), 0);
    return {
        items_.data(), start_.data(), positive_.data(), active_.data(), steps_, words_, 0, items_.size(), this, grow};
}

void Events::close_slot(EventSink& sink, size_t slot, size_t positive) {
    sink.positive[slot] = static_cast<uint32_t>(positive);
    sink.start[slot + 1] = static_cast<uint32_t>(sink.size);
    const size_t step = slot % sink.steps;
    if (sink.start[slot] != sink.size) {
        sink.active[slot / sink.steps * sink.words + step / 64] |= uint64_t{1} << (step % 64);
    }
}

void Events::reserve(EventSink& sink, size_t need) {
    if (sink.size + need + kSlack > sink.capacity) grow(&sink, need + kSlack);
}

EventView Events::view() const {
    return {items_.data(), start_.data(), positive_.data(), active_.data(), steps_, words_};
}

void Events::grow(EventSink* sink, size_t need) {
    auto& items = static_cast<Events*>(sink->owner)->items_;
    if (sink->size + need > std::numeric_limits<uint32_t>::max()) {
        throw std::length_error("more than 2^32 spikes of one node for one image: use fewer steps");
    }
    items.resize(std::max(sink->size + need, items.size() + items.size() / 2));
    sink->items = items.data();
    sink->capacity = items.size();
}

void Events::tally(int64_t* positive, int64_t* negative, size_t stride) const {
    for (size_t position = 0; position < positions_; ++position) {
        for (uint32_t word = 0; word < words_; ++word) {
            for (uint64_t active = active_[position * words_ + word]; active; active &= active - 1) {
                const size_t step = word * 64 + static_cast<size_t>(__builtin_ctzll(active));
                const size_t slot = position * steps_ + step;
                positive[step * stride] += positive_[slot];
                negative[step * stride] += start_[slot + 1] - start_[slot] - positive_[slot];
            }
        }
    }
}

void Events::weigh(const int64_t* synapses, int64_t* sops, size_t stride) const {
    for (size_t position = 0; position < positions_; ++position) {
        for (uint32_t word = 0; word < words_; ++word) {
            for (uint64_t active = active_[position * words_ + word]; active; active &= active - 1) {
                const size_t step = word * 64 + static_cast<size_t>(__builtin_ctzll(active));
                const size_t slot = position * steps_ + step;
                sops[step * stride] += static_cast<int64_t>(start_[slot + 1] - start_[slot]) * synapses[position];
            }
        }
    }
}

}  // namespace isospike
