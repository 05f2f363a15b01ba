%% SPDX-License-Identifier: Apache-2.0
%% Applications that start their own servers meet a node that has started them already. ra:start_or_restart_cluster/4 is
%% called by such an application at every start; the default ra system of a BEAM does not start servers by itself.
-module(restart_cluster_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CALL_MS, 10000).
-define(KEYS, 100).

all() -> [{group, after_an_ordered_stop}, {group, after_kill}, {group, one_node}].

groups() ->
    Mixes = [bbb, bbr, brb, brr, rbb, rbr, rrb, rrr],
    [{after_an_ordered_stop, [], Mixes},
     {after_kill, [], Mixes},
     {one_node, [], [first_requests, start_before_restart, new_settings, replaced_server_keeps_its_folder]}].

suite() -> [{timetrap, {minutes, 4}}].

init_per_group(Group, Config) -> [{how, Group} | Config].
end_per_group(_Group, _Config) -> ok.

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

bbb(Config) -> restarted([beam, beam, beam], Config).
bbr(Config) -> restarted([beam, beam, rakv], Config).
brb(Config) -> restarted([beam, rakv, beam], Config).
brr(Config) -> restarted([beam, rakv, rakv], Config).
rbb(Config) -> restarted([rakv, beam, beam], Config).
rbr(Config) -> restarted([rakv, beam, rakv], Config).
rrb(Config) -> restarted([rakv, rakv, beam], Config).
rrr(Config) -> restarted([rakv, rakv, rakv], Config).

%% ---------------------------------------------------------------------------------------------------------------

