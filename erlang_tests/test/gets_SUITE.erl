%% SPDX-License-Identifier: Apache-2.0
%% Gets of keys that always exist, while they are put again and snapshots are taken all the time, by clients that are near
%% and by clients that are 30 ms away (each way): none may be told that there is no such key. A client asks the leader for
%% the index of the key's entry and reads the entry afterwards; when it comes, the entry has often been superseded.
%%
%%   RAKV_GETS   gets of each case (default 3,000; the whole thing is 1,000,000 over all cases: 60,000)
%%
%% A member of the BEAM that lost the entry meanwhile answers `{ok, {#{}, Cache}}`, without a value: counted, and not ours.
-module(gets_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(FAR_MS, 30).
-define(NEAR_GETTERS, 16).
-define(FAR_GETTERS, 200).

all() ->
    [{group, Distance} || Distance <- [near, far]] ++ [paused_client, restart_between_question_and_read].

groups() ->
    Mixes = [r, b, rrr, rrb, rbb, brr, bbr, bbb],
    [{Distance, [], Mixes} || Distance <- [near, far]].

suite() -> [{timetrap, {minutes, 60}}].

init_per_group(Distance, Config) -> [{distance, Distance} | Config].
end_per_group(_Distance, _Config) -> ok.

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

%% The leader first: `r` is a rakv member, `b` a BEAM.
r(Config) -> gets([rakv], Config).
b(Config) -> gets([beam], Config).
rrr(Config) -> gets([rakv, rakv, rakv], Config).
rrb(Config) -> gets([rakv, rakv, beam], Config).
rbb(Config) -> gets([rakv, beam, beam], Config).
brr(Config) -> gets([beam, rakv, rakv], Config).
bbr(Config) -> gets([beam, beam, rakv], Config).
bbb(Config) -> gets([beam, beam, beam], Config).

gets(Kinds, Config) ->
    Distance = proplists:get_value(distance, Config),
    Cluster = start(Kinds, Distance, Config),
    Servers = [Leader | _] = cluster_ct:servers(Cluster),
    Gets = list_to_integer(os:getenv("RAKV_GETS", "3000")),
    Getters = case Distance of near -> ?NEAR_GETTERS; far -> ?FAR_GETTERS end,
    Counts = cluster_ct:call(Cluster, gets_load, run, [Leader, Servers, Gets, Getters], infinity),
    #{ok := Ok, not_found := NotFound, without_value := WithoutValue, other := Other, puts := Puts, snapshots := Snapshots,
      ms := Ms} = Counts,
    cluster_ct:say("~p, ~p: ~b gets in ~.1f s under ~b puts and ~b snapshots: ~b values, ~b not_found, ~b without a value, "
                   "~b other answers ~0p",
                   [Kinds, Distance, Gets, Ms / 1000, Puts, Snapshots, Ok, NotFound, WithoutValue, length(Other),
                    lists:sublist(Other, 3)]),
    ?assertEqual(0, NotFound),
    ?assert(Puts > 0),
    ?assert(Snapshots > 0),
    %% A rakv leader has every entry that a client may come for.
    [?assertMatch({0, []}, {WithoutValue, Other}) || hd(Kinds) =:= rakv],
    ok.

%% A client that sleeps between the leader's answer and its read, while the key is put again and again, snapshots are taken
%% and the WAL is rolled over.
paused_client(Config) ->
    Cluster = start([rakv], near, Config),
    [Server] = cluster_ct:servers(Cluster),
    {Index, Members} = asked(Cluster, Server),
    ok = supersede(Cluster, Server),
    ?assertMatch({ok, #{index := Index}, 1}, read(Cluster, Server, Index, Members)).

%% The same with kill -9 and a restart in between, twice: once with the entry in a WAL, once in a segment.
restart_between_question_and_read(Config) ->
    Cluster = start([rakv], near, Config),
    [Server] = cluster_ct:servers(Cluster),
    {Index, Members} = asked(Cluster, Server),
    ok = supersede(Cluster, Server),
    [begin
         ok = cluster_ct:kill(Cluster, n1),
         ok = cluster_ct:restart(Cluster, n1),
         ?assertMatch({ok, #{index := Index}, 1}, read(Cluster, Server, Index, Members))
     end || _ <- [1, 2]],
    ok.

%% ---------------------------------------------------------------------------------------------------------------

start(Kinds, Distance, Config) ->
    Cluster = cluster_ct:start_nodes(Config, Kinds, #{links => true, modules => [gets_load]}),
    Links = cluster_ct:links(Cluster),
    Client = cluster_ct:node_of(Cluster, client),
    [begin
         ok = cluster_links:delay(Links, Client, cluster_ct:node_of(Cluster, Name), ?FAR_MS),
         ok = cluster_links:cut(Links, Client, cluster_ct:node_of(Cluster, Name))
     end || Distance =:= far, Name <- cluster_ct:members(Cluster)],
    ok = cluster_ct:form(Cluster, kv),
    ok = cluster_ct:lead(Cluster, n1),
    Cluster.

%% The first half of ra_kv:get/3.
asked(Cluster, Server) ->
    {ok, _} = cluster_ct:call(Cluster, ra_kv, put, [Server, <<"key">>, 1, 10000]),
    {ok, {ok, Index, Members}, Server} = cluster_ct:call(Cluster, ra, consistent_aux, [Server, {get, <<"key">>}, 10000]),
    {Index, Members}.

%% The second half.
read(Cluster, {_, Node} = Server, Index, Members) ->
    cluster_ct:call(Cluster, erpc, call, [Node, ra_kv, read_entry, [Server, Index, Members, 10000]]).

supersede(Cluster, Server) ->
    [begin
         {ok, _} = cluster_ct:call(Cluster, ra_kv, put, [Server, <<"key">>, Value, 10000]),
         ok = cluster_ct:take_snapshot(Cluster, n1)
     end || Value <- lists:seq(2, 10)],
    ok.
