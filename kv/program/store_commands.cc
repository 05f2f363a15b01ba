// SPDX-License-Identifier: Apache-2.0
#include "kv/program/store_commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "cnode/base/printable.h"
#include "kv/program/command_io.h"
#include "kv/program/directory_users.h"
#include "kv/program/store_reports.h"
#include "kv/program/takeover_conditions.h"
#include "raft/log/disk/overlay_disk.h"
#include "raft/log/offline/inspection.h"
#include "raft/log/offline/release.h"
#include "raft/log/offline/repair.h"

namespace rakv::kv {
namespace {

constexpr const char* kStoreExitCodes =
    "Exit codes: 0 done, or all is well; 1 failed (nothing was found out or changed), 2 unusable\n"
    "arguments, 6 the answer is no: something is damaged, or stands against it";

struct StoreArguments {
  std::string directory;
  bool json = false;
  bool check = false;
  bool dry_run = false;
};

int report_store_error(const Error& error) {
  print_error(error.message);
  return kFailed;
}

/// The directory as given, without a slash at its end, if a stopped node's system is in it.
Result<std::string> stopped_system(raftlog::Disk& disk, const StoreArguments& arguments) {
  std::error_code error;
  std::string directory = std::filesystem::absolute(arguments.directory, error).string();
  while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  if (auto checked = raftlog::check_system_directory(disk, directory); !checked)
    return checked.error();
  if (const auto user = find_writer(directory)) {
    return make_error(ErrorCode::unavailable,
                      fmt::format("{}: is in use by {}; stop that one first", directory, *user));
  }
  return directory;
}

int run_release(const StoreArguments& arguments) {
  const auto disk = raftlog::make_posix_disk();
  const auto directory = stopped_system(*disk, arguments);
  if (!directory) return report_store_error(directory.error());
  const auto released = raftlog::release(*disk, *directory, live_indexes_of_state);
  if (!released) return report_store_error(released.error());
  for (const std::string& notice : released->notices)
    std::cout << "note: " << printable(notice) << "\n";
  if (!released->was_ours) {
    std::cout << printable(*directory) << ": is a BEAM's already; nothing was to be done\n";
    return 0;
  }
  std::cout << printable(*directory) << ": released, a BEAM can start on it; servers:";
  for (const std::string& server : released->servers) std::cout << " " << printable(server);
  std::cout << (released->servers.empty() ? " none\n" : "\n");
  return 0;
}

int run_inspection(const StoreArguments& arguments, bool for_takeover) {
  const auto disk = raftlog::make_posix_disk();
  const auto directory = stopped_system(*disk, arguments);
  if (!directory) return report_store_error(directory.error());
  raftlog::InspectionOptions options;
  options.live_indexes_of = live_indexes_of_state;
  const std::string node = std::filesystem::path(*directory).filename().string();
  if (for_takeover) {
    options.admit = [&node](const raftlog::ServerConfig& config) {
      return can_take_over(config, node);
    };
  }
  const auto found = raftlog::inspect(*disk, *directory, options);
  if (!found) return report_store_error(found.error());
  if (arguments.json) {
    std::cout << inspection_json(*directory, *found);
  } else {
    std::cout << inspection_text(*directory, *found)
              << (for_takeover ? (found->sound() ? "yes: rakv can take it over"
                                                 : "no: rakv must not take it over like this")
                               : (found->sound() ? "sound" : "damaged"))
              << "\n";
  }
  return found->sound() ? 0 : kNo;
}

int run_repair(const StoreArguments& arguments) {
  const auto disk = raftlog::make_posix_disk();
  const auto directory = stopped_system(*disk, arguments);
  if (!directory) return report_store_error(directory.error());
  raftlog::OverlayDisk overlay(*disk);
  raftlog::Disk& chosen = arguments.dry_run ? static_cast<raftlog::Disk&>(overlay) : *disk;
  const std::string node = std::filesystem::path(*directory).filename().string();
  const auto repaired = raftlog::repair(
      chosen, *directory,
      [&node](const raftlog::ServerConfig& config) { return can_take_over(config, node); });
  if (!repaired) return report_store_error(repaired.error());
  std::cout << (arguments.json ? repair_json(*directory, *repaired, arguments.dry_run)
                               : repair_text(*repaired, arguments.dry_run));
  return repaired->left.empty() ? 0 : kNo;
}

CLI::App* add_directory_command(CLI::App& app, const char* name, const char* what,
                                const char* examples,
                                const std::shared_ptr<StoreArguments>& arguments) {
  CLI::App* command = app.add_subcommand(name, what);
  command->footer(std::string(kStoreExitCodes) + "\n\nExamples:\n" + examples);
  command->add_option("DIR", arguments->directory, "Data directory of the node: .../NAME@HOST")
      ->required();
  return command;
}

}  // namespace

void add_store_commands(CLI::App& app, int& exit_code) {
  auto release = std::make_shared<StoreArguments>();
  CLI::App* command = add_directory_command(
      app, "release", "Hand a stopped node's directory back to a BEAM with ra",
      "  rakv release /var/lib/rakv/n1@myhost", release);
  command->callback([release, &exit_code] { exit_code = run_release(*release); });

  auto takeover = std::make_shared<StoreArguments>();
  command = add_directory_command(
      app, "takeover",
      "Say whether rakv can take over a stopped BEAM's directory, and why not; to "
      "take it over, start rakv under the same node name",
      "  rakv takeover --check /var/lib/ra/n1@myhost\n"
      "  rakv takeover --check --json /var/lib/ra/n1@myhost",
      takeover);
  command->add_flag("--check", takeover->check, "Look, and change nothing")->required();
  command->add_flag("--json", takeover->json, "Print JSON");
  command->callback([takeover, &exit_code] { exit_code = run_inspection(*takeover, true); });

  auto check = std::make_shared<StoreArguments>();
  command = add_directory_command(
      app, "check",
      "Read all that a stopped node has on disk, changing nothing: what is there, "
      "what is damaged, what a start would drop",
      "  rakv check /var/lib/rakv/n1@myhost\n"
      "  rakv check --json /var/lib/rakv/n1@myhost",
      check);
  command->add_flag("--json", check->json, "Print JSON");
  command->callback([check, &exit_code] { exit_code = run_inspection(*check, false); });

  auto repair = std::make_shared<StoreArguments>();
  command = add_directory_command(
      app, "repair",
      "Set damaged files aside (as FILE.bad, nothing is deleted) so that the node "
      "starts; its servers then vote only when they have caught up",
      "  rakv repair --dry-run /var/lib/rakv/n1@myhost\n"
      "  rakv repair /var/lib/rakv/n1@myhost",
      repair);
  command->add_flag("--dry-run", repair->dry_run, "Say what would be done, and change nothing");
  command->add_flag("--json", repair->json, "Print JSON");
  command->callback([repair, &exit_code] { exit_code = run_repair(*repair); });
}

}  // namespace rakv::kv
