// SPDX-License-Identifier: Apache-2.0
// Records of members, requests of clients, and entries of a log, from a peer or a disk that means
// no good. The first byte chooses the reader; the rest is one term without its version byte.
// Nothing may crash; what is read, written and read again is the same.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "cnode/base/check.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/limits.h"
#include "cnode/etf/version.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/entry.h"
#include "raft/wire/messages.h"

namespace rakv::wire {
namespace {

/// Reads every byte of a view, so that the sanitizer sees one that leads astray.
std::size_t touch(std::string_view bytes) {
  std::size_t total = 0;
  for (const char c : bytes) total += static_cast<unsigned char>(c);
  return total;
}

void expect_same(const raft::AppendEntriesRpc& rpc, const raft::AppendEntriesRpc& again) {
  RAKV_CHECK(again.term == rpc.term && again.leader == rpc.leader &&
             again.leader_commit == rpc.leader_commit && again.prev_index == rpc.prev_index &&
             again.prev_term == rpc.prev_term && again.entries.size() == rpc.entries.size());
  for (std::size_t i = 0; i < rpc.entries.size(); ++i) {
    RAKV_CHECK(again.entries[i].index == rpc.entries[i].index &&
               again.entries[i].term == rpc.entries[i].term &&
               again.entries[i].payload.view() == rpc.entries[i].payload.view());
  }
}

void read_cast(std::string_view term) {
  const auto decoded = decode_peer_cast(term);
  if (!decoded) {
    RAKV_CHECK(!decoded.error().message.empty());
    return;
  }
  if (!*decoded) return;
  const auto* append = std::get_if<raft::event::AppendEntries>(&**decoded);
  if (append == nullptr) return;
  std::string written;
  etf::Writer writer(written);
  write_append_entries_rpc(
      writer, append->rpc,
      [&written](const SharedBytes&, std::string_view part) { written.append(part); });
  const auto again = decode_peer_cast(written);
  RAKV_CHECK(again && *again);
  expect_same(append->rpc, std::get<raft::event::AppendEntries>(**again).rpc);
}

void read_call(std::string_view term) {
  const auto decoded = decode_peer_call(term);
  if (!decoded || !*decoded) return;
  if (const auto* pre_vote = std::get_if<PreVoteCall>(&**decoded)) touch(pre_vote->token);
}

void read_reply(std::string_view term) {
  const auto decoded = decode_peer_reply(term);
  if (!decoded || !*decoded) return;
  if (const auto* answer = std::get_if<PreVoteAnswer>(&**decoded)) touch(answer->token);
}

void read_request(std::string_view term) {
  for (const AddressedRequest& addressed : {unwrap_call(term), unwrap_cast(term)}) {
    touch(addressed.term);
    const ClientRequest decoded = decode_client_request(addressed.term);
    if (const auto* command = std::get_if<request::Command>(&decoded)) {
      touch(command->data);
      touch(command->mode);
      touch(parse_reply_mode(command->mode).correlation);
      if (const auto reason = invalid_reply_mode(command->mode)) {
        RAKV_CHECK(etf::validate(*reason).has_value());
      }
    } else if (const auto* read = std::get_if<request::ReadEntries>(&decoded)) {
      touch(read->list);
    } else if (const auto* query = std::get_if<request::LocalQuery>(&decoded)) {
      touch(query->query);
    }
  }
  if (const auto leader = read_redirect(term)) RAKV_CHECK(!leader->name().empty());
}

/// An entry as a disk has it: any bytes.
void read_entry(std::string_view bytes) {
  const EntryView entry = parse_entry(bytes);
  touch(entry.meta);
  touch(entry.data);
  touch(entry.mode);
  touch(entry.from);
  const raft::Entry core =
      to_core_entry(raft::Index{1}, raft::Term{1}, SharedBytes::copy_of(bytes));
  RAKV_CHECK(core.payload.view() == bytes);
}

}  // namespace
}  // namespace rakv::wire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace rakv;  // NOLINT(google-build-using-namespace)
  if (size == 0) return 0;
  const std::string_view term(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'e') {
    wire::read_entry(term);
    return 0;
  }
  // As node::parse_gen_message hands it on.
  if (!etf::validate(term, etf::kMessageLimits)) return 0;
  if (data[0] == 'c') wire::read_cast(term);
  if (data[0] == 'l') wire::read_call(term);
  if (data[0] == 'r') wire::read_reply(term);
  if (data[0] == 'q') wire::read_request(term);
  return 0;
}
