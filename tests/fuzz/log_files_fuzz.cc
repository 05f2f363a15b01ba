// SPDX-License-Identifier: Apache-2.0
// The log's files as a disk or a peer may hand them to us: the first byte chooses the kind, the
// rest is the content. Nothing may crash, and what is read must survive being written again.

#include <cstdlib>

#include "raft/log/directory/dets.h"
#include "raft/log/directory/server_config.h"
#include "raft/log/segments/segment.h"
#include "raft/log/snapshots/index_set.h"
#include "raft/log/snapshots/snapshot_file.h"
#include "raft/log/wal/wal_recovery.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {
namespace {

void expect(bool condition) {
  if (!condition) std::abort();
}

void read_wal_file(const std::string& bytes) {
  std::string notice;
  const auto records = parse_wal("fuzz", bytes, &notice);
  if (!records) return;
  for (const auto& record : *records) expect(record.offset < bytes.size());
}

void read_dets_file(const std::string& bytes) {
  const auto content = read_dets("fuzz", bytes);
  if (!content) return;
  const auto written = write_dets(content->objects);
  if (!written) return;  // a damaged file may have a key twice
  const auto again = read_dets("again", *written);
  expect(again && again->clean && again->objects.size() == content->objects.size());
}

void read_config(const std::string& bytes) {
  const auto config = parse_server_config(bytes);
  if (!config) return;
  const auto text = print_server_config(*config);
  if (!text) return;
  // Terms that have no text (pids and the like) can't come from a text.
  const auto again = parse_server_config(*text);
  expect(again && again->id == config->id && again->uid == config->uid &&
         again->initial_members == config->initial_members);
}

void read_snapshot(const std::string& bytes) {
  const auto snapshot = decode_snapshot_file("fuzz", bytes);
  if (snapshot) {
    const auto again =
        decode_snapshot_file("again", encode_snapshot_file(snapshot->meta, snapshot->state.view()));
    expect(again && again->meta.index == snapshot->meta.index);
  }
  static_cast<void>(decode_snapshot_meta(bytes));  // also without its envelope, as a peer sends it
}

void read_indexes(const std::string& bytes) {
  for (const auto& set : {decode_indexes_file("fuzz", bytes), IndexSet::decode(bytes)}) {
    if (set) expect(*IndexSet::decode(set->encode()) == *set);
  }
}

void read_segment(const std::string& bytes) {
  MemoryDisk disk;
  expect(disk.create("/s").value()->pwrite(0, bytes).has_value());
  const auto segment = Segment::open(disk, "/s", 1);
  if (!segment) return;
  for (const auto& slot : (*segment)->slots()) {
    expect((*segment)->find(slot.index) == &slot);
    if (slot.size < (1U << 20)) static_cast<void>((*segment)->read(slot));
  }
}

}  // namespace
}  // namespace rakv::raftlog

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'w':
      rakv::raftlog::read_wal_file(bytes);
      break;
    case 'd':
      rakv::raftlog::read_dets_file(bytes);
      break;
    case 'c':
      rakv::raftlog::read_config(bytes);
      break;
    case 's':
      rakv::raftlog::read_snapshot(bytes);
      break;
    case 'i':
      rakv::raftlog::read_indexes(bytes);
      break;
    case 'g':
      rakv::raftlog::read_segment(bytes);
      break;
    default:
      break;
  }
  return 0;
}
