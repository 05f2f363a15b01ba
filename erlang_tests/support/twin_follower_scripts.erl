%% SPDX-License-Identifier: Apache-2.0
%% The scripts of the twin tests for a follower: what leaders, candidates and clients say to it, step by step.
%% twin_run has the notation.
-module(twin_follower_scripts).

-export([all/0]).

-import(twin_records, [aer/4, aer/5, reply/6, put/4, delete/3, noop/2, cluster/3, put_command/2, heartbeat/3, vote/4,
                       prevote/4, info/2, lcall/1, command/2, three/0]).

%% {Name, Options, Steps}; options: config (added to the configuration of the server), initial (members but for $me).
all() ->
    [{follower_entries, #{}, follower_entries()},
     {follower_refusals, #{}, follower_refusals()},
     {follower_overwrites, #{}, follower_overwrites()},
     {follower_heartbeats, #{}, follower_heartbeats()},
     {follower_information, #{}, follower_information()},
     {follower_votes, #{}, follower_votes()},
     {follower_pre_votes, #{}, follower_pre_votes()},
     {follower_clients, #{}, follower_clients()},
     {follower_strays, #{}, follower_strays()},
     {follower_restart, #{}, follower_restart()},
     {follower_membership, #{}, follower_membership()},
     {non_voter, #{config => #{membership => non_voter}}, non_voter()},
     {unknown_messages, #{}, unknown_messages()},
     {malformed_messages, #{}, malformed_messages()},
     {missing, #{}, missing()},
     {missing_times_out, #{config => #{await_condition_timeout => 200}}, missing_times_out()},
     {next_leader, #{}, next_leader()},
     {term_mismatch, #{}, term_mismatch()}].

%% ---------------------------------------------------------------------------------------------------------------
%% Follower.

follower_entries() ->
    [{cast, aer(1, {0, 0}, [], 0)},
     {cast, aer(1, {0, 0}, [noop(1, 1)], 0)},
     {cast, aer(1, {1, 1}, [], 1)},
     {cast, aer(1, {1, 1}, [put(2, 1, <<"a">>, 1)], 1)},
     {cast, aer(1, {2, 1}, [put(3, 1, <<"b">>, 2), put(4, 1, <<"a">>, 3)], 2)},
     {cast, aer(1, {4, 1}, [], 4)},
     %% again, in whole and in part
     {cast, aer(1, {2, 1}, [put(3, 1, <<"b">>, 2), put(4, 1, <<"a">>, 3)], 4)},
     {cast, aer(1, {2, 1}, [put(3, 1, <<"b">>, 2)], 4)},
     {cast, aer(1, {3, 1}, [put(4, 1, <<"a">>, 3), put(5, 1, {any, "key"}, #{any => 1.5})], 4)},
     %% commit ahead of the log
     {cast, aer(1, {5, 1}, [delete(6, 1, <<"b">>)], 100)},
     {cast, aer(1, {6, 1}, [put(7, 1, <<"c">>, 1)], 6)},
     {cast, aer(1, {7, 1}, [put(8, 1, <<"d">>, 1)], 3)},
     {cast, aer(1, {8, 1}, [], 8)},
     read,
     %% an uncommitted tail is cut
     {cast, aer(1, {8, 1}, [put(9, 1, <<"e">>, 1), put(10, 1, <<"f">>, 1)], 8)},
     {cast, aer(1, {8, 1}, [], 8)},
     {cast, aer(1, {8, 1}, [put(9, 1, <<"g">>, 1)], 9)},
     %% an entry of a later term in the same leadership's log; an unknown command counts as applied
     {cast, aer(3, {9, 1}, [noop(10, 3), {11, 3, {'$unknown', #{ts => 1}, x}}], 11)},
     {cast, aer(3, {11, 3}, [{12, 3, {'$usr', #{ts => 5, from => {'$pid', tag}}, put_command(1, 2), await_consensus}}], 12)},
     {cast, aer(3, {12, 3}, [{13, 3, {'$usr', #{ts => 5}, put_command(1.0, 2), {notify, 1, '$pid'}}}], 13)},
     read].

follower_refusals() ->
    three() ++
    [{cast, aer(3, {3, 1}, [noop(4, 3)], 3)},
     {cast, aer(2, {3, 1}, [noop(4, 2)], 4)},
     {cast, aer(2, {4, 3}, [], 4)},
     {cast, aer('$b', 1, {0, 0}, [], 0)},
     {cast, heartbeat(7, 2, '$b')},
     {cast, aer(3, {4, 3}, [], 4)},
     %% another leader of a later term, and of one nobody knows
     {cast, aer('$b', 4, {4, 3}, [noop(5, 4)], 4)},
     {cast, aer('$c', 5, {5, 4}, [noop(6, 5)], 5)},
     {cast, aer('$b', 6, {6, 5}, [], 6)}].

follower_overwrites() ->
    three() ++
    [{cast, aer(1, {3, 1}, [put(4, 1, <<"x">>, 1), put(5, 1, <<"y">>, 1), put(6, 1, <<"z">>, 1)], 3)},
     %% the first of a later term takes their place
     {cast, aer('$b', 2, {3, 1}, [noop(4, 2)], 3)},
     {cast, aer('$b', 2, {4, 2}, [put(5, 2, <<"x">>, 2)], 5)},
     {cast, aer('$b', 2, {5, 2}, [put(6, 2, <<"y">>, 2), put(7, 2, <<"z">>, 2)], 5)},
     %% equal at first, other after that
     {cast, aer(4, {5, 2}, [put(6, 2, <<"y">>, 2), noop(7, 4)], 5)},
     %% the tail of another term is not proved by an entry in front of it
     {differs, partial_acknowledgement_term, {cast, aer('$b', 6, {4, 2}, [put(5, 2, <<"x">>, 2)], 7)}},
     {cast, aer('$b', 6, {5, 2}, [put(6, 2, <<"y">>, 2)], 7)},
     {cast, aer('$b', 6, {6, 2}, [], 6)},
     {cast, aer('$b', 6, {6, 2}, [noop(7, 6)], 7)},
     read].

follower_heartbeats() ->
    [{cast, heartbeat(1, 1, '$a')},
     {cast, heartbeat(2, 1, '$a')}] ++ three() ++
    [{cast, heartbeat(3, 1, '$a')},
     {cast, heartbeat(1, 1, '$a')},
     {cast, heartbeat(4, 0, '$b')},
     {cast, heartbeat(5, 4, '$b')},
     {cast, aer(3, {3, 1}, [], 3)},
     {cast, aer('$b', 4, {3, 1}, [noop(4, 4)], 4)},
     {cast, heartbeat(6, 4, '$b')},
     {cast, heartbeat(0, 9, '$c')}].

follower_information() ->
    [{cast, info('$a', 0)},
     {cast, info('$a', 2)},
     {cast, info('$b', 1)},
     {cast, {info_rpc, '$a', 2, []}},
     {cast, {info_rpc, '$a', 2, [machine_version, no_such_key]}},
     {cast, {info_rpc, '$a', 2, [no_such_key]}},
     {cast, {info_reply, '$a', 2, [machine_version], #{machine_version => 0}}},
     {cast, {info_reply, '$b', 5, [machine_version], #{machine_version => 0}}},
     {cast, info('$b', 5)}].

follower_votes() ->
    three() ++
    [{ask, vote(0, '$b', 3, 1)},
     {ask, vote(1, '$b', 3, 1)},
     {ask, vote(1, '$a', 3, 1)},
     {ask, vote(1, '$b', 3, 1)},
     {ask, vote(2, '$b', 2, 1)},
     {ask, vote(2, '$b', 3, 0)},
     {ask, vote(3, '$b', 3, 1)},
     {ask, vote(3, '$a', 9, 9)},
     {ask, vote(3, '$b', 3, 1)},
     {cast, aer('$b', 3, {3, 1}, [noop(4, 3)], 3)},
     {ask, vote(4, '$a', 10, 1)},
     {ask, vote(4, '$a', 1, 4)},
     {ask, vote(9, '$c', 9, 9)},
     {cast, {request_vote_result, 9, true}},
     {cast, {request_vote_result, 12, true}},
     {differs, vote_by_cast, {cast, vote(10, '$a', 9, 9)}}].

follower_pre_votes() ->
    [{ask, prevote(0, '$a', 0, 0)}] ++ three() ++
    [{ask, prevote(0, '$b', 3, 1)},
     {ask, prevote(1, '$b', 3, 1)},
     {ask, prevote(1, '$a', 9, 1)},
     {ask, prevote(1, '$c', 1, 2)},
     %% a shorter log: silence
     {call, prevote(1, '$b', 2, 1)},
     {call, prevote(4, '$b', 9, 0)},
     {ask, prevote(5, '$b', 3, 1)},
     {ask, {pre_vote_rpc, 2, 0, 5, token, '$b', 3, 1}},
     {ask, {pre_vote_rpc, 1, 1, 5, token, '$b', 3, 1}},
     {ask, {pre_vote_rpc, 0, 0, 5, {"any", token}, '$b', 3, 1}},
     {cast, aer(5, {3, 1}, [noop(4, 5)], 4)},
     {cast, {pre_vote_result, 5, token, true}},
     {cast, {pre_vote_result, 7, token, true}}].

follower_clients() ->
    [{call, lcall(command(put_command(<<"k">>, 1), await_consensus))},
     {call, lcall({consistent_query, {ra_lib, ignore, []}})}] ++ three() ++
    [{ask, lcall(command(put_command(<<"k">>, 1), await_consensus))},
     {ask, lcall({consistent_aux, {get, <<"k1">>}})},
     {ask, lcall({transfer_leadership, '$a'})},
     {ask, lcall({state_query, members})},
     {ask, {local_call, {state_query, leader}}},
     {ask, {state_query, members}},
     {ask, {state_query, voters}},
     {ask, {state_query, members_info}},
     {ask, {local_query, {ra_lib, id, []}}},
     {ask, {local_query, {ra_lib, ignore, []}, #{condition => {applied, {3, 1}}}}},
     {call, {local_query, {ra_lib, ignore, []}, #{condition => {applied, {4, 1}}}}},
     {differs, waiting_query_names_the_leader, {cast, aer(1, {3, 1}, [noop(4, 1)], 4)}},
     {ask, {aux_command, {get, <<"k1">>}}},
     {ask, command(put_command(<<"k">>, 1), await_consensus)},
     {cast, command(put_command(<<"k">>, 1), noreply)},
     {cast, command(put_command(<<"k">>, 1), {notify, 17, '$pid'})},
     {cast, {leader_cast, command(put_command(<<"k">>, 1), noreply)}},
     {ask, {command, low, {'$usr', put_command(<<"k">>, 1), await_consensus}}}].

%% Answers of an election or a leadership of long ago.
follower_strays() ->
    three() ++
    [{cast, reply('$a', 1, true, 4, 3, 1)},
     {cast, reply('$b', 0, false, 4, 3, 1)},
     {cast, reply('$b', 4, false, 4, 3, 1)},
     {cast, {'$a', {heartbeat_reply, 3, 4}}},
     {cast, {'$a', {heartbeat_reply, 3, 6}}},
     {cast, {'$a', {install_snapshot_result, 6, 3, 1}}},
     {cast, {'$a', {install_snapshot_result, 8, 3, 1}}},
     {cast, aer('$b', 6, {3, 1}, [noop(4, 6)], 4)}].

follower_restart() ->
    three() ++
    [{ask, vote(4, '$b', 3, 1)},
     restart,
     {cast, aer('$b', 4, {3, 1}, [], 3)},
     {ask, vote(4, '$a', 3, 1)},
     {ask, vote(4, '$b', 3, 1)},
     {cast, aer('$b', 4, {3, 1}, [put(4, 4, <<"k">>, 1)], 3)},
     restart,
     {cast, aer('$b', 4, {4, 4}, [], 4)},
     read].

follower_membership() ->
    three() ++
    [{cast, aer(1, {3, 1}, [cluster(4, 1, [{'$me', #{}}, {'$a', #{}}, {'$b', #{}}, {'$c', #{voter_status => #{}}}])], 3)},
     {cast, aer(1, {4, 1}, [], 4)},
     {ask, {state_query, members}},
     {cast, aer(1, {4, 1}, [cluster(5, 1, [{'$me', #{voter_status => #{uid => '$uid', membership => non_voter}}}, {'$a', #{}}, {'$b', #{}}])], 4)},
     {ask, {state_query, voters}},
     %% not a voter: silence
     {call, vote(1, '$a', 5, 1)},
     {call, prevote(1, '$a', 5, 1)},
     {cast, election_timeout},
     %% overwritten: the configuration before counts again
     {cast, aer('$b', 2, {4, 1}, [noop(5, 2)], 4)},
     {ask, {state_query, members}},
     {call, vote(3, '$b', 5, 2)},
     {cast, aer('$b', 3, {5, 2}, [cluster(6, 3, [{'$me', #{voter_status => #{uid => <<"ANOTHER">>, membership => non_voter}}}, {'$b', #{}}])], 6)},
     {ask, {state_query, members}}].

non_voter() ->
    [{call, vote(1, '$a', 0, 0)}] ++ three() ++
    [{call, prevote(2, '$a', 3, 1)},
     {call, vote(2, '$a', 3, 1)},
     {cast, election_timeout},
     {ask, trigger_election},
     {cast, aer(2, {3, 1}, [noop(4, 2)], 4)}].

unknown_messages() ->
    three() ++
    [{cast, no_such_message},
     {cast, {no_such_record, 1, 2, 3}},
     {cast, {'$b', {no_such_record, 1, 2}}},
     {cast, []},
     {cast, 17},
     {info, hello},
     {info, {hello, "world", #{}}},
     {ask, no_such_call},
     {ask, {no_such_record, [1, 2, 3]}},
     {ask, {leader_call, no_such_call}},
     {ask, {local_call, no_such_call}},
     {ask, 17},
     {ask, []},
     {ask, <<"binary">>},
     {ask, {state_query, no_such_query}},
     {ask, ping}].

%% Records with fields missing or too many: what is left is unknown, and a call is told so.
malformed_messages() ->
    three() ++
    [{cast, {append_entries_rpc, 1, '$a'}},
     {cast, {append_entries_rpc, 1, '$a', 3, 3, 1, [], more}},
     {cast, {'$a', {append_entries_reply, 1}}},
     {cast, {heartbeat_rpc, 1}},
     {cast, {info_rpc, '$a'}},
     {cast, {'$a', {heartbeat_reply}}},
     {ask, {request_vote_rpc, 1}},
     {ask, {request_vote_rpc, 1, '$a', 3, 1, more}},
     {ask, {pre_vote_rpc, 1, 0}},
     {ask, {install_snapshot_rpc, 1, '$a'}},
     {cast, {pre_vote_rpc}},
     {ask, ping}].

%% ---------------------------------------------------------------------------------------------------------------
%% await_condition.

missing() ->
    [{cast, aer(1, {5, 1}, [noop(6, 1)], 5)},
     {cast, aer(1, {5, 1}, [noop(6, 1)], 5)},
     {cast, heartbeat(1, 1, '$a')},
     {cast, info('$a', 1)},
     {ask, ping},
     {ask, {state_query, leader}},
     {ask, lcall(command(put_command(k, v), await_consensus))},
     {cast, command(put_command(k, v), noreply)},
     {cast, command(put_command(k, v), {notify, 3, '$pid'})},
     {cast, aer('$b', 0, {0, 0}, [], 0)},
     {cast, aer(1, {0, 0}, [noop(1, 1), put(2, 1, <<"k">>, 1)], 2)},
     {cast, aer(1, {9, 1}, [], 2)},
     {ask, prevote(1, '$b', 2, 1)},
     {ask, prevote(1, '$b', 1, 1)},
     {ask, prevote(0, '$b', 2, 1)},
     {cast, reply('$b', 7, true, 1, 0, 0)},
     {cast, aer(1, {2, 1}, [put(3, 1, <<"k">>, 2)], 3)},
     {cast, aer(2, {9, 1}, [], 2)},
     %% out of it by a vote
     {ask, vote(3, '$b', 3, 1)},
     {cast, aer('$b', 3, {9, 1}, [], 2)},
     %% a mismatch is news
     {cast, aer('$b', 3, {3, 2}, [], 2)},
     {cast, aer('$b', 3, {3, 1}, [noop(4, 3)], 4)},
     {cast, aer('$b', 3, {12, 3}, [], 2)},
     %% out of it by an election
     {ask, trigger_election},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {cast, aer('$b', 3, {4, 3}, [], 4)},
     %% the leader dies meanwhile
     {cast, aer('$b', 3, {12, 3}, [], 2)},
     {may_differ, dead_leader_is_forgotten, {stop, b}},
     {may_differ, dead_leader_is_forgotten, {await_role, follower}},
     {may_differ, dead_leader_is_forgotten, {start, b}},
     {cast, aer('$b', 4, {4, 3}, [noop(5, 4)], 5)},
     read].

%% A leader that has not got the refusal.
next_leader() ->
    three() ++
    [{cast, aer(1, {5, 1}, [noop(6, 1)], 5)},
     {differs, next_leader_is_answered, {cast, aer('$b', 2, {5, 1}, [], 3)}},
     {cast, aer('$b', 2, {3, 1}, [noop(4, 2)], 4)},
     read].

missing_times_out() ->
    three() ++
    [{cast, aer(1, {5, 1}, [noop(6, 1)], 5)},
     {await_message, a, append_entries_reply},
     {cast, aer(1, {3, 1}, [], 3)},
     {cast, aer(2, {3, 2}, [noop(4, 2)], 3)},
     {await_message, a, append_entries_reply},
     {cast, aer(2, {3, 1}, [noop(4, 2)], 4)}].

term_mismatch() ->
    three() ++
    [{cast, aer(1, {3, 1}, [put(4, 1, <<"x">>, 1), put(5, 1, <<"y">>, 1)], 3)},
     {cast, aer('$b', 3, {5, 2}, [noop(6, 3)], 3)},
     {cast, aer('$b', 3, {4, 2}, [put(5, 2, <<"y">>, 2)], 3)},
     {cast, aer('$b', 3, {9, 2}, [put(10, 2, <<"y">>, 2)], 3)},
     {cast, info('$b', 9)},
     {ask, prevote(3, '$b', 5, 2)},
     {cast, aer('$b', 3, {3, 1}, [noop(4, 2), noop(5, 3)], 4)},
     {cast, aer('$b', 3, {5, 3}, [], 5)},
     read].
