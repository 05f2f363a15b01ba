%% The scripts of the twin tests: what a leader, a candidate, a follower or a client says to a member, step by step.
%% twin_run has the notation. '$a' and '$b' are the scripted members, '$me' the real one.
-module(twin_scripts).

-export([all/0, aer/4, put/4, entry/3, heartbeat/3, meta/2, snapshot_rpc/4]).

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
     {term_mismatch, #{}, term_mismatch()},
     {pre_vote, #{}, pre_vote()},
     {candidate, #{}, candidate()},
     {leader, #{}, leader()},
     {leader_replies, #{}, leader_replies()},
     {leader_steps_down, #{}, leader_steps_down()},
     {leader_reads, #{}, leader_reads()},
     {leader_membership, #{}, leader_membership()},
     {leader_clients, #{}, leader_clients()},
     {transfer, #{}, transfer()},
     {snapshot, #{}, snapshot()},
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
     {overwriting_last_applied, #{}, overwriting_last_applied()},
     {crash_same_term, #{}, crash_same_term()},
     {crash_heartbeat, #{}, crash_heartbeat()},
     {crash_chunk, #{}, crash_chunk()},
     {crash_checksum, #{}, crash_checksum()},
     {vote_is_kept, #{}, vote_is_kept()},
     {votes_have_owners, #{}, votes_have_owners()}].

%% ---------------------------------------------------------------------------------------------------------------
%% Records.

%% A leader's entries: of '$a' unless the term says otherwise.
aer(Term, {PrevIndex, PrevTerm}, Entries, Commit) -> aer('$a', Term, {PrevIndex, PrevTerm}, Entries, Commit).
aer(Leader, Term, {PrevIndex, PrevTerm}, Entries, Commit) ->
    {append_entries_rpc, Term, Leader, Commit, PrevIndex, PrevTerm, Entries}.

reply(Peer, Term, Success, Next, Last, LastTerm) -> {Peer, {append_entries_reply, Term, Success, Next, Last, LastTerm}}.

entry(Index, Term, Command) -> {Index, Term, Command}.
put(Index, Term, Key, Value) ->
    {Index, Term, {'$usr', #{ts => 1000 + Index}, put_command(Key, Value), noreply}}.
delete(Index, Term, Key) -> {Index, Term, {'$usr', #{ts => 1000 + Index}, {delete, Key}, noreply}}.
noop(Index, Term) -> {Index, Term, {noop, #{ts => 1000 + Index}, 0}}.
cluster(Index, Term, Members) ->
    Peer = #{next_index => 1, match_index => 0, query_index => 0, commit_index_sent => 0, status => normal},
    {Index, Term, {'$ra_cluster_change', #{ts => 1000 + Index}, #{Id => maps:merge(Peer, With) || {Id, With} <- Members},
                   after_log_append}}.

put_command(Key, Value) ->
    {put, Key, Value, #{size => erlang:external_size(Value), hash => erlang:phash2(Value)}}.

heartbeat(Query, Term, Leader) -> {heartbeat_rpc, Query, Term, Leader}.
vote(Term, Candidate, Index, LastTerm) -> {request_vote_rpc, Term, Candidate, Index, LastTerm}.
prevote(Term, Candidate, Index, LastTerm) -> {pre_vote_rpc, 1, 0, Term, token, Candidate, Index, LastTerm}.
info(From, Term) -> {info_rpc, From, Term, [machine_version]}.

meta(Index, Term) -> #{index => Index, term => Term, cluster => #{'$me' => #{}, '$a' => #{}, '$b' => #{}}, machine_version => 0}.
snapshot_rpc(Term, Meta, Chunk, Data) -> {install_snapshot_rpc, Term, '$a', Meta, Chunk, Data}.

lcall(Request) -> {leader_call, Request}.
command(Data, Mode) -> {command, normal, {'$usr', Data, Mode}}.

%% Three entries of term 1, applied.
three() ->
    [{cast, aer(1, {0, 0}, [noop(1, 1), put(2, 1, <<"k1">>, <<"v1">>), put(3, 1, <<"k2">>, <<"v2">>)], 3)}].

%% The member leads in term 1, its noop committed by a.
leads() ->
    [{ask, trigger_election}, {await, a, pre_vote_rpc}, {await, b, pre_vote_rpc},
     {answer, a, {pre_vote_result, 0, '$token', true}}, {await, a, request_vote_rpc}, {await, b, request_vote_rpc},
     {answer, a, {request_vote_result, 1, true}}, {await_role, leader},
     {cast, {info_reply, '$a', 1, [machine_version], #{machine_version => 0}}},
     {cast, {info_reply, '$b', 1, [machine_version], #{machine_version => 0}}},
     {cast, reply('$a', 1, true, 2, 1, 1)}, {cast, reply('$b', 1, true, 2, 1, 1)}].

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
     %% equal in front, other behind
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
    again(15, 9, {cast, heartbeat(1, 16, '$a')}) ++
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
     {answer, b, install_snapshot_rpc, {append_entries_reply, 1, false, 5, 4, 1}},
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
