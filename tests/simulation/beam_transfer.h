// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/beam_server.h"

namespace rakv::simulation {

/// The process that sends a snapshot: ra_server_proc:send_snapshots/9.
class BeamTransfer : public std::enable_shared_from_this<BeamTransfer> {
 public:
  struct Outcome {
    std::optional<std::string> answer;  ///< to the last call, for the leader
    bool in_order = false;
  };
  using Done = std::function<void(Outcome)>;
  /// Of the snapshot that there is now. `alive` says whether the server is still there.
  static void begin(const BeamSeams& seams, const BeamRules& rules, const raft::ServerId& to,
                    Done done, std::shared_ptr<bool> alive);

 private:
  using Step = std::function<void(const std::string& answer)>;
  BeamTransfer(const BeamSeams& seams, const BeamRules& rules, raft::ServerId to, Done done,
               std::shared_ptr<bool> alive);
  void begin_context();
  void ask_last_applied();
  void begin_live_entries();
  void send_live_entries();
  void send_chunk();
  void ended(bool in_order, std::optional<std::string> answer = std::nullopt);
  /// A remote call; without an answer the transfer has failed.
  void apply(std::string_view module, std::string_view function, std::string arguments, Step then);
  void call(std::uint64_t number, raft::ChunkFlag flag, std::string_view data, Step then);

  const BeamSeams& seams_;
  const BeamRules& rules_;
  raft::ServerId to_;
  Done done_;
  std::shared_ptr<bool> alive_;
  raft::Term term_;
  BeamSnapshot snapshot_;
  std::string file_;
  std::string meta_;
  std::vector<std::uint64_t> live_;
  std::size_t live_sent_ = 0;
  std::size_t sent_ = 0;
  std::uint64_t chunk_ = 0;
};

}  // namespace rakv::simulation
