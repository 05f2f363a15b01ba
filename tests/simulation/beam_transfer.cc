// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/beam_transfer.h"

#include <algorithm>
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/etf/map_pairs.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"
#include "raft/wire/messages.h"
#include "raft/wire/tagged.h"

namespace rakv::simulation {
namespace {

constexpr std::size_t kChunkBytes = 1'000'000;
constexpr std::size_t kLiveBatch = 16;
constexpr std::uint64_t kCallMs = 120'000;

bool is_result(const std::string& answer) {
  return wire::Tagged(answer).is("install_snapshot_result", 4);
}

}  // namespace

void BeamTransfer::begin(const BeamSeams& seams, const BeamRules& rules, const raft::ServerId& to,
                         Done done, std::shared_ptr<bool> alive) {
  const std::shared_ptr<BeamTransfer> made(
      new BeamTransfer(seams, rules, to, std::move(done), std::move(alive)));
  made->begin_context();
}

BeamTransfer::BeamTransfer(const BeamSeams& seams, const BeamRules& rules, raft::ServerId to,
                           Done done, std::shared_ptr<bool> alive)
    : seams_(seams),
      rules_(rules),
      to_(std::move(to)),
      done_(std::move(done)),
      alive_(std::move(alive)),
      term_(rules.term()),
      snapshot_(*rules.disk().snapshot),
      file_(to_snapshot_file(snapshot_)) {
  etf::Writer meta;
  wire::write_snapshot_meta(meta, snapshot_.meta);
  meta_ = meta.take();
}

void BeamTransfer::ended(bool in_order, std::optional<std::string> answer) {
  done_({std::move(answer), in_order});
}

void BeamTransfer::apply(std::string_view module, std::string_view function, std::string arguments,
                         Step then) {
  seams_.apply(to_.node(), module, function, std::move(arguments),
               [self = shared_from_this(),
                then = std::move(then)](const std::optional<std::string>& answer) {
                 if (!*self->alive_) return;
                 if (!answer) return self->ended(false);
                 then(*answer);
               });
}

void BeamTransfer::begin_context() {
  apply("ra_log_snapshot", "context", etf::Writer().nil().take(), [this](const std::string&) {
    etf::Writer machine;
    machine.list(1).tuple(3).atom("machine").atom("ra_kv").map(0).nil();
    apply("ra_machine", "version", machine.take(), [this](const std::string&) {
      if (snapshot_.live.empty()) return send_chunk();
      begin_live_entries();
    });
  });
}

void BeamTransfer::begin_live_entries() {
  const auto present = rules_.log().snapshot();
  if (!present || present->index != snapshot_.meta.index) return ended(false);
  call(0, raft::ChunkFlag::init, etf::Writer().atom("undefined").view(),
       [this](const std::string& answer) {
         if (is_result(answer)) return ask_last_applied();
         const bool refused = wire::Tagged(answer).is("append_entries_reply", 6);
         ended(refused, refused ? std::optional(answer) : std::nullopt);
       });
}

void BeamTransfer::ask_last_applied() {
  etf::Writer arguments;
  arguments.list(2);
  wire::write_server_id(arguments, to_);
  arguments.list(1).atom("last_applied").nil().nil();
  apply("ra_counters", "counters", arguments.take(), [this](const std::string& answer) {
    const auto applied = etf::map_u64(answer, "last_applied");
    if (!applied) return ended(false);
    std::copy_if(snapshot_.live.begin(), snapshot_.live.end(), std::back_inserter(live_),
                 [&](std::uint64_t index) { return index > *applied; });
    send_live_entries();
  });
}

void BeamTransfer::send_live_entries() {
  if (live_sent_ >= live_.size()) return send_chunk();
  const std::size_t count = std::min(kLiveBatch, live_.size() - live_sent_);
  etf::Writer entries;
  entries.list(count);
  for (std::size_t i = 0; i < count; ++i) {
    const raft::Entry* const entry = rules_.log().read(raft::Index(live_[live_sent_ + i]));
    if (entry == nullptr) return ended(false);
    wire::write_entry(entries, entry->index, entry->term, entry->payload,
                      [&](const SharedBytes&, std::string_view part) { entries.append(part); });
  }
  entries.nil();
  live_sent_ += count;
  call(0, raft::ChunkFlag::pre, entries.view(), [this](const std::string& answer) {
    if (!is_result(answer)) return ended(false);
    send_live_entries();
  });
}

void BeamTransfer::send_chunk() {
  const std::string part = file_.substr(sent_, kChunkBytes);
  sent_ += part.size();
  const bool last = sent_ >= file_.size();
  call(++chunk_, last ? raft::ChunkFlag::last : raft::ChunkFlag::next,
       etf::Writer().binary(part).view(), [this, last](const std::string& answer) {
         if (!last) return send_chunk();
         ended(true, answer);
       });
}

void BeamTransfer::call(std::uint64_t number, raft::ChunkFlag flag, std::string_view data,
                        Step then) {
  etf::Writer record;
  wire::write_install_snapshot_head(record, {term_, rules_.id(), meta_, number, flag});
  record.raw(data);
  seams_.call(to_, record.take(), kCallMs,
              [self = shared_from_this(),
               then = std::move(then)](const std::optional<std::string>& answer) {
                if (!*self->alive_) return;
                if (!answer) return self->ended(false);
                then(*answer);
              });
}

}  // namespace rakv::simulation
