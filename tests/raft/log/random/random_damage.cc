// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/raft/log/random/random_node.h"

// Damage that is not repaired: the end of a seed.

namespace rakv::raftlog::testing {

std::vector<std::string> RandomNode::all_files() {
  std::vector<std::string> files;
  for (const std::string& name : all_names()) {
    if (memory_.open_read(name)) files.push_back(name);
  }
  return files;
}

void RandomNode::flip_a_byte() {
  const std::vector<std::string> files = all_files();
  if (files.empty()) return;
  const std::string& path = files[random_() % files.size()];
  const auto damaged = memory_.clone();
  std::string bytes = read_file(*damaged, path).value();
  if (bytes.empty()) return;
  const std::size_t at = random_() % bytes.size();
  bytes[at] = static_cast<char>(bytes[at] ^ 1 << random_() % 8);
  ASSERT_TRUE(replace_file(*damaged, path, bytes));
  SCOPED_TRACE("flipped byte " + std::to_string(at) + " of " + path);
  trace("flip byte " + std::to_string(at) + " of " + path);
  ++totals_.flips;
  LogSystemOptions plain = small_options();
  plain.keep_superseded_for = keep_superseded_;
  Store store(*damaged, plain);
  if (!store.system) {
    ++totals_.flips_refused;
    return;
  }
  bool told = false;
  for (const ModelPtr& model : servers_) {
    const MemberLog* log = store.system->find(model->uid);
    if (store.system->broken_servers().contains(model->uid)) {
      ++totals_.flips_refused;
      told = true;
      continue;
    }
    ASSERT_NE(log, nullptr) << model->uid;
    if (log->amnesia()) {
      ++totals_.flips_amnesia;
      told = true;
    } else if (!model->check_damaged(*log)) {
      ++totals_.flips_unreadable;
      told = true;
    }
  }
  if (!told) ++totals_.flips_harmless;
}

}  // namespace rakv::raftlog::testing
