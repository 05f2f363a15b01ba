// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/beam_script.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "cnode/etf/cursor.h"
#include "cnode/etf/map_pairs.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "cnode/node/gen.h"
#include "raft/wire/ids.h"
#include "raft/wire/messages.h"
#include "raft/wire/tagged.h"
#include "tests/simulation/beam_script_terms.h"

namespace rakv::simulation {
namespace {

constexpr char kScriptNode[] = "script@host";
constexpr char kUid[] = "TWINBEAMUID";
constexpr std::uint64_t kNotTheScriptsOwn = 1'000'000;  ///< a time of day, from there on
constexpr std::int64_t kNow = 1'767'225'600'000;

etf::Pid script_pid() { return {kScriptNode, 100, 0, 1}; }

std::string encoded_id(const raft::ServerId& id) {
  etf::Writer out;
  wire::write_server_id(out, id);
  return out.take();
}

std::string atom_of(std::string_view term) {
  etf::Cursor cursor(term);
  if (cursor.kind() != etf::TermKind::atom) return {};
  return std::string(*cursor.atom());
}

/// The bytes of a snapshot file, or a part of them: twin_run's snapshot_file/2 and part/3.
std::string snapshot_file(std::string_view meta_term, std::string_view keys) {
  BeamSnapshot snapshot;
  etf::Cursor meta(meta_term);
  snapshot.meta = *wire::read_snapshot_meta(meta);
  etf::Cursor cursor(keys);
  const std::uint32_t count = cursor.list().value_or(0);
  etf::Writer state;
  state.tuple(2).atom("ra_kv").map(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    cursor.tuple(3);
    state.raw(*cursor.skip());
    const std::uint64_t index = *cursor.u64();
    cursor.skip();
    state.append(std::string_view("l\0\0\0\1", 5)).u64(index).integer(1);
  }
  snapshot.state = state.take();
  return to_snapshot_file(snapshot);
}

etf::Reference reference(const char* node, std::uint64_t number) {
  etf::Reference made;
  made.node = node;
  made.words.count = 1;
  made.words.word[0] = static_cast<std::uint32_t>(number);
  return made;
}

std::string binary(std::string_view bytes) { return etf::Writer().binary(bytes).take(); }

}  // namespace

Result<BeamScript> read_beam_script(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  BeamScript script;
  for (std::size_t at = 0; text.find_first_not_of(" \n", at) != std::string::npos;) {
    std::size_t consumed = 0;
    const auto term = etf::parse_text_prefix(std::string_view(text).substr(at), consumed);
    if (!term) return term.error();
    at += consumed;
    wire::Tagged tagged(*term);
    if (tagged.is("script", 3)) {
      script.name = atom_of(tagged.next());
      script.options = tagged.next();
    } else if (tagged.is("step", 3)) {
      const std::string step(tagged.next());
      script.steps.push_back({step, std::string(tagged.next())});
    }
  }
  if (script.steps.empty()) return make_error(ErrorCode::malformed, path + " has no steps");
  return script;
}

// --- terms

std::string BeamScriptPlayer::resolve(std::string_view term) const {
  return rewrite_term(term, [this](std::string_view part) -> std::optional<std::string> {
    const std::string name = atom_of(part);
    if (const auto found = ids_.find(name); found != ids_.end()) return encoded_id(found->second);
    if (name == "$pid") return etf::Writer().pid(script_pid()).take();
    if (name == "$uid") return binary(kUid);
    wire::Tagged tagged(part);
    if (tagged.is("$corrupt", 3)) {
      const std::string meta = resolve(tagged.next());
      std::string file = snapshot_file(meta, tagged.next());
      file[20] = static_cast<char>(file[20] ^ 1);
      return binary(file);
    }
    if (!tagged.is("$snapshot", 5)) return std::nullopt;
    const std::string meta = resolve(tagged.next());
    const std::string file = snapshot_file(meta, tagged.next());
    const std::size_t number = *etf::Cursor(tagged.next()).u64();
    const std::size_t size = file.size() / *etf::Cursor(tagged.next()).u64() + 1;
    return binary(file.substr((number - 1) * size, size));
  });
}

std::string BeamScriptPlayer::plain(std::string_view term) const {
  std::map<std::string, std::string> known;
  for (const auto& [name, id] : ids_) known[encoded_id(id)] = name;
  const auto atom = [](std::string_view name) { return etf::Writer().atom(name).take(); };
  return rewrite_term(term, [&](std::string_view part) -> std::optional<std::string> {
    if (const auto found = known.find(std::string(part)); found != known.end())
      return atom(found->second);
    if (part == binary(kUid)) return atom("$uid");
    etf::Cursor cursor(part);
    switch (cursor.kind()) {
      case etf::TermKind::pid:
        return atom("$pid");
      case etf::TermKind::reference:
        return atom("$ref");
      case etf::TermKind::binary: {
        const std::string_view bytes = *cursor.binary();
        if (bytes.substr(0, 4) != "RASN") return std::nullopt;
        const std::string_view body = bytes.substr(9);
        const std::size_t size =
            static_cast<unsigned char>(body[3]) + 256 * static_cast<unsigned char>(body[2]);
        etf::Writer file;
        file.tuple(3).atom("$snapshot_file").raw(plain(body.substr(5, size - 1)));
        file.raw(body.substr(4 + size + 1));
        return file.take();
      }
      case etf::TermKind::map:
        if (etf::map_value(part, "next_index") && etf::map_value(part, "status")) {
          const auto status = etf::map_value(part, "voter_status");
          etf::Writer peer;
          peer.map(status ? 1 : 0);
          if (status) peer.atom("voter_status").raw(plain(*status));
          return peer.take();
        }
        for (const char* key : {"ts", "system_time"}) {
          const auto time = etf::map_u64(part, key);
          if (!time || *time <= kNotTheScriptsOwn) continue;
          const std::uint32_t pairs = *cursor.map();
          etf::Writer copy;
          copy.map(pairs);
          for (std::uint32_t i = 0; i < pairs; ++i) {
            if (cursor.is_atom(key)) {
              copy.atom(key).atom("$time");
              cursor.skip();
            } else {
              copy.raw(plain(*cursor.skip()));
              copy.raw(plain(*cursor.skip()));
            }
          }
          return copy.take();
        }
        return std::nullopt;
      default:
        return std::nullopt;
    }
  });
}

std::string BeamScriptPlayer::name_of(const raft::ServerId& id) const {
  return plain(encoded_id(id));
}

// --- the member and its surroundings

BeamScriptPlayer::BeamScriptPlayer(const BeamScript& script) {
  ids_ = {{"$me", {"twin_beam", "beam@host"}},
          {"$a", {"twin_beam_a", kScriptNode}},
          {"$b", {"twin_beam_b", kScriptNode}},
          {"$c", {"twin_beam_c", kScriptNode}}};
  disk_.config = {ids_["$me"], kUid, {ids_["$me"], ids_["$a"], ids_["$b"]}, {}};
  if (const auto config = etf::map_value(script.options, "config")) {
    if (const auto membership = etf::map_value(*config, "membership");
        membership && atom_of(*membership) == "non_voter")
      disk_.config.membership = raft::Membership::non_voter;
    options_.await_condition_ms =
        etf::map_u64(*config, "await_condition_timeout").value_or(options_.await_condition_ms);
  }
  start_server();
}

void BeamScriptPlayer::start_server() {
  timers_.clear();
  server_ = std::make_unique<BeamServer>(disk_, seams(), witness_, options_);
  gone_ = false;
  server_->start();
}

BeamSeams BeamScriptPlayer::seams() {
  BeamSeams seams;
  seams.cast = [this](const raft::ServerId& to, std::string_view record) {
    const std::string name = atom_of(name_of(to));
    if (!name.empty() && !stopped_peers_[name]) messages_[name].push_back(std::string(record));
  };
  seams.send = [this](std::string_view, std::string_view message) {
    wire::Tagged event(message);
    event.next();
    events_.emplace_back(event.next());
  };
  seams.reply = [this](std::string_view from, std::string_view term) { take_reply(from, term); };
  seams.call = [this](const raft::ServerId& to, std::string request, std::uint64_t,
                      BeamSeams::Answer answer) {
    unclaimed_.push_back({atom_of(name_of(to)), std::move(request), std::move(answer)});
  };
  seams.apply = [this](const std::string&, std::string_view, std::string_view, const std::string&,
                       BeamSeams::Answer answer) {
    later_.emplace_back([answer = std::move(answer)] { answer(etf::Writer().integer(0).take()); });
  };
  seams.monitor = [this](const raft::ServerId& id) {
    monitors_[++last_number_] = id;
    if (stopped_peers_[atom_of(name_of(id))]) down_at_once_.push_back(last_number_);
    return last_number_;
  };
  seams.demonitor = [this](std::uint64_t monitor) { monitors_.erase(monitor); };
  seams.connect = [](const std::string&) {};
  seams.is_connected = [](const std::string&) { return true; };
  seams.watch_node = [](const std::string&) {};
  seams.set_timer = [this](const std::string& name, std::uint64_t ms) { timers_[name] = ms; };
  seams.cancel_timer = [this](const std::string& name) { timers_.erase(name); };
  seams.now_ms = [] { return kNow; };
  seams.draw = [](std::uint64_t most) { return most; };
  seams.make_token = [this] {
    return etf::Writer().reference(reference("beam@host", ++last_number_)).take();
  };
  seams.wake_wal = [] {};
  seams.background = [this](std::function<void()> job) { background_.push_back(std::move(job)); };
  seams.later = [this](std::function<void()> job) { later_.push_back(std::move(job)); };
  seams.ended = [this](const std::string& reason) { member_ended(reason); };
  return seams;
}

void BeamScriptPlayer::member_ended(const std::string& reason) {
  gone_ = true;
  crashed_ = reason == "crash";
  etf::Writer down;
  down.tuple(2).atom("down").atom(reason == "crash" ? "$crash" : reason);
  for (const std::uint64_t number : std::exchange(open_calls_, {}))
    replies_.emplace_back(number, down.view());
}

void BeamScriptPlayer::take_reply(std::string_view from, std::string_view term) {
  etf::Cursor caller(from);
  caller.tuple(2);
  caller.skip();
  caller.list();
  caller.is_atom("alias");
  const auto alias = caller.reference();
  const std::uint64_t number = alias ? alias->words.word[0] : 0;
  if (std::erase(open_calls_, number) > 0) replies_.emplace_back(number, term);
}

// --- steps

std::string BeamScriptPlayer::play(std::string_view step) {
  act(step);
  settle();
  // Whoever waited for an answer has seen the member end: by then its supervisor has started it.
  if (gone_ && crashed_ && wire::Tagged(step).is("ask", 2)) start_server();
  std::string result = outcome();
  messages_.clear();
  replies_.clear();
  other_replies_.clear();
  events_.clear();
  return result;
}

void BeamScriptPlayer::act(std::string_view step) {
  wire::Tagged tagged(step);
  if (tagged.is("cast", 2)) {
    if (!gone_) server_->on_cast(resolve(tagged.next()));
  } else if (tagged.is("call", 2) || tagged.is("ask", 2)) {
    call(resolve(tagged.next()));
  } else if (tagged.is("await", 3)) {
    const std::string peer = "$" + atom_of(tagged.next());
    await(peer, atom_of(tagged.next()));
  } else if (tagged.is("answer", 3)) {
    const std::string peer = "$" + atom_of(tagged.next());
    const std::string_view reply = tagged.next();
    const std::string_view kind = wire::Tagged(reply).tag;
    answer(peer,
           kind == "pre_vote_result"       ? "pre_vote_rpc"
           : kind == "request_vote_result" ? "request_vote_rpc"
                                           : "install_snapshot_rpc",
           reply);
  } else if (tagged.is("answer", 4)) {
    const std::string peer = "$" + atom_of(tagged.next());
    const std::string tag = atom_of(tagged.next());
    answer(peer, tag, tagged.next());
  } else if (tagged.is("await_message", 3)) {
    if (timers_.contains("state")) server_->on_timer("state");
  } else if (tagged.is("await_snapshot", 2)) {
    for (const auto& job : std::exchange(background_, {})) job();
  } else if (tagged.is("stop", 2)) {
    stop_peer("$" + atom_of(tagged.next()));
  } else if (tagged.is("start", 2)) {
    stopped_peers_["$" + atom_of(tagged.next())] = false;
  } else if (tagged.is("await_alive", 0)) {
    if (gone_) start_server();
  } else if (tagged.is("restart", 0)) {
    restart();
  } else if (tagged.is("read", 0)) {
    read();
  }
}

void BeamScriptPlayer::call(const std::string& request) {
  etf::Writer from;
  from.tuple(2)
      .pid(script_pid())
      .list(1)
      .atom("alias")
      .reference(reference(kScriptNode, ++last_call_));
  open_calls_.push_back(last_call_);
  if (!gone_) return server_->on_call(from.view(), request);
  open_calls_.pop_back();
  replies_.emplace_back(last_call_, etf::Writer().tuple(2).atom("down").atom("noproc").view());
}

void BeamScriptPlayer::await(const std::string& peer, std::string_view tag) {
  settle();
  const auto found = std::find_if(unclaimed_.begin(), unclaimed_.end(), [&](const PeerCall& call) {
    return call.peer == peer && wire::Tagged(call.record).tag == tag;
  });
  if (found == unclaimed_.end()) {
    messages_[peer].push_back(etf::Writer().tuple(2).atom("no_such_call").atom(tag).take());
    return;
  }
  messages_[peer].push_back(etf::Writer().tuple(2).atom("call").raw(found->record).take());
  claimed_.push_back(std::move(*found));
  unclaimed_.erase(found);
}

void BeamScriptPlayer::answer(const std::string& peer, std::string_view tag,
                              std::string_view reply) {
  const auto found = std::find_if(claimed_.rbegin(), claimed_.rend(), [&](const PeerCall& call) {
    return call.peer == peer && wire::Tagged(call.record).tag == tag;
  });
  if (found == claimed_.rend()) return;
  std::string token;
  if (tag == "pre_vote_rpc") {
    wire::Tagged record(found->record);
    for (int i = 0; i < 4; ++i) token = record.next();
  }
  const std::string resolved =
      rewrite_term(resolve(reply), [&](std::string_view part) -> std::optional<std::string> {
        if (atom_of(part) != "$token") return std::nullopt;
        return token;
      });
  const BeamSeams::Answer take = found->answer;
  claimed_.erase(std::next(found).base());
  take(resolved);
}

void BeamScriptPlayer::stop_peer(const std::string& peer) {
  stopped_peers_[peer] = true;
  for (const auto& [monitor, id] : std::map(monitors_)) {
    if (id != ids_[peer]) continue;
    monitors_.erase(monitor);
    if (!gone_) server_->on_down(monitor, false);
  }
}

/// ra:stop_server/2 and ra:restart_server/2.
void BeamScriptPlayer::restart() {
  member_ended("shutdown");
  server_.reset();
  start_server();
}

/// ra_kv:read_entry/4 of all live indexes.
void BeamScriptPlayer::read() {
  std::vector<std::uint64_t> live = server_->rules().machine().live_indexes();
  std::sort(live.begin(), live.end());
  etf::Writer out;
  out.tuple(2).atom("read").list(live.size());
  for (const std::uint64_t index : live) {
    out.tuple(2).u64(index).raw(
        beam_read_entry(server_->rules(), index, etf::Writer().nil().view()));
  }
  other_replies_.push_back(out.nil().take());
}

void BeamScriptPlayer::settle() {
  carry_out_all();
  // What twin_run asks until all has come is an event, too.
  if (gone_ || server_->rules().role() == raft::Role::await_condition) return;
  etf::Writer probe;
  wire::write_info_rpc(probe, {{"probe", kScriptNode}, raft::Term(0), {}});
  server_->on_cast(probe.view());
  carry_out_all();
}

void BeamScriptPlayer::carry_out_all() {
  for (bool more = true; more;) {
    more = false;
    for (const auto& job : std::exchange(later_, {})) {
      job();
      more = true;
    }
    for (const std::uint64_t monitor : std::exchange(down_at_once_, {})) {
      if (monitors_.erase(monitor) > 0 && !gone_) server_->on_down(monitor, false);
      more = true;
    }
    if (disk_.unsynced() == 0) continue;
    const auto written = disk_.sync(disk_.unsynced());
    if (!gone_) server_->on_written(written);
    more = true;
  }
}

// --- outcomes

std::string BeamScriptPlayer::outcome() {
  std::vector<std::pair<std::string, std::string>> parts;
  etf::Writer messages;
  messages.list(messages_.size());
  for (const auto& [peer, got] : messages_) {
    messages.tuple(2).atom(peer.substr(1)).list(got.size());
    for (const std::string& message : got) messages.raw(plain(message));
    messages.nil();
  }
  if (!messages_.empty()) parts.emplace_back("messages", messages.nil().take());
  std::sort(replies_.begin(), replies_.end());
  etf::Writer replies;
  replies.list(replies_.size() + other_replies_.size());
  for (const auto& [number, reply] : replies_) replies.tuple(2).u64(number).raw(plain(reply));
  for (const std::string& reply : other_replies_) replies.raw(plain(reply));
  if (!replies_.empty() || !other_replies_.empty())
    parts.emplace_back("replies", replies.nil().take());
  etf::Writer events;
  events.list(events_.size());
  for (const std::string& event : events_) events.raw(plain(event));
  if (!events_.empty()) parts.emplace_back("events", events.nil().take());
  parts.emplace_back("state", state());
  etf::Writer out;
  out.map(parts.size());
  for (const auto& [key, value] : parts) out.atom(key).raw(value);
  return out.take();
}

/// twin_run:view/2.
std::string BeamScriptPlayer::state() {
  if (gone_) return etf::Writer().map(1).atom("role").atom("gone").take();
  BeamRules& rules = server_->rules();
  std::vector<std::pair<std::string_view, std::string>> parts;
  const auto number = [](std::uint64_t value) { return etf::Writer().u64(value).take(); };
  const auto place = [](raft::IndexTerm at) {
    return etf::Writer().tuple(2).u64(at.index.value()).u64(at.term.value()).take();
  };
  const auto maybe_id = [&](const std::optional<raft::ServerId>& id) {
    return id ? name_of(*id) : etf::Writer().atom("undefined").take();
  };
  raft::Role role = rules.role();
  if (role == raft::Role::terminating_leader) role = raft::Role::leader;
  if (role == raft::Role::terminating_follower) role = raft::Role::follower;
  const raft::IndexTerm last = rules.log().last();
  std::vector<std::uint64_t> live = rules.machine().live_indexes();
  std::sort(live.begin(), live.end());
  etf::Writer indexes;
  indexes.list(live.size());
  for (const std::uint64_t index : live) indexes.u64(index);
  parts.emplace_back("role", etf::Writer().atom(to_string(role)).take());
  parts.emplace_back("term", number(rules.term().value()));
  parts.emplace_back("voted_for", maybe_id(rules.voted_for()));
  parts.emplace_back("leader", maybe_id(rules.leader()));
  parts.emplace_back("applied", number(rules.last_applied().value()));
  parts.emplace_back("keys", number(live.size()));
  parts.emplace_back("live", indexes.nil().take());
  parts.emplace_back("membership", etf::Writer().atom(to_string(rules.membership())).take());
  const auto snapshot = rules.log().snapshot();
  parts.emplace_back("snapshot",
                     snapshot ? place(*snapshot)
                              : etf::Writer().tuple(2).atom("undefined").atom("undefined").take());
  parts.emplace_back(
      "commit",
      number(std::max(rules.last_applied(), std::min(rules.commit_index(), last.index)).value()));
  if (role != raft::Role::receive_snapshot) {
    parts.emplace_back("last", place(last));
    parts.emplace_back("written", place(rules.log().last_written()));
    parts.emplace_back("cluster_at", place(rules.cluster_at()));
    etf::Writer cluster;
    cluster.list(rules.cluster().size());
    for (const auto& [id, peer] : rules.cluster()) {
      cluster.tuple(2).raw(name_of(id));
      if (!peer.config.voter_status) {
        cluster.atom("none");
      } else {
        etf::Writer status;
        wire::write_voter_status(status, *peer.config.voter_status);
        cluster.raw(plain(status.view()));
      }
    }
    parts.emplace_back("cluster", cluster.nil().take());
  }
  if (role == raft::Role::leader) {
    parts.emplace_back("permitted", etf::Writer().boolean(rules.cluster_change_permitted()).take());
    parts.emplace_back("query_index", number(rules.query_index()));
    parts.emplace_back("peers", peers_state());
  }
  etf::Writer out;
  out.map(parts.size());
  for (const auto& [key, value] : parts) out.atom(key).raw(value);
  return out.take();
}

std::string BeamScriptPlayer::peers_state() {
  const BeamCluster& cluster = server_->rules().cluster();
  std::vector<std::string> peers;
  for (const auto& [id, peer] : cluster) {
    if (id == ids_["$me"]) continue;
    etf::Writer one;
    one.tuple(2).raw(name_of(id)).map(4);
    one.atom("next_index").u64(peer.next_index.value());
    one.atom("match_index").u64(peer.match_index.value());
    one.atom("commit_index_sent").u64(peer.commit_index_sent.value());
    one.atom("query_index").u64(peer.query_index.value());
    peers.push_back(one.take());
  }
  etf::Writer out;
  out.list(peers.size());
  for (const std::string& peer : peers) out.raw(peer);
  return out.nil().take();
}

}  // namespace rakv::simulation
