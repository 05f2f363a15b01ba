// SPDX-License-Identifier: Apache-2.0
#include "raft/member/voter_identities.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::member {
namespace {

constexpr std::chrono::milliseconds kAskTimeout{5000};
/// Between two rounds of questions of a member that does not take part.
constexpr std::chrono::milliseconds kAskInterval{500};
/// A voter may be replaced by another server of its name while all goes on.
constexpr std::chrono::seconds kLookInterval{10};

bool is_other_voter(const raft::Core& core, const raft::ServerId& member,
                    const raft::PeerConfig& config) {
  return config.is_voter() && member != core.id();
}

std::string encode(const std::map<raft::ServerId, std::string>& uids) {
  etf::Writer writer;
  writer.map(uids.size());
  for (const auto& [voter, uid] : uids) {
    wire::write_server_id(writer, voter);
    writer.binary(uid);
  }
  return writer.take();
}

std::map<raft::ServerId, std::string> decode(std::string_view term) {
  std::map<raft::ServerId, std::string> uids;
  etf::Cursor cursor(term);
  if (term.empty() || cursor.kind() != etf::TermKind::map) return uids;
  const std::uint32_t count = cursor.map().value_or(0);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::optional<raft::ServerId> voter = wire::read_server_id(cursor);
    const std::optional<std::string_view> uid = voter ? cursor.binary() : std::nullopt;
    if (!uid) return {};
    uids[*voter] = *uid;
  }
  return uids;
}

}  // namespace

void find_server(node::Node& node, const raft::ServerId& server,
                 std::function<void(const FoundServer&)> done) {
  etf::Writer arguments;
  arguments.list(2).atom("default").atom(server.name()).nil();
  node.apply(server.node(), "ra_directory", "uid_of", arguments.view(), kAskTimeout,
             [done = std::move(done)](const node::ApplyResult& result) {
               FoundServer found;
               if (result.status == node::ApplyResult::Status::returned) {
                 etf::Cursor cursor(result.term);
                 found.answered = true;
                 if (cursor.kind() == etf::TermKind::binary) {
                   found.uid = std::string(cursor.binary().value_or(""));
                 } else {
                   found.answered = cursor.is_atom("undefined");
                 }
               }
               done(found);
             });
}

VoterIdentities::VoterIdentities(boost::asio::io_context& io, const PeerContext& context,
                                 std::function<void()> on_change)
    : context_(context), on_change_(std::move(on_change)), timer_(io) {}

VoterIdentities::~VoterIdentities() { *alive_ = false; }

const std::string* VoterIdentities::remembered(const raft::ServerId& voter) const {
  const auto found = remembered_.find(voter);
  return found == remembered_.end() ? nullptr : &found->second;
}

bool VoterIdentities::may_follow(const raft::ServerId& leader) const {
  if (takes_part()) return true;
  const std::string* const uid = remembered(leader);
  const auto found = found_.find(leader);
  return uid != nullptr && found != found_.end() && found->second.uid == *uid;
}

void VoterIdentities::start() {
  remembered_ = decode(context_.log.known_voters());
  decide();
}

void VoterIdentities::forget() {
  found_.clear();
  remembered_.clear();
  store();
  decide();
}

// --- whether to take part

/// What can't be told yet is asked, until the answers are enough; a member that stays out goes on
/// asking, because operators may put things right.
void VoterIdentities::decide() {
  std::size_t voters = 0;
  std::size_t strangers = 0;
  std::size_t silent = 0;
  for (const auto& [member, config] : context_.core.cluster()) {
    if (!config.is_voter()) continue;
    ++voters;
    const std::string* uid = remembered(member);
    if (uid == nullptr || member == context_.core.id()) continue;
    const auto found = found_.find(member);
    if (found == found_.end() || !found->second.uid) {
      ++silent;
    } else if (*found->second.uid != *uid) {
      ++strangers;
    }
  }
  const Standing before = standing_;
  standing_ = 2 * strangers > voters               ? Standing::stays_out
              : 2 * (strangers + silent) <= voters ? Standing::takes_part
                                                   : Standing::undecided;
  if (takes_part()) {
    timer_.cancel();
    found_.clear();
  } else {
    if (before == Standing::takes_part) ask_all();
  }
  if (standing_ == before) return;
  if (standing_ == Standing::stays_out) spdlog::error("{}: {}", context_.log_id, why());
  if (takes_part() && said_) {
    spdlog::info("{}: the voters are the servers that it knows, it takes part", context_.log_id);
  }
  on_change_();
}

