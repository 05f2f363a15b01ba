#include "kv/node_name.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace rakv::kv {
namespace {

Result<void> check_alive_name(const std::string& alive) {
  const bool legal =
      !alive.empty() && std::all_of(alive.begin(), alive.end(), [](unsigned char letter) {
        return std::isalnum(letter) != 0 || letter == '_' || letter == '-' || letter == '.';
      });
  if (legal && alive.size() <= 200) return {};
  return make_error(
      ErrorCode::invalid_argument,
      "'" + alive + "' is no node name: take letters, digits, '_' and '-', at most 200");
}

std::string host_name() {
  std::array<char, 256> buffer{};
  if (gethostname(buffer.data(), buffer.size() - 1) != 0) return "localhost";
  return buffer.data();
}

}  // namespace

Result<std::string> short_node_name(const std::string& name) {
  const std::size_t at = name.find('@');
  const std::string alive = name.substr(0, at);
  if (const Result<void> checked = check_alive_name(alive); !checked) return checked.error();
  std::string host = at == std::string::npos ? host_name() : name.substr(at + 1);
  if (at == std::string::npos) host = host.substr(0, host.find('.'));
  if (host.empty() || host.find('.') != std::string::npos) {
    return make_error(ErrorCode::invalid_argument, "the host of a short name has no dot: '" + host +
                                                       "'; use --name for long names");
  }
  return alive + "@" + host;
}

Result<std::string> long_node_name(const std::string& name) {
  const std::size_t at = name.find('@');
  const std::string alive = name.substr(0, at);
  if (const Result<void> checked = check_alive_name(alive); !checked) return checked.error();
  const std::string host = at == std::string::npos ? host_name() : name.substr(at + 1);
  if (host.find('.') == std::string::npos && host.find(':') == std::string::npos) {
    return make_error(ErrorCode::invalid_argument,
                      "the host of a long name is fully qualified or an address, not '" + host +
                          "'; give NAME@HOST.DOMAIN, or use --sname");
  }
  return alive + "@" + host;
}

}  // namespace rakv::kv
