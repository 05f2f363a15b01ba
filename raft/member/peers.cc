#include "raft/member/member.h"
#include "raft/wire/ids.h"

// Messages between members.

namespace rakv::member {

bool Member::handle_peer_call(std::string_view, std::string_view) { return false; }
bool Member::handle_peer_cast(std::string_view) { return false; }

void Member::carry_out(raft::effect::SetSnapshotRetryTimer&) {
  counters_->add(Counter::dropped_sends);
}
void Member::carry_out(raft::effect::CancelSnapshotRetryTimer&) {
  counters_->add(Counter::dropped_sends);
}
void Member::carry_out(raft::effect::SendAppendEntries&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::SendAppendEntriesReply&) {
  counters_->add(Counter::dropped_sends);
}
void Member::carry_out(raft::effect::SendHeartbeat&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::SendHeartbeatReply&) {
  counters_->add(Counter::dropped_sends);
}
void Member::carry_out(raft::effect::SendInfo&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::SendInfoReply&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::CallRequestVote&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::CallPreVote&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::ReplyVote&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::ReplyPreVote&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::SendElectionTimeout&) {
  counters_->add(Counter::dropped_sends);
}
void Member::carry_out(raft::effect::SendSnapshot&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::StopSnapshotSend&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::BeginSnapshot&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::AcceptLiveEntries&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::AcceptChunk&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::CompleteSnapshot&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::AbortSnapshot&) { counters_->add(Counter::dropped_sends); }
void Member::carry_out(raft::effect::ReplyInstallSnapshot&) {
  counters_->add(Counter::dropped_sends);
}
void Member::carry_out(raft::effect::ReplyInstallSnapshotWithAppendEntries&) {
  counters_->add(Counter::dropped_sends);
}

}  // namespace rakv::member
