// SPDX-License-Identifier: Apache-2.0
#include "raft/member/notifications.h"

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"

namespace rakv::member {
namespace {

/// A batch that has grown to this is sent before the entries end.
constexpr std::size_t kNotificationBatchBytes = std::size_t{256} * 1024;
/// Events kept for clients that can't be reached now; beyond it the oldest go.
constexpr std::size_t kUndeliveredMax = 10'000;
/// What an event that waits takes besides its bytes.
constexpr std::size_t kUndeliveredOverheadBytes = 256;

}  // namespace

void Notifications::add(const wire::ReplyMode& mode, std::string_view outcome) {
  const auto found = batches_.try_emplace(std::string(mode.pid)).first;
  Batch& batch = found->second;
  etf::Writer(batch.pairs).tuple(2).raw(mode.correlation).raw(outcome);
  ++batch.count;
  if (batch.pairs.size() < kNotificationBatchBytes) return;
  send_batch(found->first, batch);
  batches_.erase(found);
}

void Notifications::flush() {
  for (const auto& [pid, batch] : batches_) send_batch(pid, batch);
  batches_.clear();
}

void Notifications::send_batch(const std::string& pid, const Batch& batch) {
  etf::Writer event;
  event.tuple(2).atom("applied").list(batch.count).append(batch.pairs).nil();
  send(pid, event.view());
}

void Notifications::send(const std::string& pid_term, std::string_view event) {
  etf::Cursor cursor(pid_term);
  const std::optional<etf::PidView> pid =
      cursor.kind() == etf::TermKind::pid ? cursor.pid_view() : std::nullopt;
  if (!pid) return;
  if (!seams_.deliver(pid_term, *pid, event)) keep(pid_term, event);
}

/// The newest are kept.
void Notifications::keep(const std::string& pid, std::string_view event) {
  ByteCharge charge = seams_.charge();
  const std::size_t bytes = pid.size() + event.size() + kUndeliveredOverheadBytes;
  while (!undelivered_.empty() && (undelivered_.size() >= kUndeliveredMax || !charge.takes(bytes)))
    undelivered_.pop_front();
  if (!charge.try_grow(bytes)) return;
  undelivered_.push_back({pid, std::string(event), std::move(charge)});
}

void Notifications::retry() {
  std::deque<Undelivered> again;
  again.swap(undelivered_);
  for (; !again.empty(); again.pop_front()) {
    const Undelivered next = std::move(again.front());
    send(next.pid, next.event);
  }
}

}  // namespace rakv::member
