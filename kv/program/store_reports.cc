// SPDX-License-Identifier: Apache-2.0
#include "kv/program/store_reports.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <utility>

#include "cnode/base/printable.h"
#include "kv/program/json_output.h"

namespace rakv::kv {
namespace {

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

boost::json::value json_server(const raftlog::ServerReport& server) {
  const auto& vote = server.meta.voted_for;
  const boost::json::value none;
  return boost::json::object{
      {"name", json_string(server.name)},
      {"uid", json_string(server.uid)},
      {"term", server.meta.term},
      {"voted_for", vote ? boost::json::value(json_string(vote->node())) : none},
      {"last_applied", server.meta.last_applied},
      {"snapshot_index", server.snapshot ? boost::json::value(server.snapshot->index) : none},
      {"live_entries", server.live_entries},
      {"first_index", server.first_index},
      {"last_index", server.last.index},
      {"last_term", server.last.term},
      {"segments", server.segments},
      {"entries_read", server.entries_read},
      {"bytes_read", server.bytes_read}};
}

boost::json::array json_strings(const std::vector<std::string>& texts) {
  boost::json::array array;
  for (const std::string& text : texts) array.push_back(json_string(text));
  return array;
}

}  // namespace

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

std::string inspection_json(const std::string& directory, const raftlog::Inspection& found) {
  boost::json::array servers;
  for (const auto& server : found.servers) servers.push_back(json_server(server));
  boost::json::array findings;
  for (const auto& finding : found.findings) {
    findings.push_back({{"severity", word(finding.severity)}, {"text", json_string(finding.text)}});
  }
  return json_line(boost::json::object{{"directory", json_string(directory)},
                                       {"owner", word(found.owner)},
                                       {"ok", found.sound()},
                                       {"wal_files", found.wal_files},
                                       {"servers", std::move(servers)},
                                       {"findings", std::move(findings)},
                                       {"changes", json_strings(found.changes)}});
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
  boost::json::array set_aside;
  for (const auto& file : repair.set_aside) {
    set_aside.push_back({{"path", json_string(file.path)}, {"why", json_string(file.why)}});
  }
  return json_line(boost::json::object{{"directory", json_string(directory)},
                                       {"dry_run", dry_run},
                                       {"ok", repair.left.empty()},
                                       {"set_aside", std::move(set_aside)},
                                       {"notices", json_strings(repair.notices)},
                                       {"left", json_strings(repair.left)}});
}

}  // namespace rakv::kv
