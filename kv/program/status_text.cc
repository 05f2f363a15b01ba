// SPDX-License-Identifier: Apache-2.0
#include "kv/program/status_text.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "cnode/base/printable.h"
#include "kv/program/json_output.h"

namespace rakv::kv {
namespace {

std::string number(std::optional<std::int64_t> value) {
  return value && *value >= 0 ? std::to_string(*value) : "-";
}

boost::json::value known(std::optional<std::int64_t> value) {
  if (!value || *value < 0) return nullptr;
  return *value;
}

/// A text of others in a column of the table.
std::string cell(std::string_view text) { return printable(text, 512); }

}  // namespace

std::string status_table(const std::vector<StatusRow>& rows) {
  std::vector<std::vector<std::string>> table{{"MEMBER", "NODE", "ROLE", "TERM", "LAST", "WRITTEN",
                                               "COMMIT", "APPLIED", "SNAPSHOT", "MEMBERSHIP",
                                               "REACHABLE"}};
  for (const StatusRow& row : rows) {
    const KeyMetrics& metrics = row.metrics;
    table.push_back({cell(row.member.name()), cell(row.member.node()), cell(metrics.state),
                     number(metrics.term), number(metrics.last_index),
                     number(metrics.last_written_index), number(metrics.commit_index),
                     number(metrics.last_applied), number(metrics.snapshot_index),
                     cell(metrics.membership), row.reachable ? "yes" : "no"});
  }
  std::vector<std::size_t> widths(table.front().size());
  for (const auto& line : table) {
    for (std::size_t column = 0; column < line.size(); ++column)
      widths[column] = std::max(widths[column], line[column].size());
  }
  std::string text;
  for (const auto& line : table) {
    for (std::size_t column = 0; column < line.size(); ++column) {
      text += line[column];
      if (column + 1 < line.size()) text.append(widths[column] + 2 - line[column].size(), ' ');
    }
    text += '\n';
  }
  for (const StatusRow& row : rows) {
    if (!row.metrics.note.empty())
      text += to_string(row.member) + ' ' + cell(row.metrics.note) + '\n';
  }
  return text;
}

std::string status_json(const std::string& cluster, const std::vector<StatusRow>& rows) {
  boost::json::array members;
  for (const StatusRow& row : rows) {
    const KeyMetrics& metrics = row.metrics;
    boost::json::object member{{"name", json_string(row.member.name())},
                               {"node", json_string(row.member.node())},
                               {"role", json_string(metrics.state)},
                               {"term", known(metrics.term)},
                               {"last_index", known(metrics.last_index)},
                               {"last_written_index", known(metrics.last_written_index)},
                               {"commit_index", known(metrics.commit_index)},
                               {"last_applied", known(metrics.last_applied)},
                               {"snapshot_index", known(metrics.snapshot_index)},
                               {"membership", json_string(metrics.membership)},
                               {"reachable", row.reachable}};
    if (!metrics.note.empty()) member["note"] = json_string(metrics.note);
    members.push_back(std::move(member));
  }
  return json_line(
      boost::json::object{{"cluster", json_string(cluster)}, {"members", std::move(members)}});
}

}  // namespace rakv::kv
