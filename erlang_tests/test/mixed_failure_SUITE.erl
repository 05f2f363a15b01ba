%% SPDX-License-Identifier: Apache-2.0
%% Members of either kind that die, hang, start again, or are cut off. In each composition a member of each kind is the
%% one that it happens to; cluster_ct:same_everywhere/1 compares the members at the end.
%%
%%   RAKV_COMPOSITIONS   which, of bbb, bbr, brr and rrr (default "bbr brr")
-module(mixed_failure_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CALL_MS, 10000).

all() ->
    [{group, list_to_existing_atom(Name)} || Name <- string:lexemes(os:getenv("RAKV_COMPOSITIONS", "bbr brr"), " ")].

groups() ->
    Cases = [killed_leader, paused_leader, paused_follower, catches_up_by_entries, catches_up_by_snapshot,
             restarted_in_order, all_killed, isolated_follower, isolated_leader, isolated_until_links_end],
    [{Name, [], Cases} || {Name, _} <- compositions()].

compositions() ->
    [{bbb, [beam, beam, beam]}, {bbr, [beam, beam, rakv]}, {brr, [beam, rakv, rakv]}, {rrr, [rakv, rakv, rakv]}].

suite() -> [{timetrap, {minutes, 4}}].

init_per_group(Group, Config) -> [{kinds, proplists:get_value(Group, compositions())} | Config].
end_per_group(_Group, _Config) -> ok.

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------
%% Dead and hanging members.

%% Another member takes over; what died comes back as a follower.
killed_leader(Config) ->
    Cluster = start(Config),
    each_kind(Cluster, fun(Leader) ->
        ok = cluster_ct:lead(Cluster, Leader),
        ok = cluster_ct:fill(Cluster, "before-", 100),
        ok = cluster_ct:kill(Cluster, Leader),
        Rest = without(Cluster, Leader),
        _ = cluster_ct:leader(Rest),
        ok = cluster_ct:fill(Rest, "after-", 100),
        ok = cluster_ct:same_everywhere(Rest),
        ok = cluster_ct:restart(Cluster, Leader)
    end).

%% The connections stay, nobody answers: others take over, and the one that wakes up follows.
paused_leader(Config) ->
    Cluster = start(Config),
    ok = get_acquainted(Cluster),
    each_kind(Cluster, fun(Leader) ->
        ok = cluster_ct:lead(Cluster, Leader),
        ok = cluster_ct:fill(Cluster, "before-", 100),
        ok = cluster_ct:pause(Cluster, Leader),
        Rest = without(Cluster, Leader),
        New = cluster_ct:leader(Rest),
        ok = cluster_ct:fill(Rest, "after-", 100),
        ok = cluster_ct:resume(Cluster, Leader),
        ok = cluster_ct:wait_caught_up(Cluster, Leader),
        ct:log("~p took over from ~p", [New, Leader])
    end).

%% The others go on without it meanwhile.
paused_follower(Config) ->
    Cluster = start(Config),
    each_kind(Cluster, fun(Follower) ->
        Rest = #{members := [Leader | _]} = without(Cluster, Follower),
        ok = cluster_ct:lead(Cluster, Leader),
        ok = cluster_ct:pause(Cluster, Follower),
        ok = cluster_ct:fill(Rest, "meanwhile-", 300),
        ok = cluster_ct:resume(Cluster, Follower),
        ok = cluster_ct:wait_caught_up(Cluster, Follower)
    end).

%% ---------------------------------------------------------------------------------------------------------------
%% Restarts.

