%% SPDX-License-Identifier: Apache-2.0
%% The records that the scripts of the twin tests send (docs/protocol/wire.md 2 to 4), and the openings that they share.
%% '$a' and '$b' are the scripted members, '$me' the real one.
-module(twin_records).

-export([aer/4, aer/5, reply/6, entry/3, put/4, delete/3, noop/2, cluster/3, put_command/2, heartbeat/3, vote/4,
         prevote/4, info/2, meta/2, snapshot_rpc/4, lcall/1, command/2, three/0, leads/0]).

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
