// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "tests/simulation/run_options.h"

namespace rakv::simulation {

/// A smaller set of options that still fails: fewer kinds of faults, nodes, clients, keys and
/// operations, one after the other, as long as something can be left out. `fails` runs one.
RunOptions shrink(RunOptions failing, const std::function<bool(const RunOptions&)>& fails);

}  // namespace rakv::simulation