%% All nodes end and come back, twice: the call keeps every server and every acknowledged write.
restarted(Kinds, Config) ->
    Cluster = cluster_ct:start_nodes(Config, Kinds, #{}),
    Servers = lists:sort(cluster_ct:servers(Cluster)),
    {ok, First, []} = start_or_restart(Cluster, 4),
    ?assertEqual(Servers, lists:sort(First)),
    Uids = uids(Cluster),
    [begin
         Prefix = "round" ++ integer_to_list(Round) ++ "-",
         ok = cluster_ct:fill(Cluster, Prefix, ?KEYS),
         end_all(proplists:get_value(how, Config), Cluster),
         [ok = cluster_ct:start_again(Cluster, Name) || Name <- cluster_ct:members(Cluster)],
         reachable(Cluster),
         ?assertEqual({ok, cluster_ct:servers(Cluster), []}, start_or_restart(Cluster, 3 + Round)),
         ?assertEqual(Uids, uids(Cluster)),
         _ = cluster_ct:leader(Cluster),
         [?assertMatch({ok, _, {Number, _}}, cluster_ct:get(Cluster, hd(cluster_ct:members(Cluster)), key(Part, Number)))
          || Part <- lists:seq(1, Round), Number <- lists:seq(1, ?KEYS)]
     end || Round <- [1, 2]],
    cluster_ct:same_everywhere(Cluster).

key(Round, Number) -> iolist_to_binary(["round", integer_to_list(Round), "-", integer_to_list(Number)]).

start_or_restart(Cluster, Arity) ->
    Args = [default, kv, {module, ra_kv, #{}}, cluster_ct:servers(Cluster)] ++ [?CALL_MS || Arity >= 5],
    cluster_ct:call(Cluster, ra, start_or_restart_cluster, Args).

uids(Cluster) ->
    [cluster_ct:rpc(Cluster, Name, ra_directory, uid_of, [default, kv]) || Name <- cluster_ct:members(Cluster)].

end_all(after_an_ordered_stop, Cluster) ->
    cluster_ct:parallel(fun(Name) -> cluster_ct:stop(Cluster, Name) end, cluster_ct:members(Cluster));
end_all(after_kill, Cluster) ->
    cluster_ct:parallel(fun(Name) -> cluster_ct:kill(Cluster, Name) end, cluster_ct:members(Cluster)).

%% The client has noticed that the connections are those of the nodes before.
reachable(Cluster) ->
    [rakv_ct:wait_until(fun() -> cluster_ct:call(Cluster, net_adm, ping, [cluster_ct:node_of(Cluster, Name)]) =:= pong
                                     andalso cluster_ct:rpc(Cluster, Name, ra_system, fetch, [default]) =/= undefined end)
     || Name <- cluster_ct:members(Cluster)].

%% ---------------------------------------------------------------------------------------------------------------

again(Cluster) ->
    ok = cluster_ct:stop(Cluster, n1),
    ok = cluster_ct:start_again(Cluster, n1),
    reachable(Cluster).

ra(Cluster, Function, Args) -> cluster_ct:call(Cluster, ra, Function, Args).

%% One request finds a server that waits for it; the next ones find it running, as those of a BEAM do.
first_requests(Config) ->
    Cluster = cluster_ct:start(Config, [rakv]),
    Server = cluster_ct:server(Cluster, n1),
    Running = fun() -> ?assertMatch({error, {already_started, _}}, ra(Cluster, restart_server, [default, Server])) end,
    Running(),
    again(Cluster),
    ?assertEqual(ok, ra(Cluster, restart_server, [default, Server])),
    Running(),
    again(Cluster),
    %% a server that was stopped is started as ever
    ?assertEqual(ok, ra(Cluster, stop_server, [default, Server])),
    ?assertEqual(ok, ra(Cluster, restart_server, [default, Server])),
    Running(),
    again(Cluster),
    %% one that crashes is started by its supervisor: it is the one that was asked for
    ?assertEqual(ok, ra(Cluster, restart_server, [default, Server])),
    Pid = cluster_ct:rpc(Cluster, n1, erlang, whereis, [kv]),
    true = cluster_ct:rpc(Cluster, n1, erlang, exit, [Pid, kill]),
    rakv_ct:wait_until(fun() ->
        Next = cluster_ct:rpc(Cluster, n1, erlang, whereis, [kv]), is_pid(Next) andalso Next =/= Pid end),
    Running(),
    ok = cluster_ct:fill(Cluster, "k", 10).

%% "not new" is what a BEAM says of a server that is registered and was not restarted yet; a name is not taken over while
%% its server runs.
start_before_restart(Config) ->
    Cluster = cluster_ct:start(Config, [rakv]),
    Server = cluster_ct:server(Cluster, n1),
    ok = cluster_ct:fill(Cluster, "k", 10),
    [Uid] = uids(Cluster),
    again(Cluster),
    Conf = fun(U) -> #{id => Server, uid => U, cluster_name => kv, initial_members => [Server],
                       log_init_args => #{uid => U}, machine => {module, ra_kv, #{}}} end,
    ?assertEqual({error, not_new}, ra(Cluster, start_server, [default, Conf(Uid)])),
    ?assertMatch({error, {shutdown, {failed_to_start_child, kv, {already_started, _}}}},
                 ra(Cluster, start_server, [default, Conf(<<"ANOTHER12345">>)])),
    ?assertEqual({error, cluster_not_formed},
                 ra(Cluster, start_cluster, [default, kv, {module, ra_kv, #{}}, [Server]])),
    ?assertEqual(ok, ra(Cluster, restart_server, [default, Server])),
    ?assertMatch({error, {already_started, _}}, ra(Cluster, start_server, [default, Conf(Uid)])),
    ?assertEqual([Uid], uids(Cluster)),
    ?assertMatch({ok, _, {7, _}}, cluster_ct:get(Cluster, n1, <<"k7">>)).

%% The settings of the first request hold, as if it had started the server.
new_settings(Config) ->
    Cluster = cluster_ct:start(Config, [rakv]),
    Server = cluster_ct:server(Cluster, n1),
    ok = cluster_ct:fill(Cluster, "k", 10),
    again(Cluster),
    ?assertEqual(ok, ra(Cluster, restart_server, [default, Server, #{max_pipeline_count => 77}])),
    _ = cluster_ct:leader(Cluster),
    ?assertMatch(#{max_pipeline_count := 77}, cluster_ct:overview(Cluster, n1)),
    ?assertMatch({error, {already_started, _}}, ra(Cluster, restart_server, [default, Server])),
    again(Cluster),
    ?assertMatch(#{max_pipeline_count := 77}, cluster_ct:overview(Cluster, n1)),
    ?assertMatch({ok, _, {7, _}}, cluster_ct:get(Cluster, n1, <<"k7">>)).

%% A new server under the name of a stopped one: a BEAM leaves the old one's folder, with all that was acknowledged.
replaced_server_keeps_its_folder(Config) ->
    Cluster = cluster_ct:start(Config, [rakv]),
    Server = cluster_ct:server(Cluster, n1),
    ok = cluster_ct:fill(Cluster, "old-", 50),
    [Uid] = uids(Cluster),
    ok = ra(Cluster, stop_server, [default, Server]),
    ?assertMatch({ok, [Server], []}, ra(Cluster, start_cluster, [default, kv, {module, ra_kv, #{}}, [Server]])),
    [New] = uids(Cluster),
    ?assertNotEqual(Uid, New),
    ok = cluster_ct:fill(Cluster, "new-", 10),
    ?assertEqual({error, not_found}, cluster_ct:get(Cluster, n1, <<"old-7">>)),
    Dir = rakv_ct:system_dir(Config, n1),
    Kept = filename:join(Dir, binary_to_list(Uid) ++ ".replaced"),
    Whole = fun() ->
        ?assert(filelib:is_regular(filename:join(Kept, "config"))),
        {ok, Segment} = file:read_file(hd(filelib:wildcard(filename:join(Kept, "*.segment")))),
        [?assertNotEqual(nomatch, binary:match(Segment, iolist_to_binary(["old-", integer_to_list(N)])))
         || N <- lists:seq(1, 50)]
    end,
    Whole(),
    again(Cluster),
    [New] = uids(Cluster),
    ?assertMatch({ok, _, {7, _}}, cluster_ct:get(Cluster, n1, <<"new-7">>)),
    Whole().