std::string VoterIdentities::why() const {
  std::string strangers;
  std::string silent;
  for (const auto& [member, config] : context_.core.cluster()) {
    const std::string* uid = remembered(member);
    if (uid == nullptr || !is_other_voter(context_.core, member, config)) continue;
    const auto found = found_.find(member);
    if (found == found_.end() || !found->second.uid) {
      silent += (silent.empty() ? "" : ", ") + to_string(member);
    } else if (*found->second.uid != *uid) {
      strangers += fmt::format("{}{} (now {}, was {})", strangers.empty() ? "" : ", ",
                               to_string(member), *found->second.uid, *uid);
    }
  }
  if (standing_ == Standing::undecided) {
    return "waits before it votes or leads, because this cluster may have been made anew" +
           (strangers.empty() ? "" : "; other servers than it knows: " + strangers) +
           "; not heard of yet: " + silent;
  }
  return fmt::format(
      "stays out: a majority of the voters are servers that it never knew: {}. The cluster was "
      "deleted and made anew while this server was away; delete this one "
      "(ra:force_delete_server/2) and start a new one in its place",
      strangers);
}

void VoterIdentities::ask_all() {
  for (const auto& [member, config] : context_.core.cluster()) {
    if (is_other_voter(context_.core, member, config)) ask(member);
  }
  timer_.expires_after(kAskInterval);
  timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (error || !*alive || takes_part()) return;
    if (!std::exchange(said_, true)) spdlog::warn("{}: {}", context_.log_id, why());
    ask_all();
  });
}

void VoterIdentities::node_up(const std::string& node) {
  look_again();
  if (takes_part()) return;
  for (const auto& [member, config] : context_.core.cluster()) {
    if (member.node() == node && is_other_voter(context_.core, member, config)) ask(member);
  }
}

void VoterIdentities::ask(const raft::ServerId& voter) {
  if (!asked_.insert(voter).second) return;
  find_server(context_.node, voter, [this, voter, alive = alive_](const FoundServer& found) {
    if (*alive) answered(voter, found);
  });
}

void VoterIdentities::answered(const raft::ServerId& voter, const FoundServer& found) {
  asked_.erase(voter);
  if (found.uid) learn(voter, *found.uid);
  if (takes_part()) return;
  if (found.answered) found_[voter] = found;
  decide();
}

// --- what to remember

void VoterIdentities::tick() {
  if (unstored_) store();
  if (!takes_part()) decide();  // its leader may have told it of other voters
  if (!context_.core.leader()) return;
  const auto now = timer_.now();
  const bool all = now >= next_look_;
  if (all) next_look_ = now + kLookInterval;
  for (const auto& [member, config] : context_.core.cluster()) {
    if (!is_other_voter(context_.core, member, config)) continue;
    if (all || remembered(member) == nullptr) ask(member);
  }
}

/// Only of a cluster that works: where there is a leader, whoever has a voter's name is the voter.
void VoterIdentities::learn(const raft::ServerId& voter, const std::string& uid) {
  if (!context_.core.leader() || !context_.core.cluster().contains(voter)) return;
  const std::string* known = remembered(voter);
  if (known != nullptr && *known == uid) return;
  std::erase_if(remembered_,
                [&](const auto& row) { return !context_.core.cluster().contains(row.first); });
  remembered_[voter] = uid;
  store();
}

/// Without it the next start would take any stranger for a voter that it knows, so what fails is
/// written again at the next tick.
void VoterIdentities::store() {
  unstored_ = false;
  context_.log.store_known_voters(
      encode(remembered_), [this, alive = alive_](const Result<void>& stored) {
        if (!*alive) return;
        if (!stored && !std::exchange(said_unstored_, true)) {
          spdlog::warn("{}: could not record the UIds of the voters, tries again: {}",
                       context_.log_id, stored.error().message);
        }
        if (stored)
          said_unstored_ = false;
        else
          unstored_ = true;
      });
}

}  // namespace rakv::member
