// SPDX-License-Identifier: Apache-2.0
#include "raft/member/overview.h"

#include "raft/member/member.h"
#include "raft/wire/ids.h"

// What a member says about itself (docs/protocol/wire.md 5.7; keys and forms as a BEAM member's,
// checked against ra 3.1.10).

namespace rakv::member {
namespace {

void write_range(etf::Writer& writer, std::uint64_t first, std::uint64_t last) {
  if (first > last) {
    writer.atom("undefined");
  } else {
    writer.tuple(2).u64(first).u64(last);
  }
}

void write_server_or_undefined(etf::Writer& writer, const std::optional<raft::ServerId>& server) {
  if (server) {
    wire::write_server_id(writer, *server);
  } else {
    writer.atom("undefined");
  }
}

void write_index_term(etf::Writer& writer, std::uint64_t index, std::uint64_t term) {
  writer.tuple(2).u64(index).u64(term);
}

void write_u64_or_undefined(etf::Writer& writer, std::optional<std::uint64_t> value) {
  if (value) {
    writer.u64(*value);
  } else {
    writer.atom("undefined");
  }
}

void write_log_overview(const Member& member, etf::Writer& writer) {
  const auto& snapshot = member.log().snapshot();
  const std::uint64_t last = member.log().last().index;
  writer.map(17);
  writer.atom("type").atom("ra_log");
  writer.atom("range");
  write_range(writer, member.log().first_index(), last);
  writer.atom("last_index").u64(last);
  writer.atom("last_term").u64(member.log().last().term);
  writer.atom("last_written_index_term");
  write_index_term(writer, member.log().last_written().index, member.log().last_written().term);
  writer.atom("num_segments").u64(member.log().segment_count());
  writer.atom("segments_range");
  if (const std::optional<raftlog::IndexRange> range = member.log().segments_range()) {
    write_range(writer, range->first, range->last);
  } else {
    writer.atom("undefined");
  }
  writer.atom("open_segments").integer(0);
  writer.atom("snapshot_index");
  write_u64_or_undefined(writer, snapshot ? std::optional(snapshot->meta.index) : std::nullopt);
  writer.atom("snapshot_term");
  write_u64_or_undefined(writer, snapshot ? std::optional(snapshot->meta.term) : std::nullopt);
  writer.atom("snapshot_size");
  write_u64_or_undefined(writer, snapshot ? std::optional(member.snapshot_bytes()) : std::nullopt);
  writer.atom("latest_checkpoint_index").atom("undefined");
  const std::optional<raftlog::IndexRange> memory = member.log().memory_range();
  const auto write_memory_range = [&] {
    if (memory) {
      write_range(writer, memory->first, memory->last);
    } else {
      writer.atom("undefined");
    }
  };
  writer.atom("mem_table_range");
  write_memory_range();
  writer.atom("mem_table_info").map(7);
  writer.atom("tid").reference(member.shown().memory_table);
  writer.atom("name").atom("ra_mem_table");
  writer.atom("size").u64(member.log().memory_entries());
  writer.atom("range");
  write_memory_range();
  writer.atom("local_range");
  write_memory_range();
  writer.atom("has_previous").boolean(false);
  writer.atom("previous").atom("undefined");
  writer.atom("last_wal_write").integer(member.shown().last_wal_write_ms);
  writer.atom("last_wal_index").u64(last);
  writer.atom("num_pending").u64(member.log().pending_writes());
}

// The peer map as this member holds it, its own entry included.
void write_cluster_overview(const Member& member, etf::Writer& writer) {
  writer.map(member.core().cluster().size());
  for (const auto& [id, config] : member.core().cluster()) {
    wire::write_server_id(writer, id);
    const raft::Peers* peers = member.core().peers();
    raft::Peer peer;
    if (peers != nullptr && peers->contains(id)) peer = peers->at(id);
    peer.config = config;
    wire::write_peer(writer, peer);
  }
}

void write_voters(const Member& member, etf::Writer& writer) {
  std::vector<raft::ServerId> voters;
  for (const auto& [id, config] : member.core().cluster()) {
    if (config.is_voter()) voters.push_back(id);
  }
  writer.list(voters.size());
  for (auto voter = voters.rbegin(); voter != voters.rend(); ++voter)
    wire::write_server_id(writer, *voter);
  writer.nil();
}

void write_members_info(const Member& member, etf::Writer& writer) {
  const bool leading = member.core().role() == raft::Role::leader;
  writer.map(member.core().cluster().size());
  for (const auto& [id, config] : member.core().cluster()) {
    wire::write_server_id(writer, id);
    if (id == member.id()) {
      writer.map(leading ? 5 : 3);
      if (leading) {
        writer.atom("next_index").u64(member.core().commit_index().value() + 1);
        writer.atom("status").atom("normal");
      }
      writer.atom("match_index").u64(member.core().commit_index().value());
      writer.atom("query_index").u64(member.core().query_index().value());
      raft::VoterStatus status;
      if (leading && config.voter_status) status = *config.voter_status;
      status.membership = member.core().membership();
      writer.atom("voter_status");
      wire::write_voter_status(writer, status);
    } else if (leading && member.core().peers() != nullptr && member.core().peers()->contains(id)) {
      raft::Peer peer = member.core().peers()->at(id);
      if (!peer.config.voter_status)
        peer.config.voter_status = raft::VoterStatus{raft::Membership::voter, {}, {}};
      wire::write_peer(writer, peer);
    } else {
      writer.map(0);
    }
  }
}

}  // namespace

void refresh_counters(const Member& member) {
  Counters& counters = member.counters();
  const auto set = [&](Counter counter, std::uint64_t value) {
    counters.set(counter, static_cast<std::int64_t>(value));
  };
  set(Counter::commit_index, member.core().commit_index().value());
  set(Counter::last_applied, member.last_applied().value());
  set(Counter::last_index, member.log().last().index);
  set(Counter::last_written_index, member.log().last_written().index);
  set(Counter::term, member.core().current_term().value());
  set(Counter::num_segments, member.log().segment_count());
  const raftlog::CompactionCounts& compactions = member.log().compaction_counts();
  set(Counter::minor_compactions, compactions.minor);
  set(Counter::major_compactions, compactions.major);
  set(Counter::major_compaction_segments_compacted, compactions.segments_compacted);
  set(Counter::major_compaction_segments_written, compactions.segments_written);
  counters.set(Counter::snapshot_index,
               member.log().snapshot()
                   ? static_cast<std::int64_t>(member.log().snapshot()->meta.index)
                   : -1);
}

std::string_view shown_state(const Member& member) {
  if (member.voters().standing() == VoterIdentities::Standing::stays_out) return "stays_out";
  return to_string(member.role());
}

void write_key_metrics(const Member& member, etf::Writer& writer) {
  refresh_counters(member);
  const bool waits = !member.voters().takes_part();
  writer.map(kKeyMetrics.size() + (waits ? 3 : 2));
  for (const Counter field : kKeyMetrics) {
    writer.atom(kCounterFields[static_cast<std::size_t>(field)].name)
        .integer(member.counters().get(field));
  }
  writer.atom("state").atom(shown_state(member));
  writer.atom("membership").atom(to_string(member.core().membership()));
  if (waits) writer.atom("note").binary(member.voters().why());
}

void write_member_ids(const Member& member, etf::Writer& writer) {
  writer.list(member.core().cluster().size());
  for (const auto& [id, config] : member.core().cluster()) wire::write_server_id(writer, id);
  writer.nil();
}

void write_overview(const Member& member, etf::Writer& writer) {
  writer.map(32);
  writer.atom("id");
  wire::write_server_id(writer, member.id());
  writer.atom("uid").binary(member.log().uid());
  writer.atom("log_id");
  if (member.options().friendly_name_term.empty()) {
    writer.byte_list(member.log_id());
  } else {
    writer.raw(member.options().friendly_name_term);
  }
  writer.atom("current_term").u64(member.core().current_term().value());
  writer.atom("voted_for");
  write_server_or_undefined(writer, member.core().voted_for());
  writer.atom("leader_id");
  write_server_or_undefined(writer, member.core().leader());
  writer.atom("commit_index").u64(member.core().commit_index().value());
  writer.atom("last_applied").u64(member.last_applied().value());
  writer.atom("query_index").u64(member.core().query_index().value());
  writer.atom("cluster");
  write_cluster_overview(member, writer);
  writer.atom("cluster_change_permitted").boolean(member.core().cluster_change_permitted());
  writer.atom("cluster_index_term");
  write_index_term(writer, member.core().cluster_index_term().index.value(),
                   member.core().cluster_index_term().term.value());
  writer.atom("membership").atom(to_string(member.core().membership()));
  writer.atom("machine");
  member.machine().write_overview(writer);
  writer.atom("machine_version").u64(member.core().machine_version());
  writer.atom("effective_machine_version").u64(member.core().effective_machine_version());
  writer.atom("machine_versions").list(1);
  write_index_term(writer, member.log().snapshot() ? member.log().snapshot()->meta.index : 0, 0);
  writer.nil();
  writer.atom("effective_machine_module").atom(member.machine().module());
  writer.atom("effective_handle_aux_fun").tuple(2).atom("handle_aux").integer(5);
  writer.atom("aux").tuple(1).atom("aux");
  writer.atom("log");
  write_log_overview(member, writer);
  writer.atom("num_waiting_queries").u64(member.core().waiting_queries());
  writer.atom("num_pending_queries").u64(member.core().pending_queries());
  writer.atom("max_pipeline_count").u64(member.core().options().max_pipeline_count);
  writer.atom("max_append_entries_rpc_batch_size")
      .u64(member.core().options().max_append_entries_rpc_batch_size);
  writer.atom("min_recovery_checkpoint_interval")
      .u64(member.options().min_recovery_checkpoint_interval);
  writer.atom("metrics_key").raw(member.options().metrics_key);
  writer.atom("metrics_labels").map(0);
  writer.atom("counter").tuple(2).atom("write_concurrency").reference(member.shown().counter);
  writer.atom("system_config");
  member.services().write_system_config(writer);
  writer.atom("commit_rate").floating(member.shown().commit_rate);
  writer.atom("commit_rate_last").floating(member.shown().last_commit_rate);
}

void write_state_query_answer(const Member& member, std::string_view what, etf::Writer& reply) {
  etf::Cursor cursor(what);
  const std::string_view name =
      cursor.kind() == etf::TermKind::atom ? cursor.atom().value_or("") : std::string_view{};
  reply.tuple(3).atom("ok");
  if (name == "members") {
    write_member_ids(member, reply);
  } else if (name == "voters") {
    write_voters(member, reply);
  } else if (name == "leader") {
    if (member.core().leader()) {
      wire::write_server_id(reply, *member.core().leader());
    } else {
      reply.atom("undefined");
    }
  } else if (name == "last_applied") {
    reply.u64(member.last_applied().value());
  } else if (name == "machine") {
    member.machine().write_state(reply);
  } else if (name == "initial_members") {
    const std::vector<raft::ServerId>& initial = member.log().config().initial_members;
    reply.list(initial.size());
    for (const raft::ServerId& known : initial)
      reply.tuple(2).atom(known.name()).atom(known.node());
    reply.nil();
  } else if (name == "members_info") {
    write_members_info(member, reply);
  } else if (name == "overview" || name == "all") {
    write_overview(member, reply);  // `all` is a BEAM member's inside: there is no such thing here
  } else {
    reply.tuple(2).atom("error").tuple(2).atom("unknown_query").raw(what);
  }
  wire::write_server_id(reply, member.id());
}

}  // namespace rakv::member
