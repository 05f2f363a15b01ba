// SPDX-License-Identifier: Apache-2.0
#include "kv/program/node_name.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <optional>

#include "cnode/etf/cursor.h"
#include "cnode/etf/scan.h"
#include "cnode/etf/writer.h"

namespace rakv::kv {
namespace {

constexpr std::size_t kMaxNameCharacters = 255;

Error bad_name(std::string_view name, const std::string& why) {
  return make_error(ErrorCode::invalid_argument,
                    "'" + std::string(name) + "' is no node name: " + why);
}

bool is_alive_letter(char letter) {
  return (letter >= '0' && letter <= '9') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= 'a' && letter <= 'z') || letter == '_' || letter == '-';
}

/// The characters of a text, nothing if it is not UTF-8.
std::optional<std::u32string> characters(std::string_view text) {
  std::u32string found;
  for (std::size_t at = 0; at < text.size();) {
    std::uint32_t c = 0;
    if (!etf::scan::next_utf8(text, at, c)) return std::nullopt;
    found.push_back(c);
  }
  return found;
}

bool is_control(char32_t c) { return c < 0x20 || (c >= 0x7f && c < 0xa0); }

bool is_host_letter(char32_t c) {
  return c > ' ' && c <= 0xff && c != 0xa0 && c != '/' && c != '@' && !is_control(c);
}

struct Parts {
  std::string alive;
  std::string host;  ///< empty: none was given
};

/// What all names have in common.
Result<Parts> split(std::string_view name) {
  const std::size_t at = std::min(name.find('@'), name.size());
  Parts parts{std::string(name.substr(0, at)),
              std::string(name.substr(std::min(at + 1, name.size())))};
  if (parts.alive.empty() || !std::all_of(parts.alive.begin(), parts.alive.end(), is_alive_letter))
    return bad_name(name, "before the @ it has letters, digits, _ and - only, at least one");
  if (name == "undefined") return bad_name(name, "take another name, erl gives this one a meaning");
  const auto host = characters(parts.host);
  if (!host) return bad_name(name, "the host is not UTF-8");
  if (!std::all_of(host->begin(), host->end(), is_host_letter)) {
    return bad_name(name,
                    "the host must not have blanks, control characters, a slash, a second @ or "
                    "characters beyond Latin-1");
  }
  return parts;
}

Result<std::string> joined(std::string_view name, const Parts& parts) {
  std::string full = parts.alive + "@" + parts.host;
  const auto all = characters(full);
  if (all && all->size() <= kMaxNameCharacters && full.size() <= kMaxNameCharacters) return full;
  return bad_name(name.substr(0, 40), "with its host it has more than 255 characters");
}

}  // namespace

std::string host_name() {
  std::array<char, 256> buffer{};
  if (gethostname(buffer.data(), buffer.size() - 1) != 0) return "localhost";
  return buffer.data();
}

Result<std::string> short_node_name(std::string_view name) {
  Result<Parts> parts = split(name);
  if (!parts) return parts.error();
  if (parts->host.find('.') != std::string::npos) {
    return bad_name(name, "the host of a short name has no dot; use --name for long names");
  }
  if (parts->host.empty()) {
    parts->host = host_name();
    parts->host.resize(std::min(parts->host.find('.'), parts->host.size()));
  }
  return joined(name, *parts);
}

Result<std::string> long_node_name(std::string_view name) {
  Result<Parts> parts = split(name);
  if (!parts) return parts.error();
  if (parts->host.empty()) {
    parts->host = host_name();
    if (parts->host.find('.') == std::string::npos) {
      return bad_name(name, "this machine's name '" + parts->host +
                                "' has no domain; give NAME@HOST.DOMAIN, or use --sname");
    }
  }
  return joined(name, *parts);
}

Result<std::string> peer_node_name(std::string_view name) {
  if (name.ends_with('@')) return bad_name(name, "the host is missing after the @");
  const bool is_long = host_of(name).find_first_of(".:") != std::string_view::npos;
  return is_long ? long_node_name(name) : short_node_name(name);
}

Result<void> check_cluster_name(std::string_view name) {
  if (!name.empty() && etf::is_valid_atom(name)) return {};
  return make_error(ErrorCode::invalid_argument, "takes a name of 1 to 255 characters in UTF-8");
}

Result<void> check_new_cluster_name(std::string_view name) {
  if (const Result<void> checked = check_cluster_name(name); !checked) return checked.error();
  const std::u32string letters = characters(name).value_or(U"");
  const bool shown = std::none_of(letters.begin(), letters.end(), [](char32_t c) {
    return is_control(c) || c == ' ' || c == 0xa0 || c == '/';
  });
  if (shown && name != "." && name != ".." && name != "undefined") return {};
  return make_error(ErrorCode::invalid_argument,
                    "takes a name without blanks, control characters and slashes, not ., .. or "
                    "undefined");
}

bool is_loopback_host(std::string_view host) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(std::string(host), error);
  if (!error) return address.is_loopback();
  std::string lower(host);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower == "localhost" || lower.ends_with(".localhost");
}

std::string_view host_of(std::string_view node) {
  const std::size_t at = node.find('@');
  return at == std::string_view::npos ? std::string_view() : node.substr(at + 1);
}

std::string default_listen_address(std::string_view node) {
  const std::string_view host = host_of(node);
  if (!is_loopback_host(host)) return "0.0.0.0";
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(std::string(host), error);
  return error ? "127.0.0.1" : address.to_string();
}

}  // namespace rakv::kv
