// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cnode/base/result.h"

// DETS version 9 files of type set with key position 1, as ra uses them (OTP dets.erl,
// dets_v9.erl): read whole, written whole. Objects are tuples, here as ETF with a leading 131.

namespace rakv::raftlog {

struct DetsContent {
  std::vector<std::string>
      objects;         ///< ETF of each row, with its leading 131, in no particular order
  bool clean = false;  ///< closed properly: read by its index; otherwise found by scanning
};

/// Reads a file's content. malformed: not a DETS version 9 set file (cookie, version, MD5);
/// corrupt: an index that points outside the file. `name` is used in messages. A scan of a file
/// that was not closed may give a key twice.
Result<DetsContent> read_dets(const std::string& name, const std::string& bytes);

/// The content of a properly closed file with these rows. Keys (first tuple elements) must differ;
/// invalid_argument otherwise, or when a row is not a non-empty tuple.
Result<std::string> write_dets(const std::vector<std::string>& objects);

/// Rows have no checksum in DETS. This puts one over the whole content into reserved bytes of its
/// header, which dets zeroes when it opens the file for writing.
void seal_dets(std::string& bytes);
/// False when there is such a checksum and it does not fit.
bool dets_seal_fits(std::string_view bytes);

}  // namespace rakv::raftlog
