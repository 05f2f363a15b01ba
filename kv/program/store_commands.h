// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace CLI {
class App;
}

namespace rakv::kv {

/// Adds the commands that work on a stopped node's directory: release, takeover, check, repair.
/// Each sets `exit_code` when it has run: 0 done or all is well, 1 failed, 2 unusable arguments, 6
/// the answer is no. Failures are one line on standard error, findings are lines on standard
/// output.
void add_store_commands(CLI::App& app, int& exit_code);

}  // namespace rakv::kv
