// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "raft/log/directory/metadata.h"
#include "tests/simulation/fault_injector.h"

// What FaultInjector does to disks.

namespace rakv::simulation {

void FaultInjector::set_rule(SimulatedNode& node, raftlog::FaultyDisk::Rule rule) {
  node.faulty_disk().set_rule(std::move(rule));
  after(about(options_.fault_length_ms), [&node, weak = node.runtime().weak_from_this()] {
    if (!weak.expired()) mend_disk(node);
  });
}

void FaultInjector::mend_disk(SimulatedNode& node) {
  node.faulty_disk().set_rule(nullptr);
  node.faulty_disk().set_space(raftlog::DiskSpace{});
}

/// After an fdatasync that failed the kernel may keep what it could not write to itself, and never
/// write it.
void FaultInjector::disk_errors(SimulatedNode& node) {
  if (!node.runs()) return;
  cluster_.trace.line(node.name() + " has a disk that fails");
  const std::uint64_t one_in = 1 + random_() % 10;
  const bool reads_fail = random_() % 3 == 0;
  set_rule(node,
           [this, &node, one_in, reads_fail](raftlog::DiskOperation operation,
                                             const std::string& path) -> std::optional<Error> {
             using raftlog::DiskOperation;
             const bool reads =
                 operation == DiskOperation::open || operation == DiskOperation::read ||
                 operation == DiskOperation::list || operation == DiskOperation::lock;
             if ((reads && !reads_fail) || random_() % one_in != 0) return std::nullopt;
             if (operation == DiskOperation::sync && random_() % 2 == 0)
               node.give_up_unsynced(path);
             return make_error(ErrorCode::io, path + ": input/output error");
           });
}

void FaultInjector::fill_disk(SimulatedNode& node) {
  if (!node.runs()) return;
  cluster_.trace.line(node.name() + " has a full disk");
  node.faulty_disk().set_space({.free = 0, .total = std::uint64_t{1} << 30});
  set_rule(node,
           [&disk = node.disk(), reserve = raftlog::reserve_path(node.directory()),
            meta = raftlog::meta_path(node.directory())](
               raftlog::DiskOperation operation, const std::string& path) -> std::optional<Error> {
             using raftlog::DiskOperation;
             if (operation != DiskOperation::write && operation != DiskOperation::create &&
                 operation != DiskOperation::reserve && operation != DiskOperation::make_directory)
               return std::nullopt;
             // What the reserve gave back is enough for terms and votes, again and again.
             const Result<bool> kept = disk.exists(reserve);
             if (path.starts_with(meta) && kept && !*kept) return std::nullopt;
             return make_error(ErrorCode::no_space, path + ": no space left on device");
           });
}

/// As when the process has reached its limit of open files.
void FaultInjector::take_descriptors(SimulatedNode& node) {
  if (!node.runs()) return;
  cluster_.trace.line(node.name() + " has no descriptors left");
  set_rule(node,
           [](raftlog::DiskOperation operation, const std::string& path) -> std::optional<Error> {
             using raftlog::DiskOperation;
             if (operation != DiskOperation::open && operation != DiskOperation::create &&
                 operation != DiskOperation::list)
               return std::nullopt;
             return make_error(ErrorCode::io, path + ": too many open files");
           });
}

void FaultInjector::flip_bits() {
  SimulatedNode* const damaged = damage_.flip();
  // Much of the damage is seen by a start only.
  if (damaged != nullptr && random_() % 2 == 0)
    kill_later(*damaged, std::chrono::milliseconds(1 + random_() % 100));
}

}  // namespace rakv::simulation
