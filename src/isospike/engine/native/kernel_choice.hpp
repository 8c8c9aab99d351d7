// Which kernels run here.
#pragma once

#include <string>
#include <vector>

#include "kernels.hpp"

namespace isospike {

// The kernels that this processor runs, the best first.
const std::vector<const Kernels*>& available_kernels();

// Those called `name`, or the best.
// Throws std::invalid_argument where the name is unknown or the processor lacks them.
const Kernels& choose_kernels(const std::string& name);

}  // namespace isospike
