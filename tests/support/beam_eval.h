// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

// A real BEAM to compare with: RAKV_ERL, or the `erl` in the path. A test without one fails.

namespace rakv::test {

inline std::string to_hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string hex;
  for (const char c : bytes) {
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

inline std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

/// The Erlang expression of a term given by its bytes (without version byte).
inline std::string as_expression(std::string_view encoded) {
  return "binary_to_term(binary:decode_hex(<<\"83" + to_hex(encoded) + "\">>))";
}

/// Evaluates expressions (one line each, in one BEAM, with no variables in common), each of which
/// must give a binary. Gives nothing, and a test failure with what the BEAM said, if one fails.
inline std::vector<std::string> eval_binaries(const std::vector<std::string>& expressions) {
  std::string directory = (std::filesystem::temp_directory_path() / "rakv_beam_XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) {
    ADD_FAILURE() << "no temporary directory";
    return {};
  }
  {
    std::ofstream file(directory + "/in");
    for (const std::string& expression : expressions) file << expression << "\n";
  }
  const char* chosen = std::getenv("RAKV_ERL");
  const std::string command =
      std::string("cd '") + directory + "' && ERL_CRASH_DUMP_SECONDS=0 '" +
      (chosen != nullptr ? chosen : "erl") +
      "' -noshell -noinput -eval '"
      "{ok, All} = file:read_file(\"in\"),"
      "{ok, Out} = file:open(\"out\", [write, raw]),"
      "[begin"
      "  {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Line) ++ \".\"),"
      "  {ok, Parsed} = erl_parse:parse_exprs(Tokens),"
      "  {value, Value, _} = erl_eval:exprs(Parsed, []),"
      "  ok = file:write(Out, [binary:encode_hex(Value), 10])"
      " end || Line <- binary:split(All, <<10>>, [global, trim_all])],"
      "halt(0).' 2>&1";
  std::string said;
  FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  while (pipe != nullptr) {
    const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe);
    if (got == 0) break;
    said.append(buffer, got);
  }
  const int status = pipe == nullptr ? -1 : ::pclose(pipe);
  std::vector<std::string> results;
  std::ifstream out(directory + "/out");
  for (std::string line; std::getline(out, line);) results.push_back(from_hex(line));
  std::filesystem::remove_all(directory);
  if (status != 0 || results.size() != expressions.size()) {
    ADD_FAILURE() << "erl failed at expression " << results.size() + 1 << " of "
                  << expressions.size() << ": " << said;
    return {};
  }
  return results;
}

/// The terms these expressions give, encoded by the BEAM, without version byte.
inline std::vector<std::string> encode_in_beam(std::vector<std::string> expressions) {
  for (std::string& expression : expressions) {
    expression.insert(0, "term_to_binary(begin ").append(" end)");
  }
  std::vector<std::string> encoded = eval_binaries(expressions);
  for (std::string& term : encoded) term.erase(0, 1);
  return encoded;
}

/// A claim to be checked in a BEAM: these bytes are that term.
struct SameTerm {
  std::string encoded;  ///< without version byte
  std::string expression;
};

/// Fails the test for each pair that is not exactly equal in the BEAM.
inline void expect_same_in_beam(const std::vector<SameTerm>& claims) {
  std::vector<std::string> expressions;
  expressions.reserve(claims.size());
  for (const SameTerm& claim : claims) {
    expressions.push_back("begin Got = " + as_expression(claim.encoded) + ", case (" +
                          claim.expression +
                          ") of Got -> <<\"same\">>; _ -> unicode:characters_to_binary("
                          "io_lib:format(\"~0tp\", [Got])) end end");
  }
  const std::vector<std::string> answers = eval_binaries(expressions);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i], "same") << "expected " << claims[i].expression;
  }
}

}  // namespace rakv::test
