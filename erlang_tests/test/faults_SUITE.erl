%% SPDX-License-Identifier: Apache-2.0
%% What other suites do to links, epmds and clocks: that it is done, and ends when it is undone.
-module(faults_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% Long enough for whatever may pass to have passed.
-define(NOTHING_MS, 300).
-define(SOCKET, [binary, {active, false}, {packet, raw}, {nodelay, true}]).

all() -> [one_way, loss, epmd_gone, nodes_register_again, clocks].

suite() -> [{timetrap, {minutes, 2}}].

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------
%% Links, without nodes: a and b are sockets of this process.

one_way(_Config) ->
    Links = cluster_links:start_link(),
    Listen = registered(Links, b@x),
    {A, B} = connected(Links, a@x, b@x, Listen),
    ok = cluster_links:block_one_way(Links, a@x, b@x),
    ?assertNot(cluster_links:held(Links, a@x, b@x)),
    ok = gen_tcp:send(A, <<"one">>),
    ok = gen_tcp:send(B, <<"two">>),
    ?assertEqual({ok, <<"two">>}, gen_tcp:recv(A, 3, 5000)),
    ?assertEqual({error, timeout}, gen_tcp:recv(B, 0, ?NOTHING_MS)),
    %% Neither can dial the other.
    {ok, _} = gen_tcp:connect({127, 0, 0, 1}, looked_up(Links, a@x, b@x), ?SOCKET),
    ?assertEqual({error, timeout}, gen_tcp:accept(Listen, ?NOTHING_MS)),
    ok = cluster_links:allow(Links, a@x, b@x),
    ?assertEqual({ok, <<"one">>}, gen_tcp:recv(B, 3, 5000)),
    {ok, _} = gen_tcp:accept(Listen, 5000),
    ok = cluster_links:block_one_way(Links, b@x, a@x),
    ok = gen_tcp:send(A, <<"three">>),
    ok = gen_tcp:send(B, <<"four">>),
    ?assertEqual({ok, <<"three">>}, gen_tcp:recv(B, 5, 5000)),
    ?assertEqual({error, timeout}, gen_tcp:recv(A, 0, ?NOTHING_MS)),
    ok = cluster_links:allow(Links, b@x, a@x),
    ?assertEqual({ok, <<"four">>}, gen_tcp:recv(A, 4, 5000)).

%% Each loss is a pause; nothing is gone or out of order.
loss(_Config) ->
    Links = cluster_links:start_link(),
    {A, B} = connected(Links, a@x, b@x, registered(Links, b@x)),
    ok = cluster_links:lose(Links, b@x, a@x, 40),
    {LossyMs, ok} = in_ms(fun() -> there_and_back(A, B, 10) end),
    Lost = cluster_links:lost(Links),
    ?assert(Lost > 0),
    ?assert(LossyMs >= Lost * 200, {LossyMs, Lost}),
    ok = cluster_links:lose(Links, a@x, b@x, 0),
    {Ms, ok} = in_ms(fun() -> there_and_back(A, B, 10) end),
    ?assert(Ms < 200, Ms),
    ?assertEqual(Lost, cluster_links:lost(Links)),
    %% What is sent during a pause comes at once after it.
    ok = cluster_links:lose(Links, a@x, b@x, 99),
    ok = gen_tcp:send(A, <<"first">>),
    ?assertEqual({error, timeout}, gen_tcp:recv(B, 0, 100)),
    ok = gen_tcp:send(A, <<"second">>),
    ok = cluster_links:lose(Links, a@x, b@x, 0),
    ?assertEqual({ok, <<"firstsecond">>}, gen_tcp:recv(B, 11, 5000)).

there_and_back(A, B, Count) ->
    [begin
         ok = gen_tcp:send(From, <<Number:64>>),
         {ok, <<Number:64>>} = gen_tcp:recv(To, 8, 60000)
     end || Number <- lists:seq(1, Count), {From, To} <- [{A, B}, {B, A}]],
    ok.

epmd_gone(_Config) ->
    Links = cluster_links:start_link(),
    _ = registered(Links, a@x),
    _ = registered(Links, b@x),
    ?assertMatch({ok, _}, cluster_links:own_port(Links, "b")),
    ok = cluster_links:epmd_down(Links, b@x),
    receive {registration, "b", ended} -> ok after 5000 -> ct:fail(still_registered) end,
    ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, cluster_links:port(Links, b@x), ?SOCKET)),
    ?assertEqual(error, cluster_links:own_port(Links, "b")),
    ?assertEqual(not_found, looked_up(Links, a@x, b@x)),
    ok = cluster_links:epmd_up(Links, b@x),
    ?assertEqual(not_found, looked_up(Links, a@x, b@x)),
    ?assert(is_integer(looked_up(Links, b@x, a@x))),
    _ = connected(Links, a@x, b@x, registered(Links, b@x)).

