#include "scattering.hpp"

#include <limits>
#include <vector>

#include "threads.hpp"

namespace isospike {

namespace {

constexpr uint32_t kNowhere = std::numeric_limits<uint32_t>::max();

// A number that is not zero, of one channel.
struct Event {
    uint32_t position;
    double value;
};

size_t count_inside(const Window& window) { return size_t(window.in_height) * size_t(window.in_width); }

// The output position that an input position adds to through one tap, along one axis; negative for none.
int64_t land(int64_t at, int64_t tap, int64_t padding, int64_t stride, int64_t dilation, int64_t length) {
    const int64_t distance = at + padding - tap * dilation;
    if (distance < 0 || distance % stride != 0 || distance / stride >= length) return -1;
    return distance / stride;
}

// For each tap, where each input position lands, or kNowhere.
std::vector<uint32_t> list_places(const Window& w) {
    std::vector<uint32_t> places;
    places.reserve(size_t(w.kernel_height) * size_t(w.kernel_width) * count_inside(w));
    for (int32_t ky = 0; ky < w.kernel_height; ++ky) {
        for (int32_t kx = 0; kx < w.kernel_width; ++kx) {
            for (int32_t y = 0; y < w.in_height; ++y) {
                const int64_t row = land(y, ky, w.padding_height, w.stride_height, w.dilation_height, w.out_height);
                for (int32_t x = 0; x < w.in_width; ++x) {
                    const int64_t column = land(x, kx, w.padding_width, w.stride_width, w.dilation_width, w.out_width);
                    const bool lands = row >= 0 && column >= 0;
                    places.push_back(lands ? static_cast<uint32_t>(row * w.out_width + column) : kNowhere);
                }
            }
        }
    }
    return places;
}

// The numbers of one image that are not zero, channel by channel.
class Sorted {
  public:
    void sort(const double* signal, size_t positions, size_t channels) {
        start_.assign(channels + 1, 0);
        const double* at = signal;
        for (size_t position = 0; position < positions; ++position) {
            for (size_t channel = 0; channel < channels; ++channel) start_[channel + 1] += *at++ != 0;
        }
        for (size_t channel = 0; channel < channels; ++channel) start_[channel + 1] += start_[channel];
        events_.resize(start_[channels]);
        next_ = start_;
        at = signal;
        for (size_t position = 0; position < positions; ++position) {
            for (size_t channel = 0; channel < channels; ++channel) {
                const double value = *at++;
                if (value != 0) events_[next_[channel]++] = {static_cast<uint32_t>(position), value};
            }
        }
    }

    const Event* begin(size_t channel) const { return events_.data() + start_[channel]; }
    const Event* end(size_t channel) const { return events_.data() + start_[channel + 1]; }

  private:
    std::vector<size_t> start_, next_;
    std::vector<Event> events_;
};

}  // namespace

void scatter(
    const Kernels& kernels, const Window& window, size_t out_channels, const double* signal, const double* weight,
    double* out, size_t images, unsigned threads) {
    const size_t positions = count_inside(window), channels = size_t(window.in_channels);
    const size_t taps = size_t(window.kernel_height) * size_t(window.kernel_width);
    const size_t places_out = size_t(window.out_height) * size_t(window.out_width);
    const std::vector<uint32_t> places = list_places(window);
    share(images, threads, [&](Numbers& numbers) {
        Sorted sorted;
        std::vector<Landing> landings(positions);
        for (size_t image; numbers.take(image);) {
            sorted.sort(signal + image * positions * channels, positions, channels);
            double* const target = out + image * places_out * out_channels;
            for (size_t channel = 0; channel < channels; ++channel) {
                for (size_t tap = 0; tap < taps; ++tap) {
                    size_t count = 0;
                    for (const Event* event = sorted.begin(channel); event != sorted.end(channel); ++event) {
                        const uint32_t place = places[tap * positions + event->position];
                        if (place != kNowhere) landings[count++] = {place, event->value};
                    }
                    const double* const row = weight + (tap * channels + channel) * out_channels;
                    if (count) kernels.scatter_row(target, row, out_channels, landings.data(), count);
                }
            }
        }
    });
}

}  // namespace isospike
