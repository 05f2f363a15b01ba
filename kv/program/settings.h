// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cnode/base/result.h"
#include "kv/program/start_command.h"

// The settings of a node: one table, from which its options on the command line, the names of its
// configuration file and the help come. What a value must look like is said once, here.

namespace rakv::kv {

/// A value as a configuration file gives it; a command line gives texts.
using SettingValue = std::variant<bool, std::int64_t, std::string, std::vector<std::string>>;

struct Setting {
  /// Where the value goes, which says what it must be: true or false, a whole number, a text, a
  /// list of texts.
  using Place = std::variant<bool StartOptions::*, std::uint16_t StartOptions::*,
                             std::uint32_t StartOptions::*, std::uint64_t StartOptions::*,
                             std::string StartOptions::*, std::vector<std::string> StartOptions::*>;
  /// Says what is wrong with a value, or nothing: "must be ...".
  using Check = std::string (*)(const StartOptions&);

  std::string_view name;  ///< `--name` on the command line, `name = ...` in the file
  Place place;
  std::string_view help;
  std::string_view value_name = {};  ///< for the help: SIZE
  /// For the help; else the default is that of StartOptions.
  std::string_view default_text = {};
  std::string_view instead_of = {};  ///< the setting that can't be given beside this one
  Check check = nullptr;             ///< of the options after the value was put there
  std::uint64_t smallest = 0;        ///< of a number
  std::uint64_t largest = 0;
  bool is_size = false;    ///< bytes: a number, or a text as "64MB"
  bool is_secret = false;  ///< an error never shows the value
};

/// All settings, in the order of the help.
std::span<const Setting> start_settings();

/// The setting of this name; null when there is none.
const Setting* find_setting(std::string_view name);

/// A name of a setting that is spelled nearly like this one; empty when there is none.
std::string_view similar_setting(std::string_view name);

/// Puts a value of the right type into its place. Error invalid_argument, in words that
/// belong after the setting's name and a colon: "must be ...". Then the options are as before.
Result<void> apply_setting(const Setting& setting, const SettingValue& value,
                           StartOptions& options);

/// As apply_setting for what a command line gives: one text, several for a list. A flag is set, or
/// has the text true or false.
Result<void> apply_texts(const Setting& setting, const std::vector<std::string>& texts,
                         StartOptions& options);

/// Takes back what was set, as if it had never been.
void clear_setting(const Setting& setting, StartOptions& options);

/// Words for the help: what the value is when nothing is given; empty when that is nothing.
std::string default_of(const Setting& setting);

}  // namespace rakv::kv
