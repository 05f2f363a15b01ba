// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cnode/base/result.h"
#include "kv/program/start_command.h"

namespace rakv::kv {

/// What is wrong with a configuration file, one line for each fault, in the order of the file:
/// "FILE: line 3, column 15: ...". Empty when nothing is.
using FileFaults = std::vector<std::string>;

/// A configuration file has at most this many bytes.
inline constexpr std::size_t kMaxSettingsFileBytes = std::size_t{1} << 20;

/// Reads the settings that a TOML file gives (`name = value`, names as on the command line) into
/// `options`. All faults of the file are given; a file with a syntax error has one.
FileFaults read_settings_file(const std::string& path, StartOptions& options);

/// As read_settings_file, from the file's text.
FileFaults read_settings_text(const std::string& text, const std::string& path,
                              StartOptions& options);

}  // namespace rakv::kv
