// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "cnode/etf/text.h"
#include "tests/simulation/beam_script.h"
#include "tests/simulation/beam_script_terms.h"

// The rules of BeamRules and BeamServer against what real members on a BEAM did: each script of
// erlang_tests/support/twin_*.erl, and random sequences, as `make beam-scripts` wrote them down.

namespace rakv::simulation {
namespace {

std::vector<std::string> script_files() {
  std::vector<std::string> files;
  for (const auto& each : std::filesystem::directory_iterator(RAKV_BEAM_SCRIPTS)) {
    if (each.path().extension() == ".script") files.push_back(each.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class BeamReplayTest : public testing::TestWithParam<std::string> {};

TEST_P(BeamReplayTest, DoesWhatTheBeamMemberDid) {
  const auto script = read_beam_script(GetParam());
  ASSERT_TRUE(script) << script.error().message;
  BeamScriptPlayer player(*script);
  // A leader that ends repeats itself at every event, and so at every question of the recorder.
  const bool repeats = script->name == "terminating_leader";
  const auto text = [&](const std::string& outcome) {
    return etf::print_text(repeats ? without_repeats(outcome) : outcome);
  };
  std::size_t number = 0;
  for (const BeamScript::Step& step : script->steps) {
    ++number;
    ASSERT_EQ(text(player.play(step.step)), text(step.outcome))
        << "step " << number << ": " << etf::print_text(step.step);
  }
}

INSTANTIATE_TEST_SUITE_P(Scripts, BeamReplayTest, testing::ValuesIn(script_files()),
                         [](const testing::TestParamInfo<std::string>& script) {
                           return std::filesystem::path(script.param).stem().string();
                         });

}  // namespace
}  // namespace rakv::simulation
