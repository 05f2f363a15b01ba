// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "kv/machine.h"
#include "raft/member/state_machine.h"

namespace rakv::kv {

/// The ra_kv machine as a member replicates it.
class ReplicatedMachine : public member::StateMachine {
 public:
  std::string_view module() const override { return "ra_kv"; }
  std::unique_ptr<member::StateMachine> fresh() const override {
    return std::make_unique<ReplicatedMachine>();
  }
  Result<void> check_command(std::string_view data) const override;
  void apply(const member::CommandMeta& meta, std::string_view data, etf::Writer* reply) override;
  member::AuxResult handle_aux(std::string_view command, const member::AuxContext& context,
                               etf::Writer& reply) override;
  std::unique_ptr<member::StateCapture> capture() override { return machine_.capture(); }
  void write_state(etf::Writer& writer) const override { machine_.write_state(writer); }
  Result<void> read_state(std::string_view state) override { return machine_.read_state(state); }
  std::vector<std::uint64_t> live_indexes() const override { return machine_.live_indexes(); }
  void write_overview(etf::Writer& writer) const override { machine_.write_overview(writer); }

  Result<std::string> command_at(std::uint64_t index, std::string_view value) const override {
    return machine_.command_at(index, value);
  }

  const kv::KvMachine& state() const { return machine_; }

 private:
  kv::KvMachine machine_;
};

/// Takes `{module, ra_kv, _}` and nothing else.
class KvMachineFactory : public member::StateMachineFactory {
 public:
  Result<std::unique_ptr<member::StateMachine>> make(std::string_view machine) const override;
  std::string configuration() const override;
};

}  // namespace rakv::kv
