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
#include "kv/program/json_text.h"
#include "kv/program/takeover_conditions.h"
#include "raft/log/disk/overlay_disk.h"
#include "raft/log/offline/inspection.h"
#include "raft/log/offline/release.h"
#include "raft/log/offline/repair.h"

namespace rakv::kv {
namespace {

constexpr const char* kExitCodes =
    "Exit codes: 0 done, or all is well; 1 failed (nothing was found out or changed), 2 unusable\n"
    "arguments, 6 the answer is no: something is damaged, or stands against it";

struct Arguments {
  std::string directory;
  bool json = false;
  bool check = false;
  bool dry_run = false;
};

int report_error(const Error& error) {
  print_error(error.message);
  return kFailed;
}

/// The directory as given, without a slash at its end, if a stopped node's system is in it.
Result<std::string> stopped_system(raftlog::Disk& disk, const Arguments& arguments) {
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

int run_release(const Arguments& arguments) {
  const auto disk = raftlog::make_posix_disk();
  const auto directory = stopped_system(*disk, arguments);
  if (!directory) return report_error(directory.error());
  const auto released = raftlog::release(*disk, *directory, live_indexes_of_state);
  if (!released) return report_error(released.error());
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

const char* word(raftlog::Finding::Severity severity) {
  switch (severity) {
    case raftlog::Finding::Severity::note:
      return "note";
    case raftlog::Finding::Severity::damage:
      return "damage";
    case raftlog::Finding::Severity::obstacle:
      return "obstacle";
  }
  return "";
}

const char* word(raftlog::DirectoryOwner owner) {
  switch (owner) {
    case raftlog::DirectoryOwner::nobody:
      return "nobody";
    case raftlog::DirectoryOwner::beam:
      return "beam";
    case raftlog::DirectoryOwner::rakv:
      return "rakv";
  }
  return "";
}

std::string number(std::uint64_t value) { return std::to_string(value); }

std::string server_line(const raftlog::ServerReport& server) {
  const std::string vote = server.meta.voted_for ? server.meta.voted_for->node() : "nobody";
  std::string line =
      fmt::format("server {} (UId {}): term {}, voted for {}, applied {}, ", server.name,
                  server.uid, server.meta.term, vote, server.meta.last_applied);
  if (server.snapshot) {
    line += fmt::format("snapshot at {} with {} live entries, ", server.snapshot->index,
                        server.live_entries);
  }
  return line + fmt::format("log up to {} (term {}), {} segments; read {} entries, {} bytes",
                            server.last.index, server.last.term, server.segments,
                            server.entries_read, server.bytes_read);
}

std::string inspection_text(const std::string& directory, const raftlog::Inspection& found) {
  std::string text = fmt::format("{}: owner {}, {} WAL files, {} servers\n", printable(directory),
                                 word(found.owner), found.wal_files, found.servers.size());
  for (const auto& server : found.servers) text += printable(server_line(server)) + "\n";
  for (const auto& finding : found.findings) {
    text += fmt::format("{}: {}\n", word(finding.severity), printable(finding.text));
  }
  for (const auto& change : found.changes) text += "a start would " + printable(change) + "\n";
  return text;
}

template <class Items, class Print>
std::string json_list(const Items& items, Print print) {
  std::string out = "[";
  for (const auto& item : items) out += (out.size() > 1 ? "," : "") + print(item);
  return out + "]";
}

std::string server_json(const raftlog::ServerReport& server) {
  const auto& vote = server.meta.voted_for;
  return "{\"name\":" + json_text(server.name) + ",\"uid\":" + json_text(server.uid) +
         ",\"term\":" + number(server.meta.term) +
         ",\"voted_for\":" + (vote ? json_text(vote->node()) : "null") +
         ",\"last_applied\":" + number(server.meta.last_applied) +
         ",\"snapshot_index\":" + (server.snapshot ? number(server.snapshot->index) : "null") +
         ",\"live_entries\":" + number(server.live_entries) +
         ",\"first_index\":" + number(server.first_index) +
         ",\"last_index\":" + number(server.last.index) +
         ",\"last_term\":" + number(server.last.term) + ",\"segments\":" + number(server.segments) +
         ",\"entries_read\":" + number(server.entries_read) +
         ",\"bytes_read\":" + number(server.bytes_read) + "}";
}

std::string inspection_json(const std::string& directory, const raftlog::Inspection& found) {
  return "{\"directory\":" + json_text(directory) + ",\"owner\":" + json_text(word(found.owner)) +
         ",\"ok\":" + (found.sound() ? "true" : "false") +
         ",\"wal_files\":" + number(found.wal_files) +
         ",\"servers\":" + json_list(found.servers, server_json) + ",\"findings\":" +
         json_list(found.findings,
                   [](const raftlog::Finding& finding) {
                     return "{\"severity\":" + json_text(word(finding.severity)) +
                            ",\"text\":" + json_text(finding.text) + "}";
                   }) +
         ",\"changes\":" + json_list(found.changes, json_text) + "}\n";
}

int run_inspection(const Arguments& arguments, bool for_takeover) {
  const auto disk = raftlog::make_posix_disk();
  const auto directory = stopped_system(*disk, arguments);
  if (!directory) return report_error(directory.error());
  raftlog::InspectionOptions options;
  options.live_indexes_of = live_indexes_of_state;
  const std::string node = std::filesystem::path(*directory).filename().string();
  if (for_takeover) {
    options.admit = [&node](const raftlog::ServerConfig& config) {
      return can_take_over(config, node);
    };
  }
  const auto found = raftlog::inspect(*disk, *directory, options);
  if (!found) return report_error(found.error());
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

std::string repair_text(const raftlog::Repair& repair, bool dry_run) {
  std::string text;
  for (const auto& file : repair.set_aside) {
    text += std::string(dry_run ? "would set aside " : "set aside ") +
            printable(file.path + ": " + file.why) + "\n";
  }
  for (const auto& notice : repair.notices) text += "note: on start: " + printable(notice) + "\n";
  for (const auto& left : repair.left) text += "damage: " + printable(left) + "\n";
  if (!repair.left.empty()) return text + "not all could be repaired\n";
  return text + (dry_run ? "it would start\n" : "it can start\n");
}

std::string repair_json(const std::string& directory, const raftlog::Repair& repair, bool dry_run) {
  return "{\"directory\":" + json_text(directory) + ",\"dry_run\":" + (dry_run ? "true" : "false") +
         ",\"ok\":" + (repair.left.empty() ? "true" : "false") + ",\"set_aside\":" +
         json_list(repair.set_aside,
                   [](const raftlog::SetAside& file) {
                     return "{\"path\":" + json_text(file.path) +
                            ",\"why\":" + json_text(file.why) + "}";
                   }) +
         ",\"notices\":" + json_list(repair.notices, json_text) +
         ",\"left\":" + json_list(repair.left, json_text) + "}\n";
}

int run_repair(const Arguments& arguments) {
  const auto disk = raftlog::make_posix_disk();
  const auto directory = stopped_system(*disk, arguments);
  if (!directory) return report_error(directory.error());
  raftlog::OverlayDisk overlay(*disk);
  raftlog::Disk& chosen = arguments.dry_run ? static_cast<raftlog::Disk&>(overlay) : *disk;
  const std::string node = std::filesystem::path(*directory).filename().string();
  const auto repaired = raftlog::repair(
      chosen, *directory,
      [&node](const raftlog::ServerConfig& config) { return can_take_over(config, node); });
  if (!repaired) return report_error(repaired.error());
  std::cout << (arguments.json ? repair_json(*directory, *repaired, arguments.dry_run)
                               : repair_text(*repaired, arguments.dry_run));
  return repaired->left.empty() ? 0 : kNo;
}

CLI::App* add_command(CLI::App& app, const char* name, const char* what, const char* examples,
                      const std::shared_ptr<Arguments>& arguments) {
  CLI::App* command = app.add_subcommand(name, what);
  command->footer(std::string(kExitCodes) + "\n\nExamples:\n" + examples);
  command->add_option("DIR", arguments->directory, "Data directory of the node: .../NAME@HOST")
      ->required();
  return command;
}

}  // namespace

void add_store_commands(CLI::App& app, int& exit_code) {
  auto release = std::make_shared<Arguments>();
  CLI::App* command =
      add_command(app, "release", "Hand a stopped node's directory back to a BEAM with ra",
                  "  rakv release /var/lib/rakv/n1@myhost", release);
  command->callback([release, &exit_code] { exit_code = run_release(*release); });

  auto takeover = std::make_shared<Arguments>();
  command =
      add_command(app, "takeover",
                  "Say whether rakv can take over a stopped BEAM's directory, and why not; to "
                  "take it over, start rakv under the same node name",
                  "  rakv takeover --check /var/lib/ra/n1@myhost\n"
                  "  rakv takeover --check --json /var/lib/ra/n1@myhost",
                  takeover);
  command->add_flag("--check", takeover->check, "Look, and change nothing")->required();
  command->add_flag("--json", takeover->json, "Print JSON");
  command->callback([takeover, &exit_code] { exit_code = run_inspection(*takeover, true); });

  auto check = std::make_shared<Arguments>();
  command =
      add_command(app, "check",
                  "Read all that a stopped node has on disk, changing nothing: what is there, "
                  "what is damaged, what a start would drop",
                  "  rakv check /var/lib/rakv/n1@myhost\n"
                  "  rakv check --json /var/lib/rakv/n1@myhost",
                  check);
  command->add_flag("--json", check->json, "Print JSON");
  command->callback([check, &exit_code] { exit_code = run_inspection(*check, false); });

  auto repair = std::make_shared<Arguments>();
  command =
      add_command(app, "repair",
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
