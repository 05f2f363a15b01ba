// SPDX-License-Identifier: Apache-2.0
#include "raft/member/entry_reads.h"

#include <fmt/format.h>

#include <utility>

#include "cnode/etf/version.h"

namespace rakv::member {

void EntryReads::read(std::uint64_t index, std::chrono::milliseconds time,
                      raftlog::MemberLog::ReadCallback callback) {
  seams_.counters.add(Counter::read_ops);
  if (raft::Index{index} <= seams_.applied() || index > seams_.log.last().index)
    return seams_.read({index}, std::move(callback));
  seams_.held.hold(raft::Index{index}, time,
                   [this, index, callback = std::move(callback)](bool reached) mutable {
                     if (reached) return seams_.read({index}, std::move(callback));
                     callback(make_error(ErrorCode::timeout,
                                         fmt::format("{}: has not applied entry {} yet; get the "
                                                     "key again",
                                                     seams_.log_id, index)));
                   });
}

void EntryReads::serve(std::string_view from, const wire::request::ReadEntries& asked) {
  if (!asked.indexes) return seams_.calls.answer_unsupported(from, asked.list);
  std::vector<raftlog::Index> wanted;
  std::uint64_t bytes = 0;
  for (const std::uint64_t index : *asked.indexes) {
    if (!seams_.log.has(index)) continue;
    wanted.push_back(index);
    bytes += seams_.log.payload_bytes(index);
  }
  // All of them are in memory at once: more than a single value may be, is too much for one answer.
  if (seams_.memory != nullptr && wanted.size() > 1 && bytes > seams_.memory->outgoing.limit())
    return seams_.refuse_for_memory(from);
  seams_.when_room(from, bytes,
                   [this, from = std::string(from), wanted = std::move(wanted),
                    alive = alive_](std::optional<ByteCharge> room) {
                     if (*alive && room) answer(from, wanted, std::move(*room));
                   });
}

/// `room` is held until the answer is queued.
void EntryReads::answer(const std::string& from, std::vector<raftlog::Index> wanted,
                        ByteCharge room) {
  auto held = std::make_shared<ByteCharge>(std::move(room));
  seams_.read(std::move(wanted), [this, from, held = std::move(held), alive = alive_](
                                     Result<std::vector<raftlog::StoredEntry>> entries) {
    if (!*alive) return;
    etf::Writer reply;
    if (!entries) {
      reply.tuple(2).atom("error").tuple(2).atom("not_readable").binary(entries.error().message);
      return seams_.calls.answer(from, reply.view());
    }
    reply.tuple(2).atom("ok").tuple(4).atom("read_plan").byte_list(seams_.log.uid());
    reply.map(entries->size());
    for (const raftlog::StoredEntry& entry : *entries) {
      reply.u64(entry.index).tuple(3).u64(entry.index).u64(entry.term);
      reply.raw(etf::without_version(entry.payload.view()));
    }
    reply.nil();
    seams_.calls.answer(from, reply.view());
  });
}

}  // namespace rakv::member