%% Listens and registers, as a node does; says when the registration has ended.
registered(Links, Node) ->
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    {ok, Listen} = gen_tcp:listen(0, ?SOCKET),
    {ok, Port} = inet:port(Listen),
    Name = list_to_binary(Alive),
    Request = <<120, Port:16, 77, 0, 6:16, 5:16, (byte_size(Name)):16, Name/binary, 0:16>>,
    Case = self(),
    spawn_link(fun() ->
        Epmd = asked(Links, Node, Request),
        {ok, <<118, 0, _:32>>} = gen_tcp:recv(Epmd, 6, 5000),
        Case ! {registration, Alive, begun},
        {error, _} = gen_tcp:recv(Epmd, 0),
        Case ! {registration, Alive, ended}
    end),
    receive {registration, Alive, begun} -> Listen end.

looked_up(Links, By, Node) ->
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    Epmd = asked(Links, By, [122, Alive]),
    case gen_tcp:recv(Epmd, 2, 5000) of
        {ok, <<119, 0>>} -> {ok, <<Port:16>>} = gen_tcp:recv(Epmd, 2, 5000), Port;
        {ok, <<119, 1>>} -> not_found
    end.

asked(Links, Node, Request) ->
    {ok, Epmd} = gen_tcp:connect({127, 0, 0, 1}, cluster_links:port(Links, Node), ?SOCKET),
    ok = gen_tcp:send(Epmd, [<<(iolist_size(Request)):16>>, Request]),
    Epmd.

connected(Links, From, To, Listen) ->
    {ok, A} = gen_tcp:connect({127, 0, 0, 1}, looked_up(Links, From, To), ?SOCKET),
    {ok, B} = gen_tcp:accept(Listen, 5000),
    {A, B}.

in_ms(Fun) ->
    {Us, Result} = timer:tc(Fun),
    {Us div 1000, Result}.

%% ---------------------------------------------------------------------------------------------------------------
%% Nodes.

%% Nodes of both kinds register again by themselves, and can then be found.
nodes_register_again(Config) ->
    Cluster = cluster_ct:start_nodes(Config, [beam, rakv, rakv], #{links => true, rakv_args => ["--test-hooks"]}),
    Links = cluster_ct:links(Cluster),
    Nodes = [cluster_ct:node_of(Cluster, Name) || Name <- cluster_ct:members(Cluster)],
    Client = cluster_ct:node_of(Cluster, client),
    [?assert(cluster_ct:call(Cluster, net_kernel, connect_node, [Node])) || Node <- Nodes],
    [ok = cluster_links:epmd_down(Links, Node) || Node <- Nodes],
    [begin
         ok = cluster_links:cut(Links, Client, Node),
         rakv_ct:wait_until(fun() -> cluster_ct:call(Cluster, net_kernel, connect_node, [Node]) =:= false end)
     end || Node <- Nodes],
    [ok = cluster_links:epmd_up(Links, Node) || Node <- Nodes],
    [rakv_ct:wait_until(fun() -> cluster_ct:call(Cluster, net_kernel, connect_node, [Node]) end) || Node <- Nodes],
    [?assert(cluster_ct:rpc(Cluster, From, net_kernel, connect_node, [cluster_ct:node_of(Cluster, To)]))
     || From <- cluster_ct:members(Cluster), To <- cluster_ct:members(Cluster), From =/= To].

%% The wall clock alone: a leader of either kind goes on, and stamps what it takes with its time.
clocks(Config) ->
    Cluster = cluster_ct:start(Config, [rakv, beam], #{clocks => true}),
    [begin
         ok = cluster_ct:set_clock(Cluster, n1, Off),
         ok = cluster_ct:set_clock(Cluster, n2, Off),
         rakv_ct:wait_until(fun() -> near(Off, cluster_ct:rpc(Cluster, n2, os, system_time, [second])) end),
         ok = cluster_ct:lead(Cluster, n1),
         rakv_ct:wait_until(fun() ->
             {ok, #{system_time := Ms}} = cluster_ct:put(Cluster, n1, <<"key">>, Off),
             near(Off, Ms div 1000)
         end),
         ok = cluster_ct:lead(Cluster, n2),
         {ok, _} = cluster_ct:put(Cluster, n2, <<"key">>, Off)
     end || Off <- [3600, -86400, 0]],
    ok = cluster_ct:same_everywhere(Cluster).

near(Off, Seconds) ->
    Seen = Seconds - os:system_time(second),
    abs(Seen - Off) =< 2 orelse {off, Seen}.
