// One table of kernels; compiled once per instruction set, with ISOSPIKE_KERNELS naming the function that gives it.
#include "counting.hpp"
#include "plain.hpp"
#include "scattering.hpp"
#include "sliced.hpp"

#define ISOSPIKE_TEXT_(name) #name
#define ISOSPIKE_TEXT(name) ISOSPIKE_TEXT_(name)

namespace isospike {

const Kernels& ISOSPIKE_KERNELS() {
#if defined(__AVX512F__)
    static constexpr uint32_t kWidths[] = {256, 128, 64, 0};
#elif defined(__AVX2__)
    static constexpr uint32_t kWidths[] = {128, 64, 0};
#else
    static constexpr uint32_t kWidths[] = {64, 0};
#endif
    static constexpr Kernels kKernels{
        ISOSPIKE_TEXT(ISOSPIKE_ISA), kWidths, run_sliced, add_rows<int16_t>, add_rows<int32_t>,
        add_unit_rows, step_neurons, scatter_row, step_counting};
    return kKernels;
}

}  // namespace isospike
