// SPDX-License-Identifier: Apache-2.0
#include "kv/program/settings_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include "cnode/base/printable.h"
#include "cnode/etf/scan.h"
#include "kv/program/settings.h"

namespace rakv::kv {
namespace {

struct Fault {
  toml::source_position place;
  std::string words;
};

/// A value of one of the kinds that settings have.
std::optional<SettingValue> setting_value(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  const auto* list = node.as_array();
  if (list == nullptr) return std::nullopt;
  std::vector<std::string> texts;
  for (const toml::node& item : *list) {
    if (!item.is_string()) return std::nullopt;
    texts.push_back(item.as_string()->get());
  }
  return texts;
}

/// A type that no setting has; no setting takes it.
SettingValue value_or_none(const Setting& setting, const toml::node& node) {
  if (auto value = setting_value(node)) return std::move(*value);
  const bool is_flag = std::holds_alternative<bool StartOptions::*>(setting.place);
  return is_flag ? SettingValue(std::int64_t{0}) : SettingValue(false);
}

Fault unknown_name(const toml::key& key) {
  std::string words = "there is no setting '" + std::string(key.str()) + "'";
  if (const std::string_view similar = similar_setting(key.str()); !similar.empty()) {
    words += "; is it " + std::string(similar) + "?";
  } else {
    words += "; rakv start --help has their names, without the --";
  }
  return {key.source().begin, words};
}

std::vector<Fault> apply_table(const toml::table& table, StartOptions& options) {
  std::vector<Fault> faults;
  for (const auto& [key, node] : table) {
    const Setting* setting = find_setting(key.str());
    if (setting == nullptr) {
      faults.push_back(unknown_name(key));
      continue;
    }
    if (!setting->instead_of.empty() && table.contains(setting->instead_of)) {
      const toml::source_position other = table.get(setting->instead_of)->source().begin;
      const toml::source_position own = node.source().begin;
      if (own.line > other.line || (own.line == other.line && own.column > other.column)) {
        faults.push_back({key.source().begin,
                          fmt::format("give either {} or {}", setting->name, setting->instead_of)});
        continue;
      }
    }
    const Result<void> applied = apply_setting(*setting, value_or_none(*setting, node), options);
    if (!applied) {
      faults.push_back(
          {node.source().begin, std::string(setting->name) + ": " + applied.error().message});
    }
  }
  std::stable_sort(faults.begin(), faults.end(), [](const Fault& a, const Fault& b) {
    return std::pair(a.place.line, a.place.column) < std::pair(b.place.line, b.place.column);
  });
  return faults;
}

std::string fault_line(const std::string& path, const toml::source_position& place,
                       std::string_view words) {
  return printable(
      fmt::format("{}: line {}, column {}: {}", path, place.line, place.column, words));
}

/// Where the first byte is that belongs to no UTF-8 character.
std::optional<toml::source_position> first_bad_byte(const std::string& text) {
  toml::source_position place{1, 1};
  for (std::size_t at = 0; at < text.size();) {
    std::uint32_t c = 0;
    if (!etf::scan::next_utf8(text, at, c)) return place;
    ++place.column;
    if (c == '\n') place = {place.line + 1, 1};
  }
  return std::nullopt;
}

Error cannot_read_settings(const std::string& why) {
  return make_error(ErrorCode::io, "can't be read: " + why);
}

Result<std::string> text_of(int file) {
  struct stat about {};
  if (::fstat(file, &about) != 0) return cannot_read_settings(std::strerror(errno));
  if (!S_ISREG(about.st_mode)) return cannot_read_settings("it is not a regular file");
  std::string text;
  char piece[16 * 1024];
  for (;;) {
    const ssize_t count = ::read(file, piece, sizeof piece);
    if (count == 0) return text;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return cannot_read_settings(std::strerror(errno));
    text.append(piece, static_cast<std::size_t>(count));
    if (text.size() > kMaxSettingsFileBytes) {
      return cannot_read_settings(
          fmt::format("it has more than {} bytes; is it the right file?", kMaxSettingsFileBytes));
    }
  }
}

}  // namespace

FileFaults read_settings_text(const std::string& text, const std::string& path,
                              StartOptions& options) {
  if (const auto place = first_bad_byte(text))
    return {fault_line(path, *place, "this is not UTF-8; save the file as UTF-8")};
  const toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    return {
        fault_line(path, parsed.error().source().begin, std::string(parsed.error().description()))};
  }
  FileFaults lines;
  for (const Fault& fault : apply_table(parsed.table(), options))
    lines.push_back(fault_line(path, fault.place, fault.words));
  return lines;
}

FileFaults read_settings_file(const std::string& path, StartOptions& options) {
  // O_NONBLOCK: a pipe without a writer must not hold up the program before it is refused.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  Result<std::string> text =
      file < 0 ? Result<std::string>(cannot_read_settings(std::strerror(errno))) : text_of(file);
  if (file >= 0) ::close(file);
  if (!text) return {printable(path + ": " + text.error().message)};
  return read_settings_text(*text, path, options);
}

}  // namespace rakv::kv
