%% SPDX-License-Identifier: Apache-2.0
%% Random sequences for twin_run: leaders of rising terms whose logs agree on everything that the member has applied,
%% which say true, old, repeated and premature things; votes, pre-votes, heartbeats, snapshots, restarts in between.
%% What a BEAM member does not survive (truncation below what is applied, gaps) is left out: twin_scripts has that.
-module(twin_random).

-export([run/3, record/3]).

-define(STEPS, 60).

run(Name, Seed, Nodes) ->
    _ = rand:seed(exsss, Seed),
    Random = rand:export_seed(),
    twin_run:random(Name, #{}, fun next/2, {Random, ?STEPS, first_leader()}, Nodes).

%% The same for a BEAM member alone.
record(Name, Seed, Node) ->
    _ = rand:seed(exsss, Seed),
    twin_run:record(Name, #{}, fun next/2, {rand:export_seed(), ?STEPS, first_leader()}, Node).

%% The present leader: its log is a list of entries from index Base+1 on, Base being a snapshot's place.
first_leader() -> #{term => 1, id => '$a', base => {0, 0}, log => [entry(1, 1)], old => 0, votes => 0}.

next({_, 0, _}, _) -> stop;
next({Random, Left, Leader0}, View) ->
    _ = rand:seed(Random),
    {Step0, #{term := Term} = Leader} = choose(rand:uniform(100), Leader0, View),
    Step = case {Step0, View} of
               {{may_differ, partial_acknowledgement_term, Same}, #{term := Seen}} when Seen >= Term -> Same;
               _ -> Step0
           end,
    {Step, {rand:export_seed(), Left - 1, Leader}}.

choose(N, Leader0, _) when N =< 25 ->
    Leader = grow(Leader0),
    {grown_aer(Leader), Leader};
choose(N, Leader, _) when N =< 50 -> {any_aer(Leader), Leader};
choose(N, Leader, _) when N =< 58 -> {end_aer(Leader), Leader};
%% (not while the member waits for a rewind: twin_scripts has that)
choose(N, Leader0, #{applied := _, role := Role} = View) when N =< 66, Role =/= await_condition ->
    new_leader(Leader0, View);
choose(N, #{term := Term, id := Id} = Leader, _) when N =< 70 ->
    %% if it is the first that the member hears of the leader, it asks for the commit index on rakv
    Heartbeat = twin_records:heartbeat(rand:uniform(5), Term - rand:uniform(2) + 1, Id),
    {{may_differ, first_heartbeat_is_refused, {cast, Heartbeat}}, Leader};
choose(N, Leader, _) when N =< 74 ->
    {{cast, {append_entries_rpc, old_term(Leader), other(Leader), 0, 0, 0, []}}, Leader};
choose(N, #{term := Term, votes := Votes} = Leader, #{last := {Last, LastTerm}}) when N =< 80 ->
    Vote = {request_vote_rpc, max(0, Term + rand:uniform(3) - 3), other(Leader), max(0, Last + rand:uniform(3) - 2),
            max(0, LastTerm + rand:uniform(3) - 2)},
    {{call, Vote}, Leader#{votes := Votes + 1}};
%% (not while the member asks itself: rakv lets the other one go first)
choose(N, #{term := Term} = Leader, #{last := {Last, LastTerm}, role := Role}) when N =< 86, Role =/= pre_vote ->
    PreVote = {pre_vote_rpc, 1, 0, max(0, Term + rand:uniform(3) - 3), token, other(Leader),
               max(0, Last + rand:uniform(3) - 2), max(0, LastTerm + rand:uniform(3) - 2)},
    {{call, PreVote}, Leader};
choose(N, #{term := Term, id := Id} = Leader, _) when N =< 89 ->
    {{cast, {info_rpc, Id, max(0, Term - 1), [machine_version]}}, Leader};
choose(N, #{term := Term} = Leader, _) when N =< 91 ->
    {{cast, {other(Leader), {append_entries_reply, Term, true, 9, 8, 1}}}, Leader};
choose(N, Leader, #{role := follower}) when N =< 94 -> {snapshot(Leader), Leader};
%% (not after others have asked for its vote in vain: rakv skips the pre-vote then, docs/divergence.md)
choose(N, #{votes := Votes} = Leader, #{role := Role}) when N =< 96, Role =/= pre_vote, Votes < 2 ->
    {{ask, trigger_election}, Leader};
choose(N, Leader, _) when N =< 98 -> {read, Leader};
choose(_, Leader, _) -> {any_aer(Leader), Leader}.

%% What the leader has more now is sent at once.
grown_aer(#{term := Term, id := Id, log := Log} = Leader) ->
    Count = min(length(Log), 1 + rand:uniform(3)),
    Entries = lists:nthtail(length(Log) - Count, Log),
    {Prev, PrevTerm} = place(Leader, last(Leader) - Count),
    aer(Id, Term, {Prev, PrevTerm}, Entries, commit(Leader)).

%% Some stretch of the leader's log, perhaps with nothing in it that is new.
any_aer(#{term := Term, id := Id, log := Log, base := {Base, _}} = Leader) ->
    case Log of
        [] -> end_aer(Leader);
        _ ->
            From = rand:uniform(length(Log)),
            Entries = lists:sublist(Log, From, rand:uniform(4)),
            aer(Id, Term, place(Leader, Base + From - 1), Entries, commit(Leader))
    end.

%% No entries: the log ends where the leader's does.
end_aer(#{term := Term, id := Id} = Leader) -> aer(Id, Term, place(Leader, last(Leader)), [], commit(Leader)).

%% An acknowledgement of a part, in the first message of a term, is of the present term on rakv.
aer(Id, Term, {Prev, PrevTerm}, Entries, Commit) ->
    {may_differ, partial_acknowledgement_term, {cast, {append_entries_rpc, Term, Id, Commit, Prev, PrevTerm, Entries}}}.

%% Another leader: it has what the member has applied, and perhaps more.
new_leader(#{log := Log, base := {Base, _}} = Leader0, #{applied := Applied, term := Seen}) ->
    Least = max(Applied - Base, 0),
    Kept = Least + rand:uniform(length(Log) - Least + 1) - 1,
    Term = max(Seen, maps:get(term, Leader0)) + rand:uniform(2),
    Leader1 = Leader0#{log := lists:sublist(Log, Kept), old := maps:get(term, Leader0), term := Term, id := other(Leader0)},
    Leader = Leader1#{log := lists:sublist(Log, Kept) ++ [entry(last(Leader1) + 1, Term)]},
    {grown_aer(Leader), Leader}.

grow(#{log := Log, term := Term} = Leader) ->
    Log1 = Log ++ [entry(last(Leader) + 1, Term)],
    Leader#{log := Log1}.

snapshot(#{term := Term} = Leader) ->
    {Index, SnapTerm} = place(Leader, last(Leader)),
    Meta = twin_records:meta(Index, SnapTerm),
    {ask, {install_snapshot_rpc, Term, maps:get(id, Leader), Meta, {1, last}, {'$snapshot', Meta, [], 1, 1}}}.

entry(Index, Term) when Index rem 5 =:= 1 -> {Index, Term, {noop, #{ts => Index}, 0}};
entry(Index, Term) -> twin_records:put(Index, Term, <<"key", (Index rem 7 + $0)>>, {Index, Term}).

last(#{log := Log, base := {Base, _}}) -> Base + length(Log).
place(#{base := {Base, Term}}, Base) -> {Base, Term};
place(#{log := Log, base := {Base, _}}, Index) ->
    {Index, Term, _} = lists:nth(Index - Base, Log),
    {Index, Term}.
commit(Leader) -> max(0, rand:uniform(last(Leader) + 2) - 1).
other(#{id := '$a'}) -> '$b';
other(_) -> '$a'.
old_term(#{term := Term}) -> max(0, Term - rand:uniform(2)).
