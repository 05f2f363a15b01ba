// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include "cnode/base/result.h"
#include "cnode/distribution/epmd.h"

namespace rakv::distribution::epmd {

/// Starts `epmd -daemon -port N` from the first candidate that can be run. The child daemonizes
/// itself and ends within milliseconds: its pid is given so that it can be reaped. Error
/// `unavailable`: there is no epmd to run.
Result<pid_t> start_daemon(const Options& options);

}  // namespace rakv::distribution::epmd
