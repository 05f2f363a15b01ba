// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cnode/base/result.h"
#include "tests/simulation/beam_server.h"

// What twin_SUITE's scripts do to a member, played on a member that behaves as one on a BEAM. The
// files in beam_scripts/ have what a real one answered; erlang_tests/support/twin_recorder.erl
// writes them. Terms are as in the scripts there: '$me', '$a', '$pid' and so on.

namespace rakv::simulation {

/// One file of beam_scripts/.
struct BeamScript {
  struct Step {
    std::string step;     ///< encoded
    std::string outcome;  ///< encoded
  };
  std::string name;
  std::string options;  ///< encoded
  std::vector<Step> steps;
};
/// An error is the reason why it is none.
Result<BeamScript> read_beam_script(const std::string& path);

/// One member with scripted peers, on no node at all.
class BeamScriptPlayer {
 public:
  explicit BeamScriptPlayer(const BeamScript& script);
  /// Does a step; gives its outcome in the names of the script, encoded.
  std::string play(std::string_view step);

 private:
  using Answer = BeamSeams::Answer;
  struct PeerCall {
    std::string peer;
    std::string record;
    Answer answer;
  };
  void start_server();
  BeamSeams seams();
  void act(std::string_view step);
  void call(const std::string& request);
  void await(const std::string& peer, std::string_view tag);
  void answer(const std::string& peer, std::string_view tag, std::string_view reply);
  void stop_peer(const std::string& peer);
  void restart();
  void read();
  void settle();
  void carry_out_all();
  void member_ended(const std::string& reason);
  std::string outcome();
  std::string state();
  std::string peers_state();
  void take_reply(std::string_view from, std::string_view term);
  std::string resolve(std::string_view term) const;
  std::string plain(std::string_view term) const;
  std::string name_of(const raft::ServerId& id) const;

  struct Quiet final : BeamWitness {};
  Quiet witness_;
  BeamDisk disk_;
  BeamServer::Options options_;
  std::map<std::string, raft::ServerId> ids_;  ///< '$me', '$a', ...
  std::unique_ptr<BeamServer> server_;
  bool gone_ = false;
  bool crashed_ = false;
  std::map<std::string, std::vector<std::string>> messages_;  ///< by peer, encoded
  std::vector<std::pair<std::uint64_t, std::string>> replies_;
  std::vector<std::string> other_replies_;
  std::vector<std::string> events_;
  std::vector<PeerCall> unclaimed_;
  std::vector<PeerCall> claimed_;
  std::vector<std::function<void()>> background_;
  std::vector<std::function<void()>> later_;
  std::map<std::string, bool> stopped_peers_;
  std::map<std::uint64_t, raft::ServerId> monitors_;
  std::vector<std::uint64_t> down_at_once_;
  std::map<std::string, std::uint64_t> timers_;
  std::vector<std::uint64_t> open_calls_;
  std::uint64_t last_call_ = 0;
  std::uint64_t last_number_ = 0;
};

}  // namespace rakv::simulation
