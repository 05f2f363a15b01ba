// SPDX-License-Identifier: Apache-2.0
#include "raft/member/append_entries_sender.h"

#include <spdlog/spdlog.h>

#include "raft/wire/ids.h"
#include "raft/wire/messages.h"

namespace rakv::member {
namespace {

/// A message ends with the entry that passes this. ra has no such bound: 128 entries of 10 MB are
/// one message.
constexpr std::uint64_t kMessageBytes = 4 << 20;

}  // namespace

AppendEntriesSender::AppendEntriesSender(PeerContext& context, raft::ServerId to)
    : context_(context), to_(std::move(to)) {}

AppendEntriesSender::~AppendEntriesSender() { *alive_ = false; }

void AppendEntriesSender::add(raft::effect::SendAppendEntries message) {
  if (!queue_.empty() && queue_.front().term != message.term) queue_.clear();
  queue_.push_back(std::move(message));
  pump();
}

void AppendEntriesSender::pump() {
  while (!queue_.empty() && !reading_) {
    raft::effect::SendAppendEntries& next = queue_.front();
    // The log may have been cut since the term ended.
    if (next.term != context_.core.current_term()) return drop_all();
    switch (context_.node.room(to_.node())) {
      case node::Delivery::queued:
        break;
      case node::Delivery::would_block:
        if (!suspended_) {
          suspended_ = true;
          context_.step(raft::event::PeerSuspended{to_});
        }
        return;
      case node::Delivery::not_connected:
        context_.counters.add(Counter::dropped_sends);
        return drop_all();
    }
    std::vector<raftlog::StoredEntry> entries;
    std::uint64_t bytes = 0;
    for (raft::Index index = next.first; index <= next.last && bytes < kMessageBytes; ++index) {
      const raftlog::StoredEntry* entry = context_.log.fetch(index.value());
      if (entry == nullptr) break;
      bytes += entry->payload.size();
      entries.push_back(*entry);
    }
    if (entries.empty() && next.first <= next.last) return read_from_disk();
    send(std::move(entries));
  }
  if (suspended_ && queue_.empty()) {
    suspended_ = false;
    context_.step(raft::event::PeerResumed{to_});
  }
}

/// Sends the first part of the front message and leaves the rest at the front.
void AppendEntriesSender::send(std::vector<raftlog::StoredEntry> entries) {
  raft::effect::SendAppendEntries& next = queue_.front();
  context_.node.cast(context_.pid, to_.node(), to_.name(), [&](distribution::OutMessage& out) {
    etf::Writer writer(out.text);
    wire::write_append_entries_head(writer, {next.term, context_.core.id(), next.commit,
                                             next.prev_index, next.prev_term, entries.size()});
    for (const raftlog::StoredEntry& entry : entries) {
      wire::write_entry(
          writer, raft::Index{entry.index}, raft::Term{entry.term}, entry.payload,
          [&](const SharedBytes& owner, std::string_view part) { out.share(owner, part); });
    }
    writer.nil();
  });
  context_.counters.add(Counter::rpcs_sent);
  context_.counters.add(Counter::msgs_sent);
  if (entries.empty() || entries.back().index == next.last.value()) {
    queue_.pop_front();
  } else {
    next.prev_index = raft::Index{entries.back().index};
    next.prev_term = raft::Term{entries.back().term};
    next.first = next.prev_index + 1;
  }
}

void AppendEntriesSender::read_from_disk() {
  const raft::effect::SendAppendEntries& next = queue_.front();
  std::vector<raftlog::Index> wanted;
  std::uint64_t bytes = 0;
  for (raft::Index index = next.first; index <= next.last && bytes < kMessageBytes; ++index) {
    if (context_.log.fetch(index.value()) != nullptr) break;
    bytes += context_.log.payload_bytes(index.value());
    wanted.push_back(index.value());
  }
  context_.counters.add(Counter::read_segment, static_cast<std::int64_t>(wanted.size()));
  reading_ = true;
  context_.read(std::move(wanted), [this, first = next.first, term = next.term, alive = alive_](
                                       Result<std::vector<raftlog::StoredEntry>> entries) {
    if (!*alive) return;
    reading_ = false;
    if (!entries) {
      // Gone into a snapshot meanwhile, most likely: the member will refuse what follows and be
      // served from there.
      spdlog::info("{}: entries from {} on can't be sent to {}: {}", context_.log_id, first.value(),
                   to_string(to_), entries.error().message);
      return drop_all();
    }
    if (!queue_.empty() && queue_.front().first == first && queue_.front().term == term &&
        term == context_.core.current_term()) {
      send(std::move(*entries));
    }
    pump();
  });
}

void AppendEntriesSender::drop_all() {
  queue_.clear();
  if (!suspended_) return;
  suspended_ = false;
  context_.step(raft::event::PeerResumed{to_});
}

}  // namespace rakv::member
