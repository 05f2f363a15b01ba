%% SPDX-License-Identifier: Apache-2.0
%% The scripts of the twin tests for snapshots, ends and what ends a BEAM member, step by step.
%% twin_run has the notation.
-module(twin_snapshot_scripts).

-export([all/0]).

-import(twin_records, [aer/4, aer/5, reply/6, put/4, noop/2, cluster/3, put_command/2, heartbeat/3, vote/4, prevote/4, info/2,
                       meta/2, snapshot_rpc/4, lcall/1, command/2, three/0, leads/0]).

%% {Name, Options, Steps}; options: config (added to the configuration of the server), initial (members but for $me).
all() ->
    [{snapshot, #{}, snapshot()},
     {snapshot_live, #{}, snapshot_live()},
     {snapshot_misuse, #{}, snapshot_misuse()},
     {snapshot_interrupted, #{}, snapshot_interrupted()},
     {snapshot_candidate, #{}, snapshot_candidate()},
     {snapshot_sender, #{}, snapshot_sender()},
     {terminating_follower, #{}, terminating_follower()},
     {terminating_leader, #{}, terminating_leader()},
     {removed_leader, #{}, removed_leader()},
     {forced_shrink, #{}, forced_shrink()},
     {crash_gap, #{}, crash_gap()},
     {crash_truncation, #{}, crash_truncation()},
     {crash_overwriting, #{}, crash_overwriting()},
     {crash_configuration, #{}, crash_configuration()},
     {overwriting_last_applied, #{}, overwriting_last_applied()},
     {crash_same_term, #{}, crash_same_term()},
     {crash_heartbeat, #{}, crash_heartbeat()},
     {crash_chunk, #{}, crash_chunk()},
     {crash_checksum, #{}, crash_checksum()},
     {vote_is_kept, #{}, vote_is_kept()},
     {votes_have_owners, #{}, votes_have_owners()}].

%% ---------------------------------------------------------------------------------------------------------------
%% Snapshots.

snapshot() ->
    three() ++
    [{ask, snapshot_rpc(0, meta(9, 2), {1, next}, <<"x">>)},
     {ask, snapshot_rpc(1, meta(3, 1), {1, next}, <<"x">>)},
     {ask, snapshot_rpc(1, meta(2, 1), {0, init}, undefined)},
     {ask, snapshot_rpc(1, meta(9, 1), {2, next}, <<"x">>)},
     {ask, snapshot_rpc(1, meta(9, 1), {0, pre}, [])},
     {differs, chunk_is_not_echoed, {ask, snapshot_rpc(1, (meta(9, 1))#{machine_version => 1}, {1, next}, <<"x">>)}},
     {ask, snapshot_rpc(1, meta(9, 1), {1, last}, {'$snapshot', meta(9, 1), [], 1, 1})},
     {cast, aer(1, {9, 1}, [put(10, 1, <<"k">>, 1)], 10)},
     {cast, aer(1, {8, 1}, [], 10)},
     {cast, aer(1, {10, 1}, [], 10)},
     {cast, aer(1, {9, 2}, [], 10)},
     {cast, aer(1, {10, 1}, [], 10)},
     %% in three parts
     {ask, snapshot_rpc(2, meta(20, 2), {1, next}, {'$snapshot', meta(20, 2), [], 1, 3})},
     {ask, ping},
     {ask, snapshot_rpc(2, meta(20, 2), {2, next}, {'$snapshot', meta(20, 2), [], 2, 3})},
     {ask, snapshot_rpc(2, meta(20, 2), {2, next}, {'$snapshot', meta(20, 2), [], 2, 3})},
     {ask, snapshot_rpc(2, meta(20, 2), {3, last}, {'$snapshot', meta(20, 2), [], 3, 3})},
     restart,
     {cast, aer(2, {20, 2}, [put(21, 2, <<"k">>, 2)], 21)},
     read].

live_keys() -> [{<<"k1">>, 2, <<"v1">>}, {<<"k5">>, 5, <<"v5">>}, {<<"k7">>, 7, <<"v7">>}].

snapshot_live() ->
    three() ++
    [{ask, snapshot_rpc(2, meta(9, 2), {0, init}, undefined)},
     {ask, ping},
     {ask, {state_query, leader}},
     {ask, snapshot_rpc(2, meta(9, 2), {0, pre}, [put(2, 1, <<"k1">>, <<"v1">>), put(5, 1, <<"k5">>, <<"v5">>)])},
     {ask, snapshot_rpc(2, meta(9, 2), {0, pre}, [put(7, 2, <<"k7">>, <<"v7">>)])},
     {cast, heartbeat(1, 2, '$a')},
     {cast, aer(2, {9, 2}, [], 9)},
     {cast, info('$a', 2)},
     {cast, {info_reply, '$a', 2, [machine_version], #{}}},
     {ask, vote(2, '$b', 9, 9)},
     {ask, vote(1, '$b', 9, 9)},
     {ask, prevote(2, '$b', 9, 9)},
     {ask, lcall(command(put_command(k, v), await_consensus))},
     {cast, command(put_command(k, v), noreply)},
     {cast, command(put_command(k, v), {notify, 1, '$pid'})},
     {differs, unknown_call_is_answered, {call, no_such_call}},
     {ask, snapshot_rpc(2, meta(9, 2), {1, next}, {'$snapshot', meta(9, 2), live_keys(), 1, 2})},
     {ask, snapshot_rpc(2, meta(9, 2), {2, last}, {'$snapshot', meta(9, 2), live_keys(), 2, 2})},
     read,
     {ask, {aux_command, {get, <<"k5">>}}},
     {cast, aer(2, {9, 2}, [put(10, 2, <<"k1">>, 10)], 10)},
     read,
     {differs, unknown_call_is_answered, restart},
     {cast, aer(2, {10, 2}, [], 10)},
     read].

snapshot_misuse() ->
    three() ++
    [{ask, snapshot_rpc(2, meta(9, 2), {0, init}, undefined)},
     %% the sender starts again
     {ask, snapshot_rpc(2, meta(9, 2), {0, init}, undefined)},
     {ask, snapshot_rpc(2, meta(9, 2), {0, pre}, [put(5, 1, <<"k5">>, <<"v5">>)])},
     {ask, snapshot_rpc(2, meta(9, 2), {0, init}, undefined)},
     {ask, snapshot_rpc(2, meta(9, 2), {0, pre}, [])},
     %% a newer snapshot instead
     {ask, snapshot_rpc(2, meta(12, 2), {0, init}, undefined)},
     {ask, snapshot_rpc(2, meta(12, 2), {0, pre}, [put(5, 1, <<"k5">>, <<"v5">>), put(7, 2, <<"k7">>, <<"v7">>)])},
     {ask, snapshot_rpc(2, meta(12, 2), {1, next}, {'$snapshot', meta(12, 2), live_keys(), 1, 3})},
     {ask, snapshot_rpc(2, meta(12, 2), {1, next}, {'$snapshot', meta(12, 2), live_keys(), 1, 3})},
     {ask, snapshot_rpc(2, meta(12, 2), {2, next}, {'$snapshot', meta(12, 2), live_keys(), 2, 3})},
     {ask, snapshot_rpc(2, meta(12, 2), {3, last}, {'$snapshot', meta(12, 2), live_keys(), 3, 3})},
     {ask, snapshot_rpc(2, meta(12, 2), {3, last}, {'$snapshot', meta(12, 2), live_keys(), 3, 3})},
     {ask, snapshot_rpc(2, meta(12, 2), {0, init}, undefined)},
     read].

snapshot_interrupted() ->
    three() ++
    [{cast, aer(1, {3, 1}, [put(4, 1, <<"x">>, 1)], 4)},
     {ask, snapshot_rpc(1, meta(9, 1), {1, next}, {'$snapshot', meta(9, 1), [], 1, 2})},
     {cast, aer('$b', 2, {4, 1}, [noop(5, 2)], 4)},
     {ask, snapshot_rpc(2, meta(9, 1), {1, next}, {'$snapshot', meta(9, 1), [], 1, 2})},
     {ask, vote(3, '$b', 9, 9)},
     {ask, snapshot_rpc(3, meta(9, 1), {1, next}, {'$snapshot', meta(9, 1), [], 1, 2})},
     {cast, info('$b', 4)},
     {ask, snapshot_rpc(4, meta(9, 1), {1, next}, {'$snapshot', meta(9, 1), [], 1, 2})},
     {cast, {info_reply, '$b', 5, [machine_version], #{}}},
     {cast, aer(5, {5, 2}, [], 5)},
     {ask, snapshot_rpc(5, meta(9, 1), {1, next}, {'$snapshot', meta(9, 1), [], 1, 2})},
     {stop, a},
     {await_role, follower},
     {start, a},
     {cast, aer('$b', 6, {5, 2}, [noop(6, 6)], 6)},
     read].

snapshot_candidate() ->
    three() ++
    [{cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {ask, snapshot_rpc(1, meta(9, 1), {1, last}, {'$snapshot', meta(9, 1), [], 1, 1})},
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {answer, a, {pre_vote_result, 1, stale, true}},
     {answer, b, {pre_vote_result, 1, '$token', true}},
     {await, a, request_vote_rpc}, {await, b, request_vote_rpc},
     {ask, snapshot_rpc(2, meta(12, 1), {1, last}, {'$snapshot', meta(12, 1), [], 1, 1})},
     %% out of await_condition
     {cast, aer(2, {20, 2}, [], 12)},
     {call, snapshot_rpc(2, meta(11, 1), {1, last}, {'$snapshot', meta(11, 1), [], 1, 1})},
     {ask, snapshot_rpc(2, meta(30, 2), {1, last}, {'$snapshot', meta(30, 2), [], 1, 1})},
     {cast, aer(2, {30, 2}, [noop(31, 2)], 31)}].

%% b has an empty log, and what it needs is in a snapshot only.
snapshot_sender() ->
    [{ask, trigger_election}, {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {answer, a, {pre_vote_result, 0, '$token', true}}, {await, a, request_vote_rpc}, {await, b, request_vote_rpc},
     {answer, a, {request_vote_result, 1, true}}, {await_role, leader},
     {cast, reply('$a', 1, true, 2, 1, 1)},
     {cast, command(put_command(<<"k">>, 1), noreply)},
     {cast, command({delete, <<"k">>}, noreply)},
     {cast, reply('$a', 1, true, 4, 3, 1)},
     {may_differ, moment_of_a_snapshot, {ask, {aux_command, take_snapshot}}},
     {await_snapshot, 3},
     {cast, reply('$b', 1, false, 1, 0, 0)},
     {await, b, install_snapshot_rpc},
     {cast, command(put_command(<<"k">>, 2), noreply)},
     {call, lcall({consistent_query, {ra_lib, id, []}})},
     {cast, {'$a', {heartbeat_reply, 1, 1}}},
     {answer, b, {install_snapshot_result, 1, 3, 1}},
     {cast, reply('$b', 1, true, 5, 4, 1)},
     %% again, and b is ahead of it
     {differs, match_index_follows_a_refusal, {cast, reply('$b', 1, false, 1, 0, 0)}},
     {differs, match_index_follows_a_refusal, {await, b, install_snapshot_rpc}},
     {differs, first_heartbeat_is_refused, {answer, b, install_snapshot_rpc, {append_entries_reply, 1, false, 5, 4, 1}}},
     %% and in a newer term
     {differs, match_index_follows_a_refusal, {cast, reply('$b', 1, false, 1, 0, 0)}},
     {differs, match_index_follows_a_refusal, {await, b, install_snapshot_rpc}},
     {answer, b, {install_snapshot_result, 7, 3, 1}},
     {await_role, follower},
     {cast, aer('$b', 7, {4, 1}, [noop(5, 7)], 5)},
     read].

%% ---------------------------------------------------------------------------------------------------------------
%% Ends.

terminating_follower() ->
    three() ++
    [{cast, aer(1, {3, 1}, [{4, 1, {'$ra_cluster', #{ts => 5}, delete, await_consensus}}], 3)},
     {differs, delete_acknowledged_once, {cast, aer(1, {4, 1}, [], 4)}}].

terminating_leader() ->
    leads() ++
    [{call, lcall({command, normal, {'$ra_cluster', delete, await_consensus}})},
     {may_differ, repeats_while_terminating, {cast, reply('$a', 1, true, 3, 2, 1)}},
     {may_differ, repeats_while_terminating, {cast, reply('$a', 1, true, 3, 2, 1)}},
     {may_differ, repeats_while_terminating, {ask, vote(1, '$a', 9, 9)}},
     {may_differ, repeats_while_terminating, {cast, reply('$b', 1, true, 3, 2, 1)}}].

removed_leader() ->
    leads() ++
    [{ask, lcall({command, normal, {'$ra_leave', '$me', after_log_append}})},
     {differs, removed_leader_does_not_count_itself, {cast, reply('$a', 1, true, 3, 2, 1)}},
     {differs, removed_leader_does_not_count_itself, {cast, reply('$b', 1, true, 3, 2, 1)}},
     {ask, ping}].

%% What a BEAM member ends by: its supervisor starts it again, and what it had not on disk is forgotten.
crash_gap() ->
    three() ++
    [{differs, crash_by_entries_with_a_gap, {cast, aer(1, {3, 1}, [put(5, 1, <<"k">>, 1)], 3)}},
     {may_differ, crash_by_entries_with_a_gap, await_alive},
     {cast, aer(1, {3, 1}, [put(4, 1, <<"k">>, 1)], 4)},
     read].

crash_truncation() ->
    three() ++
    [{differs, crash_by_truncation_of_applied_entries, {cast, aer(1, {1, 1}, [], 3)}},
     {may_differ, crash_by_truncation_of_applied_entries, await_alive},
     {cast, aer(1, {3, 1}, [put(4, 1, <<"k">>, 1)], 4)},
     read].

crash_overwriting() ->
    three() ++
    [{differs, crash_by_overwriting_of_applied_entries, {cast, aer(2, {1, 1}, [noop(2, 2)], 3)}},
     {may_differ, crash_by_overwriting_of_applied_entries, await_alive},
     {cast, aer(2, {3, 1}, [put(4, 2, <<"k">>, 1)], 4)},
     read].

%% It reads the configuration from its log, and keeps none to go back to; so it ends at every such message.
crash_configuration() ->
    three() ++
    [{cast, aer(1, {3, 1}, [cluster(4, 1, [{'$me', #{}}, {'$a', #{}}, {'$b', #{}}, {'$c', #{}}])], 3)},
     restart,
     {ask, {state_query, members}},
     {differs, crash_by_a_configuration_of_before_the_start, {cast, aer('$b', 2, {3, 1}, [noop(4, 2)], 3)}},
     {may_differ, crash_by_a_configuration_of_before_the_start, await_alive}].

overwriting_last_applied() ->
    three() ++ [{differs, applied_entry_is_overwritten, {cast, aer(2, {2, 1}, [noop(3, 2)], 3)}}].

crash_same_term() ->
    leads() ++
    [{differs, crash_by_a_leader_of_the_same_term, {cast, aer('$b', 1, {1, 1}, [], 1)}},
     {may_differ, crash_by_a_leader_of_the_same_term, await_alive},
     {cast, aer('$b', 2, {1, 1}, [noop(2, 2)], 2)},
     read].

crash_heartbeat() ->
    leads() ++
    [{differs, crash_by_a_leader_of_the_same_term, {cast, heartbeat(1, 1, '$b')}},
     {may_differ, crash_by_a_leader_of_the_same_term, await_alive},
     {cast, aer('$b', 2, {1, 1}, [noop(2, 2)], 2)},
     read].

crash_chunk() ->
    three() ++
    [{ask, snapshot_rpc(1, meta(9, 1), {1, next}, {'$snapshot', meta(9, 1), [], 1, 3})},
     {differs, crash_by_a_missing_chunk, {ask, snapshot_rpc(1, meta(9, 1), {3, next}, <<"x">>)}},
     {may_differ, crash_by_a_missing_chunk, await_alive},
     {cast, aer('$b', 2, {3, 1}, [noop(4, 2)], 4)},
     read].

crash_checksum() ->
    three() ++
    [{differs, crash_by_a_wrong_checksum, {ask, snapshot_rpc(1, meta(9, 1), {1, last}, {'$corrupt', meta(9, 1), []})}},
     {may_differ, crash_by_a_wrong_checksum, await_alive},
     {cast, aer('$b', 2, {3, 1}, [noop(4, 2)], 4)},
     read].

%% The vote of a term is not forgotten when the term's leader is met, and votes are counted by voter.
vote_is_kept() ->
    three() ++
    [{cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {answer, b, {pre_vote_result, 1, '$token', true}},
     {await, a, request_vote_rpc}, {await, b, request_vote_rpc},
     {differs, vote_is_kept, {cast, aer(2, {3, 1}, [noop(4, 2)], 4)}},
     {differs, vote_is_kept, {ask, vote(2, '$b', 9, 9)}}].

votes_have_owners() ->
    [{ask, trigger_election}, {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {answer, a, {pre_vote_result, 0, '$token', true}}, {await, a, request_vote_rpc}, {await, b, request_vote_rpc},
     {differs, votes_are_counted_by_voter, {answer, b, pre_vote_rpc, {request_vote_result, 1, true}}}].

forced_shrink() ->
    three() ++
    [{ask, force_member_change},
     {await_role, leader},
     {ask, {state_query, members}},
     {call, lcall(command(put_command(k, v), await_consensus))},
     read].
