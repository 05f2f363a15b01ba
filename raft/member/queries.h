// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/etf/writer.h"
#include "raft/core/core.h"
#include "raft/member/client_calls.h"
#include "raft/member/counters.h"
#include "raft/member/state_machine.h"
#include "raft/wire/client_requests.h"

namespace rakv::member {

/// Queries of the machine, local and consistent ones, and its aux commands
/// (docs/protocol/wire.md 4.5 to 4.7).
class Queries {
 public:
  /// What became of a query that a caller's node evaluated: the value, or what it failed with.
  using Evaluated = std::function<void(bool ok, std::string_view term)>;
  /// What it needs of the member. All live as long as this.
  struct Seams {
    const raft::Core& core;
    Counters& counters;
    ClientCalls& calls;
    const AuxContext& aux_context;
    /// The machine of the moment, and the last entry that it has applied.
    std::function<StateMachine&()> machine;
    std::function<raft::Index()> applied;
    /// The role to report.
    std::function<raft::Role()> role;
    /// The term of an entry of the log, or of its snapshot.
    std::function<std::optional<std::uint64_t>(std::uint64_t index)> term_at;
    /// Lets a node apply ra_machine:query/4 to an encoded list of arguments. Nothing follows when
    /// it takes too long.
    std::function<void(std::string_view node, std::string_view arguments, Evaluated done)>
        evaluate_at;
    /// Answers that there is no room.
    std::function<void(std::string_view from)> refuse_for_memory;
    /// A charge for what waits for an evaluation.
    std::function<ByteCharge(std::uint64_t bytes)> charge;
    /// An aux command wants a snapshot.
    std::function<void()> want_snapshot;
  };

  explicit Queries(Seams seams) : seams_(std::move(seams)) {}
  ~Queries() { *alive_ = false; }
  Queries(const Queries&) = delete;
  Queries& operator=(const Queries&) = delete;

  /// Answers, at once or when the entry that the query names is applied here.
  void serve_local(std::string_view from, const wire::request::LocalQuery& asked);
  /// Entries were applied, or a snapshot was installed.
  void check_waiting();
  /// The highest index that an answered query waited for.
  raft::Index awaited_index() const { return awaited_index_; }
  std::size_t waiting() const { return waiting_.size(); }
  /// Nobody on this node waits any more.
  void forget_callers_of(const std::string& node);

  void serve_aux(std::string_view from, std::string_view command);

  /// The leadership is confirmed: evaluates a consistent_query or consistent_aux.
  void carry_out(const raft::effect::ReadReady& effect);

 private:
  struct Waiting {
    std::string from;
    std::string query;
    raft::IndexTerm condition;
    std::size_t bytes() const { return from.size() + query.size() + PendingCalls::kCallBytes; }
  };
  bool is_met(const raft::IndexTerm& condition) const;
  void charge_waiting();
  void answer_local(std::string_view from, std::string_view query);
  void answer_consistent(const std::string& from, std::string_view query);
  bool run_aux(std::string_view command, etf::Writer& reply);
  /// Evaluates a query here if it is one of those we know; `result` gets the value.
  bool evaluate_known(std::string_view query, etf::Writer& result) const;
  /// Lets the caller's node evaluate it: only there is the code of a fun.
  void evaluate_at_caller(std::string_view from, std::string_view query, Evaluated done);
  void write_leader(etf::Writer& writer) const;

  Seams seams_;
  std::vector<Waiting> waiting_;
  raft::Index awaited_index_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
