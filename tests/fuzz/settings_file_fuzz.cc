// SPDX-License-Identifier: Apache-2.0
// A configuration file of any bytes: it is read, or each fault is told on one line that names the
// file.

#include <cstddef>
#include <cstdint>
#include <string>

#include "cnode/base/check.h"
#include "kv/program/settings_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  rakv::kv::StartOptions options;
  for (const std::string& fault : rakv::kv::read_settings_text(text, "FILE", options)) {
    RAKV_CHECK(fault.starts_with("FILE: ") && fault.find('\n') == std::string::npos);
  }
  return 0;
}
