// SPDX-License-Identifier: Apache-2.0
#include "raft/log/directory/server_config.h"

#include <algorithm>
#include <cctype>
#include <random>

#include "cnode/etf/cursor.h"
#include "cnode/etf/text.h"
#include "cnode/etf/version.h"
#include "cnode/etf/writer.h"
#include "raft/log/base/checksum.h"
#include "raft/log/base/terms.h"

namespace rakv::raftlog {
namespace {

Error bad_key(const std::string& key, const std::string& expected) {
  return make_error(ErrorCode::malformed, "server config: `" + key + "` is not " + expected);
}

Result<std::vector<ServerId>> read_members(std::string_view term) {
  etf::Cursor cursor(term);
  const auto count = cursor.list();
  std::vector<ServerId> members;
  for (std::uint32_t i = 0; count && i < *count && cursor.ok(); ++i) {
    if (auto id = read_server_id(cursor)) members.push_back(std::move(*id));
  }
  if (!count || !cursor.list_end(*count) || !cursor.at_end()) {
    return bad_key("initial_members", "a list of {Name, Node}");
  }
  return members;
}

/// One key of the map into its place.
Result<void> take(ServerConfig& config, const std::string& key, std::string_view value) {
  etf::Cursor cursor(value);
  if (key == "id") {
    auto id = read_server_id(cursor);
    if (!id) return bad_key(key, "{Name, Node}");
    config.id = std::move(*id);
  } else if (key == "uid") {
    const auto uid = cursor.bytes();
    if (!uid || !valid_uid(*uid)) return bad_key(key, "a UId (letters, digits, _ = -)");
    config.uid = std::string(*uid);
  } else if (key == "initial_members") {
    auto members = read_members(value);
    if (!members) return members.error();
    config.initial_members = std::move(*members);
  } else if (key == "cluster_name") {
    config.cluster_name = etf::with_version(value);
  } else if (key == "machine") {
    if (!cursor.tuple()) return bad_key(key, "a tuple such as {module, Module, Arguments}");
    config.machine = etf::with_version(value);
  } else if (key == "log_init_args") {
    if (!cursor.map()) return bad_key(key, "a map");
    config.log_init_args = etf::with_version(value);
  } else {
    config.others.emplace_back(key, etf::with_version(value));
  }
  return {};
}

}  // namespace

Result<ServerConfig> parse_server_config(const std::string& text) {
  const auto term = etf::parse_text(text);
  if (!term) {
    return make_error(ErrorCode::malformed, "server config: " + term.error().message);
  }
  etf::Cursor cursor(*term);
  const auto pairs = cursor.map();
  if (!pairs) return make_error(ErrorCode::malformed, "server config: is not a map");
  ServerConfig config;
  std::vector<std::string> seen;
  for (std::uint32_t i = 0; i < *pairs; ++i) {
    const auto key = cursor.atom();
    if (!key) return make_error(ErrorCode::malformed, "server config: has a key that is no atom");
    const std::string name(*key);
    const auto value = cursor.skip();
    if (!value) return bad_key(name, "a term");
    if (auto done = take(config, name, *value); !done) return done.error();
    seen.push_back(name);
  }
  for (const char* required :
       {"id", "uid", "cluster_name", "initial_members", "machine", "log_init_args"}) {
    if (std::find(seen.begin(), seen.end(), required) == seen.end()) {
      return make_error(ErrorCode::malformed,
                        std::string("server config: `") + required + "` is missing");
    }
  }
  return config;
}

Result<std::string> print_server_config(const ServerConfig& config) {
  if (!valid_uid(config.uid)) return bad_key("uid", "a UId (letters, digits, _ = -)");
  if (!etf::is_valid_atom(config.id.name()) || !etf::is_valid_atom(config.id.node())) {
    return bad_key("id", "made of valid atoms");
  }
  for (const auto* term : {&config.cluster_name, &config.machine, &config.log_init_args}) {
    if (!etf::validate(etf::without_version(*term))) {
      return make_error(ErrorCode::invalid_argument,
                        "server config: cluster_name, machine or log_init_args is not a term");
    }
  }
  etf::Writer writer;
  writer.map(6 + config.others.size());
  write_server_id(writer.atom("id"), config.id);
  writer.atom("uid").binary(config.uid);
  writer.atom("cluster_name").raw(etf::without_version(config.cluster_name));
  writer.atom("initial_members").list(config.initial_members.size());
  for (const auto& member : config.initial_members) write_server_id(writer, member);
  writer.nil();
  writer.atom("machine").raw(etf::without_version(config.machine));
  writer.atom("log_init_args").raw(etf::without_version(config.log_init_args));
  for (const auto& [key, value] : config.others) {
    writer.atom(key).raw(etf::without_version(value));
  }
  // ra reads the file as Latin-1; numbers for characters keep the text ASCII.
  return etf::print_text(writer.view(), {.strings = false}) + ".\n";
}

namespace {

/// After the term, in the words of a comment: a BEAM does not see it, and leaves it out of a file
/// that it writes itself.
constexpr std::string_view kSealWord = "% crc32 ";

std::string seal_of(std::string_view text) {
  return std::string(kSealWord) + std::to_string(crc32(0, text)) + "\n";
}

bool seal_fits(std::string_view text) {
  const auto end = text.rfind(".\n");
  if (end == std::string_view::npos) return true;  // no term at all: the parser says so
  const std::string_view rest = text.substr(end + 2);
  return rest.empty() || rest == seal_of(text.substr(0, end + 2));
}

}  // namespace

Result<ServerConfig> read_server_config(Disk& disk, const std::string& directory) {
  const std::string path = directory + "/config";
  const auto text = read_file(disk, path, std::uint64_t{16} << 20);
  if (!text) return text.error();
  if (!seal_fits(*text)) {
    return make_error(ErrorCode::corrupt, path +
                                              ": its checksum does not fit; if it was edited by "
                                              "hand, remove the line that begins with %");
  }
  auto config = parse_server_config(*text);
  if (!config) return make_error(config.error().code, path + ": " + config.error().message);
  return config;
}

Result<void> write_server_config(Disk& disk, const std::string& directory,
                                 const ServerConfig& config) {
  const auto text = print_server_config(config);
  if (!text) return text.error();
  return replace_file(disk, directory + "/config", *text + seal_of(*text));
}

bool valid_uid(std::string_view uid) {
  return !uid.empty() && uid.size() <= 255 && uid != kBatchMarkUid &&
         std::all_of(uid.begin(), uid.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '=' || c == '-';
         });
}

std::string new_uid(std::string_view source, Randomness& randomness) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  constexpr std::size_t kPrefix = 6;
  constexpr std::size_t kRandom = 12;
  std::string uid;
  for (const unsigned char c : source) {
    if (uid.size() == kPrefix) break;
    if (std::isalnum(c) != 0 || c == '_' || c == '=' || c == '-') {
      uid.push_back(static_cast<char>(std::toupper(c)));
    }
  }
  std::uniform_int_distribution<std::size_t> pick(0, kAlphabet.size() - 1);
  for (std::size_t i = 0; i < kRandom; ++i) uid.push_back(kAlphabet[pick(randomness)]);
  return uid;
}

}  // namespace rakv::raftlog
