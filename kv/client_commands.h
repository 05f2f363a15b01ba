#pragma once

namespace CLI {
class App;
}

namespace rakv::kv {

/// Adds the commands put, get, delete and status to the program. Each sets `exit_code` when it has
/// run: 0 done, 1 failed, 2 unusable arguments, 3 no such key, 4 outcome unknown. Failures are one
/// line on standard error.
void add_client_commands(CLI::App& app, int& exit_code);

}  // namespace rakv::kv
