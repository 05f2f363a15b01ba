%% SPDX-License-Identifier: Apache-2.0
%% Clusters of every composition: each kind of member leads, and clients of OTP 29 and OTP 25 do through every member all
%% that a client can do. cluster_ct:same_everywhere/1 compares the members after each.
-module(mixed_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CALL_MS, 10000).

all() -> [{group, three}, {group, five}].

groups() ->
    [{three, [], [bbb, bbr, brr, rrr]},
     {five, [], [bbbbr, bbbrr, bbrrr, brrrr, rrrrr]}].

suite() -> [{timetrap, {minutes, 4}}].

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

bbb(Config) -> composition([beam, beam, beam], Config).
bbr(Config) -> composition([beam, beam, rakv], Config).
brr(Config) -> composition([beam, rakv, rakv], Config).
rrr(Config) -> composition([rakv, rakv, rakv], Config).
bbbbr(Config) -> composition([beam, beam, beam, beam, rakv], Config).
bbbrr(Config) -> composition([beam, beam, beam, rakv, rakv], Config).
bbrrr(Config) -> composition([beam, beam, rakv, rakv, rakv], Config).
brrrr(Config) -> composition([beam, rakv, rakv, rakv, rakv], Config).
rrrrr(Config) -> composition([rakv, rakv, rakv, rakv, rakv], Config).

%% ---------------------------------------------------------------------------------------------------------------

composition(Kinds, Config) ->
    Cluster = cluster_ct:start(Config, Kinds),
    Old = cluster_ct:old_client(Cluster),
    [led_by(Leader, Cluster, Old) || Leader <- cluster_ct:one_of_each(Cluster)],
    ok.

led_by(Leader, Cluster, Old) ->
    ct:log("led by ~p, a ~p", [Leader, cluster_ct:kind(Cluster, Leader)]),
    ok = cluster_ct:lead(Cluster, Leader),
    Members = cluster_ct:members(Cluster),
    Prefix = atom_to_list(Leader),
    ok = cluster_ct:fill(Cluster, Prefix ++ "-", 50),
    [through(Member, Prefix, Cluster) || Member <- Members],
    [old_through(cluster_ct:server(Cluster, Member), key(Prefix, "old", Member), Old) || Member <- Members],
    [queries(Member, Leader, Cluster) || Member <- Members],
    pipelined(Leader, Prefix, Cluster),
    ?assertEqual(Leader, cluster_ct:leader(Cluster)),
    ok = cluster_ct:same_everywhere(Cluster),
    [ok = cluster_ct:take_snapshot(Cluster, Member) || Member <- Members],
    ok = cluster_ct:fill(Cluster, Prefix ++ "-", 20),
    ok = cluster_ct:same_everywhere(Cluster).

key(Prefix, Kind, Member) ->
    iolist_to_binary([Prefix, "-", Kind, "-", atom_to_list(Member)]).

%% What is put through one member is there for all, and so is its deletion.
through(Member, Prefix, Cluster) ->
    Key = key(Prefix, "new", Member),
    Leader = cluster_ct:server(Cluster, cluster_ct:leader(Cluster)),
    Value = {value, Member, self(), make_ref(), #{list => [1, 2.5, "three"]}},
    {ok, #{leader := Leader, index := Index, term := Term}} = cluster_ct:put(Cluster, Member, Key, Value),
    [begin
         {ok, Meta, Read} = cluster_ct:get(Cluster, Other, Key),
         ?assertEqual(Value, Read),
         ?assertMatch(#{index := Index, term := Term, members := [_ | _], ts := _}, Meta)
     end || Other <- cluster_ct:members(Cluster)],
    Doomed = key(Prefix, "doomed", Member),
    {ok, _} = cluster_ct:put(Cluster, Member, Doomed, 1),
    {ok, #{leader := Leader}} = delete(Cluster, Member, Doomed),
    ?assertEqual({error, {not_found, Leader}}, delete(Cluster, Member, Doomed)),
    ?assertEqual({error, not_found}, cluster_ct:get(Cluster, Member, Doomed)),
    %% an entry read at each member
    [begin
         ok = cluster_ct:wait_caught_up(Cluster, Other),
         {ok, EntryMeta, Value} = cluster_ct:call(Cluster, ra_kv, read_entry,
                                                  [cluster_ct:server(Cluster, Other), Index, [], ?CALL_MS]),
         ?assertMatch(#{index := Index, term := Term}, EntryMeta)
     end || Other <- cluster_ct:members(Cluster)].

delete(Cluster, Member, Key) ->
    cluster_ct:call(Cluster, ra_kv, delete, [cluster_ct:server(Cluster, Member), Key, ?CALL_MS]).

%% The same from a node of OTP 25, without ra.
old_through({_, _} = Server, Key, Old) ->
    Client = fun(Function, Args) -> rakv_ct:call(Old, plain_kv_client, Function, [Server | Args] ++ [?CALL_MS]) end,
    {ok, #{index := Index}} = Client(put, [Key, {old, Key}]),
    ?assertMatch({ok, #{index := Index}, {old, Key}}, Client(get, [Key])),
    {ok, _} = Client(delete, [Key]),
    ?assertMatch({error, {not_found, _}}, Client(delete, [Key])),
    ?assertEqual({error, not_found}, Client(get, [Key])),
    {ok, [_ | _], _} = Client(members, []).

%% Queries of all kinds, asked of one member.
queries(Member, Leader, Cluster) ->
    Server = cluster_ct:server(Cluster, Member),
    Led = cluster_ct:server(Cluster, Leader),
    Servers = lists:sort(cluster_ct:servers(Cluster)),
    Ask = fun(Function, Args) -> cluster_ct:call(Cluster, ra, Function, [Server | Args]) end,
    Overview = {ra_kv, overview, []},
    {ok, #{num_keys := Keys, live_indexes := Live}, Led} = Ask(consistent_query, [Overview]),
    ?assertEqual(Keys, length(Live)),
    ?assertMatch({ok, {{_, _}, #{num_keys := Keys}}, Led}, Ask(leader_query, [Overview])),
    ok = cluster_ct:wait_caught_up(Cluster, Member),
    {ok, {{_, _}, #{num_keys := Keys, live_indexes := Here}}, Led} = Ask(local_query, [Overview]),
    ?assertEqual(lists:sort(Live), lists:sort(Here)),
    {ok, Members, Led} = Ask(members, []),
    ?assertEqual(Servers, lists:sort(Members)),
    {ok, Info, Led} = Ask(members_info, []),
    ?assertEqual(Servers, lists:sort(maps:keys(Info))),
    #{log := #{last_index := _}, machine := #{num_keys := Keys}} =
        cluster_ct:call(Cluster, ra_kv, member_overview, [Server]),
    #{leader_id := Led, cluster := Peers} = cluster_ct:overview(Cluster, Member),
    ?assertEqual(Servers, lists:sort(maps:keys(Peers))),
    State = case Member of Leader -> leader; _ -> follower end,
    ?assertEqual(State, cluster_ct:state(Cluster, Member)),
    ?assertMatch(#{state := State, membership := voter}, Ask(key_metrics, [])).

%% Pipelined commands are acknowledged once each, in their order.
pipelined(Leader, Prefix, Cluster) ->
    Count = 200,
    {ok, Correlations} = cluster_ct:call(Cluster, cluster_client, pipeline,
                                         [cluster_ct:server(Cluster, Leader), Prefix ++ "-pipe-", Count]),
    ?assertEqual(lists:seq(1, Count), Correlations).
