%% SPDX-License-Identifier: Apache-2.0
%% The scripts of the twin tests for a candidate and a leader, step by step.
%% twin_run has the notation.
-module(twin_leader_scripts).

-export([all/0]).

-import(twin_records, [aer/4, aer/5, reply/6, noop/2, put_command/2, heartbeat/3, vote/4, prevote/4, info/2, meta/2,
                       snapshot_rpc/4, lcall/1, command/2, three/0, leads/0]).

%% {Name, Options, Steps}; options: config (added to the configuration of the server), initial (members but for $me).
all() ->
    [{pre_vote, #{}, pre_vote()},
     {candidate, #{}, candidate()},
     {leader, #{}, leader()},
     {leader_replies, #{}, leader_replies()},
     {leader_steps_down, #{}, leader_steps_down()},
     {leader_reads, #{}, leader_reads()},
     {leader_membership, #{}, leader_membership()},
     {leader_clients, #{}, leader_clients()},
     {transfer, #{}, transfer()}].

%% ---------------------------------------------------------------------------------------------------------------
%% pre_vote and candidate.

pre_vote() ->
    three() ++
    [{ask, trigger_election},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {ask, trigger_election},
     {ask, ping},
     {call, lcall(command(put_command(k, v), await_consensus))},
     {cast, command(put_command(k, v), {notify, 3, '$pid'})},
     {cast, aer(0, {3, 1}, [], 3)},
     {cast, heartbeat(1, 0, '$a')},
     {cast, info('$a', 1)},
     {cast, {info_reply, '$a', 1, [machine_version], #{machine_version => 0}}},
     {cast, reply('$b', 7, true, 1, 0, 0)},
     {cast, {request_vote_result, 1, true}},
     {ask, vote(1, '$b', 3, 1)},
     {ask, prevote(1, '$b', 3, 1)},
     {ask, prevote(1, '$b', 2, 1)},
     {ask, prevote(0, '$b', 3, 1)},
     {differs, chunk_is_not_echoed, {ask, snapshot_rpc(0, meta(9, 1), {1, last}, <<>>)}},
     {answer, a, {pre_vote_result, 1, '$token', false}},
     {answer, b, {pre_vote_result, 1, another_token, true}},
     {ask, no_such_call},
     %% once more, and a leader turns up
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {cast, aer(1, {3, 1}, [], 3)},
     {answer, a, {pre_vote_result, 1, '$token', true}},
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {cast, heartbeat(2, 1, '$a')},
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {answer, b, {pre_vote_result, 1, '$token', false}},
     {answer, b, {pre_vote_result, 1, '$token', false}},
     {answer, a, {pre_vote_result, 1, '$token', false}},
     %% a higher term
     {answer, a, {pre_vote_result, 5, '$token', false}},
     {cast, aer(5, {3, 1}, [noop(4, 5)], 4)},
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {ask, vote(6, '$b', 4, 5)},
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {cast, info('$b', 7)},
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {cast, {'$a', {heartbeat_reply, 0, 8}}},
     {cast, aer(8, {4, 5}, [], 4)}].

candidate() ->
    three() ++
    [{cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {answer, b, {pre_vote_result, 1, '$token', true}},
     {await, a, request_vote_rpc}, {await, b, request_vote_rpc},
     {ask, ping},
     {call, lcall(command(put_command(k, v), await_consensus))},
     {cast, command(put_command(k, v), {notify, 3, '$pid'})},
     {ask, trigger_election},
     {cast, aer(1, {3, 1}, [], 3)},
     {cast, heartbeat(1, 1, '$a')},
     {cast, info('$a', 2)},
     {cast, {info_reply, '$a', 2, [machine_version], #{machine_version => 0}}},
     {ask, vote(2, '$b', 3, 1)},
     {ask, vote(1, '$b', 3, 1)},
     {ask, prevote(2, '$b', 3, 1)},
     {ask, prevote(2, '$b', 2, 1)},
     {ask, snapshot_rpc(1, meta(9, 1), {1, last}, <<>>)},
     {ask, no_such_call},
     {answer, a, {pre_vote_result, 1, '$token', true}},
     {answer, a, {request_vote_result, 2, false}},
     %% once more, and everybody's term is higher
     {cast, election_timeout},
     {await, a, request_vote_rpc}, {await, b, request_vote_rpc},
     {answer, b, {request_vote_result, 2, true}},
     {answer, b, {request_vote_result, 9, false}},
     {cast, aer(9, {3, 1}, [noop(4, 9)], 4)},
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {answer, a, {pre_vote_result, 9, '$token', true}},
     {await, a, request_vote_rpc}, {await, b, request_vote_rpc},
     {ask, vote(11, '$b', 4, 9)},
     {cast, aer('$b', 11, {4, 9}, [noop(5, 11)], 5)},
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc}].

%% ---------------------------------------------------------------------------------------------------------------
%% Leader.

leader() ->
    leads() ++
    [{cast, command(put_command(<<"k1">>, <<"v1">>), {notify, 1, '$pid'})},
     {cast, reply('$a', 1, true, 3, 2, 1)},
     {cast, reply('$b', 1, true, 3, 2, 1)},
     {call, lcall(command(put_command(<<"k2">>, <<"v2">>), await_consensus))},
     {cast, reply('$b', 1, true, 4, 3, 1)},
     {ask, lcall(command({delete, <<"k1">>}, after_log_append))},
     {cast, reply('$a', 1, true, 5, 4, 1)},
     {cast, {command, low, {'$usr', put_command(<<"k3">>, <<"v3">>), {notify, 2, '$pid'}}}},
     {cast, reply('$b', 1, true, 6, 5, 1)},
     {ask, {state_query, members_info}},
     read].

leader_replies() ->
    leads() ++
    [{cast, command(put_command(<<"k1">>, 1), noreply)},
     {cast, command(put_command(<<"k2">>, 2), noreply)},
     %% twice, older, from nobody
     {cast, reply('$a', 1, true, 4, 2, 1)},
     {cast, reply('$a', 1, true, 4, 2, 1)},
     {cast, reply('$a', 1, true, 2, 1, 1)},
     {cast, reply('$c', 1, true, 4, 3, 1)},
     {cast, reply('$a', 0, true, 4, 3, 1)},
     %% refusals: a gap, beyond the log, of another term, lost entries
     {cast, reply('$a', 1, false, 3, 2, 1)},
     {cast, reply('$a', 1, false, 3, 2, 1)},
     {differs, next_index_within_log, {cast, reply('$b', 1, false, 9, 9, 0)}},
     {cast, reply('$b', 1, false, 2, 1, 1)},
     {cast, reply('$b', 1, false, 1, 0, 0)},
     {cast, reply('$b', 1, false, 3, 2, 0)},
     {cast, reply('$c', 1, false, 1, 0, 0)},
     {cast, reply('$b', 1, true, 4, 3, 1)},
     {cast, reply('$a', 1, true, 4, 3, 1)},
     {cast, {'$a', {heartbeat_reply, 3, 0}}},
     {cast, {request_vote_result, 1, true}},
     {cast, {pre_vote_result, 1, token, true}},
     {cast, {'$c', {install_snapshot_result, 1, 3, 1}}},
     {cast, info('$a', 1)},
     {cast, {info_reply, '$a', 1, [machine_version], #{machine_version => 0}}},
     {cast, {info_reply, '$c', 1, [machine_version], #{machine_version => 0}}},
     %% who leads is shown
     {call, prevote(1, '$b', 9, 9)},
     {call, prevote(0, '$b', 9, 9)},
     {call, prevote(7, '$c', 9, 9)},
     {ask, vote(1, '$b', 9, 9)},
     {call, vote(7, '$c', 9, 9)},
     {cast, aer('$b', 0, {0, 0}, [], 0)},
     {cast, heartbeat(1, 0, '$b')},
     {differs, chunk_is_not_echoed, {ask, snapshot_rpc(1, meta(9, 1), {1, last}, <<>>)}},
     {differs, chunk_is_not_echoed, {ask, snapshot_rpc(0, meta(9, 1), {1, last}, <<>>)}},
     {call, {install_snapshot_rpc, 9, '$c', meta(9, 1), {1, last}, <<>>}},
     {ask, trigger_election},
     {cast, election_timeout},
     {ask, no_such_call},
     read,
     {differs, query_index_within_own, {cast, {'$a', {heartbeat_reply, 3, 1}}}}].

leader_steps_down() ->
    leads() ++
    [{cast, command(put_command(<<"k1">>, 1), {notify, 1, '$pid'})},
     {call, lcall({consistent_query, {ra_lib, id, []}})},
     {cast, aer('$b', 2, {1, 1}, [noop(2, 2)], 1)},
     {cast, aer('$b', 2, {2, 2}, [], 2)},
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {answer, a, {pre_vote_result, 2, '$token', true}},
     {await, a, request_vote_rpc}, {await, b, request_vote_rpc},
     {may_differ, versions_are_asked_again, {answer, b, {request_vote_result, 3, true}}}] ++
    again(3, 3, {cast, reply('$a', 4, false, 1, 0, 0)}) ++
    again(5, 4, {cast, {'$b', {heartbeat_reply, 1, 6}}}) ++
    again(7, 5, {ask, vote(8, '$b', 9, 9)}) ++
    again(9, 6, {ask, prevote(10, '$a', 9, 10)}) ++
    again(11, 7, {cast, info('$a', 12)}) ++
    again(13, 8, {cast, {info_reply, '$a', 14, [machine_version], #{}}}) ++
    again(15, 9, {differs, first_heartbeat_is_refused, {cast, heartbeat(1, 16, '$a')}}) ++
    again(17, 10, {cast, {'$a', {install_snapshot_result, 18, 1, 1}}}).

%% Leads in Term with its noop at Index, steps down by Step into the next term, and is elected again after that.
again(Term, _Index, Step) ->
    [{may_differ, versions_are_asked_again, {await_role, leader}}, Step, {await_role, follower},
     {cast, election_timeout},
     {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {answer, a, {pre_vote_result, Term + 1, '$token', true}},
     {await, a, request_vote_rpc}, {await, b, request_vote_rpc},
     {may_differ, versions_are_asked_again, {answer, b, {request_vote_result, Term + 2, true}}},
     {may_differ, versions_are_asked_again, {await_role, leader}}].

leader_reads() ->
    leads() ++
    [{call, lcall({consistent_query, {ra_lib, id, []}})},
     {cast, {'$a', {heartbeat_reply, 0, 1}}},
     {cast, {'$a', {heartbeat_reply, 1, 0}}},
     {cast, {'$c', {heartbeat_reply, 1, 1}}},
     {cast, {'$a', {heartbeat_reply, 1, 1}}},
     {cast, {'$b', {heartbeat_reply, 1, 1}}},
     {call, lcall({consistent_aux, {get, <<"none">>}})},
     {call, lcall({consistent_query, {ra_lib, ignore, []}})},
     {cast, {'$b', {heartbeat_reply, 3, 1}}},
     {ask, lcall({local_query, {ra_lib, ignore, []}})},
     %% not while the configuration changes
     {ask, lcall({command, normal, {'$ra_join', '$c', after_log_append}})},
     {call, lcall({consistent_query, {ra_lib, ignore, []}})},
     {cast, reply('$a', 1, true, 3, 2, 1)},
     {cast, reply('$b', 1, true, 3, 2, 1)},
     {cast, {'$a', {heartbeat_reply, 4, 1}}},
     {cast, {'$b', {heartbeat_reply, 4, 1}}},
     {cast, {'$c', {heartbeat_reply, 4, 1}}}].

leader_membership() ->
    leads() ++
    [{ask, lcall({command, normal, {'$ra_join', '$a', after_log_append}})},
     {ask, lcall({command, normal, {'$ra_leave', '$c', after_log_append}})},
     {ask, lcall({command, normal, {'$ra_join', #{id => '$c', membership => promotable, uid => <<"UIDOFC">>}, after_log_append}})},
     {ask, lcall({command, normal, {'$ra_leave', '$b', after_log_append}})},
     {ask, {state_query, voters}},
     {cast, reply('$a', 1, true, 3, 2, 1)},
     {cast, reply('$b', 1, true, 3, 2, 1)},
     %% caught up: promoted
     {cast, reply('$c', 1, true, 3, 2, 1)},
     {cast, reply('$a', 1, true, 4, 3, 1)},
     {cast, reply('$b', 1, true, 4, 3, 1)},
     {ask, {state_query, members_info}},
     {ask, lcall({command, normal, {'$ra_leave', '$b', after_log_append}})},
     {cast, reply('$a', 1, true, 5, 4, 1)},
     {cast, reply('$c', 1, true, 5, 4, 1)},
     {cast, reply('$b', 1, true, 5, 4, 1)},
     {ask, {state_query, members}}].

leader_clients() ->
    leads() ++
    [{ask, lcall(command(put_command(k, v), no_such_mode))},
     {ask, lcall(command(put_command(k, v), {await_consensus, #{no_such_option => 1}}))},
     {call, lcall(command(put_command(k, v), {await_consensus, #{reply_from => leader}}))},
     {call, lcall(command(put_command(k, v), {await_consensus, #{reply_from => {member, '$me'}}}))},
     {call, lcall(command(put_command(k, v), noreply))},
     {cast, {leader_cast, command(put_command(k, v), {notify, 9, '$pid'})}},
     {cast, reply('$a', 1, true, 6, 5, 1)},
     {ask, lcall({transfer_leadership, '$me'})},
     {ask, lcall({transfer_leadership, '$c'})},
     {ask, lcall({transfer_leadership, {nobody, nowhere}})},
     {ask, lcall({state_query, voters})},
     {ask, {local_query, {ra_lib, ignore, []}}},
     {ask, {aux_command, {get, k}}}].

transfer() ->
    leads() ++
    [{ask, lcall({transfer_leadership, '$b'})},
     {ask, ping},
     {cast, command(put_command(k, v), noreply)},
     {cast, command(put_command(k, v), {notify, 3, '$pid'})},
     {call, lcall(command(put_command(k, v), await_consensus))},
     {cast, aer('$b', 1, {1, 1}, [], 1)},
     {cast, heartbeat(1, 1, '$b')},
     {ask, prevote(1, '$b', 1, 1)},
     {differs, no_redirect_to_oneself, {ask, vote(2, '$b', 1, 1)}},
     {differs, no_redirect_to_oneself, {cast, aer('$b', 2, {1, 1}, [noop(2, 2)], 1)}},
     {cast, aer('$b', 2, {2, 2}, [], 2)}].
