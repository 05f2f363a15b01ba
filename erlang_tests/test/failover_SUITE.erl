%% SPDX-License-Identifier: Apache-2.0
%% kill -9 of a leader under 64 writers, again and again: the time until the first write that began after it is
%% acknowledged, of a cluster of BEAM members as control and of mixed ones. No acknowledged write is lost, and no reader
%% sees an older value than one read before.
%%
%%   RAKV_FAILOVER_ROUNDS   kills of each case (default 2; 20 give figures worth having)
-module(failover_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(WRITERS, 64).
-define(READERS, 8).
-define(FIRST_MS, 60000).

all() -> [beam_by_beam, beam_by_rakv, rakv_by_beam, rakv_by_rakv].

suite() -> [{timetrap, {minutes, 30}}].

init_per_suite(Config) ->
    [{rounds, list_to_integer(os:getenv("RAKV_FAILOVER_ROUNDS", "2"))} | Config].
end_per_suite(_Config) -> ok.

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

%% The control.
beam_by_beam(Config) -> failover("a BEAM leader, followed by BEAM", [beam, beam, beam], Config).
beam_by_rakv(Config) -> failover("a BEAM leader, followed by rakv", [beam, rakv, rakv], Config).
rakv_by_beam(Config) -> failover("a rakv leader, followed by BEAM", [rakv, beam, beam], Config).
rakv_by_rakv(Config) -> failover("a rakv leader, followed by rakv", [rakv, rakv, rakv], Config).

%% ---------------------------------------------------------------------------------------------------------------

failover(What, Kinds, Config) ->
    Cluster = cluster_ct:start(Config, Kinds, #{modules => [failover_load]}),
    Load = cluster_ct:call(Cluster, failover_load, start,
                           [cluster_ct:servers(Cluster), #{writers => ?WRITERS, readers => ?READERS}]),
    Rounds = proplists:get_value(rounds, Config),
    Times = [round(Cluster, Load) || _ <- lists:seq(1, Rounds)],
    ok = cluster_ct:call(Cluster, failover_load, stop, [Load]),
    Report = cluster_ct:call(Cluster, failover_load, check, [Load], infinity),
    #{acknowledged := Acknowledged, unknown := Unknown, reads := Reads, keys := Keys, lost := Lost, older := Older} = Report,
    cluster_ct:say("~ts, killed ~b times under ~b writers: first write after ~b ms (median), ~b ms (worst); "
                   "~b writes acknowledged, ~b of unknown outcome, ~b keys compared, ~b lost; ~b reads, ~b of older values",
                   [What, Rounds, ?WRITERS, median(Times), round(lists:max(Times)), Acknowledged, Unknown, Keys,
                    length(Lost), Reads, length(Older)]),
    ct:log("times: ~p", [[round(Time) || Time <- Times]]),
    ?assertEqual({[], []}, {lists:sublist(Lost, 10), lists:sublist(Older, 10)}),
    ok = cluster_ct:same_everywhere(Cluster).

%% The first member leads and is killed; gives the milliseconds.
round(#{members := [Leader | Rest]} = Cluster, Load) ->
    ok = cluster_ct:lead(Cluster, Leader),
    %% it need not replay all writes of all rounds when it comes back
    ok = cluster_ct:take_snapshot(Cluster, Leader),
    %% beats of the leader have been seen, and all writers write to it
    ok = more_writes(Cluster, Load, 20 * ?WRITERS),
    ok = cluster_ct:before_kill(Cluster, Leader),
    ok = cluster_ct:call(Cluster, failover_load, kill, [Load, cluster_ct:os_pid(Cluster, Leader)]),
    Ms = rakv_ct:wait_for(fun() -> cluster_ct:call(Cluster, failover_load, first_after_kill, [Load]) end, ?FIRST_MS),
    ok = cluster_ct:after_kill(Cluster, Leader),
    ok = more_writes(Cluster, Load, 20 * ?WRITERS),
    _ = cluster_ct:leader(Cluster#{members := Rest}),
    ok = cluster_ct:restart(Cluster, Leader),
    ok = cluster_ct:wait_caught_up(Cluster, Leader),
    Ms.

more_writes(Cluster, Load, Count) ->
    Before = cluster_ct:call(Cluster, failover_load, acknowledged, [Load]),
    rakv_ct:wait_until(fun() -> cluster_ct:call(Cluster, failover_load, acknowledged, [Load]) >= Before + Count end).

median(Times) ->
    Sorted = lists:sort(Times),
    round((lists:nth((length(Times) + 1) div 2, Sorted) + lists:nth(length(Times) div 2 + 1, Sorted)) / 2).
