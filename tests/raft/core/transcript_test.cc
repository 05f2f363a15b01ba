// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "raft/core/text.h"
#include "tests/raft/core/world.h"

// The scripts in transcripts/: lines that begin with "> " are commands, what stands below each is
// what the members did. RAKV_REWRITE=1 writes the actual outcome into the files; read the
// difference before committing it.

namespace rakv::raft::test {
namespace {

using Words = std::vector<std::string>;

Words split(const std::string& text) {
  std::istringstream in(text);
  Words words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::uint64_t number(const std::string& text) { return std::stoull(text); }

/// "3/1": index 3, term 1.
IndexTerm place(const std::string& text) {
  const std::size_t slash = text.find('/');
  return {Index(number(text.substr(0, slash))), Term(number(text.substr(slash + 1)))};
}

/// Words after a command: positional ones in order, then `key value`.
class Arguments {
 public:
  explicit Arguments(Words words) : words_(std::move(words)) {}
  std::string at(std::size_t i) const { return i < words_.size() ? words_[i] : ""; }
  std::size_t size() const { return words_.size(); }
  bool has(const std::string& word) const {
    return std::find(words_.begin(), words_.end(), word) != words_.end();
  }
  std::string after(const std::string& key, const std::string& fallback) const {
    const auto found = std::find(words_.begin(), words_.end(), key);
    return found == words_.end() || std::next(found) == words_.end() ? fallback : *std::next(found);
  }
  std::uint64_t value(const std::string& key, std::uint64_t fallback = 0) const {
    return number(after(key, std::to_string(fallback)));
  }
  Words all_after(const std::string& key) const {
    const auto found = std::find(words_.begin(), words_.end(), key);
    return found == words_.end() ? Words{} : Words(std::next(found), words_.end());
  }

 private:
  Words words_;
};

class Script {
 public:
  /// Carries out one command; the outcome, one line each.
  Words run(const std::string& line) {
    const Words words = split(line);
    if (words.empty()) return {"empty command"};
    Words outcome;
    if (words[0] == "new") {
      create(Arguments(Words(words.begin() + 1, words.end())));
    } else if (words[0] == "options") {
      set_options(Arguments(Words(words.begin() + 1, words.end())));
    } else if (words[0] == "deliver") {
      outcome = deliver(Arguments(Words(words.begin() + 1, words.end())));
    } else if (words[0] == "drop") {
      outcome = drop(Arguments(Words(words.begin() + 1, words.end())));
    } else if (words[0] == "settle") {
      outcome = settle();
    } else if (words[0].back() == ':') {
      const std::string name = words[0].substr(0, words[0].size() - 1);
      outcome = member_command(
          name, words.size() > 1 ? words[1] : "",
          Arguments(
              Words(words.begin() + std::min<std::ptrdiff_t>(2, std::ssize(words)), words.end())));
    } else {
      outcome = {"unknown command"};
    }
    if (!world_.violation().empty()) outcome.push_back("VIOLATION " + world_.violation());
    for (std::string& text : outcome) shorten(text);
    return outcome;
  }

  const std::string& violation() const { return world_.violation(); }

 private:
  /// {kv,a} is just a in a script.
  static void shorten(std::string& text) {
    for (std::size_t at = text.find("{kv,"); at != std::string::npos; at = text.find("{kv,", at)) {
      const std::size_t end = text.find('}', at);
      text.erase(end, 1);
      text.erase(at, 4);
    }
  }

  void create(const Arguments& arguments) {
    Words names;
    std::size_t i = 0;
    for (; i < arguments.size() && arguments.at(i) != "members"; ++i)
      names.push_back(arguments.at(i));
    Words members = arguments.all_after("members");
    if (members.empty()) members = names;
    if (members.back() == "promotable") {
      members.pop_back();
      for (const std::string& name : names) world_.add(name, members, Membership::promotable);
      return;
    }
    for (const std::string& name : names) world_.add(name, members);
  }

  void set_options(const Arguments& arguments) {
    world_.options.max_pipeline_count =
        arguments.value("pipeline", world_.options.max_pipeline_count);
    world_.options.max_append_entries_rpc_batch_size =
        arguments.value("batch", world_.options.max_append_entries_rpc_batch_size);
    if (arguments.has("manual_install")) world_.installs_at_once = false;
    if (arguments.has("no_cluster_checks")) world_.checks_cluster = false;
  }

  Words deliver_one(const std::string& from, const std::string& to) {
    Words lines{from + "->" + to + " " + world_.peek(from, to)};
    const auto effects = world_.deliver(from, to);
    if (!effects) return {lines[0] + ": lost"};
    for (const std::string& effect : *effects) lines.push_back("  " + effect);
    return lines;
  }

  static std::pair<std::string, std::string> link(const std::string& text) {
    const std::size_t arrow = text.find("->");
    return {text.substr(0, arrow), text.substr(arrow + 2)};
  }

  Words deliver(const Arguments& arguments) {
    Words outcome;
    const auto add = [&](const Words& lines) {
      outcome.insert(outcome.end(), lines.begin(), lines.end());
    };
    if (arguments.at(0) == "all") {
      for (int i = 0; i < 10000 && !world_.busy_links().empty(); ++i) {
        const auto [from, to] = world_.busy_links().front();
        add(deliver_one(from, to));
      }
      return outcome;
    }
    const auto [from, to] = link(arguments.at(0));
    std::size_t count =
        arguments.size() > 1 && arguments.at(1) != "all" ? number(arguments.at(1)) : 1;
    if (arguments.has("all")) count = 10000;
    for (std::size_t i = 0; i < count && world_.peek(from, to) != "nothing"; ++i)
      add(deliver_one(from, to));
    if (outcome.empty()) outcome.push_back("nothing to deliver");
    return outcome;
  }

  Words drop(const Arguments& arguments) {
    const auto [from, to] = link(arguments.at(0));
    Words outcome;
    do {
      outcome.push_back("lost " + from + "->" + to + " " + world_.peek(from, to));
      world_.drop(from, to);
    } while (arguments.has("all") && world_.peek(from, to) != "nothing");
    return outcome;
  }

  /// Delivers and makes durable until nothing moves; shows only where everyone stands.
  Words settle() {
    for (int i = 0; i < 100000; ++i) {
      bool moved = false;
      for (const auto& [from, to] : world_.busy_links()) {
        world_.deliver(from, to);
        moved = true;
      }
      for (auto& [name, member] : world_.members()) {
        if (!world_.alive(name) || member.core->log().last_written() == member.core->log().last())
          continue;
        world_.written(name);
        moved = true;
      }
      if (!moved) break;
    }
    Words outcome;
    for (auto& [name, member] : world_.members()) {
      if (!world_.alive(name)) {
        outcome.push_back(name + ": stopped");
        continue;
      }
      const Core& core = *member.core;
      std::ostringstream out;
      out << name << ": " << to_string(core.role()) << ", term " << core.current_term().value()
          << ", last " << core.log().last().index.value() << "/" << core.log().last().term.value()
          << ", commit " << core.commit_index().value() << ", applied "
          << core.last_applied().value();
      outcome.push_back(out.str());
    }
    return outcome;
  }

  Words show(const std::string& name) {
    if (!world_.alive(name)) return {"stopped"};
    std::istringstream in(describe(*world_.at(name).core));
    Words lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  event::ClientCommand client_command(const std::string& word, const Arguments& arguments) {
    event::ClientCommand command;
    command.token = CallToken(number(arguments.at(0)));
    command.leader_call = !arguments.has("cast");
    if (arguments.has("low")) command.priority = event::Priority::low;
    if (word == "command") {
      command.payload = SharedBytes::copy_of(arguments.at(1));
    } else if (word == "delete") {
      command.kind = event::CommandKind::delete_cluster;
      command.payload = SharedBytes::copy_of("delete");
    } else {
      command.kind = word == "join" ? event::CommandKind::join : event::CommandKind::leave;
      command.server = server(arguments.at(1));
      if (word == "join" && arguments.size() > 2) {
        VoterStatus status;
        if (arguments.has("promotable")) status.membership = Membership::promotable;
        if (arguments.has("non_voter")) status.membership = Membership::non_voter;
        if (arguments.has("voter")) status.membership = Membership::voter;
        if (!arguments.has("no_uid")) status.uid = "uid_" + arguments.at(1);
        command.voter_status = status;
      }
    }
    return command;
  }

  Event message(const std::string& word, const Arguments& arguments) {
    const ServerId from = server(arguments.after("from", "nobody"));
    const Term term(arguments.value("term"));
    const CallToken call(arguments.value("call", 900));
    if (word == "append_entries") {
      const IndexTerm prev = place(arguments.after("prev", "0/0"));
      AppendEntriesRpc rpc{term, from, Index(arguments.value("commit")), prev.index, prev.term, {}};
      for (const std::string& text : arguments.all_after("entries")) {
        const std::size_t colon = text.find(':');
        const IndexTerm at = place(text.substr(0, colon));
        Entry entry;
        entry.index = at.index;
        entry.term = at.term;
        const std::string content = text.substr(colon + 1);
        if (content == "noop") {
          entry.kind = EntryKind::noop;
        } else if (content.starts_with("noop@")) {
          entry.kind = EntryKind::noop;
          entry.machine_version = number(content.substr(5));
        } else if (content == "delete") {
          entry.kind = EntryKind::cluster_delete;
        } else if (content.starts_with("cluster=")) {
          entry.kind = EntryKind::cluster_change;
          auto cluster = std::make_shared<Cluster>();
          for (const char member : content.substr(8)) (*cluster)[server(std::string(1, member))];
          entry.cluster = cluster;
        }
        entry.payload = SharedBytes::copy_of(content);
        rpc.entries.push_back(std::move(entry));
      }
      return event::AppendEntries{std::move(rpc)};
    }
    if (word == "append_reply") {
      const IndexTerm last = place(arguments.after("last", "0/0"));
      return event::AppendEntriesReplied{
          from,
          {term, arguments.has("success"), Index(arguments.value("next", 1)), last.index,
           last.term}};
    }
    const IndexTerm last = word == "snapshot" ? IndexTerm{} : place(arguments.after("last", "0/0"));
    if (word == "request_vote")
      return event::VoteRequested{call, {term, from, last.index, last.term}};
    if (word == "pre_vote") {
      return event::PreVoteRequested{call,
                                     {arguments.value("protocol", 1), arguments.value("machine"),
                                      term, from, last.index, last.term}};
    }
    if (word == "heartbeat")
      return event::Heartbeat{{QueryIndex(arguments.value("query")), term, from}};
    if (word == "heartbeat_reply") {
      return event::HeartbeatReplied{from, {QueryIndex(arguments.value("query")), term}};
    }
    if (word == "info") return event::InfoRequested{{from, term, {"machine_version"}}};
    if (word == "info_reply") return event::InfoReplied{{from, term, {"machine_version"}, 0}};
    if (word == "snapshot_reply")
      return event::InstallSnapshotReplied{from, {term, last.index, last.term}};
    const IndexTerm at = place(arguments.after("meta", "0/0"));
    SnapshotMeta meta{at.index, at.term, {}, arguments.value("machine")};
    for (const char member : arguments.after("members", "abc"))
      meta.cluster[server(std::string(1, member))];
    const std::string flag = arguments.after("flag", "last");
    InstallSnapshotRpc rpc{term,
                           from,
                           std::make_shared<const SnapshotMeta>(std::move(meta)),
                           arguments.value("chunk", 1),
                           flag == "init"   ? ChunkFlag::init
                           : flag == "pre"  ? ChunkFlag::pre
                           : flag == "next" ? ChunkFlag::next
                                            : ChunkFlag::last,
                           {},
                           SharedBytes::copy_of(arguments.after("data", "1"))};
    for (const std::string& text : arguments.all_after("entries")) {
      const IndexTerm entry = place(text.substr(0, text.find(':')));
      rpc.entries.emplace_back();
      rpc.entries.back().index = entry.index;
      rpc.entries.back().term = entry.term;
    }
    return event::InstallSnapshot{call, std::move(rpc)};
  }

  Words member_command(const std::string& name, const std::string& word,
                       const Arguments& arguments) {
    if (word == "show") return show(name);
    if (word == "crash") {
      world_.crash(name, arguments.size() > 0 ? number(arguments.at(0)) : 0);
      return {};
    }
    if (word == "persist_applied") {
      Member& member = world_.at(name);
      member.persisted_applied =
          std::min(member.core->last_applied(), member.core->log().last_written().index);
      return {};
    }
    if (word == "forget") {
      world_.forget(name, Index(number(arguments.at(0))), arguments.has("term"));
      return {};
    }
    if (word == "start" || word == "restart") return world_.restart(name);
    if (!world_.alive(name)) return {"not running"};
    if (word == "written") {
      return world_.written(name, arguments.size() > 0
                                      ? std::optional<Index>(number(arguments.at(0)))
                                      : std::nullopt);
    }
    if (word == "stale_written") {
      const IndexTerm at = place(arguments.at(0));
      return world_.step(name, event::Written{at.term, at.index});
    }
    if (word == "take_snapshot") {
      std::set<Index> live;
      for (const std::string& index : arguments.all_after("live"))
        live.insert(Index(number(index)));
      return world_.take_snapshot(name, live);
    }
    if (word == "installed") return world_.finish_install(name, !arguments.has("bad"));
    return world_.step(name, make_event(word, arguments));
  }

  Event make_event(const std::string& word, const Arguments& arguments) {
    const CallToken token(arguments.size() > 0 && std::isdigit(arguments.at(0)[0]) != 0
                              ? number(arguments.at(0))
                              : 0);
    if (word == "election_timeout") return event::ElectionTimeout{};
    if (word == "condition_timeout") return event::ConditionTimeout{};
    if (word == "receive_snapshot_timeout") return event::ReceiveSnapshotTimeout{};
    if (word == "snapshot_retry") return event::SnapshotRetry{server(arguments.at(0))};
    if (word == "tick") return event::Tick{};
    if (word == "log_down") return event::LogDown{};
    if (word == "log_up") return event::LogUp{};
    if (word == "flush") return event::FlushLowPriority{};
    if (word == "read") return event::ReadRequest{token};
    if (word == "request") return event::LeaderRequest{token};
    if (word == "transfer")
      return event::TransferLeadershipRequested{token, server(arguments.at(1))};
    if (word == "trigger_election") return event::TriggerElectionRequested{token};
    if (word == "election_requested") return event::ElectionRequested{};
    if (word == "force_member_change") return event::ForceMemberChangeRequested{token};
    if (word == "leader_down") {
      return event::LeaderDown{server(arguments.at(0)), arguments.has("noconnection")
                                                            ? event::DownReason::noconnection
                                                            : event::DownReason::other};
    }
    if (word == "detector") return event::SuspicionChanged{arguments.at(0), arguments.has("up")};
    if (word == "node_up") return event::NodeUp{arguments.at(0)};
    if (word == "node_down") return event::NodeDown{arguments.at(0)};
    if (word == "suspend") return event::PeerSuspended{server(arguments.at(0))};
    if (word == "resume") return event::PeerResumed{server(arguments.at(0))};
    if (word == "transfer_ended") {
      const Peers& peers = *world_.at(arguments.after("at", "a")).core->peers();
      const RoundId transfer = peers.at(server(arguments.at(0))).transfer;
      const auto outcome = arguments.has("failed")         ? event::TransferOutcome::failed
                           : arguments.has("disconnected") ? event::TransferOutcome::disconnected
                                                           : event::TransferOutcome::finished;
      return event::SnapshotTransferEnded{server(arguments.at(0)), transfer, outcome};
    }
    if (word == "commands") {
      event::CommandBatch commands;
      for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
        event::ClientCommand command;
        command.token = CallToken(number(arguments.at(i)));
        command.payload = SharedBytes::copy_of(arguments.at(i + 1));
        commands.commands.push_back(std::move(command));
      }
      return commands;
    }
    if (word == "command" || word == "join" || word == "leave" || word == "delete") {
      event::CommandBatch commands;
      commands.commands.push_back(client_command(word, arguments));
      return commands;
    }
    return message(word, arguments);
  }

  World world_;
};

std::string play(const std::string& text, std::string& violation) {
  std::istringstream in(text);
  std::ostringstream out;
  Script script;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#")) {
      out << line << '\n';
    } else if (line.empty()) {
      out << '\n';
    } else if (line.starts_with("> ")) {
      out << line << '\n';
      for (const std::string& effect : script.run(line.substr(2))) out << "  " << effect << '\n';
    }
  }
  violation = script.violation();
  return out.str();
}

class TranscriptTest : public testing::TestWithParam<std::string> {};

TEST_P(TranscriptTest, GoesAsWritten) {
  const std::filesystem::path path = std::filesystem::path(RAKV_SOURCE_DIR) /
                                     "tests/raft/core/transcripts" / (GetParam() + ".txt");
  std::ifstream file(path);
  ASSERT_TRUE(file) << "can't read " << path;
  std::stringstream expected;
  expected << file.rdbuf();
  std::string violation;
  const std::string actual = play(expected.str(), violation);
  EXPECT_EQ(violation, "");
  if (std::getenv("RAKV_REWRITE") != nullptr) {
    std::ofstream(path) << actual;
  } else {
    EXPECT_EQ(actual, expected.str())
        << "if that is right: RAKV_REWRITE=1, then read the difference in " << path;
  }
}

std::vector<std::string> transcripts() {
  std::vector<std::string> names;
  const std::filesystem::path folder =
      std::filesystem::path(RAKV_SOURCE_DIR) / "tests/raft/core/transcripts";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Transcripts, TranscriptTest, testing::ValuesIn(transcripts()),
                         [](const auto& script) { return script.param; });

}  // namespace
}  // namespace rakv::raft::test
