// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/failure_detector.h"

#include <algorithm>

namespace rakv::node {

void FailureDetector::beat(std::string_view node, Clock::time_point now) {
  auto found = records_.find(node);
  if (found == records_.end()) {
    records_.emplace(std::string(node), Record{now, {}, 0});
    return;
  }
  Record& record = found->second;
  const Clock::duration interval = now - record.last_beat;
  record.last_beat = now;
  if (record.intervals.size() < options_.sample_count_max) {
    record.intervals.push_back(interval);
  } else {
    record.intervals[record.next] = interval;
  }
  record.next = (record.next + 1) % options_.sample_count_max;
}

void FailureDetector::forget(std::string_view node) {
  auto found = records_.find(node);
  if (found != records_.end()) records_.erase(found);
}

double FailureDetector::probability(const Record& record, Clock::time_point now) const {
  if (record.intervals.empty()) return 0.0;
  const double elapsed = static_cast<double>((now - record.last_beat).count());
  const auto exceeded = std::count_if(
      record.intervals.begin(), record.intervals.end(), [&](Clock::duration interval) {
        return static_cast<double>(interval.count()) * options_.scaling_factor <= elapsed;
      });
  return static_cast<double>(exceeded) / static_cast<double>(record.intervals.size());
}

double FailureDetector::failure_probability(std::string_view node, Clock::time_point now) const {
  auto found = records_.find(node);
  return found == records_.end() ? 0.0 : probability(found->second, now);
}

std::vector<NodeStatusChange> FailureDetector::poll(Clock::time_point now) {
  std::vector<NodeStatusChange> changes;
  std::map<std::string, NodeStatus, std::less<>> status_now;
  for (const auto& [node, record] : records_) {
    const NodeStatus status =
        probability(record, now) >= options_.failure_threshold ? NodeStatus::down : NodeStatus::up;
    status_now.emplace(node, status);
    const auto before = last_status_.find(node);
    if (before == last_status_.end() || before->second != status) changes.push_back({node, status});
  }
  for (const auto& [node, status] : last_status_) {
    if (status == NodeStatus::up && !status_now.contains(node)) {
      changes.push_back({node, NodeStatus::down});
    }
  }
  last_status_ = std::move(status_now);
  return changes;
}

NodeStatus FailureDetector::status(std::string_view node) const {
  const auto found = last_status_.find(node);
  return found == last_status_.end() ? NodeStatus::down : found->second;
}

}  // namespace rakv::node
