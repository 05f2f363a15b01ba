// SPDX-License-Identifier: Apache-2.0
#include "tests/raft/log/random/random_faults.h"

namespace rakv::raftlog::testing {

const char* name_of(DiskOperation operation) {
  constexpr std::array<const char*, kDiskOperations> kNames{
      "open",    "create",         "write",  "read",           "sync",
      "reserve", "rename",         "unlink", "make_directory", "remove_directory",
      "list",    "sync_directory", "lock"};
  return kNames.at(static_cast<std::size_t>(operation));
}

FaultyDisk::Rule RandomFaults::rule() {
  return [this](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (!chosen(operation, path)) return std::nullopt;
    ++failed_;
    ++counts_.at(static_cast<std::size_t>(operation));
    return fail(operation, path);
  };
}

void RandomFaults::draw() {
  failed_ = 0;
  burst_ = false;
  switch (random_() % 8) {
    case 0:
      way_ = Way::by_chance;
      one_in_ = between(random_, 4, 60);
      break;
    case 1:
      way_ = Way::bursts;
      one_in_ = between(random_, 10, 40);
      break;
    case 2:
    case 3:
      way_ = Way::one_call;
      operation_ = static_cast<DiskOperation>(random_() % kDiskOperations);
      calls_left_ = between(random_, 1, 12);
      break;
    case 4:
      way_ = Way::one_operation;
      operation_ = static_cast<DiskOperation>(random_() % kDiskOperations);
      break;
    default:
      way_ = Way::none;
  }
}

void RandomFaults::fail_server(const std::string& uid) {
  failed_ = 0;
  way_ = Way::server;
  server_ = "/" + uid;
  constexpr std::array kKinds{DiskOperation::open, DiskOperation::read, DiskOperation::list,
                              DiskOperation::sync_directory};
  operation_ = kKinds.at(random_() % kKinds.size());
}

void RandomFaults::fail_segments(const std::string& uid) {
  fail_server(uid);
  constexpr std::array kKinds{DiskOperation::create, DiskOperation::write, DiskOperation::sync,
                              DiskOperation::rename, DiskOperation::sync_directory};
  operation_ = kKinds.at(random_() % kKinds.size());
}

bool RandomFaults::chosen(DiskOperation operation, const std::string& path) {
  switch (way_) {
    case Way::none:
      return false;
    case Way::by_chance:
      return one_in(random_, one_in_);
    case Way::bursts:
      if (one_in(random_, one_in_)) burst_ = !burst_;
      return burst_;
    case Way::one_call:
      return operation == operation_ && calls_left_ > 0 && --calls_left_ == 0;
    case Way::one_operation:
      return operation == operation_;
    case Way::server:
      return operation == operation_ && path.find(server_) != std::string::npos;
  }
  return false;
}

Error RandomFaults::fail(DiskOperation operation, const std::string& path) {
  const bool done_all_the_same = one_in(random_, 3);
  if (operation == DiskOperation::sync) {
    if (done_all_the_same) {
      if (auto file = memory_.open_write(path)) static_cast<void>((*file)->fdatasync());
    } else if (one_in(random_, 2)) {
      memory_.give_up_unsynced(path);
    }
  } else if (operation == DiskOperation::sync_directory && done_all_the_same) {
    static_cast<void>(memory_.sync_directory(path));
  } else if (operation == DiskOperation::unlink && done_all_the_same) {
    static_cast<void>(memory_.unlink(path));
  }
  const bool full = operation == DiskOperation::write && one_in(random_, 3);
  return make_error(full ? ErrorCode::no_space : ErrorCode::io,
                    path + ": " + name_of(operation) + " failed by chance");
}

}  // namespace rakv::raftlog::testing
