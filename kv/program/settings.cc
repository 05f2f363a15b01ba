// SPDX-License-Identifier: Apache-2.0
#include "kv/program/settings.h"

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <limits>

#include "kv/program/cookie_option.h"
#include "kv/program/node_name.h"
#include "kv/program/number_text.h"

namespace rakv::kv {
namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;  // clang 14 asks for it

/// What a check says of a failed Result.
template <class T>
std::string words(const Result<T>& result) {
  return result ? std::string() : result.error().message;
}

std::string check_budget(const StartOptions& options) {
  return words(raftlog::MemoryBudget::of(options.memory_budget_bytes));
}

std::string check_cookie(const StartOptions& options) {
  return words(cookie_bytes(options.cookie));
}

std::string check_cookie_file(const StartOptions& options) {
  return options.cookie_file.empty() ? "must be the name of a file, or - for standard input" : "";
}

std::string check_data_dir(const StartOptions& options) {
  return options.data_dir.empty() ? "must be the name of a folder" : "";
}

std::string check_short_name(const StartOptions& options) {
  return words(short_node_name(options.short_name));
}

std::string check_long_name(const StartOptions& options) {
  return words(long_node_name(options.long_name));
}

std::string check_bootstrap(const StartOptions& options) {
  return words(check_new_cluster_name(options.bootstrap));
}

std::string check_connect(const StartOptions& options) {
  for (const std::string& peer : options.connect) {
    if (const Result<std::string> name = peer_node_name(peer); !name) return words(name);
  }
  return {};
}

std::string check_address(const StartOptions& options) {
  boost::system::error_code error;
  boost::asio::ip::make_address(options.listen_address, error);
  return error ? "must be an IP address, as 127.0.0.1 or ::" : "";
}

constexpr std::array<std::string_view, 6> kLogLevels{"trace",   "debug", "info",
                                                     "warning", "error", "critical"};

std::string check_log_level(const StartOptions& options) {
  const bool known =
      std::find(kLogLevels.begin(), kLogLevels.end(), options.log_level) != kLogLevels.end();
  return known ? "" : "must be trace, debug, info, warning, error or critical";
}

constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

constexpr std::array kSettings{
    Setting{.name = "sname",
            .place = &StartOptions::short_name,
            .help = "Short node name: NAME or NAME@HOST",
            .value_name = "NAME",
            .instead_of = "name",
            .check = check_short_name},
    Setting{.name = "name",
            .place = &StartOptions::long_name,
            .help = "Long node name: NAME@HOST.DOMAIN or NAME@ADDRESS",
            .value_name = "NAME",
            .instead_of = "sname",
            .check = check_long_name},
    Setting{.name = "cookie-file",
            .place = &StartOptions::cookie_file,
            .help = "File with the cluster's cookie, which only its owner can read; - takes the "
                    "first line of standard input. Without it ~/.erlang.cookie is read, as erl "
                    "does",
            .value_name = "FILE",
            .instead_of = "cookie",
            .check = check_cookie_file},
    Setting{.name = "cookie",
            .place = &StartOptions::cookie,
            .help = "The cookie itself: others can see it on the command line until the program "
                    "has wiped it, so --cookie-file is safer",
            .value_name = "COOKIE",
            .instead_of = "cookie-file",
            .check = check_cookie,
            .is_secret = true},
    Setting{.name = "data-dir",
            .place = &StartOptions::data_dir,
            .help = "Data go to DIR/NAME@HOST/",
            .value_name = "DIR",
            .check = check_data_dir},
    Setting{.name = "memory-budget",
            .place = &StartOptions::memory_budget_bytes,
            .help = "Memory for values on their way to disk, whatever the size of the data: SIZE "
                    "is a number with MB or GB, at least 64MB. Keys come on top, about 150 bytes "
                    "each",
            .value_name = "SIZE",
            .default_text = "2GB",
            .check = check_budget,
            .largest = kAny,
            .is_size = true},
    Setting{.name = "bootstrap",
            .place = &StartOptions::bootstrap,
            .help = "Make a cluster of this name with this node as its only member, unless it is "
                    "there",
            .value_name = "CLUSTER",
            .check = check_bootstrap},
    Setting{.name = "connect",
            .place = &StartOptions::connect,
            .help = "Nodes to connect to, and to stay connected to",
            .value_name = "NODE",
            .check = check_connect},
    Setting{.name = "listen-address",
            .place = &StartOptions::listen_address,
            .help = "IP address to listen on; without it the loopback address if the host of the "
                    "node's name is one or is localhost, else 0.0.0.0, which is all IPv4 addresses "
                    "of the machine",
            .value_name = "ADDRESS",
            .check = check_address},
    Setting{.name = "listen-port",
            .place = &StartOptions::listen_port,
            .help = "Port to listen on; 0 takes a free one",
            .value_name = "PORT",
            .largest = 65'535},
    Setting{.name = "net-ticktime",
            .place = &StartOptions::net_ticktime_s,
            .help = "Seconds of silence after which a node counts as gone, as in kernel's "
                    "net_ticktime",
            .value_name = "SECONDS",
            .smallest = 1,
            .largest = 86'400},
    Setting{.name = "log-level",
            .place = &StartOptions::log_level,
            .help = "trace, debug, info, warning, error or critical",
            .value_name = "LEVEL",
            .check = check_log_level},
    Setting{.name = "exit-with-parent",
            .place = &StartOptions::exit_with_parent,
            .help = "Stop in order when standard input ends"},
    Setting{.name = "test-hooks",
            .place = &StartOptions::test_hooks,
            .help = "Answer what only tests may ask of a node"},
};

Error must(std::string words) { return make_error(ErrorCode::invalid_argument, std::move(words)); }

Error must_be_number(const Setting& setting) {
  if (setting.is_size) return must("must be a size, as 512MB or 4GB");
  return must("must be a whole number from " + std::to_string(setting.smallest) + " to " +
              std::to_string(setting.largest));
}

Result<std::uint64_t> number_of(const Setting& setting, const SettingValue& value) {
  std::optional<std::uint64_t> number;
  if (const auto* whole = std::get_if<std::int64_t>(&value); whole != nullptr && *whole >= 0) {
    number = static_cast<std::uint64_t>(*whole);
  } else if (const auto* text = std::get_if<std::string>(&value);
             text != nullptr && setting.is_size) {
    number = size_in_bytes(*text);
  }
  if (!number || *number < setting.smallest || *number > setting.largest)
    return must_be_number(setting);
  return *number;
}

/// Puts a value into the field that a setting is of; only its type is looked at.
Result<void> put(const Setting& setting, const SettingValue& value, StartOptions& options) {
  const auto number = [&](auto place) -> Result<void> {
    const Result<std::uint64_t> found = number_of(setting, value);
    if (!found) return found.error();
    using Field = std::remove_reference_t<decltype(options.*place)>;
    options.*place = static_cast<Field>(*found);
    return {};
  };
  const auto as_is = [&](auto place, const char* what) -> Result<void> {
    using Field = std::remove_reference_t<decltype(options.*place)>;
    const auto* found = std::get_if<Field>(&value);
    if (found == nullptr) return must(what);
    options.*place = *found;
    return {};
  };
  return std::visit(
      Overloaded{
          [&](std::uint16_t StartOptions::*place) { return number(place); },
          [&](std::uint32_t StartOptions::*place) { return number(place); },
          [&](std::uint64_t StartOptions::*place) { return number(place); },
          [&](bool StartOptions::*place) { return as_is(place, "must be true or false"); },
          [&](std::string StartOptions::*place) {
            return as_is(place, "must be a text in quotes");
          },
          [&](std::vector<std::string> StartOptions::*place) {
            return as_is(place, "must be a list of texts, as [\"a\", \"b\"]");
          },
      },
      setting.place);
}

std::size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t corner = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = corner + (a[i - 1] == b[j - 1] ? 0 : 1);
      corner = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const Setting> start_settings() { return kSettings; }

const Setting* find_setting(std::string_view name) {
  const auto* found = std::find_if(kSettings.begin(), kSettings.end(),
                                   [&](const Setting& setting) { return setting.name == name; });
  return found == kSettings.end() ? nullptr : found;
}

std::string_view similar_setting(std::string_view name) {
  constexpr std::size_t kMostEdits = 2;
  std::string_view best;
  std::size_t fewest = kMostEdits + 1;
  if (name.size() > 64) return best;
  for (const Setting& setting : kSettings) {
    const std::size_t edits = edits_between(setting.name, name);
    if (edits < fewest && edits < setting.name.size()) {
      best = setting.name;
      fewest = edits;
    }
  }
  return best;
}

Result<void> apply_setting(const Setting& setting, const SettingValue& value,
                           StartOptions& options) {
  StartOptions changed = options;
  if (const Result<void> done = put(setting, value, changed); !done) return done.error();
  if (setting.check != nullptr) {
    if (const std::string wrong = setting.check(changed); !wrong.empty()) return must(wrong);
  }
  options = std::move(changed);
  return {};
}

Result<void> apply_texts(const Setting& setting, const std::vector<std::string>& texts,
                         StartOptions& options) {
  if (std::holds_alternative<bool StartOptions::*>(setting.place)) {
    const std::string text = texts.empty() ? "true" : texts.back();
    if (text != "true" && text != "false") return must("must be true or false");
    return apply_setting(setting, text == "true", options);
  }
  if (std::holds_alternative<std::vector<std::string> StartOptions::*>(setting.place))
    return apply_setting(setting, texts, options);
  if (std::holds_alternative<std::string StartOptions::*>(setting.place) || setting.is_size)
    return apply_setting(setting, texts.front(), options);
  const std::optional<std::uint64_t> number = whole_number(texts.front());
  if (!number || *number > setting.largest) return must_be_number(setting);
  return apply_setting(setting, static_cast<std::int64_t>(*number), options);
}

void clear_setting(const Setting& setting, StartOptions& options) {
  std::visit([&](auto place) { options.*place = StartOptions{}.*place; }, setting.place);
}

std::string default_of(const Setting& setting) {
  if (!setting.default_text.empty()) return std::string(setting.default_text);
  static const StartOptions kDefaults;
  return std::visit(Overloaded{
                        [](bool StartOptions::*) { return std::string(); },
                        [](std::string StartOptions::*place) { return kDefaults.*place; },
                        [](std::vector<std::string> StartOptions::*) { return std::string(); },
                        [](auto place) { return std::to_string(kDefaults.*place); },
                    },
                    setting.place);
}

}  // namespace rakv::kv
