// SPDX-License-Identifier: Apache-2.0
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

}  // namespace

void Member::refresh_counters() const {
  Counters& counters = *counters_;
  const auto set = [&](Counter counter, std::uint64_t value) {
    counters.set(counter, static_cast<std::int64_t>(value));
  };
  set(Counter::commit_index, core_.commit_index().value());
  set(Counter::last_applied, applied_.value());
  set(Counter::last_index, log_.last().index);
  set(Counter::last_written_index, log_.last_written().index);
  set(Counter::term, core_.current_term().value());
  set(Counter::num_segments, log_.segment_count());
  const raftlog::CompactionCounts& compactions = log_.compaction_counts();
  set(Counter::minor_compactions, compactions.minor);
  set(Counter::major_compactions, compactions.major);
  set(Counter::major_compaction_segments_compacted, compactions.segments_compacted);
  set(Counter::major_compaction_segments_written, compactions.segments_written);
  counters.set(Counter::snapshot_index,
               log_.snapshot() ? static_cast<std::int64_t>(log_.snapshot()->meta.index) : -1);
}

void Member::write_key_metrics(etf::Writer& writer) const {
  refresh_counters();
  const bool waits = !voters_.takes_part();
  writer.map(kKeyMetrics.size() + (waits ? 3 : 2));
  for (const Counter field : kKeyMetrics) {
    writer.atom(kCounterFields[static_cast<std::size_t>(field)].name)
        .integer(counters_->get(field));
  }
  writer.atom("state").atom(shown_state());
  writer.atom("membership").atom(to_string(core_.membership()));
  if (waits) writer.atom("note").binary(voters_.why());
}

std::string_view Member::shown_state() const {
  if (voters_.standing() == VoterIdentities::Standing::stays_out) return "stays_out";
  return to_string(role());
}

void Member::write_log_overview(etf::Writer& writer) const {
  const auto& snapshot = log_.snapshot();
  const std::uint64_t last = log_.last().index;
  writer.map(17);
  writer.atom("type").atom("ra_log");
  writer.atom("range");
  write_range(writer, log_.first_index(), last);
  writer.atom("last_index").u64(last);
  writer.atom("last_term").u64(log_.last().term);
  writer.atom("last_written_index_term");
  write_index_term(writer, log_.last_written().index, log_.last_written().term);
  writer.atom("num_segments").u64(log_.segment_count());
  writer.atom("segments_range");
  if (const std::optional<raftlog::IndexRange> range = log_.segments_range()) {
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
  write_u64_or_undefined(writer, snapshot ? std::optional(snapshot_size_bytes_) : std::nullopt);
  writer.atom("latest_checkpoint_index").atom("undefined");
  const std::optional<raftlog::IndexRange> memory = log_.memory_range();
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
  writer.atom("tid").reference(memory_table_reference_);
  writer.atom("name").atom("ra_mem_table");
  writer.atom("size").u64(log_.memory_entries());
  writer.atom("range");
  write_memory_range();
  writer.atom("local_range");
  write_memory_range();
  writer.atom("has_previous").boolean(false);
  writer.atom("previous").atom("undefined");
  writer.atom("last_wal_write").integer(last_wal_write_ms_);
  writer.atom("last_wal_index").u64(last);
  writer.atom("num_pending").u64(log_.pending_writes());
}

// The peer map as this member holds it, its own entry included.
void Member::write_cluster_overview(etf::Writer& writer) const {
  writer.map(core_.cluster().size());
  for (const auto& [member, config] : core_.cluster()) {
    wire::write_server_id(writer, member);
    const raft::Peers* peers = core_.peers();
    raft::Peer peer;
    if (peers != nullptr && peers->contains(member)) peer = peers->at(member);
    peer.config = config;
    wire::write_peer(writer, peer);
  }
}

void Member::write_overview(etf::Writer& writer) const {
  writer.map(32);
  writer.atom("id");
  wire::write_server_id(writer, id_);
  writer.atom("uid").binary(log_.uid());
  writer.atom("log_id");
  if (options_.friendly_name_term.empty()) {
    writer.byte_list(log_id_);
  } else {
    writer.raw(options_.friendly_name_term);
  }
  writer.atom("current_term").u64(core_.current_term().value());
  writer.atom("voted_for");
  write_server_or_undefined(writer, core_.voted_for());
  writer.atom("leader_id");
  write_server_or_undefined(writer, core_.leader());
  writer.atom("commit_index").u64(core_.commit_index().value());
  writer.atom("last_applied").u64(applied_.value());
  writer.atom("query_index").u64(core_.query_index().value());
  writer.atom("cluster");
  write_cluster_overview(writer);
  writer.atom("cluster_change_permitted").boolean(core_.cluster_change_permitted());
  writer.atom("cluster_index_term");
  write_index_term(writer, core_.cluster_index_term().index.value(),
                   core_.cluster_index_term().term.value());
  writer.atom("membership").atom(to_string(core_.membership()));
  writer.atom("machine");
  machine_->write_overview(writer);
  writer.atom("machine_version").u64(core_.machine_version());
  writer.atom("effective_machine_version").u64(core_.effective_machine_version());
  writer.atom("machine_versions").list(1);
  write_index_term(writer, log_.snapshot() ? log_.snapshot()->meta.index : 0, 0);
  writer.nil();
  writer.atom("effective_machine_module").atom(machine_->module());
  writer.atom("effective_handle_aux_fun").tuple(2).atom("handle_aux").integer(5);
  writer.atom("aux").tuple(1).atom("aux");
  writer.atom("log");
  write_log_overview(writer);
  writer.atom("num_waiting_queries").u64(core_.waiting_queries());
  writer.atom("num_pending_queries").u64(core_.pending_queries());
  writer.atom("max_pipeline_count").u64(core_.options().max_pipeline_count);
  writer.atom("max_append_entries_rpc_batch_size")
      .u64(core_.options().max_append_entries_rpc_batch_size);
  writer.atom("min_recovery_checkpoint_interval").u64(options_.min_recovery_checkpoint_interval);
  writer.atom("metrics_key").raw(options_.metrics_key);
  writer.atom("metrics_labels").map(0);
  writer.atom("counter").tuple(2).atom("write_concurrency").reference(counter_reference_);
  writer.atom("system_config");
  services_.write_system_config(writer);
  writer.atom("commit_rate").floating(commit_rate_);
  writer.atom("commit_rate_last").floating(last_commit_rate_);
}

}  // namespace rakv::member
