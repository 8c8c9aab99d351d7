// The Python module isospike.engine._native. It checks types, shapes and contiguity of every array that comes in.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <optional>

#include "counting.hpp"
#include "kernel_choice.hpp"
#include "network.hpp"
#include "scattering.hpp"
#include "window.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace isospike {
namespace {

template <class T, int Dimensions>
using In = nb::ndarray<const T, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;
template <class T, int Dimensions>
using InOut = nb::ndarray<T, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;
template <class T>
using Out = nb::ndarray<nb::numpy, T>;
using Pair = std::array<int32_t, 2>;

// A zeroed array that Python owns.
template <class T>
Out<T> make_array(std::vector<size_t> shape) {
    size_t size = 1;
    for (const size_t length : shape) size *= length;
    T* const data = new T[size]();
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return Out<T>(data, shape.size(), shape.data(), owner);
}

template <class T>
std::vector<T> copy(const In<T, 1>& array) {
    return {array.data(), array.data() + array.size()};
}

int32_t length(size_t size) {
    if (size > (size_t{1} << 30)) throw std::invalid_argument("array: too long");
    return static_cast<int32_t>(size);
}

Window make_window(Pair kernel, Pair stride, Pair padding, Pair dilation) {
    Window window{};
    window.kernel_height = kernel[0], window.kernel_width = kernel[1];
    window.stride_height = stride[0], window.stride_width = stride[1];
    window.padding_height = padding[0], window.padding_width = padding[1];
    window.dilation_height = dilation[0], window.dilation_width = dilation[1];
    return window;
}

Thresholds make_thresholds(
    const In<int32_t, 2>& first, const In<int32_t, 1>& low, const In<int32_t, 1>& high, uint32_t limit) {
    if (first.shape(1) != low.size()) throw std::invalid_argument("thresholds: expected (levels, channels)");
    return {
        {first.data(), first.data() + first.size()},
        copy(low),
        copy(high),
        static_cast<uint32_t>(length(first.shape(0))),
        limit};
}

template <class T>
Pair kernel_of(const In<T, 4>& weight) {
    return {length(weight.shape(2)), length(weight.shape(3))};
}

nb::tuple run(const Network& network, const In<uint8_t, 4>& images, unsigned threads, bool keep_counts) {
    const Shape& in = network.in_shape();
    if (images.shape(1) != static_cast<size_t>(in.channels) || images.shape(2) != static_cast<size_t>(in.height) ||
        images.shape(3) != static_cast<size_t>(in.width)) {
        throw std::invalid_argument("images: the shape does not fit the network's input");
    }
    const size_t batch = images.shape(0), steps = network.steps(), spiking = network.spiking().size();
    auto logits = make_array<int32_t>({steps, batch, network.classes()});
    auto positive = make_array<int64_t>({spiking, steps, batch});
    auto negative = make_array<int64_t>({spiking, steps, batch});
    auto sops = make_array<int64_t>({network.work_count(), steps, batch});
    auto settled = make_array<bool>({steps, batch});
    static_assert(sizeof(bool) == 1);
    Record record{
        logits.data(), positive.data(), negative.data(), sops.data(), reinterpret_cast<uint8_t*>(settled.data()), {}};
    nb::list counts;
    for (size_t i = 0; keep_counts && i < spiking; ++i) {
        const Shape& shape = network.find(network.spiking()[i]).shape;
        auto array = make_array<int32_t>(
            {batch, static_cast<size_t>(shape.channels), static_cast<size_t>(shape.height),
             static_cast<size_t>(shape.width)});
        record.counts.push_back(array.data());
        counts.append(array);
    }
    {
        nb::gil_scoped_release release;
        network.run(images.data(), batch, threads, record);
    }
    return nb::make_tuple(logits, positive, negative, sops, settled, counts);
}

// A convolution of (image, height, width, in) by (height, width, in, out), to (image, height, width, out).
Out<double> scatter_signal(
    const In<double, 4>& signal, const In<double, 4>& weight, Pair stride, Pair padding, Pair dilation,
    unsigned threads, const std::string& isa) {
    Window window = make_window({length(weight.shape(0)), length(weight.shape(1))}, stride, padding, dilation);
    window = fit_window(window, length(signal.shape(3)), length(signal.shape(1)), length(signal.shape(2)));
    expect(weight.shape(2) == signal.shape(3), "weight: expected a row for each channel");
    expect(threads >= 1, "threads: expected at least 1");
    expect(int64_t{window.out_height} * window.out_width < kMostSize, "signal: too large");
    const size_t channels = weight.shape(3), images = signal.shape(0);
    auto out = make_array<double>(
        {images, static_cast<size_t>(window.out_height), static_cast<size_t>(window.out_width), channels});
    const Kernels& kernels = choose_kernels(isa);
    {
        nb::gil_scoped_release release;
        scatter(kernels, window, channels, signal.data(), weight.data(), out.data(), images, threads);
    }
    return out;
}

// One step of counting neurons (image, position, channel): changes membrane and count, writes the spikes and how many
// of either sign there are at each position (image, position), and gives the totals of each image: fired, net, missing.
Out<double> step_counting_neurons(
    const InOut<double, 3>& membrane, const InOut<double, 3>& count, const InOut<double, 3>& spikes,
    const InOut<double, 2>& fired, const std::optional<In<double, 3>>& current,
    const In<double, 1>& threshold, const In<double, 1>& step, double scale, double levels, double limit,
    unsigned threads, const std::string& isa) {
    const size_t images = membrane.shape(0), positions = membrane.shape(1), channels = membrane.shape(2);
    const auto fits = [&](const auto& array) {
        return array.shape(0) == images && array.shape(1) == positions && array.shape(2) == channels;
    };
    expect(fits(count), "count: expected the shape of the membrane");
    expect(fits(spikes), "spikes: expected the shape of the membrane");
    expect(fired.shape(0) == images && fired.shape(1) == positions, "fired: expected a number for each position");
    expect(!current || fits(*current), "current: expected the shape of the membrane");
    expect(threshold.shape(0) == channels && step.shape(0) == channels, "thresholds: expected one for each channel");
    expect(threads >= 1, "threads: expected at least 1");
    auto totals = make_array<double>({images, 3});
    const Kernels& kernels = choose_kernels(isa);
    {
        nb::gil_scoped_release release;
        std::vector<CountingTotals> each(images);
        const CountingRule rule{threshold.data(), step.data(), channels, scale, levels, limit};
        const CountingState state{
            current ? current->data() : nullptr, membrane.data(), count.data(), spikes.data()};
        step_neurons_of_doubles(kernels, rule, state, positions, fired.data(), each.data(), images, threads);
        double* to = totals.data();
        for (const CountingTotals& one : each) {
            *to++ = one.fired, *to++ = one.net, *to++ = one.missing;
        }
    }
    return totals;
}

void bind_nodes(nb::class_<Network>& network) {
    network
        .def("add_input", [](Network& self, std::array<int32_t, 3> shape, const In<int32_t, 1>& offset) {
            return self.add_input({shape[0], shape[1], shape[2]}, copy(offset));
        }, "shape"_a, "offset"_a.noconvert())
        .def("add_convolution", [](Network& self, size_t source, const In<int32_t, 4>& weight, Pair stride,
                                   Pair padding, Pair dilation, int32_t groups) {
            return self.add_convolution(
                source, weight.data(), length(weight.shape(0)), length(weight.shape(1)),
                make_window(kernel_of(weight), stride, padding, dilation), groups);
        }, "source"_a, "weight"_a.noconvert(), "stride"_a, "padding"_a, "dilation"_a, "groups"_a)
        .def("add_ternary", [](Network& self, size_t source, const In<int8_t, 4>& weight, Pair stride, Pair padding,
                               Pair dilation, int32_t groups, const In<int32_t, 2>& first, const In<int32_t, 1>& low,
                               const In<int32_t, 1>& high, uint32_t limit) {
            return self.add_ternary(
                source, weight.data(), length(weight.shape(0)), length(weight.shape(1)),
                make_window(kernel_of(weight), stride, padding, dilation), groups,
                make_thresholds(first, low, high, limit));
        }, "source"_a, "weight"_a.noconvert(), "stride"_a, "padding"_a, "dilation"_a, "groups"_a,
        "first"_a.noconvert(), "low"_a.noconvert(), "high"_a.noconvert(), "limit"_a)
        .def("add_sum_pool", [](Network& self, size_t source, Pair kernel, Pair stride, Pair padding) {
            return self.add_sum_pool(source, make_window(kernel, stride, padding, {1, 1}));
        }, "source"_a, "kernel"_a, "stride"_a, "padding"_a)
        .def("add_max_pool", [](Network& self, size_t source, Pair kernel, Pair stride, Pair padding, int32_t limit,
                                const In<int32_t, 1>& signs) {
            return self.add_max_pool(source, make_window(kernel, stride, padding, {1, 1}), limit, copy(signs));
        }, "source"_a, "kernel"_a, "stride"_a, "padding"_a, "limit"_a, "signs"_a.noconvert())
        .def("add_flatten", &Network::add_flatten, "source"_a)
        .def("add_sum", [](Network& self, const std::vector<size_t>& sources, const In<int32_t, 1>& gains) {
            return self.add_sum(sources, copy(gains));
        }, "sources"_a, "gains"_a.noconvert())
        .def("add_concatenation", &Network::add_concatenation, "sources"_a)
        .def("add_neuron", [](Network& self, size_t source, const In<int32_t, 2>& first, const In<int32_t, 1>& low,
                              const In<int32_t, 1>& high, uint32_t limit, const In<int32_t, 1>& start) {
            return self.add_neuron(source, make_thresholds(first, low, high, limit), copy(start));
        }, "source"_a, "first"_a.noconvert(), "low"_a.noconvert(), "high"_a.noconvert(), "limit"_a,
        "start"_a.noconvert())
        .def("add_integrate_and_fire", [](Network& self, size_t source, const In<int64_t, 1>& threshold,
                                          const In<int64_t, 1>& initial, const In<int64_t, 1>& lower,
                                          const In<int64_t, 1>& residual) {
            return self.add_integrate_and_fire(
                source, {copy(threshold), copy(initial), copy(lower), copy(residual)});
        }, "source"_a, "threshold"_a.noconvert(), "initial"_a.noconvert(), "lower"_a.noconvert(),
        "residual"_a.noconvert())
        .def("add_affine", [](Network& self, size_t source, const In<int32_t, 1>& gain, const In<int32_t, 1>& bias) {
            return self.add_affine(source, copy(gain), copy(bias));
        }, "source"_a, "gain"_a.noconvert(), "bias"_a.noconvert())
        .def("add_readout", [](Network& self, size_t source, const In<int32_t, 1>& bias) {
            return self.add_readout(source, copy(bias));
        }, "source"_a, "bias"_a.noconvert())
        .def("add_work", [](Network& self, size_t source, const In<int64_t, 1>& synapses) {
            self.add_work(source, copy(synapses));
        }, "source"_a, "synapses"_a.noconvert());
}

std::vector<std::string> list_isas() {
    std::vector<std::string> names;
    for (const Kernels* each : available_kernels()) names.emplace_back(each->name);
    return names;
}

}  // namespace
}  // namespace isospike

