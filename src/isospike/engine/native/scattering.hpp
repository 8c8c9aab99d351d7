// Convolutions in double precision of signals that are mostly zeros.
#pragma once

#include "kernels.hpp"

namespace isospike {

// out += the convolution (cross-correlation) of `images` signals with the weights.
//   signal: [image][position][in channel]; weight: [tap][in channel][out channel]; out: [image][position][out channel].
// Each image's sums are made in one order, whatever the number of threads: by input channel, tap, position.
void scatter(
    const Kernels& kernels, const Window& window, size_t out_channels, const double* signal, const double* weight,
    double* out, size_t images, unsigned threads);

}  // namespace isospike
