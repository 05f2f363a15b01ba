%% SPDX-License-Identifier: Apache-2.0
%% Clients put and get while one fault follows the other: what they saw is linearizable key by key, no acknowledged write is
%% lost, and at the end all members have the same. `make nemesis SECONDS=n SEED=n` is a long run.
%%
%%   RAKV_NEMESIS_SECONDS   of faults for each cluster (default 10)
%%   RAKV_NEMESIS_FAULTS    only these, with commas between (default: all that nemesis_faults has)
%%   RAKV_SEED              repeats a run's choices; what happens in between is up to the machine
-module(nemesis_SUITE).

-include_lib("common_test/include/ct.hrl").
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
    Cluster = cluster_ct:start(Config, Kinds, nemesis:options()),
    ok = cluster_ct:start_member(Cluster, guest, rakv),
    Load = cluster_ct:call(Cluster, nemesis_load, start, [load(Cluster)]),
    Seen = nemesis:run(Cluster, Seconds, chosen(nemesis_faults:names(length(Kinds), Seconds)), Load),
    History = cluster_ct:call(Cluster, nemesis_load, stop, [Load]),
    cluster_ct:say("~p: ~b s, ~b operations ~0p, ~b puts of unknown outcome, ~b faults~n~ts",
                   [Kinds, Seconds, length(History), ways(History), length([1 || {_, _, {_, infinity, _}} <- History]),
                    length(Seen), nemesis:table(Seen)]),
    ok = judge(History, Config),
    ok = cluster_ct:same_everywhere(Cluster).

%% The guest is a rakv node that is no member.
load(#{config := Config} = Cluster) ->
    {ok, Program} = rakv:program(),
    #{servers => cluster_ct:servers(Cluster), program => Program, args => ["--cookie", rakv_ct:cookie(Config)],
      nodes => [cluster_ct:node_of(Cluster, Name) || Name <- [guest | cluster_ct:members(Cluster)]]}.

chosen(All) ->
    case os:getenv("RAKV_NEMESIS_FAULTS", "") of
        "" -> All;
        Text -> [list_to_existing_atom(Name) || Name <- string:lexemes(Text, ", ")]
    end.

ways(History) -> maps:map(fun(_Way, Operations) -> length(Operations) end,
                          maps:groups_from_list(fun({Way, _, _}) -> Way end, History)).

%% A history that can't be is kept as a term beside the logs.
judge(History, Config) ->
    Keys = maps:groups_from_list(fun({_, Key, _}) -> Key end, fun({_, _, Operation}) -> Operation end, History),
    case [{Key, What} || {Key, Operations} <- maps:to_list(Keys), {violation, What} <- [linearizability:check(Operations)]] of
        [] ->
            ok;
        Violations ->
            File = filename:join(?config(rakv_dir, Config), "history"),
            ok = file:write_file(File, io_lib:format("~0p.~n", [History])),
            ct:fail({not_linearizable, Violations, history, File})
    end.

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
