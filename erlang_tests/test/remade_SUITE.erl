%% SPDX-License-Identifier: Apache-2.0
%% A rakv node starts its servers by itself; so it looks first whether their clusters are still there. A cluster that was
%% deleted and made anew while one member was away keeps what it has acknowledged; every other return works as ever. And
%% deletions whose leader ends in the middle come to their end.
-module(remade_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(MS, 10000).

all() ->
    [remade_rrr, remade_bbr, remade_brr, remade_with_others_only, back_before_the_others, back_with_one_of_them,
     whole_cluster_rrr, whole_cluster_brr, replaced_peer_of_two, replaced_peer_of_three, bootstrapped,
     deletion_rrr, deletion_rbb, deletion_rbr, deletion_by_beam_bbb, deletion_by_beam_brb, deletion_by_beam_bbr,
     deletion_of_the_last].

suite() -> [{timetrap, {minutes, 4}}].

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------

ra(Cluster, Function, Args) -> cluster_ct:call(Cluster, ra, Function, Args).

%% The uids of the voters are learnt while there is a leader, and written down.
learnt(Cluster, Name) ->
    Dir = rakv_ct:system_dir(maps:get(config, Cluster), Name),
    rakv_ct:wait_until(fun() ->
        [File] = filelib:wildcard(filename:join([Dir, "*", "known_voters"])),
        {ok, Known} = file:read_file(File),
        [] =:= [Other || Other <- cluster_ct:members(Cluster), Other =/= Name,
                         nomatch =:= binary:match(Known, uid(Cluster, Other))]
    end).

uid(Cluster, Name) -> cluster_ct:rpc(Cluster, Name, ra_directory, uid_of, [default, kv]).

%% n3, which has the longest log, goes away; the cluster is deleted and made anew.
old_and_new(Config, Kinds, NewMembers) ->
    Cluster = cluster_ct:start(Config, Kinds),
    ok = cluster_ct:fill(Cluster, "old-", 300),
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    learnt(Cluster, n3),
    ok = cluster_ct:kill(Cluster, n3),
    [ok = ra(Cluster, force_delete_server, [default, cluster_ct:server(Cluster, Name)]) || Name <- [n1, n2]],
    {ok, Started, _} = ra(Cluster, start_cluster, [default, kv, {module, ra_kv, #{}},
                                                   [cluster_ct:server(Cluster, Name) || Name <- NewMembers]]),
    ?assertEqual(lists:sort([cluster_ct:server(Cluster, Name) || Name <- [n1, n2]]), lists:sort(Started)),
    New = Cluster#{members => [n1, n2]},
    ok = cluster_ct:fill(New, "new-", 20),
    {Cluster, New}.

stays_out(Cluster, Name) ->
    rakv_ct:wait_until(fun() ->
        Metrics = ra(Cluster, key_metrics, [cluster_ct:server(Cluster, Name)]),
        maps:get(state, Metrics) =:= stays_out orelse Metrics end),
    #{note := Note} = ra(Cluster, key_metrics, [cluster_ct:server(Cluster, Name)]),
    ?assertNotEqual(nomatch, string:find(Note, "never knew")),
    ?assertEqual({pong, stays_out}, ra(Cluster, ping, [cluster_ct:server(Cluster, Name), ?MS])),
    %% clients hear why
    ?assertMatch({error, {stays_out, _}}, cluster_ct:put(Cluster, Name, <<"k">>, 1)),
    %% and operators
    {_, Table, _} = rakv_ct:run(maps:get(config, Cluster),
                                ["status", "--server", atom_to_list(cluster_ct:node_of(Cluster, Name)), "--cluster", "kv",
                                 "--cookie", rakv_ct:cookie(maps:get(config, Cluster))]),
    ?assertNotEqual(nomatch, string:find(Table, "never knew")).

keeps_its_data(New) ->
    ok = cluster_ct:fill(New, "more-", 20),
    [?assertMatch({ok, _, {N, _}}, cluster_ct:get(New, n1, iolist_to_binary([Prefix, integer_to_list(N)])))
     || Prefix <- ["new-", "more-"], N <- lists:seq(1, 20)],
    ?assertEqual({error, not_found}, cluster_ct:get(New, n1, <<"old-7">>)),
    ok = cluster_ct:same_everywhere(New).

remade_rrr(Config) -> remade(Config, [rakv, rakv, rakv], [n1, n2, n3]).
remade_bbr(Config) -> remade(Config, [beam, beam, rakv], [n1, n2, n3]).
remade_brr(Config) -> remade(Config, [beam, rakv, rakv], [n1, n2, n3]).
remade_with_others_only(Config) -> remade(Config, [rakv, rakv, rakv], [n1, n2]).

remade(Config, Kinds, NewMembers) ->
    {Cluster, New} = old_and_new(Config, Kinds, NewMembers),
    Leader = cluster_ct:leader(New),
    #{current_term := Term} = cluster_ct:overview(New, Leader),
    ok = cluster_ct:start_again(Cluster, n3),
    stays_out(Cluster, n3),
    keeps_its_data(New),
    %% it has disturbed nobody
    ?assertEqual(Leader, cluster_ct:leader(New)),
    ?assertMatch(#{current_term := Term}, cluster_ct:overview(New, Leader)),
    %% again after another start
    ok = cluster_ct:kill(Cluster, n3),
    ok = cluster_ct:start_again(Cluster, n3),
    stays_out(Cluster, n3),
    %% the way out that it names
    Server = cluster_ct:server(Cluster, n3),
    ok = ra(Cluster, force_delete_server, [default, Server]),
    ok = ra(Cluster, start_server, [default, kv, Server, {module, ra_kv, #{}}, cluster_ct:servers(Cluster)]),
    case lists:member(n3, NewMembers) of
        true -> ok;
        false -> {ok, _, _} = ra(Cluster, add_member, [cluster_ct:server(Cluster, n1), Server])
    end,
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    ok = cluster_ct:same_everywhere(Cluster).

%% The old member is alone first: it waits, says so, and does not lead when the others come.
back_before_the_others(Config) ->
    {Cluster, New} = old_and_new(Config, [rakv, rakv, rakv], [n1, n2, n3]),
    [ok = cluster_ct:kill(Cluster, Name) || Name <- [n1, n2]],
    ok = cluster_ct:start_again(Cluster, n3),
    rakv_ct:wait_until(fun() ->
        #{note := Note, state := follower} = ra(Cluster, key_metrics, [cluster_ct:server(Cluster, n3)]),
        string:find(Note, "made anew") =/= nomatch end),
    cluster_ct:parallel(fun(Name) -> ok = cluster_ct:start_again(Cluster, Name) end, [n1, n2]),
    _ = cluster_ct:leader(New),
    stays_out(Cluster, n3),
    keeps_its_data(New).

%% With one of the new ones alone it would have a majority.
back_with_one_of_them(Config) ->
    {Cluster, New} = old_and_new(Config, [rakv, rakv, rakv], [n1, n2, n3]),
    [ok = cluster_ct:kill(Cluster, Name) || Name <- [n1, n2]],
    cluster_ct:parallel(fun(Name) -> ok = cluster_ct:start_again(Cluster, Name) end, [n1, n3]),
    rakv_ct:wait_until(fun() ->
        #{note := Note} = ra(Cluster, key_metrics, [cluster_ct:server(Cluster, n3)]),
        string:find(Note, "other servers") =/= nomatch end),
    %% n1 stands for election, without a vote of n3
    rakv_ct:wait_until(fun() -> cluster_ct:state(Cluster, n1) =:= pre_vote orelse cluster_ct:state(Cluster, n1) end),
    ?assertNotEqual(leader, cluster_ct:state(Cluster, n1)),
    ?assertNotEqual(leader, cluster_ct:state(Cluster, n3)),
    ok = cluster_ct:start_again(Cluster, n2),
    _ = cluster_ct:leader(New),
    stays_out(Cluster, n3),
    keeps_its_data(New).

%% ---------------------------------------------------------------------------------------------------------------

whole_cluster_rrr(Config) -> whole_cluster([rakv, rakv, rakv], Config).
whole_cluster_brr(Config) -> whole_cluster([beam, rakv, rakv], Config).

%% All at once, then two of three.
whole_cluster(Kinds, Config) ->
    Cluster = cluster_ct:start(Config, Kinds),
    ok = cluster_ct:fill(Cluster, "k", 50),
    [learnt(Cluster, Name) || {Name, rakv} <- cluster_ct:kinds(Cluster)],
    All = cluster_ct:members(Cluster),
    cluster_ct:parallel(fun(Name) -> ok = cluster_ct:kill(Cluster, Name) end, All),
    cluster_ct:parallel(fun(Name) -> ok = cluster_ct:restart(Cluster, Name) end, All),
    ok = cluster_ct:same_everywhere(Cluster),
    ok = cluster_ct:fill(Cluster, "l", 50),
    cluster_ct:parallel(fun(Name) -> ok = cluster_ct:kill(Cluster, Name) end, All),
    cluster_ct:parallel(fun(Name) -> ok = cluster_ct:restart(Cluster, Name) end, [n2, n3]),
    Two = Cluster#{members => [n2, n3]},
    ok = cluster_ct:fill(Two, "m", 20),
    ok = cluster_ct:same_everywhere(Two),
    ok = cluster_ct:restart(Cluster, n1),
    ok = cluster_ct:same_everywhere(Cluster).

%% Its peer is another server now, which has nothing.
replaced_peer_of_two(Config) ->
    Cluster = cluster_ct:start(Config, [rakv, rakv]),
    ok = cluster_ct:fill(Cluster, "k", 50),
    ok = cluster_ct:lead(Cluster, n1),
    [learnt(Cluster, Name) || Name <- [n1, n2]],
    ok = cluster_ct:kill(Cluster, n1),
    replace(Cluster, n2, [n1, n2]),
    ok = cluster_ct:start_again(Cluster, n1),
    ok = cluster_ct:same_everywhere(Cluster),
    ?assertMatch({ok, _, {7, _}}, cluster_ct:get(Cluster, n2, <<"k7">>)).

replaced_peer_of_three(Config) ->
    Cluster = cluster_ct:start(Config, [rakv, rakv, rakv]),
    ok = cluster_ct:fill(Cluster, "k", 50),
    [learnt(Cluster, Name) || Name <- [n1, n2, n3]],
    ok = cluster_ct:kill(Cluster, n1),
    replace(Cluster, n2, [n1, n2, n3]),
    ok = cluster_ct:start_again(Cluster, n1),
    ok = cluster_ct:same_everywhere(Cluster),
    %% the new one is known from now on: the third may go
    learnt(Cluster, n1),
    [ok = cluster_ct:kill(Cluster, Name) || Name <- [n1, n3]],
    ok = cluster_ct:start_again(Cluster, n1),
    Two = Cluster#{members => [n1, n2]},
    ok = cluster_ct:fill(Two, "l", 20),
    ok = cluster_ct:same_everywhere(Two).

replace(Cluster, Name, Members) ->
    Server = cluster_ct:server(Cluster, Name),
    ok = ra(Cluster, force_delete_server, [default, Server]),
    ok = ra(Cluster, start_server, [default, kv, Server, {module, ra_kv, #{}},
                                    [cluster_ct:server(Cluster, Member) || Member <- Members]]).

%% A member that is alone waits for nobody.
bootstrapped(Config) ->
    Cluster = cluster_ct:start(Config, [rakv]),
    ok = cluster_ct:fill(Cluster, "k", 20),
    ok = cluster_ct:kill(Cluster, n1),
    ok = cluster_ct:start_again(Cluster, n1),
    _ = cluster_ct:leader(Cluster),
    ?assertMatch({ok, _, {7, _}}, cluster_ct:get(Cluster, n1, <<"k7">>)).

%% ---------------------------------------------------------------------------------------------------------------

deletion_rrr(Config) -> deletion([rakv, rakv, rakv], Config).
deletion_rbb(Config) -> deletion([rakv, beam, beam], Config).
deletion_rbr(Config) -> deletion([rakv, beam, rakv], Config).

deletion(Kinds, Config) ->
    Cluster = interrupted_deletion(Kinds, Config),
    [gone(Cluster, Name) || Name <- [n1, n3]],
    again(Cluster).

%% A BEAM leader waits for an acknowledgement of n2, which is gone with its log, and so it stays, whatever the others
%% are: three BEAMs show the same. An operator's command ends it.
deletion_by_beam_bbb(Config) -> deletion_by_beam([beam, beam, beam], Config).
deletion_by_beam_brb(Config) -> deletion_by_beam([beam, rakv, beam], Config).
deletion_by_beam_bbr(Config) -> deletion_by_beam([beam, beam, rakv], Config).

deletion_by_beam(Kinds, Config) ->
    Cluster = interrupted_deletion(Kinds, Config),
    gone(Cluster, n3),
    rakv_ct:wait_until(fun() ->
        [{kv, State, _}] = cluster_ct:rpc(Cluster, n1, ets, lookup, [ra_state, kv]),
        State =:= terminating_leader orelse State end),
    #{commit_index := Commit, cluster := Peers} = cluster_ct:overview(Cluster, n1),
    #{match_index := Match} = maps:get(cluster_ct:server(Cluster, n2), Peers),
    ?assert(Match < Commit),
    ok = ra(Cluster, force_delete_server, [default, cluster_ct:server(Cluster, n1)]),
    again(Cluster).

%% n2 has deleted itself, n3 was away, and the leader n1 that waits for n3 is killed and comes back, and so does n3.
interrupted_deletion(Kinds, Config) ->
    Cluster = cluster_ct:start(Config, Kinds),
    ok = cluster_ct:fill(Cluster, "k", 20),
    ok = cluster_ct:lead(Cluster, n1),
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    ok = cluster_ct:kill(Cluster, n3),
    {ok, _} = ra(Cluster, delete_cluster, [[cluster_ct:server(Cluster, Name) || Name <- [n1, n2]]]),
    gone(Cluster, n2),
    ok = cluster_ct:kill(Cluster, n1),
    case cluster_ct:kind(Cluster, n1) of
        beam -> ok = cluster_ct:restart(Cluster, n1);
        rakv -> ok = cluster_ct:start_again(Cluster, n1)
    end,
    ok = cluster_ct:restart(Cluster, n3),
    Cluster.

%% Nobody is left to elect anyone.
deletion_of_the_last(Config) ->
    Cluster = cluster_ct:start(Config, [rakv, rakv, rakv]),
    ok = cluster_ct:fill(Cluster, "k", 20),
    ok = cluster_ct:lead(Cluster, n1),
    ok = cluster_ct:kill(Cluster, n3),
    {ok, _} = ra(Cluster, delete_cluster, [[cluster_ct:server(Cluster, Name) || Name <- [n1, n2]]]),
    gone(Cluster, n2),
    ok = cluster_ct:kill(Cluster, n1),
    ok = cluster_ct:start_again(Cluster, n3),
    ok = ra(Cluster, force_delete_server, [default, cluster_ct:server(Cluster, n3)]),
    ok = cluster_ct:start_again(Cluster, n1),
    gone(Cluster, n1),
    again(Cluster).

gone(Cluster, Name) ->
    rakv_ct:wait_until(fun() ->
        {uid(Cluster, Name), cluster_ct:rpc(Cluster, Name, erlang, whereis, [kv])} =:= {undefined, undefined}
    end, 60000),
    case cluster_ct:kind(Cluster, Name) of
        beam -> ok;
        rakv ->
            Dir = rakv_ct:system_dir(maps:get(config, Cluster), Name),
            rakv_ct:wait_until(fun() -> filelib:wildcard(filename:join([Dir, "*", "config"])) =:= [] end)
    end.

%% The name can be used.
again(Cluster) ->
    ok = cluster_ct:form(Cluster, kv),
    ok = cluster_ct:fill(Cluster, "again", 10),
    ok = cluster_ct:same_everywhere(Cluster).
