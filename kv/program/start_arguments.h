// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace CLI {
class App;
}

namespace rakv::kv {

/// Adds the command start to the program, with an option for each of start_settings() and --config
/// FILE, which gives the same settings. What the command line says goes before what the file says,
/// and that before the default. Unusable settings are one line each on standard error, and set
/// `exit_code` to 2 before anything is done.
void add_start_command(CLI::App& app, int& exit_code);

}  // namespace rakv::kv