NB_MODULE(_native, module) {
    using namespace isospike;
    module.doc() = "Integer spiking networks, prepared and run.";
    module.def("list_isas", list_isas, "The instruction sets that this processor runs, the best first.");
#if defined(ISOSPIKE_CHECKS)
    module.attr("checks") = true;
#else
    module.attr("checks") = false;
#endif
    module.def("scatter", scatter_signal, "signal"_a.noconvert(), "weight"_a.noconvert(), "stride"_a, "padding"_a,
        "dilation"_a, "threads"_a, "isa"_a, "A convolution in float64 of a signal that is mostly zeros.");
    module.def("step_counting_neurons", step_counting_neurons, "membrane"_a.noconvert(), "count"_a.noconvert(),
        "spikes"_a.noconvert(), "fired"_a.noconvert(), "current"_a.noconvert().none(), "threshold"_a.noconvert(),
        "step"_a.noconvert(), "scale"_a, "levels"_a, "limit"_a, "threads"_a, "isa"_a,
        "A step of counting neurons in float64.");
    nb::class_<Network> network(module, "Network");
    network.def(nb::init<uint32_t, const std::string&, bool, uint32_t>(), "steps"_a, "isa"_a, "held"_a = false,
        "restart"_a = 0);
    bind_nodes(network);
    network
        .def("gives_spikes", &Network::gives_spikes, "node"_a)
        .def("accepts_ternary", [](const Network& self, size_t source, Pair kernel, Pair stride, Pair padding,
                                   Pair dilation) {
            return self.accepts_ternary(source, make_window(kernel, stride, padding, dilation));
        }, "source"_a, "kernel"_a, "stride"_a, "padding"_a, "dilation"_a)
        .def_prop_ro("isa", [](const Network& self) { return self.kernels().name; })
        .def("run", run, "images"_a.noconvert(), "threads"_a, "keep_counts"_a);
}
