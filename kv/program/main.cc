// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "cnode/base/printable.h"
#include "kv/program/client_commands.h"
#include "kv/program/cookie_option.h"
#include "kv/program/start_arguments.h"
#include "kv/program/store_commands.h"

// The program `rakv`: its command line.

namespace {

/// A standard stream that was closed would be the next file or socket that is opened; this one
/// fails when it is used.
void occupy_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0)
      static_cast<void>(::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
}

std::string usage_error(const CLI::App* app, const CLI::Error& error) {
  std::string command = "rakv";
  for (const CLI::App* chosen : app->get_subcommands()) command += " " + chosen->get_name();
  const std::vector<std::string> unread = app->remaining();
  const bool unknown = app->get_subcommands().empty() && !unread.empty();
  const std::string what =
      unknown ? "there is no command " + unread.front() : std::string(error.what());
  return "rakv: error: " + rakv::printable(what) + "; see " + command + " --help\n";
}

}  // namespace

int main(int argc, char** argv) {
  // The copy is what is parsed, last argument first, as CLI11 wants it.
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  std::reverse(arguments.begin(), arguments.end());
  rakv::kv::wipe_cookies(argc, argv);
  occupy_standard_streams();
  CLI::App app("rakv: a native member of ra_kv clusters", "rakv");
  int exit_code = 0;
  app.set_version_flag("--version", "rakv " RAKV_VERSION);
  app.require_subcommand(0, 1);
  app.callback([&app] {
    if (app.get_subcommands().empty()) std::cout << app.help();
  });
  rakv::kv::add_start_command(app, exit_code);
  CLI::App* version = app.add_subcommand("version", "Print the version");
  version->footer("Examples:\n  rakv version");
  version->callback([] { std::cout << "rakv " RAKV_VERSION "\n"; });
  rakv::kv::add_client_commands(app, exit_code);
  rakv::kv::add_store_commands(app, exit_code);
  app.footer(
      "Examples:\n"
      "  rakv start --sname rakv --bootstrap kv\n"
      "  rakv put --server rakv@myhost greeting 'hello world'\n"
      "  rakv status --server rakv@myhost\n"
      "  rakv release data/rakv@myhost\n"
      "  rakv put --help");
  app.failure_message(usage_error);
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? 0 : 2;
  }
  if (exit_code == 0 && !std::cout.flush()) {
    std::fputs("rakv: error: can't write standard output: let it go elsewhere\n", stderr);
    return 5;
  }
  return exit_code;
}
