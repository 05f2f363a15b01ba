// SPDX-License-Identifier: Apache-2.0
#include "kv/program/start_arguments.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kv/program/command_io.h"
#include "kv/program/settings.h"
#include "kv/program/settings_file.h"
#include "kv/program/start_command.h"

namespace rakv::kv {
namespace {

constexpr const char* kFooter =
    "What the command line says goes before what the file of --config says, and that before the\n"
    "default. The file is TOML, one NAME = VALUE a line, with the names of the options:\n"
    "  sname = \"rakv\"\n"
    "  cookie-file = \"/etc/rakv/cookie\"\n"
    "  memory-budget = \"4GB\"\n"
    "  connect = [\"n1@host\", \"n2@host\"]\n"
    "\n"
    "Exit codes: 0 stopped in order, 1 failed, 2 unusable arguments or settings\n"
    "\n"
    "Examples:\n"
    "  rakv start --sname rakv --bootstrap kv\n"
    "  rakv start --name rakv@10.0.0.1 --cookie-file /etc/rakv/cookie --data-dir /var/lib/rakv\n"
    "  rakv start --config /etc/rakv.toml";

/// What the command line gives: texts by setting. A flag has none.
struct Given {
  std::map<const Setting*, std::vector<std::string>> texts;
  std::map<const Setting*, CLI::Option*> options;
  CLI::Option* config = nullptr;
  std::string config_file;
};

void add_setting(CLI::App& command, const Setting& setting, Given& given) {
  const std::string name = "--" + std::string(setting.name);
  const std::string help(setting.help);
  std::vector<std::string>& texts = given.texts[&setting];
  if (std::holds_alternative<bool StartOptions::*>(setting.place)) {
    given.options[&setting] = command.add_flag(name, help);
    return;
  }
  CLI::Option* option = command.add_option(name, texts, help);
  option->type_name(std::string(setting.value_name))->default_str(default_of(setting));
  if (!std::holds_alternative<std::vector<std::string> StartOptions::*>(setting.place))
    option->type_size(1)->expected(1)->allow_extra_args(false);
  given.options[&setting] = option;
}

/// The settings of the command line go over those of the file.
void apply_command_line(const Given& given, StartOptions& options) {
  for (const Setting& setting : start_settings()) {
    if (given.options.at(&setting)->count() == 0 || setting.instead_of.empty()) continue;
    const Setting* other = find_setting(setting.instead_of);
    if (given.options.at(other)->count() > 0) {
      throw CLI::ValidationError(
          fmt::format("give either --{} or --{}", setting.name, other->name));
    }
    clear_setting(*other, options);
  }
  for (const Setting& setting : start_settings()) {
    if (given.options.at(&setting)->count() == 0) continue;
    const Result<void> applied =
        apply_texts(setting, given.options.at(&setting)->results(), options);
    if (!applied)
      throw CLI::ValidationError(fmt::format("--{}: {}", setting.name, applied.error().message));
  }
}

bool others_can_read(const std::string& path) {
  struct stat about {};
  return ::stat(path.c_str(), &about) == 0 && (about.st_mode & 077) != 0;
}

int run(const Given& given) {
  StartOptions options;
  FileFaults faults;
  if (given.config->count() > 0) faults = read_settings_file(given.config_file, options);
  if (!options.cookie.empty() && others_can_read(given.config_file)) {
    options.notices.push_back(given.config_file +
                              " has the cookie in it, and others can read it: run chmod 600 on "
                              "it, or put the cookie into a file for cookie-file");
  }
  apply_command_line(given, options);
  if (faults.empty() && options.short_name.empty() && options.long_name.empty())
    throw CLI::RequiredError("--sname or --name");
  for (const std::string& fault : faults) print_error(fault);
  return faults.empty() ? run_start_command(options) : kUsage;
}

}  // namespace

void add_start_command(CLI::App& app, int& exit_code) {
  CLI::App* start = app.add_subcommand("start", "Run a node in the foreground");
  start->footer(kFooter);
  const auto given = std::make_shared<Given>();
  for (const Setting& setting : start_settings()) add_setting(*start, setting, *given);
  given->config =
      start->add_option("--config", given->config_file, "Read settings from this file (TOML)");
  given->config->type_name("FILE");
  start->callback([given, &exit_code] { exit_code = run(*given); });
}

}  // namespace rakv::kv
