// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/epmd.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>

#include "cnode/base/byte_order.h"

namespace rakv::distribution::epmd {

namespace {

constexpr char kAlive2Request = 120;
constexpr char kPortPlease2Request = 122;
constexpr char kNamesRequest = 110;
constexpr char kAlive2XReply = 118;
constexpr char kAlive2Reply = 121;
constexpr char kPort2Reply = 119;

constexpr std::uint64_t kTypeVisible = 77;
constexpr std::uint64_t kTypeHidden = 72;
constexpr std::uint64_t kProtocolTcp = 0;
constexpr std::uint64_t kDistributionVersion = 6;

std::string framed(std::string_view body) {
  std::string request;
  put_number(request, body.size(), 2);
  request += body;
  return request;
}

Result<void> check_name(std::string_view alive_name) {
  if (alive_name.empty() || alive_name.size() > kMaxAliveNameBytes) {
    return make_error(ErrorCode::invalid_argument,
                      "a node's name before the @ must have 1 to 255 bytes");
  }
  return {};
}

Error malformed(std::string_view what) {
  return make_error(ErrorCode::malformed,
                    "epmd sent a malformed answer " + std::string(what) +
                        ": is something else listening on its port (see ERL_EPMD_PORT)?");
}

}  // namespace

std::uint16_t port_from_environment() {
  const char* text = std::getenv("ERL_EPMD_PORT");
  if (text == nullptr) return kDefaultPort;
  const std::string_view digits(text);
  unsigned value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool is_port =
      error == std::errc() && end == digits.data() + digits.size() && value >= 1 && value <= 65535;
  return is_port ? static_cast<std::uint16_t>(value) : kDefaultPort;
}

Result<std::string> encode_register(const Registration& registration) {
  if (const Result<void> name = check_name(registration.alive_name); !name) return name.error();
  std::string body(1, kAlive2Request);
  put_number(body, registration.listen_port, 2);
  put_number(body, registration.visible ? kTypeVisible : kTypeHidden, 1);
  put_number(body, kProtocolTcp, 1);
  put_number(body, kDistributionVersion, 2);
  put_number(body, kDistributionVersion, 2);
  put_number(body, registration.alive_name.size(), 2);
  body += registration.alive_name;
  put_number(body, 0, 2);
  return framed(body);
}

Result<std::string> encode_lookup(std::string_view alive_name) {
  if (const Result<void> name = check_name(alive_name); !name) return name.error();
  return framed(kPortPlease2Request + std::string(alive_name));
}

std::string encode_names() { return framed({&kNamesRequest, 1}); }

Result<std::optional<std::uint32_t>> decode_register_reply(std::string_view bytes,
                                                           std::string_view alive_name) {
  if (bytes.empty()) return std::optional<std::uint32_t>{};
  FieldReader fields{bytes};
  const std::string_view tag = fields.text(1);
  if (tag[0] != kAlive2XReply && tag[0] != kAlive2Reply) return malformed("to our registration");
  const std::uint64_t result = fields.number(1);
  const std::uint64_t creation = fields.number(tag[0] == kAlive2XReply ? 4 : 2);
  if (!fields.ok) return std::optional<std::uint32_t>{};
  if (result != 0) {
    return make_error(
        ErrorCode::already_exists,
        "the name " + std::string(alive_name) +
            " is taken: another node of this host is registered under it (see epmd -names)");
  }
  if (creation == 0) return malformed("to our registration (creation 0)");
  return std::optional<std::uint32_t>{static_cast<std::uint32_t>(creation)};
}

Result<std::optional<std::uint16_t>> decode_lookup_reply(std::string_view bytes, bool at_end,
                                                         std::string_view alive_name) {
  FieldReader fields{bytes};
  const std::uint64_t tag = fields.number(1);
  const std::uint64_t result = fields.number(1);
  if (!bytes.empty() && tag != kPort2Reply) return malformed("to a look-up");
  if (fields.ok && result != 0) {
    return make_error(ErrorCode::not_found,
                      "no node named " + std::string(alive_name) + " is registered with that epmd");
  }
  const auto port = static_cast<std::uint16_t>(fields.number(2));
  fields.number(1);  // type: only flags of the handshake decide on visibility
  const std::uint64_t protocol = fields.number(1);
  const std::uint64_t highest = fields.number(2);
  const std::uint64_t lowest = fields.number(2);
  if (!fields.ok) {
    if (at_end) return malformed("to a look-up (cut off)");
    return std::optional<std::uint16_t>{};
  }
  if (protocol != kProtocolTcp || lowest > kDistributionVersion || highest < kDistributionVersion) {
    return make_error(ErrorCode::unsupported,
                      fmt::format("node {} speaks distribution versions {} to {}, we speak 6 (OTP "
                                  "25 or later)",
                                  alive_name, lowest, highest));
  }
  if (port == 0) return malformed("to a look-up (port 0)");
  return std::optional<std::uint16_t>{port};
}

Result<std::vector<NamedPort>> decode_names_reply(std::string_view bytes) {
  FieldReader fields{bytes};
  fields.number(4);
  if (!fields.ok) return malformed("to a request for all names");
  std::vector<NamedPort> names;
  std::string_view lines = fields.rest;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    if (end == std::string_view::npos) return malformed("to a request for all names (cut off)");
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 1);
    constexpr std::string_view kPrefix = "name ";
    constexpr std::string_view kMiddle = " at port ";
    const std::size_t middle = line.rfind(kMiddle);
    if (!line.starts_with(kPrefix) || middle == std::string_view::npos || middle < kPrefix.size()) {
      return malformed("to a request for all names");
    }
    const std::string_view digits = line.substr(middle + kMiddle.size());
    std::uint16_t port = 0;
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc() || stop != digits.data() + digits.size()) {
      return malformed("to a request for all names");
    }
    names.push_back({std::string(line.substr(kPrefix.size(), middle - kPrefix.size())), port});
  }
  return names;
}

}  // namespace rakv::distribution::epmd
