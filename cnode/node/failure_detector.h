// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/clock.h"

// aten's failure detector (aten 0.6: aten_sink.erl, aten_detector.erl): every node sends a beat to
// every node it is connected to each 100 ms; a node is down when nearly all intervals seen so far,
// stretched by a factor, are shorter than the silence now. Pure: the owner supplies the time.

namespace rakv::node {

/// How often beats go out, how often the detector looks, and what counts as down (aten's defaults).
struct FailureDetectorOptions {
  std::chrono::milliseconds heartbeat_interval{100};
  std::chrono::milliseconds poll_interval{1000};
  double scaling_factor = 1.5;
  double failure_threshold = 0.99;
  std::size_t sample_count_max = 1000;
};

/// One node's state in the eyes of the detector.
enum class NodeStatus { up, down };

/// A node that crossed the threshold since the last poll.
struct NodeStatusChange {
  std::string node;
  NodeStatus status;
  bool operator==(const NodeStatusChange&) const = default;
};

/// Learns the rhythm of each node's beats and says who fell silent.
class FailureDetector {
 public:
  explicit FailureDetector(FailureDetectorOptions options = {}) : options_(options) {}

  /// A beat of `node` has arrived. The first one only starts its record.
  void beat(std::string_view node, Clock::time_point now);

  /// Whether a beat of `node` has come since its connection is up.
  bool knows(std::string_view node) const { return records_.contains(node); }

  /// The connection to `node` is gone: its samples are dropped, as aten_sink does on nodedown.
  void forget(std::string_view node);

  /// Looks at all nodes; gives those that changed since the last poll (aten_detector, every
  /// poll_interval). A node seen for the first time is reported as up; one whose record vanished as
  /// down.
  std::vector<NodeStatusChange> poll(Clock::time_point now);

  /// The state as of the last poll; a node never heard of is down (aten_detector:register).
  NodeStatus status(std::string_view node) const;

  /// The share of samples that speak for a failure, 0.0 without samples.
  double failure_probability(std::string_view node, Clock::time_point now) const;

 private:
  struct Record {
    Clock::time_point last_beat;
    std::vector<Clock::duration> intervals;  // a ring of sample_count_max
    std::size_t next = 0;
  };

  double probability(const Record& record, Clock::time_point now) const;

  FailureDetectorOptions options_;
  std::map<std::string, Record, std::less<>> records_;
  std::map<std::string, NodeStatus, std::less<>> last_status_;
};

}  // namespace rakv::node
