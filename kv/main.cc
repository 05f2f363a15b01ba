#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "kv/client_commands.h"
#include "kv/node_name.h"
#include "kv/start_command.h"
#include "kv/store_commands.h"

// The program `rakv`: its command line.

namespace {

using rakv::Result;
using rakv::kv::StartOptions;

struct Names {
  std::string short_name;
  std::string long_name;
};

Result<std::string> full_name(const Names& names) {
  return names.long_name.empty() ? rakv::kv::short_node_name(names.short_name)
                                 : rakv::kv::long_node_name(names.long_name);
}

void add_start(CLI::App& app, StartOptions& options, Names& names, int& exit_code) {
  CLI::App* start = app.add_subcommand("start", "Run a node in the foreground");
  start->footer(
      "Examples:\n"
      "  rakv start --sname rakv --bootstrap kv\n"
      "  rakv start --name rakv@10.0.0.1 --cookie secret --data-dir /var/lib/rakv --config "
      "/etc/rakv.toml");
  auto* short_name =
      start->add_option("--sname", names.short_name, "Short node name: NAME or NAME@HOST");
  start->add_option("--name", names.long_name, "Long node name: NAME@HOST.DOMAIN or NAME@ADDRESS")
      ->excludes(short_name);
  start->add_option("--cookie", options.cookie,
                    "The cluster's cookie; without it the user's Erlang cookie file is read");
  start->add_option("--data-dir", options.data_dir, "Data go to DIR/NAME@HOST/")
      ->capture_default_str();
  start
      ->add_option("--memory-budget", options.memory_budget_bytes,
                   "Memory for values on their way to disk, whatever the size of the data: SIZE is "
                   "a number with MB or GB, at least 64MB. Keys come on top, about 150 bytes each")
      ->type_name("SIZE")
      ->transform(CLI::AsSizeValue(false))
      ->check([](const std::string& bytes) {
        const auto budget = rakv::log::MemoryBudget::of(std::strtoull(bytes.c_str(), nullptr, 10));
        return budget ? std::string() : budget.error().message;
      })
      ->default_str("2GB");
  start->add_option(
      "--bootstrap", options.bootstrap,
      "Make a cluster of this name with this node as its only member, unless it is there");
  start->add_option("--connect", options.connect, "Nodes to connect to, and to stay connected to");
  start->add_option("--listen-address", options.listen_address, "Address to listen on")
      ->capture_default_str();
  start->add_option("--listen-port", options.listen_port, "Port to listen on; 0 takes a free one")
      ->capture_default_str();
  start
      ->add_option(
          "--net-ticktime", options.net_ticktime_s,
          "Seconds of silence after which a node counts as gone, as in kernel's net_ticktime")
      ->check(CLI::Range(1u, 86'400u))
      ->capture_default_str();
  start
      ->add_option("--log-level", options.log_level,
                   "trace, debug, info, warning, error or critical")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "critical"}))
      ->capture_default_str();
  start->add_flag("--exit-with-parent", options.exit_with_parent,
                  "Stop in order when standard input ends");
  start->add_flag("--test-hooks", options.test_hooks, "Answer what only tests may ask of a node");
  start->set_config("--config", "",
                    "Read options from this file, one `name = value` a line (TOML)");
  start->callback([&options, &names, &exit_code] {
    if (names.short_name.empty() && names.long_name.empty())
      throw CLI::RequiredError("--sname or --name");
    const Result<std::string> name = full_name(names);
    if (!name) throw CLI::ValidationError(name.error().message);
    options.node_name = *name;
    exit_code = rakv::kv::run_start_command(options);
  });
}

}  // namespace

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
  return "rakv: error: " +
         (unknown ? "there is no command " + unread.front() : std::string(error.what())) +
         "; see " + command + " --help\n";
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_streams();
  CLI::App app("rakv: a native member of ra_kv clusters", "rakv");
  app.require_subcommand(1);
  int exit_code = 0;
  StartOptions start_options;
  Names start_names;
  add_start(app, start_options, start_names, exit_code);
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
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? 0 : 2;
  }
  if (exit_code == 0 && !std::cout.flush()) {
    std::fputs("rakv: error: can't write standard output: let it go elsewhere\n", stderr);
    return 5;
  }
  return exit_code;
}
