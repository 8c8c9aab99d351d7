#include "window.hpp"

namespace isospike {

Window fit_window(Window w, int32_t in_channels, int32_t in_height, int32_t in_width) {
    expect(within(1, w.kernel_height, kMostSide) && within(1, w.kernel_width, kMostSide), "kernel: 1 to 32768");
    expect(within(1, w.stride_height, kMostSide) && within(1, w.stride_width, kMostSide), "stride: 1 to 32768");
    expect(within(0, w.padding_height, kMostSide) && within(0, w.padding_width, kMostSide), "padding: 0 to 32768");
    expect(within(1, w.dilation_height, kMostSide) && within(1, w.dilation_width, kMostSide), "dilation: 1 to 32768");
    const int64_t height = in_height + 2 * w.padding_height - int64_t{w.dilation_height} * (w.kernel_height - 1) - 1;
    const int64_t width = in_width + 2 * w.padding_width - int64_t{w.dilation_width} * (w.kernel_width - 1) - 1;
    expect(height >= 0 && width >= 0, "kernel: does not fit the feature map");
    expect(int64_t{w.kernel_height} * w.kernel_width * in_channels < kMostSize / 8, "kernel: too large");
    w.in_height = in_height, w.in_width = in_width, w.in_channels = in_channels;
    w.out_height = static_cast<int32_t>(height / w.stride_height + 1);
    w.out_width = static_cast<int32_t>(width / w.stride_width + 1);
    return w;
}

}  // namespace isospike
