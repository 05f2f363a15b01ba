%% SPDX-License-Identifier: Apache-2.0
%% Clients put and get while one fault follows the other: what they saw is linearizable key by key, no acknowledged write is
%% lost, and at the end all members have the same. `make nemesis SECONDS=n SEED=n` is a long run.
%%
%%   RAKV_NEMESIS_SECONDS   of faults for each cluster (default 10)
%%   RAKV_SEED              repeats a run's choices; what happens in between is up to the machine
-module(nemesis_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() -> [{group, checker}, rrr, rbr, bbr, rrrrr].

groups() -> [{checker, [], [good_histories, bad_histories]}].

suite() -> [{timetrap, {hours, 3}}].

init_per_group(_Group, Config) -> Config.
end_per_group(_Group, _Config) -> ok.

init_per_testcase(Case, Config) when Case =:= good_histories; Case =:= bad_histories -> Config;
init_per_testcase(_Case, Config) -> cluster_ct:init(Config).

%% A BEAM member's server may crash when its WAL is gone, or by what a member that comes back sends: what counts is said by
%% the clients.
end_per_testcase(Case, _Config) when Case =:= good_histories; Case =:= bad_histories -> ok;
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config, "leader_saw_").

rrr(Config) -> faults([rakv, rakv, rakv], Config).
rbr(Config) -> faults([rakv, beam, rakv], Config).
bbr(Config) -> faults([beam, beam, rakv], Config).
rrrrr(Config) -> faults([rakv, rakv, rakv, rakv, rakv], Config).

%% ---------------------------------------------------------------------------------------------------------------

faults(Kinds, Config) ->
    Seed = case os:getenv("RAKV_SEED") of
               false -> erlang:phash2({node(), os:getpid(), erlang:system_time()});
               Text -> list_to_integer(Text)
           end,
    cluster_ct:say("~p: RAKV_SEED=~b", [Kinds, Seed]),
    _ = rand:seed(exsss, {Seed, length(Kinds), erlang:phash2(Kinds)}),
    Seconds = list_to_integer(os:getenv("RAKV_NEMESIS_SECONDS", "10")),
    Cluster = cluster_ct:start(Config, Kinds, #{links => true, modules => [nemesis_load, linearizability],
                                                rakv_args => ["--test-hooks"]}),
    Load = cluster_ct:call(Cluster, nemesis_load, start, [cluster_ct:servers(Cluster), <<"key-">>]),
    AwaitPut = fun(Since, Ms) -> cluster_ct:call(Cluster, nemesis_load, await_put, [Load, Since, Ms]) end,
    #{faults := Faults, longest_ms := Longest, after_fault := After} =
        nemesis:run(Cluster, Seconds, nemesis:faults(length(Kinds)), AwaitPut),
    History = cluster_ct:call(Cluster, nemesis_load, stop, [Load]),
    cluster_ct:say("~p: ~b s, ~b operations, ~b puts of unknown outcome, ~b faults ~0p; longest time to a put after a fault "
                   "was undone ~b ms, after ~0p",
                   [Kinds, Seconds, length(History), length([1 || {_, {_, infinity, _}} <- History]),
                    lists:sum(maps:values(Faults)), Faults, Longest, After]),
    ?assertEqual(#{}, violations(History)),
    ok = cluster_ct:same_everywhere(Cluster).

violations(History) ->
    Keys = maps:groups_from_list(fun({Key, _}) -> Key end, fun({_, Operation}) -> Operation end, History),
    maps:filtermap(fun(_Key, Operations) ->
                           case linearizability:check(Operations) of
                               ok -> false;
                               {violation, What} -> {true, What}
                           end
                   end, Keys).

%% ---------------------------------------------------------------------------------------------------------------
%% The judge itself: {Call, Return, What}.

good_histories(_Config) ->
    [?assertEqual({Name, ok}, {Name, linearizability:check(History)}) || {Name, History} <- [
        {nothing, []},
        {in_order, [{1, 2, {read, undefined}}, {3, 4, {write, a}}, {5, 6, {read, a}}]},
        {read_beside_a_write_sees_the_old, [{1, 2, {write, a}}, {3, 9, {write, b}}, {4, 5, {read, a}}]},
        {read_beside_a_write_sees_the_new, [{1, 2, {write, a}}, {3, 9, {write, b}}, {4, 5, {read, b}}]},
        {two_writes_in_either_order, [{1, 9, {write, a}}, {2, 8, {write, b}}, {10, 11, {read, a}}]},
        {unknown_that_never_was, [{1, 2, {write, a}}, {3, infinity, {write, b}}, {50, 51, {read, a}}]},
        {unknown_that_came_late, [{1, 2, {write, a}}, {3, infinity, {write, b}}, {50, 51, {read, a}}, {60, 61, {read, b}}]},
        {write_between_two_reads, [{1, 10, {write, a}}, {2, 10, {write, b}}, {3, 4, {read, a}}, {5, 6, {read, b}}]}]].

bad_histories(_Config) ->
    [?assertMatch({Name, {violation, #{}}}, {Name, linearizability:check(History)}) || {Name, History} <- [
        {lost, [{1, 2, {write, a}}, {3, 4, {read, undefined}}]},
        {stale, [{1, 2, {write, a}}, {3, 4, {write, b}}, {5, 6, {read, a}}]},
        {back_again, [{1, 2, {write, a}}, {3, 20, {write, b}}, {4, 5, {read, b}}, {6, 7, {read, a}}]},
        {from_nowhere, [{1, 2, {write, a}}, {3, 4, {read, c}}]},
        {before_it_was_written, [{1, 2, {read, a}}, {3, 4, {write, a}}]},
        {unknown_and_gone_again, [{1, 2, {write, a}}, {3, infinity, {write, b}}, {5, 6, {read, b}}, {7, 8, {read, a}}]},
        {two_readers_disagree, [{1, 20, {write, a}}, {1, 20, {write, b}}, {3, 4, {read, a}}, {5, 6, {read, b}},
                                {7, 8, {read, a}}]}]].