catches_up_by_entries(Config) ->
    Cluster = start(Config),
    each_leader_and_follower(Cluster, fun(Leader, Follower) ->
        ok = cluster_ct:lead(Cluster, Leader),
        ok = cluster_ct:kill(Cluster, Follower),
        ok = cluster_ct:fill(without(Cluster, Follower), "entries-", 1000),
        ok = cluster_ct:restart(Cluster, Follower),
        ok = cluster_ct:wait_caught_up(Cluster, Follower),
        ?assertMatch(#{log := #{snapshot_index := undefined}}, cluster_ct:overview(Cluster, Follower))
    end).

%% What the follower misses is nowhere in a log any more, but for the live indexes.
catches_up_by_snapshot(Config) ->
    Cluster = start(Config),
    each_leader_and_follower(Cluster, fun(Leader, Follower) ->
        ok = cluster_ct:lead(Cluster, Leader),
        ok = cluster_ct:fill(Cluster, "live-", 50),
        ok = cluster_ct:kill(Cluster, Follower),
        Rest = #{members := Others} = without(Cluster, Follower),
        [ok = cluster_ct:fill(Rest, "twice-", 200) || _ <- [1, 2]],
        [ok = cluster_ct:take_snapshot(Rest, Name) || Name <- Others],
        #{log := #{snapshot_index := Index}} = cluster_ct:overview(Rest, Leader),
        ok = cluster_ct:fill(Rest, "later-", 50),
        ok = cluster_ct:restart(Cluster, Follower),
        ok = cluster_ct:wait_caught_up(Cluster, Follower),
        #{log := #{snapshot_index := Installed}} = cluster_ct:overview(Cluster, Follower),
        ?assert(Installed >= Index)
    end).

%% Stopped in order and started again under the same name, the leader included.
restarted_in_order(Config) ->
    Cluster = start(Config),
    each_kind(Cluster, fun(Name) ->
        ok = cluster_ct:lead(Cluster, Name),
        ok = cluster_ct:stop(Cluster, Name),
        Rest = without(Cluster, Name),
        _ = cluster_ct:leader(Rest),
        ok = cluster_ct:fill(Rest, "stopped-", 100),
        ok = cluster_ct:restart(Cluster, Name),
        ok = cluster_ct:wait_caught_up(Cluster, Name),
        ok = cluster_ct:lead(Cluster, Name)
    end).

%% All at the same time: every member comes back with what it acknowledged.
all_killed(Config) ->
    Cluster = start(Config),
    Members = cluster_ct:members(Cluster),
    ok = cluster_ct:fill(Cluster, "key-", 300),
    [ok = cluster_ct:take_snapshot(Cluster, Name) || Name <- cluster_ct:one_of_each(Cluster)],
    ok = cluster_ct:fill(Cluster, "more-", 100),
    _ = cluster_ct:parallel(fun(Name) -> ok = cluster_ct:kill(Cluster, Name) end, Members),
    _ = cluster_ct:parallel(fun(Name) -> ok = cluster_ct:start_again(Cluster, Name) end, Members),
    [ok = cluster_ct:start_server(Cluster, Name) || Name <- Members],
    _ = cluster_ct:leader(Cluster),
    ok = cluster_ct:same_everywhere(Cluster),
    {ok, _, {1, _}} = cluster_ct:get(Cluster, n1, <<"more-1">>),
    ok = cluster_ct:fill(Cluster, "key-", 100),
    ok = cluster_ct:same_everywhere(Cluster).

%% ---------------------------------------------------------------------------------------------------------------
%% Silent partitions.

isolated_follower(Config) ->
    Cluster = start(Config, #{links => true}),
    ok = get_acquainted(Cluster),
    each_kind(Cluster, fun(Follower) ->
        Rest = #{members := [Leader | _]} = without(Cluster, Follower),
        ok = cluster_ct:lead(Cluster, Leader),
        ok = cluster_ct:fill(Cluster, "before-", 50),
        ok = cluster_ct:isolate(Cluster, Follower),
        ok = cluster_ct:fill(Rest, "cut-", 300),
        %% it notices that its leader is silent, and gets no votes
        rakv_ct:wait_until(fun() ->
            State = cluster_ct:state(Cluster, Follower),
            lists:member(State, [pre_vote, candidate]) orelse State
        end),
        ?assertEqual(Leader, cluster_ct:leader(Rest)),
        ok = cluster_ct:fill(Rest, "cut-", 100),
        ok = cluster_ct:heal(Cluster, Follower),
        ok = cluster_ct:wait_caught_up(Cluster, Follower)
    end).

%% The old leader acknowledges nothing any more; what it took meanwhile gives way to what the others agreed on.
isolated_leader(Config) ->
    Cluster = start(Config, #{links => true}),
    ok = get_acquainted(Cluster),
    each_kind(Cluster, fun(Leader) ->
        ok = cluster_ct:lead(Cluster, Leader),
        ok = cluster_ct:fill(Cluster, "before-", 50),
        ok = cluster_ct:isolate(Cluster, Leader),
        Lost = {timeout, cluster_ct:server(Cluster, Leader)},
        ?assertEqual(Lost, cluster_ct:call(Cluster, ra_kv, put, [element(2, Lost), <<"key">>, old, 2000])),
        Rest = without(Cluster, Leader),
        New = cluster_ct:leader(Rest),
        {ok, _} = cluster_ct:put(Rest, New, <<"key">>, new),
        ok = cluster_ct:fill(Rest, "cut-", 100),
        %% no reader gets an answer from the old leader
        ?assertEqual(Lost, cluster_ct:call(Cluster, ra_kv, get, [element(2, Lost), <<"key">>, 1000])),
        ok = cluster_ct:heal(Cluster, Leader),
        ok = cluster_ct:wait_caught_up(Cluster, Leader),
        ?assertMatch({ok, _, new}, cluster_ct:get(Cluster, Leader, <<"key">>))
    end).

%% So long that the nodes give their connections up. A rakv member finds the others again, and a follower of that kind
%% tells the old leader of the term; BEAM members among themselves do not (a leader never connects), and need somebody
%% who does.
isolated_until_links_end(Config) ->
    Cluster = start(Config, #{links => true, ticktime => 4}),
    ok = get_acquainted(Cluster),
    each_kind(Cluster, fun(Leader) ->
        ok = cluster_ct:lead(Cluster, Leader),
        %% a leader that has nothing to send is not heard of by itself when it is back
        ok = cluster_ct:same_everywhere(Cluster),
        ok = cluster_ct:isolate(Cluster, Leader),
        Rest = without(Cluster, Leader),
        _ = cluster_ct:leader(Rest),
        ok = cluster_ct:fill(Rest, "cut-", 100),
        [rakv_ct:wait_until(fun() ->
             not lists:member(cluster_ct:node_of(Cluster, Leader),
                              cluster_ct:rpc(Cluster, Name, erlang, nodes, []))
         end) || Name <- cluster_ct:members(Rest)],
        ok = cluster_ct:heal(Cluster, Leader),
        case lists:keymember(rakv, 2, cluster_ct:kinds(Cluster)) of
            true -> ok;
            false -> true = cluster_ct:rpc(Cluster, hd(cluster_ct:members(Rest)), net_kernel, connect_node,
                                           [cluster_ct:node_of(Cluster, Leader)])
        end,
        ok = cluster_ct:wait_caught_up(Cluster, Leader)
    end).

%% ---------------------------------------------------------------------------------------------------------------

start(Config) -> start(Config, #{}).

start(Config, Options) ->
    Cluster = cluster_ct:start(Config, proplists:get_value(kinds, Config), Options),
    ok = cluster_ct:fill(Cluster, "start-", 20),
    Cluster.

%% The failure detector (aten) judges a silence by the beats of a node that it has seen before, so there must be some.
get_acquainted(Cluster) ->
    {ok, _} = cluster_ct:call(Cluster, cluster_client, write_for, [cluster_ct:server(Cluster, n1), 1500]),
    ok.

without(#{members := Members} = Cluster, Name) -> Cluster#{members := lists:delete(Name, Members)}.

%% To a member of each kind, with a comparison after each.
each_kind(Cluster, Fun) ->
    [begin
         ct:log("~p, a ~p", [Name, cluster_ct:kind(Cluster, Name)]),
         Fun(Name),
         ok = cluster_ct:same_everywhere(Cluster)
     end || Name <- cluster_ct:one_of_each(Cluster)],
    ok.

%% Each kind leads a follower of another kind, if there is one.
each_leader_and_follower(Cluster, Fun) ->
    Pairs = case cluster_ct:one_of_each(Cluster) of
                [One] -> [{One, hd(cluster_ct:members(Cluster) -- [One])}];
                [One, Other] -> [{One, Other}, {Other, One}]
            end,
    [begin
         ct:log("~p leads ~p", [Leader, Follower]),
         Fun(Leader, Follower),
         ok = cluster_ct:same_everywhere(Cluster)
     end || {Leader, Follower} <- Pairs],
    ok.
