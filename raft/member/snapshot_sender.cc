// SPDX-License-Identifier: Apache-2.0
#include "raft/member/snapshot_sender.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cnode/etf/map_pairs.h"
#include "cnode/etf/text.h"
#include "cnode/etf/version.h"
#include "raft/wire/ids.h"

namespace rakv::member {
namespace {

/// ra's install_snap_rpc_timeout.
constexpr std::chrono::seconds kCallTimeout{120};
constexpr std::chrono::seconds kApplyTimeout{10};
/// ra's snapshot_chunk_size.
constexpr std::size_t kChunkBytes = 1'000'000;
/// One batch of live entries ends with the entry that passes either. ra sends 16 whatever their
/// size; receivers take any number.
constexpr std::size_t kLiveEntriesBatchMax = 1024;
constexpr std::uint64_t kLiveEntriesBatchBytes = 1 << 20;
constexpr std::chrono::seconds kProgressInterval{10};

}  // namespace

SnapshotSender::SnapshotSender(PeerContext& context, raft::effect::SendSnapshot what)
    : context_(context), what_(std::move(what)) {}

SnapshotSender::~SnapshotSender() { *alive_ = false; }

void SnapshotSender::start() {
  if (what_.to.node() != context_.node.name() && !context_.node.is_connected(what_.to.node()))
    return end(Outcome::disconnected);
  context_.log.read_snapshot_file(
      [this, alive = alive_](Result<raftlog::MemberLog::SnapshotFile> file) {
        if (!*alive) return;
        if (!file) return fail(file.error().message);
        if (file->meta.index != what_.snapshot.index.value())
          return fail("the snapshot has been replaced by a newer one");
        file_ = std::move(*file);
        live_ = file_.live_indexes.indexes();
        charge_ = context_.node.charge(&MemoryAccounts::snapshots,
                                       file_.bytes.size() + live_.size() * sizeof(raftlog::Index));
        spdlog::info("{}: sending snapshot at index {} term {} to {}: {} live entries, {} bytes",
                     context_.log_id, file_.meta.index, file_.meta.term, to_string(what_.to),
                     live_.size(), file_.bytes.size());
        if (live_.empty()) {
          send_chunk();
        } else {
          send_init();
        }
      });
}

void SnapshotSender::send_init() {
  call(
      raft::ChunkFlag::init, 0,
      [](distribution::OutMessage& out) { etf::Writer(out.text).atom("undefined"); },
      [this](const wire::PeerReply& reply) {
        if (accepted(reply)) ask_last_applied();
      });
}

// What the member has applied it has. Not to know it costs time only.
void SnapshotSender::ask_last_applied() {
  etf::Writer arguments;
  arguments.list(2);
  wire::write_server_id(arguments, what_.to);
  arguments.list(1).atom("last_applied").nil().nil();
  context_.node.apply(what_.to.node(), "ra_counters", "counters", arguments.view(), kApplyTimeout,
                      [this, alive = alive_](const node::ApplyResult& result) {
                        if (!*alive) return;
                        std::uint64_t applied = 0;
                        if (result.status == node::ApplyResult::Status::returned)
                          applied = etf::map_u64(result.term, "last_applied").value_or(0);
                        next_live_ = static_cast<std::size_t>(
                            std::upper_bound(live_.begin(), live_.end(), applied) - live_.begin());
                        read_live_entries();
                      });
}

void SnapshotSender::read_live_entries() {
  report_progress();
  if (next_live_ == live_.size()) return send_chunk();
  std::vector<raftlog::Index> wanted;
  std::uint64_t bytes = 0;
  while (next_live_ < live_.size() && wanted.size() < kLiveEntriesBatchMax &&
         bytes < kLiveEntriesBatchBytes) {
    bytes += context_.log.payload_bytes(live_[next_live_]);
    wanted.push_back(live_[next_live_++]);
  }
  live_bytes_sent_ += bytes;
  context_.read(std::move(wanted),
                [this, alive = alive_](const Result<std::vector<raftlog::StoredEntry>>& entries) {
                  if (!*alive) return;
                  if (!entries) return fail(entries.error().message);
                  send_live_entries(*entries);
                });
}

void SnapshotSender::send_live_entries(const std::vector<raftlog::StoredEntry>& entries) {
  call(
      raft::ChunkFlag::pre, 0,
      [&](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        writer.list(entries.size());
        for (const raftlog::StoredEntry& entry : entries) {
          wire::write_entry(
              writer, raft::Index{entry.index}, raft::Term{entry.term}, entry.payload,
              [&](const SharedBytes& owner, std::string_view part) { out.share(owner, part); });
        }
        writer.nil();
      },
      [this](const wire::PeerReply& reply) {
        if (accepted(reply)) read_live_entries();
      });
}

void SnapshotSender::send_chunk() {
  report_progress();
  const std::size_t size = std::min(kChunkBytes, file_.bytes.size() - next_byte_);
  const std::string_view part = file_.bytes.view().substr(next_byte_, size);
  next_byte_ += size;
  const bool last = next_byte_ == file_.bytes.size();
  call(
      last ? raft::ChunkFlag::last : raft::ChunkFlag::next, next_chunk_++,
      [&](distribution::OutMessage& out) {
        etf::Writer(out.text).binary_header(part.size());
        out.share(file_.bytes, part);
      },
      [this, last](const wire::PeerReply& reply) {
        if (last) return on_last_reply(reply);
        if (accepted(reply)) send_chunk();
      });
}

void SnapshotSender::on_last_reply(const wire::PeerReply& reply) {
  const auto* result = std::get_if<raft::InstallSnapshotResult>(&reply);
  if (result == nullptr) {
    static_cast<void>(accepted(reply));
    return;
  }
  spdlog::info("{}: snapshot at index {} is installed on {}, {} bytes of live entries sent",
               context_.log_id, file_.meta.index, to_string(what_.to), live_bytes_sent_);
  context_.counters.add(Counter::snapshots_sent);
  end(Outcome::finished, raft::event::InstallSnapshotReplied{what_.to, *result});
}

void SnapshotSender::call(raft::ChunkFlag flag, std::uint64_t number,
                          FunctionRef<void(distribution::OutMessage&)> write_data,
                          std::function<void(const wire::PeerReply&)> then) {
  context_.counters.add(Counter::rpcs_sent);
  context_.node.call(
      what_.to.node(), what_.to.name(),
      [&](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        wire::write_install_snapshot_head(
            writer,
            {what_.term, context_.core.id(),
             etf::without_version(raftlog::encode_snapshot_meta(file_.meta)), number, flag});
        write_data(out);
      },
      kCallTimeout,
      [this, then = std::move(then), alive = alive_](const node::CallResult& result) {
        if (!*alive) return;
        if (result.status == node::CallResult::Status::timeout)
          return fail("no answer within " + std::to_string(kCallTimeout.count()) + " s");
        if (result.status == node::CallResult::Status::down)
          return fail("it went down: " + etf::print_brief(result.term));
        const Result<std::optional<wire::PeerReply>> reply = wire::decode_peer_reply(result.term);
        if (!reply) return fail(reply.error().message);
        if (!*reply) return fail("it answered " + etf::print_brief(result.term));
        then(**reply);
      });
}

bool SnapshotSender::accepted(const wire::PeerReply& reply) {
  if (const auto* result = std::get_if<raft::InstallSnapshotResult>(&reply)) {
    if (result->term <= what_.term) return true;
    end(Outcome::finished, raft::event::InstallSnapshotReplied{what_.to, *result});
  } else if (const auto* refusal = std::get_if<raft::AppendEntriesReply>(&reply)) {
    end(Outcome::finished, raft::event::AppendEntriesReplied{what_.to, *refusal});
  } else {
    fail("it answered with the result of a vote");
  }
  return false;
}

void SnapshotSender::fail(const std::string& why) {
  spdlog::warn("{}: snapshot transfer to {} failed: {}", context_.log_id, to_string(what_.to), why);
  end(Outcome::failed);
}

void SnapshotSender::end(Outcome outcome, std::optional<raft::Event> news) {
  file_ = {};
  std::vector<raftlog::Index>().swap(live_);
  charge_.resize(0);
  PeerContext& context = context_;
  const raft::event::SnapshotTransferEnded ended{what_.to, what_.transfer, outcome};
  const std::shared_ptr<bool> alive = alive_;
  if (news) context.step(std::move(*news));
  if (*alive) context.step(ended);
}

void SnapshotSender::report_progress() {
  const auto now = context_.node.clock().now();
  if (now - reported_ < kProgressInterval) return;
  reported_ = now;
  spdlog::info("{}: snapshot transfer to {}: {} of {} live entries, {} of {} bytes",
               context_.log_id, to_string(what_.to), next_live_, live_.size(), next_byte_,
               file_.bytes.size());
}

}  // namespace rakv::member
