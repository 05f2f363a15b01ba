// SPDX-License-Identifier: Apache-2.0
#include "kv/program/status_text.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "cnode/base/printable.h"
#include "kv/program/json_text.h"

namespace rakv::kv {
namespace {

std::string number(std::optional<std::int64_t> value, const char* none) {
  return value && *value >= 0 ? std::to_string(*value) : none;
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
                     number(metrics.term, "-"), number(metrics.last_index, "-"),
                     number(metrics.last_written_index, "-"), number(metrics.commit_index, "-"),
                     number(metrics.last_applied, "-"), number(metrics.snapshot_index, "-"),
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
  std::string out = "{\"cluster\":" + json_text(cluster) + ",\"members\":[";
  const char* comma = "";
  for (const StatusRow& row : rows) {
    const KeyMetrics& metrics = row.metrics;
    out += comma;
    out += "{\"name\":" + json_text(row.member.name()) +
           ",\"node\":" + json_text(row.member.node()) + ",\"role\":" + json_text(metrics.state) +
           ",\"term\":" + number(metrics.term, "null") +
           ",\"last_index\":" + number(metrics.last_index, "null") +
           ",\"last_written_index\":" + number(metrics.last_written_index, "null") +
           ",\"commit_index\":" + number(metrics.commit_index, "null") +
           ",\"last_applied\":" + number(metrics.last_applied, "null") +
           ",\"snapshot_index\":" + number(metrics.snapshot_index, "null") +
           ",\"membership\":" + json_text(metrics.membership) +
           ",\"reachable\":" + (row.reachable ? "true" : "false") +
           (metrics.note.empty() ? "" : ",\"note\":" + json_text(metrics.note)) + "}";
    comma = ",";
  }
  return out + "]}\n";
}

}  // namespace rakv::kv
