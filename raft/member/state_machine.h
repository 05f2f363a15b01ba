// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/result.h"
#include "cnode/base/shared_bytes.h"
#include "cnode/etf/writer.h"

// The seam between a Raft member and the machine it replicates (ra_machine.erl's behaviour, without
// its effects). All terms are encoded, without version byte.

namespace rakv::member {

/// What a machine is told of the command it applies: the entry's place and what its Meta and Mode
/// said. Views live during the call.
struct CommandMeta {
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  std::int64_t system_time_ms = 0;
  std::string_view from;        ///< the caller's `{Pid, Tag}`; empty if the command was not a call
  std::string_view reply_mode;  ///< the Mode as stored

  /// `#{index, term, machine_version, system_time, reply_mode[, from]}`: ra_server.erl
  /// augment_command_meta.
  void write(etf::Writer& writer) const;
};

/// What an aux command does.
struct AuxResult {
  bool replies = false;         ///< the reply was written
  bool takes_snapshot = false;  ///< a release cursor at last_applied, once that is durable here
};

/// What a machine may ask of its member while it handles an aux command.
struct AuxContext {
  /// Writes the list of all members' ids.
  virtual void write_members(etf::Writer& writer) const = 0;
  virtual ~AuxContext() = default;
};

/// The machine's state as it was when the capture was begun, copied piece by piece while the
/// machine goes on applying. It ends before its machine.
class StateCapture {
 public:
  virtual ~StateCapture() = default;
  /// Copies a piece, in a few milliseconds at most; false when nothing is left.
  virtual bool copy_more() = 0;
  /// Once all is copied, and once only: what write_state() would have written, with version byte,
  /// and live_indexes().
  virtual SharedBytes take_state() = 0;
  virtual std::vector<std::uint64_t> take_live_indexes() = 0;
};

class StateMachine {
 public:
  virtual ~StateMachine() = default;

  /// The Erlang module this machine stands for.
  virtual std::string_view module() const = 0;

  /// An empty machine of the same configuration.
  virtual std::unique_ptr<StateMachine> fresh() const = 0;

  /// Whether every replica can apply this command. The error's message tells the client why not.
  virtual Result<void> check_command(std::string_view data) const = 0;

  /// Applies a committed command. The reply is written only if somebody waits for it (`reply` not
  /// null).
  virtual void apply(const CommandMeta& meta, std::string_view data, etf::Writer* reply) = 0;

  /// An aux command that came by call.
  virtual AuxResult handle_aux(std::string_view command, const AuxContext& context,
                               etf::Writer& reply) = 0;

  /// Begins a capture of the state; one at a time.
  virtual std::unique_ptr<StateCapture> capture() = 0;

  virtual void write_state(etf::Writer& writer) const = 0;
  virtual Result<void> read_state(std::string_view state) = 0;
  virtual std::vector<std::uint64_t> live_indexes() const = 0;
  virtual void write_overview(etf::Writer& writer) const = 0;

  /// The command that must have been applied at a live index, made from the value that another
  /// member has there: not byte by byte the one that was, but with the same effect. An error when
  /// the index is not live, or the value is not the one that was applied.
  virtual Result<std::string> command_at(std::uint64_t index, std::string_view value) const = 0;
};

/// Makes the machine that a server's configuration names, or says why it can't.
class StateMachineFactory {
 public:
  virtual ~StateMachineFactory() = default;
  /// `machine` is `{module, Module, Arguments}` or another form of ra's machine configuration.
  virtual Result<std::unique_ptr<StateMachine>> make(std::string_view machine) const = 0;
  /// The configuration of a new cluster's machine, encoded: `{module, Module, Arguments}`.
  virtual std::string configuration() const = 0;
};

}  // namespace rakv::member
