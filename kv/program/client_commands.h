// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace CLI {
class App;
}

namespace rakv::kv {

/// Adds the commands put, get, delete and status to the program. Each sets `exit_code` when it has
/// run: 0 done, 1 failed, 2 unusable arguments, 3 no such key, 4 outcome unknown, 5 done but its
/// result could not be written. Failures are one line on standard error. --timeout bounds all of a
/// command but its output.
void add_client_commands(CLI::App& app, int& exit_code);

}  // namespace rakv::kv
