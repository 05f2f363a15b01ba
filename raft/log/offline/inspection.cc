// SPDX-License-Identifier: Apache-2.0
#include "raft/log/offline/inspection.h"

#include <algorithm>
#include <memory>

#include "cnode/base/executor.h"
#include "raft/log/base/numbered_name.h"
#include "raft/log/disk/overlay_disk.h"
#include "raft/log/system.h"

namespace rakv::raftlog {
namespace {

using Severity = Finding::Severity;

/// Unreadable entries of one server that are named; the others are counted.
constexpr std::size_t kNamedEntries = 5;

class Inspector {
 public:
  Inspector(Disk& disk, const std::string& directory, const InspectionOptions& options)
      : disk_(disk), overlay_(disk), directory_(directory), options_(options) {}
  ~Inspector() { system_.reset(); }

  Result<Inspection> run() {
    if (auto done = look_at_files(); !done) return done.error();
    if (options_.admit) find_obstacles();
    LogSystemOptions log_options;
    log_options.wal_thread = false;
    auto opened = LogSystem::open(directory_, overlay_, owner_, worker_, log_options);
    if (!opened) {
      const ErrorCode code = opened.error().code;
      if (code == ErrorCode::unavailable || code == ErrorCode::io) return opened.error();
      add(Severity::damage, opened.error().message);
      return std::move(found_);
    }
    system_ = std::move(*opened);
    for (const auto& [uid, error] : system_->broken_servers()) {
      add(Severity::damage, "the server with UId " + uid + " can't be started: " + error.message);
    }
    for (MemberLog* log : system_->members()) look_at(*log);
    pass_on_notices();
    found_.changes = overlay_.changes();
    return std::move(found_);
  }

 private:
  void add(Severity severity, std::string text) {
    found_.findings.push_back({severity, std::move(text)});
  }

  /// What recovery says beside the damage that was found above.
  void pass_on_notices() {
    std::vector<std::string> said;
    for (const auto& [uid, error] : system_->broken_servers()) said.push_back(error.message);
    for (const MemberLog* log : system_->members()) {
      if (log->amnesia()) said.push_back(log->amnesia()->reason);
    }
    for (const auto& notice : system_->notices()) {
      const bool known = std::any_of(said.begin(), said.end(), [&](const std::string& text) {
        return notice.find(text) != std::string::npos;
      });
      if (!known) add(Severity::note, "on start: " + notice);
    }
  }

  Result<void> look_at_files() {
    const auto entries = disk_.list(directory_);
    if (!entries) return entries.error();
    found_.wal_files =
        static_cast<std::size_t>(std::count_if(entries->begin(), entries->end(), [](const auto& e) {
          return number_of_name(e.name, ".wal").has_value();
        }));
    const auto registered = read_registered(disk_, directory_);
    if (registered) found_.owner = registered->owner;  // else opening it says what is wrong
    return {};
  }

  void find_obstacles() {
    if (found_.owner == DirectoryOwner::rakv) {
      add(Severity::obstacle, directory_ + ": is rakv's already; just start it");
    }
    const auto entries = disk_.list(directory_);
    if (!entries) return;
    for (const auto& entry : *entries) {
      if (entry.kind != DirectoryEntry::Kind::directory) continue;
      const auto config = read_server_config(disk_, directory_ + "/" + entry.name);
      if (!config) continue;  // opening it says so
      if (auto admitted = options_.admit(*config); !admitted) {
        add(Severity::obstacle, "server " + config->id.name() + " (UId " + config->uid +
                                    "): " + admitted.error().message);
      }
    }
  }

  void look_at(MemberLog& log) {
    ServerReport report;
    report.name = log.config().id.name();
    report.uid = log.uid();
    report.meta = log.meta();
    report.first_index = log.first_index();
    report.last = log.last();
    report.segments = log.segment_count();
    if (log.amnesia()) {
      add(Severity::damage, label(log) + ": " + log.amnesia()->reason +
                                "; it would not vote until it has caught up with its peers");
    }
    if (log.snapshot()) {
      report.snapshot = Position{log.snapshot()->meta.index, log.snapshot()->meta.term};
      const IndexSet live = live_indexes(log);
      report.live_entries = live.size();
      read_all(log, live, report);
    } else {
      read_all(log, {}, report);
    }
    found_.servers.push_back(std::move(report));
  }

  std::string label(const MemberLog& log) const {
    return "server " + log.config().id.name() + " (UId " + log.uid() + ")";
  }

  /// As the machine's state has them; the file beside it must say the same.
  IndexSet live_indexes(const MemberLog& log) {
    const Snapshot& snapshot = *log.snapshot();
    auto live = options_.live_indexes_of(snapshot.state.view());
    const std::string where =
        label(log) + ": the snapshot at " + std::to_string(snapshot.meta.index);
    if (!live) {
      add(Severity::damage, where + ": " + live.error().message);
      return snapshot.live_indexes;
    }
    if (!snapshot.live_indexes_known) {
      add(Severity::note, where +
                              " has no readable list of live indexes; they are found in its "
                              "state, where ra takes a missing list for an empty one");
    } else if (*live != snapshot.live_indexes) {
      add(Severity::damage,
          where + ": its list of live indexes (" + std::to_string(snapshot.live_indexes.size()) +
              ") is not that of its state (" + std::to_string(live->size()) + ")");
    }
    return std::move(*live);
  }

  void read_all(const MemberLog& log, IndexSet needed, ServerReport& report) {
    if (!log.empty() && log.last().index >= log.first_index()) {
      for (Index i = log.first_index(); i <= log.last().index; ++i) needed.push_back(i);
    }
    std::size_t unreadable = 0;
    for (const IndexRange& range : needed.ranges()) {
      for (Index index = range.first; index <= range.last; ++index) {
        const auto entry = log.read_blocking(index);
        if (entry) {
          ++report.entries_read;
          report.bytes_read += entry->payload.size();
        } else if (++unreadable <= kNamedEntries) {
          add(Severity::damage, label(log) + ": " + entry.error().message);
        }
      }
    }
    if (unreadable > kNamedEntries) {
      add(Severity::damage, label(log) + ": " + std::to_string(unreadable - kNamedEntries) +
                                " further entries can't be read");
    }
  }

  Disk& disk_;
  OverlayDisk overlay_;
  const std::string& directory_;
  const InspectionOptions& options_;
  ManualExecutor owner_;
  ManualExecutor worker_;
  std::unique_ptr<LogSystem> system_;
  Inspection found_;
};

}  // namespace

bool Inspection::sound() const {
  return std::all_of(findings.begin(), findings.end(),
                     [](const Finding& finding) { return finding.severity == Severity::note; });
}

Result<Inspection> inspect(Disk& disk, const std::string& directory,
                           const InspectionOptions& options) {
  if (auto checked = check_system_directory(disk, directory); !checked) return checked.error();
  return Inspector(disk, directory, options).run();
}

}  // namespace rakv::raftlog
