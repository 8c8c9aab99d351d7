// Nodes that give sums: pixels, convolutions (a dense layer is one whose kernel is the whole map), pools, flattening.
#pragma once

#include <algorithm>

#include "node.hpp"

namespace isospike {

// The pixels minus the offset, presented at the first step; or, where they are held, at every step.
class PixelNode : public Node {
  public:
    PixelNode(size_t number, Shape shape, std::vector<int32_t> offset, bool held);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    void run(Workspace&) const override;
    bool add(Workspace&, size_t position, uint32_t step, int32_t* target) const override;
    uint32_t count_steps(const Workspace& workspace) const override { return held_ ? workspace.steps : 1; }
    bool is_constant() const override { return held_; }

  private:
    std::vector<int32_t> offset_;
    bool held_;
};

// Weights (out, in / groups, height, width), row by row as they are added: [group][tap][in][out], in int16 if they fit.
class Rows {
  public:
    Rows(const int32_t* weight, const Window& window, int32_t out_channels, int32_t groups);

    // The group of an input channel, and the number of its row.
    size_t group_of(size_t channel) const { return channel / in_group_; }
    uint32_t row_of(size_t tap, size_t channel) const;

    // Adds `count` rows of one group.
    void add(const Kernels&, int32_t* target, size_t group, const WeightedRow* list, size_t count) const;

    // Adds `plus` rows and subtracts the `minus` rows after them, where there is one group of weights of 16 bits.
    void add_units(const Kernels&, int32_t* target, const uint32_t* rows, size_t plus, size_t minus) const;
    bool takes_units() const { return groups_ == 1 && most_ >= kFewestRows; }

    size_t groups() const { return groups_; }

  private:
    static constexpr size_t kFewestRows = 4;  // below, summing in 16 bits first costs more than it saves

    size_t taps_, groups_, in_group_, out_group_;
    std::vector<int16_t> narrow_;
    std::vector<int32_t> wide_;
    size_t most_;  // rows whose sum 16 bits hold; 0 where weights are wider
};

class ConvolutionNode : public Node {
  public:
    ConvolutionNode(size_t number, Shape shape, const Node& source, const Window& window, Rows rows);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    void run(Workspace&) const override;
    bool add(Workspace&, size_t position, uint32_t step, int32_t* target) const override;
    uint32_t count_steps(const Workspace& workspace) const override { return source_.count_steps(workspace); }
    bool is_constant() const override { return source_.is_constant(); }

  private:
    using Lists = std::vector<std::vector<WeightedRow>>;  // by group
    bool add_events(Workspace&, size_t position, uint32_t step, int32_t* target) const;
    void list_events(const Events&, size_t tap, size_t slot, Lists& lists) const;
    size_t list_frame(const int32_t* frame, size_t position, WeightedRow* list) const;
    void list_grouped_frame(const int32_t* frame, size_t tap, Lists& lists) const;

    const Node& source_;
    Window window_;
    Rows rows_;
};

// gain * source + bias per channel; the bias is given at every step.
class AffineNode : public Node {
  public:
    AffineNode(size_t number, const Node& source, std::vector<int32_t> gain, std::vector<int32_t> bias);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    bool add(Workspace&, size_t position, uint32_t step, int32_t* target) const override;
    bool is_constant() const override { return source_.is_constant(); }

  private:
    const Node& source_;
    std::vector<int32_t> gain_, bias_;
    bool plain_;  // every gain is 1
};

// Sums over windows. Of spikes it gives the spikes of the whole window, as events.
class SumPoolNode : public EventNode {
  public:
    SumPoolNode(size_t number, Shape shape, const Node& source, const Window& window);
    void run(Workspace&) const override;
    bool add(Workspace&, size_t position, uint32_t step, int32_t* target) const override;
    uint32_t count_steps(const Workspace& workspace) const override { return source_.count_steps(workspace); }
    bool is_constant() const override { return source_.is_constant(); }
    const Events* find_events(const Workspace&) const override;

  private:
    const Node& source_;
    Window window_;
};

// (channel, height, width) to features, in that order.
class FlattenNode : public Node {
  public:
    FlattenNode(size_t number, const Node& source);
    std::unique_ptr<State> make_state(uint32_t steps) const override;
    bool add(Workspace&, size_t position, uint32_t step, int32_t* target) const override;
    uint32_t count_steps(const Workspace& workspace) const override { return source_.count_steps(workspace); }
    bool is_constant() const override { return source_.is_constant(); }

  private:
    const Node& source_;
};

// Calls visit(tap, input position) for every kernel position that lies inside the map.
template <class Visit>
void visit_window(const Window& w, size_t position, Visit visit) {
    const int y = static_cast<int>(position) / w.out_width, x = static_cast<int>(position) % w.out_width;
    for (int ky = 0; ky < w.kernel_height; ++ky) {
        const int in_y = y * w.stride_height - w.padding_height + ky * w.dilation_height;
        if (in_y < 0 || in_y >= w.in_height) continue;
        for (int kx = 0; kx < w.kernel_width; ++kx) {
            const int in_x = x * w.stride_width - w.padding_width + kx * w.dilation_width;
            if (in_x < 0 || in_x >= w.in_width) continue;
            visit(static_cast<size_t>(ky * w.kernel_width + kx), static_cast<size_t>(in_y * w.in_width + in_x));
        }
    }
}

// Calls visit(first tap, first input position, length) for runs of kernel positions whose inputs lie side by side.
template <class Visit>
void visit_runs(const Window& w, size_t position, Visit visit) {
    if (w.dilation_width != 1) {
        visit_window(w, position, [&](size_t tap, size_t from) { visit(tap, from, size_t{1}); });
        return;
    }
    const int y = static_cast<int>(position) / w.out_width, x = static_cast<int>(position) % w.out_width;
    const int left = x * w.stride_width - w.padding_width;
    const int first = std::max(0, -left), last = std::min(w.kernel_width, w.in_width - left);
    if (first >= last) return;
    for (int ky = 0; ky < w.kernel_height; ++ky) {
        const int in_y = y * w.stride_height - w.padding_height + ky * w.dilation_height;
        if (in_y < 0 || in_y >= w.in_height) continue;
        visit(
            static_cast<size_t>(ky * w.kernel_width + first), static_cast<size_t>(in_y * w.in_width + left + first),
            static_cast<size_t>(last - first));
    }
}

}  // namespace isospike
