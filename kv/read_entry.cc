// SPDX-License-Identifier: Apache-2.0
#include "kv/read_entry.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "cnode/etf/cursor.h"
#include "kv/machine.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

namespace rakv::kv {
namespace {

/// The stored Meta map with the keys index, members and term added.
bool write_meta(etf::Writer& writer, const raftlog::StoredEntry& entry, const wire::EntryView& view,
                std::string_view members) {
  etf::Cursor meta(view.meta);
  const std::optional<std::uint32_t> count = meta.map();
  if (!count) return false;
  writer.map(*count + 3).append(meta.rest());
  writer.atom("index").u64(entry.index);
  writer.atom("members").raw(members);
  writer.atom("term").u64(entry.term);
  return true;
}

/// `{error, {not_readable, Index, Text}}`. Never `{error, not_found}`, which clients take for
/// "there is no such key".
void answer_unreadable(node::RpcCall& call, std::uint64_t index, std::string_view text) {
  etf::Writer reply;
  reply.tuple(2).atom("error").tuple(3).atom("not_readable").u64(index).binary(text);
  call.answer(reply.view());
}

/// Answers with the value where it lies in the entry: a large one is never copied.
void answer_read(node::RpcCall& call, std::uint64_t index,
                 const Result<std::vector<raftlog::StoredEntry>>& entries,
                 std::string_view members) {
  etf::Writer reply;
  if (!entries && entries.error().code == ErrorCode::not_found) {
    return answer_unreadable(call, index,
                             entries.error().message +
                                 ", any more or yet: the key was put again, or this member lags; "
                                 "get the key again");
  }
  if (!entries && entries.error().code == ErrorCode::timeout)
    return answer_unreadable(call, index, entries.error().message);
  if (!entries)
    return call.answer(reply.tuple(2).atom("error").binary(entries.error().message).view());
  const raftlog::StoredEntry& entry = entries->front();
  const wire::EntryView view = wire::parse_entry(entry.payload.view());
  const Result<KvCommand> command = view.kind == raft::EntryKind::user
                                        ? parse_command(view.data)
                                        : Result<KvCommand>(make_error(ErrorCode::not_found, ""));
  reply.tuple(3).atom("ok");
  if (command && command->kind == KvCommand::Kind::put && write_meta(reply, entry, view, members)) {
    return call.answer({reply.view(), entry.payload, command->value});
  }
  // The committed entry, and no put: no client was ever told this index.
  reply.clear();
  call.answer(reply.tuple(2).atom("error").atom("not_found").view());
}

/// Values up to this are read at once.
constexpr std::uint64_t kSmallBytes = std::uint64_t{64} * 1024;

/// What the client allows for the read, in ms; anything else than an integer is `infinity`.
std::chrono::milliseconds time_of(std::string_view timeout) {
  etf::Cursor cursor(timeout);
  const std::optional<std::uint64_t> given =
      cursor.kind() == etf::TermKind::integer ? cursor.u64() : std::nullopt;
  const auto longest = static_cast<std::uint64_t>(member::HeldReads::kLongest.count());
  return std::chrono::milliseconds(std::min(given.value_or(longest), longest));
}

/// `room` is held until the answer is queued for the caller.
void read(member::Member& member, const std::shared_ptr<node::RpcCall>& call, std::uint64_t index,
          std::shared_ptr<ByteCharge> room) {
  member.read_entry(index, time_of(call->argument(3)),
                    [call, index, room = std::move(room)](
                        const Result<std::vector<raftlog::StoredEntry>>& entries) {
                      answer_read(*call, index, entries, call->argument(2));
                    });
}

}  // namespace

void add_read_entry(system::ServerSystem& system) {
  system.node().functions().add("ra_kv", "read_entry", 4, [&system](node::RpcCall call) {
    etf::Cursor cursor(call.argument(0));
    const std::optional<raft::ServerId> id = wire::read_server_id(cursor);
    etf::Cursor index_cursor(call.argument(1));
    const std::optional<std::uint64_t> index =
        index_cursor.kind() == etf::TermKind::integer ? index_cursor.u64() : std::nullopt;
    if (!id || !index) return call.raise_badarg();
    member::Member* member = system.find(id->name());
    if (member == nullptr) {
      return call.answer(etf::Writer().tuple(2).atom("error").atom("noproc").view());
    }
    if (*index == 0) {  // never a put's
      return call.answer(etf::Writer().tuple(2).atom("error").atom("not_found").view());
    }
    auto waiting = std::make_shared<node::RpcCall>(std::move(call));
    const std::uint64_t bytes = member->log().payload_bytes(*index);
    if (bytes <= kSmallBytes) return read(*member, waiting, *index, nullptr);
    // A large one is not even read before its answer has room.
    system.node().when_room(
        waiting->caller_node(), bytes,
        [&system, waiting, name = id->name(), at = *index](std::optional<ByteCharge> room) {
          if (!room) return;  // the caller is gone
          member::Member* there = system.find(name);
          if (there == nullptr) {
            waiting->answer(etf::Writer().tuple(2).atom("error").atom("noproc").view());
            return;
          }
          read(*there, waiting, at, std::make_shared<ByteCharge>(std::move(*room)));
        });
  });
}

}  // namespace rakv::kv
