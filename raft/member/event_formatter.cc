// SPDX-License-Identifier: Apache-2.0
#include "raft/member/event_formatter.h"

#include <spdlog/spdlog.h>

#include "cnode/etf/cursor.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::member {
namespace {

constexpr std::chrono::milliseconds kTimeout{30'000};
/// Events that wait for the one before; a further one, or one for which
/// MemoryAccounts::notifications has no room, is dropped, as one for a client that can't be
/// reached.
constexpr std::size_t kUnformattedMax = 10'000;
/// What one takes besides its bytes.
constexpr std::size_t kUnformattedOverheadBytes = 256;

struct Formatter {
  std::string module;
  std::string function;
  std::string storage;
  std::vector<std::string_view> arguments;
};

bool read(std::string_view term, Formatter& formatter) {
  etf::Cursor cursor(term);
  if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 3u) return false;
  if (cursor.kind() != etf::TermKind::atom) return false;
  formatter.module = cursor.atom().value_or("");
  if (cursor.kind() != etf::TermKind::atom) return false;
  formatter.function = cursor.atom().value_or("");
  auto arguments =
      node::list_elements(cursor.skip().value_or(std::string_view{}), formatter.storage);
  if (!arguments) return false;
  formatter.arguments = std::move(*arguments);
  return true;
}

}  // namespace

EventFormatter::EventFormatter(const PeerContext& context, std::string formatter,
                               raft::ServerId server)
    : context_(context), formatter_(std::move(formatter)), server_(std::move(server)) {}

EventFormatter::~EventFormatter() { *alive_ = false; }

bool EventFormatter::is_formatter(std::string_view term) {
  Formatter formatter;
  return read(term, formatter);
}

void EventFormatter::send(const std::string& pid, std::string event) {
  ByteCharge charge = context_.node.charge(&MemoryAccounts::notifications);
  if (count_ >= kUnformattedMax || !charge.try_grow(event.size() + kUnformattedOverheadBytes))
    return;
  ++count_;
  std::deque<Waiting>& waiting = waiting_[pid];
  waiting.push_back({std::move(event), std::move(charge)});
  if (waiting.size() == 1) format_next(pid);
}

void EventFormatter::format_next(const std::string& pid) {
  Formatter formatter;
  etf::Cursor cursor(pid);
  const std::optional<etf::PidView> to =
      cursor.kind() == etf::TermKind::pid ? cursor.pid_view() : std::nullopt;
  if (!to || !read(formatter_, formatter)) {
    count_ -= waiting_[pid].size();
    waiting_.erase(pid);
    return;
  }
  etf::Writer arguments;
  arguments.list(2 + static_cast<std::uint32_t>(formatter.arguments.size()));
  wire::write_server_id(arguments, server_);
  arguments.raw(waiting_[pid].front().event);
  for (const std::string_view argument : formatter.arguments) arguments.raw(argument);
  arguments.nil();
  context_.node.apply(
      to->node, formatter.module, formatter.function, arguments.view(), kTimeout,
      [this, pid, alive = alive_](const node::ApplyResult& result) {
        if (!*alive) return;
        std::deque<Waiting>& waiting = waiting_[pid];
        if (result.status == node::ApplyResult::Status::returned) {
          deliver(pid, result.term);
        } else {
          if (!std::exchange(complained_, true)) {
            spdlog::warn(
                "{}: ra_event_formatter failed at a client, which gets plain ra_events: {}",
                context_.log_id, etf::print_brief(result.term));
          }
          etf::Writer plain;
          plain.tuple(3).atom("ra_event");
          wire::write_server_id(plain, server_);
          plain.raw(waiting.front().event);
          deliver(pid, plain.view());
        }
        --count_;
        waiting.pop_front();
        if (waiting.empty()) {
          waiting_.erase(pid);
        } else {
          format_next(pid);
        }
      });
}

void EventFormatter::deliver(const std::string& pid, std::string_view message) {
  etf::Cursor cursor(pid);
  if (const std::optional<etf::PidView> to = cursor.pid_view()) {
    context_.node.send(
        context_.pid, *to, [&](distribution::OutMessage& out) { out.text.append(message); }, false);
  }
}

}  // namespace rakv::member
