#include "kernel_choice.hpp"

#include <stdexcept>

namespace isospike {

namespace {

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"); }

bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi2");
}
#endif

// Kernels that this processor runs, the best first.
std::vector<const Kernels*> list_kernels() {
    std::vector<const Kernels*> kernels;
#if defined(__x86_64__)
    if (has_avx512()) kernels.push_back(&avx512_kernels());
    if (has_avx2()) kernels.push_back(&avx2_kernels());
#endif
#if defined(__aarch64__)
    kernels.push_back(&neon_kernels());
#else
    kernels.push_back(&baseline_kernels());
#endif
    return kernels;
}

}  // namespace

const std::vector<const Kernels*>& available_kernels() {
    static const std::vector<const Kernels*> kernels = list_kernels();
    return kernels;
}

const Kernels& choose_kernels(const std::string& name) {
    std::string known;
    for (const Kernels* each : available_kernels()) {
        if (name.empty() || name == each->name) return *each;
        known += (known.empty() ? "" : ", ") + std::string(each->name);
    }
    throw std::invalid_argument("ISOSPIKE_ISA: this processor runs " + known + ", got '" + name + "'");
}

size_t sliced_state_bytes(const SlicedLayer& layer) {
    size_t bytes = 64;
    for (uint32_t b = 0; b < layer.block_count; ++b) {
        bytes += (layer.planes + 2 * size_t{layer.levels} + 2 * size_t{layer.limit}) * layer.blocks[b].width / 8;
    }
    return bytes;
}

}  // namespace isospike
