%% SPDX-License-Identifier: Apache-2.0
%% rakv as a node beside BEAM nodes of OTP 25 and OTP 29: what the distribution protocol promises, from ping to lost
%% networks. Each test case runs against either OTP. rakv_ct:finish/1 also fails a test case when the BEAM complained
%% about what it received.
-module(dist_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% How long dialling at the same moment is repeated.
-define(DIAL_MS, 20000).
-define(LARGE_BYTES, 100_000_000).

all() -> [{group, otp25}, {group, otp29}].

groups() ->
    Both = [ping, nodes_and_monitor_nodes, missing_name, remote_functions, spawned_processes, global_functions,
            monitors_and_links_at_an_ordered_stop, monitors_and_links_at_a_crash, monitors_of_nothing, restart,
            simultaneous_dials, epmd_restarts, large_values_and_small_calls, stopped_process, beats, wrong_cookie,
            wrong_cookie_dials],
    [{otp25, [], Both}, {otp29, [], Both ++ [aten_sees_the_node]}].

suite() -> [{timetrap, {minutes, 4}}].

init_per_group(otp25, Config) -> [{otp, 25} | Config];
init_per_group(otp29, Config) -> [{otp, 29} | Config].

end_per_group(_Group, _Config) -> ok.

init_per_testcase(_Case, Config) -> rakv_ct:init(Config).

end_per_testcase(wrong_cookie_dials, Config) ->
    %% The BEAM says so, and is right.
    {fail, {malformed_messages, [{_, Lines}]}} = rakv_ct:finish(Config),
    [] = [Line || Line <- Lines, re:run(Line, "Invalid challenge|bad cookie") =:= nomatch],
    ok;
end_per_testcase(epmd_restarts, Config) ->
    Result = rakv_ct:finish(Config),
    [stop_epmd(OsPid) || OsPid <- epmds(Config)],
    Result;
end_per_testcase(_Case, Config) ->
    rakv_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------
%% Being there.

ping(Config) ->
    {Beam, Rakv} = pair(Config),
    ?assertEqual(pong, rakv_ct:call(Beam, net_adm, ping, [Rakv])),
    ?assertEqual(pong, rakv_ct:call(Beam, net_adm, ping, [Rakv])).

%% Whoever dials, both sides list each other; nodeup and nodedown come once for each connection.
nodes_and_monitor_nodes(Config) ->
    Beam = beam(Config, b),
    ok = rakv_ct:call(Beam, dist_peer, watcher, [w, [nodes]]),
    Rakv = rakv(Config, dialled),
    ?assertEqual([], rakv_ct:call(Beam, erlang, nodes, [])),
    ?assertEqual(true, rakv_ct:call(Beam, net_kernel, connect_node, [Rakv])),
    wait_for_nodes(Beam, [Rakv]),
    ?assertEqual([rakv_ct:node_of(Beam)], rakv_ct:call(Beam, erpc, call, [Rakv, erlang, nodes, []])),
    ?assertEqual([], rakv_ct:call(Beam, erlang, nodes, [hidden])),

    Dialler = rakv(Config, dialler, ["--connect", atom_to_list(rakv_ct:node_of(Beam))]),
    wait_for_nodes(Beam, [Dialler, Rakv]),
    ?assertEqual([rakv_ct:node_of(Beam)], rakv_ct:call(Beam, erpc, call, [Dialler, erlang, nodes, []])),
    ok = rakv:stop_node(Rakv),
    ok = rakv:kill_node(Dialler, #{restart => false}),
    wait_for_nodes(Beam, []),
    Got = rakv_ct:wait_for(fun() ->
        case rakv_ct:call(Beam, dist_peer, got, [w]) of
            [_, _, _, _ | _] = Four -> {ok, Four};
            Fewer -> Fewer
        end
    end, 10000),
    ?assertMatch([{nodeup, Rakv, _}, {nodeup, Dialler, _}, {nodedown, Rakv, _}, {nodedown, Dialler, _}], Got),

    %% and rakv notes that a BEAM came and went
    Third = rakv(Config, third),
    pong = rakv_ct:call(Beam, net_adm, ping, [Third]),
    true = rakv_ct:call(Beam, erlang, disconnect_node, [Third]),
    wait_for_nodes(Beam, []),
    Again = rakv_ct:start_beam(Config, c, options(Config)),
    rakv_ct:wait_until(fun() ->
        [rakv_ct:node_of(Again)] =:= rakv_ct:call(Again, erpc, call, [Third, erlang, nodes, []])
    end).

missing_name(Config) ->
    {Beam, Rakv} = pair(Config),
    pong = rakv_ct:call(Beam, net_adm, ping, [Rakv]),
    {Result, Microseconds} = rakv_ct:call(Beam, dist_peer, missing, [{nobody, Rakv}]),
    ct:log("noproc after ~b us", [Microseconds]),
    ?assertEqual(noproc, Result),
    [?assertMatch({exit, {noproc, _}}, caught(Beam, gen_statem, call, [{Name, Rakv}, hello, 30000]))
     || Name <- [nobody, global_name_server, '', 'n\x{e4}me', list_to_atom(lists:duplicate(255, $x))]],
    %% a message to nobody is for nobody
    hello = rakv_ct:call(Beam, erlang, send, [{nobody, Rakv}, hello]),
    ?assertEqual(pong, rakv_ct:call(Beam, net_adm, ping, [Rakv])).

%% ---------------------------------------------------------------------------------------------------------------
%% Functions.

remote_functions(Config) ->
    {Beam, Rakv} = pair(Config),
    Erpc = fun(M, F, A) -> caught(Beam, erpc, call, [Rakv, M, F, A, 30000]) end,
    Rpc = fun(M, F, A) -> rakv_ct:call(Beam, rpc, call, [Rakv, M, F, A, 30000]) end,
    Term = {some, [term, "text", 1.5], #{<<"key">> => 1 bsl 100}},

    ?assertEqual({value, Rakv}, Erpc(erlang, node, [])),
    ?assertEqual({throw, Term}, Erpc(erlang, throw, [Term])),
    ?assertEqual({exit, {exception, Term}}, Erpc(erlang, exit, [Term])),
    ?assertMatch({error, {exception, Term, _}}, Erpc(erlang, error, [Term])),
    ?assertMatch({error, {exception, undef, [{no_such, function, [1, "ab", Term], _} | _]}},
                 Erpc(no_such, function, [1, "ab", Term])),
    ?assertMatch({error, {exception, undef, [{no_such, function, [], _} | _]}}, Erpc(no_such, function, [])),
    ?assertMatch({error, {exception, undef, [{erlang, node, [1, 2], _} | _]}}, Erpc(erlang, node, [1, 2])),
    [?assertMatch({error, {exception, badarg, _}}, Erpc(Module, Function, Arguments))
     || {Module, Function, Arguments} <- [{erlang, is_process_alive, [no_pid]}, {ra_kv, get, [no_server, key, 1000]},
                                          {ra_kv, get, [{kv, Rakv}, key, infinity]}, {ra, aux_command, [no_server, x]},
                                          {ra, trigger_compaction, [no_server]}, {ra, stop_server, [default, no_server]},
                                          {inet_tcp_proxy_dist, block, ["no node"]}, {inet_tcp_proxy_dist, allow, [1]}]],
    %% a fun that this node has not got
    ?assertMatch({error, {exception, _, _}}, caught(Beam, erpc, call, [Rakv, fun erlang:halt/0, 30000])),

    ?assertEqual(Rakv, Rpc(erlang, node, [])),
    ?assertEqual(Term, Rpc(erlang, throw, [Term])),
    ?assertEqual({badrpc, {'EXIT', Term}}, Rpc(erlang, exit, [Term])),
    ?assertMatch({badrpc, {'EXIT', {Term, _}}}, Rpc(erlang, error, [Term])),
    ?assertMatch({badrpc, {'EXIT', {undef, [{no_such, function, [], _} | _]}}}, Rpc(no_such, function, [])),

    Here = rakv_ct:node_of(Beam),
    ?assertEqual([{ok, Here}, {ok, Rakv}],
                 rakv_ct:call(Beam, erpc, multicall, [[Here, Rakv], erlang, node, [], 30000])),
    ?assertEqual([{throw, x}, {throw, x}],
                 rakv_ct:call(Beam, erpc, multicall, [[Here, Rakv], erlang, throw, [x], 30000])),
    ?assertEqual({[Rakv], []}, rakv_ct:call(Beam, rpc, multicall, [[Rakv], erlang, node, [], 30000])),
    ?assertEqual(true, rakv_ct:call(Beam, rpc, cast, [Rakv, erlang, node, []])),
    ?assertEqual(true, rakv_ct:call(Beam, rpc, cast, [Rakv, no_such, function, []])),
    ?assertEqual(ok, rakv_ct:call(Beam, erpc, cast, [Rakv, erlang, error, [Term]])),
    ?assertEqual(pong, rakv_ct:call(Beam, net_adm, ping, [Rakv])).

spawned_processes(Config) ->
    {Beam, Rakv} = pair(Config),
    Spawned = fun(M, F, A, Options) -> rakv_ct:call(Beam, dist_peer, spawned, [Rakv, {M, F, A}, Options]) end,
    ?assertMatch([{down, {undef, [{no_such, function, [1], _} | _]}}], Spawned(no_such, function, [1], [monitor])),
    ?assertMatch([{exit, {undef, [{no_such, function, [1], _} | _]}}], Spawned(no_such, function, [1], [link])),
    ?assertEqual([{down, normal}], Spawned(erlang, node, [], [monitor])),
    ?assertEqual([{exit, normal}], Spawned(erlang, node, [], [link])),
    ?assertEqual([{down, why}], Spawned(erlang, exit, [why], [monitor])),
    ?assertMatch([{down, {{nocatch, why}, _}}], Spawned(erlang, throw, [why], [monitor])),
    ?assertMatch([{down, {why, _}}], Spawned(erlang, error, [why], [monitor])),
    ?assertEqual([{down, why}, {exit, why}], lists:sort(Spawned(erlang, exit, [why], [monitor, link]))),
    ?assertEqual(pong, rakv_ct:call(Beam, net_adm, ping, [Rakv])).

%% global neither waits for the node nor lets it take part; locks on all nodes are taken.
global_functions(Config) ->
    {Beam, Rakv} = pair(Config),
    Other = beam(Config, other),
    pong = rakv_ct:call(Beam, net_adm, ping, [rakv_ct:node_of(Other)]),
    pong = rakv_ct:call(Beam, net_adm, ping, [Rakv]),
    pong = rakv_ct:call(Other, net_adm, ping, [Rakv]),
    [begin
         ?assertEqual(ok, rakv_ct:call(Node, global, sync, [])),
         {in, Nodes} = rakv_ct:call(Node, dist_peer, trans, [Rakv]),
         ?assert(lists:member(Rakv, Nodes))
     end || Node <- [Beam, Other]],
    ?assertEqual(yes, rakv_ct:call(Beam, global, register_name, [me, rakv_ct:call(Beam, erlang, whereis, [init])])),
    rakv_ct:wait_until(fun() -> is_pid(rakv_ct:call(Other, global, whereis_name, [me])) end).

%% ---------------------------------------------------------------------------------------------------------------
%% Monitors and links.

monitors_and_links_at_an_ordered_stop(Config) ->
    {Beam, Rakv} = pair(Config),
    Pid = watch_all(Beam, Rakv),
    ok = rakv:stop_node(Rakv),
    await_ends(Beam, Rakv, Pid, shutdown).

monitors_and_links_at_a_crash(Config) ->
    {Beam, Rakv} = pair(Config),
    Pid = watch_all(Beam, Rakv),
    ok = rakv:kill_node(Rakv, #{restart => false}),
    await_ends(Beam, Rakv, Pid, noconnection).

monitors_of_nothing(Config) ->
    {Beam, Rakv} = pair(Config),
    %% a pid of a process that has ended
    Gone = rakv_ct:call(Beam, erlang, spawn, [Rakv, erlang, node, []]),
    rakv_ct:wait_until(fun() -> not rakv_ct:call(Beam, erpc, call, [Rakv, erlang, is_process_alive, [Gone]]) end),
    ok = rakv_ct:call(Beam, dist_peer, watcher, [w, [{monitor, {nobody, Rakv}}, {monitor, Gone}, {link, Gone}]]),
    [{monitored, Name}, {monitored, Process} | Got] = await_got(Beam, w, 5),
    ?assertEqual(lists:sort([{'DOWN', Name, process, {nobody, Rakv}, noproc},
                             {'DOWN', Process, process, Gone, noproc},
                             {'EXIT', Gone, noproc}]), lists:sort(Got)),
    %% a demonitored name is silent, and the next one works
    ?assertMatch({noproc, _}, rakv_ct:call(Beam, dist_peer, missing, [{nobody, Rakv}])).

%% The node comes back by itself with its name, and is another incarnation.
restart(Config) ->
    {Beam, Rakv} = pair(Config),
    ok = rakv_ct:call(Beam, dist_peer, watcher, [n, [nodes]]),
    Pid = watch_all(Beam, Rakv),
    Before = rakv_ct:call(Beam, dist_peer, creation, [Rakv]),
    ?assertEqual(Before, rakv_ct:call(Beam, dist_peer, creation, [Rakv])),
    ok = rakv:kill_node(Rakv),
    ok = rakv:await_ready(Rakv, 30000),
    await_ends(Beam, Rakv, Pid, noconnection),
    rakv_ct:wait_until(fun() -> pong =:= rakv_ct:call(Beam, net_adm, ping, [Rakv]) end),
    After = rakv_ct:call(Beam, dist_peer, creation, [Rakv]),
    ct:log("creations ~b and ~b", [Before, After]),
    ?assertNotEqual(Before, After),
    ?assertMatch([{nodeup, Rakv, _}, {nodedown, Rakv, _}, {nodeup, Rakv, _}], rakv_ct:call(Beam, dist_peer, got, [n])),
    %% what the dead incarnation's pid is told now
    ok = rakv_ct:call(Beam, dist_peer, watcher, [old, [{monitor, Pid}, {link, Pid}]]),
    [{monitored, Ref} | Got] = await_got(Beam, old, 3),
    ?assertEqual(lists:sort([{'DOWN', Ref, process, Pid, noproc}, {'EXIT', Pid, noproc}]), lists:sort(Got)).

%% ---------------------------------------------------------------------------------------------------------------
%% Connections.

%% Both sides dial while the other's attempt is under way: exactly one connection comes of it, whichever name is the
%% greater one. In half of the rounds BEAM's net_kernel is held until both attempts are there; in the others both dial
%% with nothing in their way.
simultaneous_dials(Config) ->
    Beam = beam(Config, m),
    ok = rakv_ct:call(Beam, dist_peer, watcher, [w, [nodes]]),
    Dial = ["--connect", atom_to_list(rakv_ct:node_of(Beam))],
    Rakvs = [rakv(Config, Name, Dial) || Name <- [a, z]],
    wait_for_nodes(Beam, Rakvs),
    Deadline = erlang:monotonic_time(millisecond) + ?DIAL_MS,
    {Rounds, Collisions} = dial_rounds(Beam, Rakvs, Deadline, 0, 0),
    ct:log("~b rounds, ~b with collisions", [Rounds, Collisions]),
    ?assert(Rounds >= 5),
    ?assert(Collisions >= 1),
    Got = rakv_ct:call(Beam, dist_peer, got, [w]),
    [begin
         Of = [Kind || {Kind, Node, _} <- Got, Node =:= Rakv],
         ?assertEqual(lists:append(lists:duplicate(Rounds, [nodeup, nodedown])) ++ [nodeup], Of)
     end || Rakv <- Rakvs].

dial_rounds(Beam, Rakvs, Deadline, Rounds, Collisions) ->
    case erlang:monotonic_time(millisecond) < Deadline of
        true ->
            Collided = case Rounds rem 2 of
                           0 -> collide(Beam, Rakvs);
                           1 -> part_and_dial(Beam, Rakvs)
                       end,
            %% both nodeups of this round have come, and no connection is left over
            rakv_ct:wait_until(fun() ->
                Got = rakv_ct:call(Beam, dist_peer, got, [w]),
                lists:all(fun(Rakv) -> Rounds + 2 =:= length([up || {nodeup, Node, _} <- Got, Node =:= Rakv]) end, Rakvs)
            end),
            [?assertEqual(pong, rakv_ct:call(Beam, net_adm, ping, [Rakv])) || Rakv <- Rakvs],
            [rakv_ct:wait_until(fun() -> 1 =:= connections(Rakv, rakv_ct:node_of(Beam)) end) || Rakv <- Rakvs],
            ?assertEqual(lists:sort(Rakvs), lists:sort(rakv_ct:call(Beam, erlang, nodes, []))),
            dial_rounds(Beam, Rakvs, Deadline, Rounds + 1, Collisions + Collided);
        false ->
            {Rounds, Collisions}
    end.

part_and_dial(Beam, Rakvs) ->
    [true = rakv_ct:call(Beam, erlang, disconnect_node, [Rakv]) || Rakv <- Rakvs],
    [ok = rakv_ct:call(Beam, dist_peer, dial_later, [Rakv]) || Rakv <- Rakvs],
    0.

%% Gives 0 when a rakv node was back before net_kernel could be held: it dials again by itself.
collide(Beam, Rakvs) ->
    case rakv_ct:call(Beam, dist_peer, part_and_hold_net_kernel, [Rakvs]) of
        back_already ->
            0;
        held ->
            [ok = rakv_ct:call(Beam, dist_peer, dial_later, [Rakv]) || Rakv <- Rakvs],
            %% the BEAM takes one socket at a time from its listener; the other attempt waits there
            Collided = rakv_ct:wait_for(fun() ->
                case {rakv_ct:call(Beam, dist_peer, dials_in, []), rakv_ct:call(Beam, erlang, nodes, [])} of
                    {{2, 1}, []} -> {ok, 1};
                    %% a handshake was past net_kernel already
                    {_, [_ | _]} -> {ok, 0};
                    Other -> Other
                end
            end, ?DIAL_MS),
            ok = rakv_ct:call(Beam, dist_peer, release_net_kernel, []),
            Collided
    end.

%% A private epmd, so that nobody else misses it.
epmd_restarts(Config) ->
    Port = free_port(),
    Env = [{"ERL_EPMD_PORT", integer_to_list(Port)}],
    First = start_epmd(Config, Port),
    Beam = rakv_ct:start_beam(Config, b, (options(Config))#{env => Env}),
    Rakv = rakv_ct:start_rakv(Config, r, #{env => Env, args => ["--test-hooks"]}),
    pong = rakv_ct:call(Beam, net_adm, ping, [Rakv]),
    Creation = rakv_ct:call(Beam, dist_peer, creation, [Rakv]),
    ok = rakv_ct:call(Beam, dist_peer, watcher, [w, [nodes, {monitor, {net_kernel, Rakv}}]]),
    [Alive, _] = string:split(atom_to_list(Rakv), "@"),
    Registered = fun() ->
        {ok, Names} = rakv_ct:call(Beam, net_adm, names, []),
        proplists:get_value(Alive, Names)
    end,
    TcpPort = Registered(),
    ?assert(is_integer(TcpPort)),
    stop_epmd(First),
    ?assertMatch({error, _}, rakv_ct:call(Beam, net_adm, names, [])),
    ?assertEqual(pong, rakv_ct:call(Beam, net_adm, ping, [Rakv])),
    _ = start_epmd(Config, Port),
    rakv_ct:wait_until(fun() -> Registered() =:= TcpPort end, 10000),
    ?assertEqual(Creation, rakv_ct:call(Beam, dist_peer, creation, [Rakv])),
    ?assertMatch([{monitored, _}], rakv_ct:call(Beam, dist_peer, got, [w])),
    %% whoever comes now finds it by its name
    Late = rakv_ct:start_beam(Config, late, (options(Config))#{env => Env}),
    ?assertEqual(pong, rakv_ct:call(Late, net_adm, ping, [Rakv])),
    ?assertEqual(Creation, rakv_ct:call(Late, dist_peer, creation, [Rakv])).

%% 100 MB go in and come back while another process calls on: none of its calls is lost.
large_values_and_small_calls(Config) ->
    Beam = beam(Config, b),
    Rakv = rakv_ct:start_rakv(Config, r, #{bootstrap => kv, args => ["--test-hooks"]}),
    Id = {kv, Rakv},
    Client = case ?config(otp, Config) of 25 -> plain_kv_client; 29 -> ra_kv end,
    pong = rakv_ct:call(Beam, net_adm, ping, [Rakv]),
    ok = rakv_ct:call(Beam, dist_peer, watcher, [w, [nodes]]),
    ok = rakv_ct:call(Beam, dist_peer, callers, [small, Rakv]),
    Result = rakv_ct:call(Beam, dist_peer, large_values, [Client, Id, ?LARGE_BYTES], 180000),
    Small = rakv_ct:call(Beam, dist_peer, stop_callers, [small]),
    ct:log("large: ~p~nsmall calls meanwhile: ~p", [Result, Small]),
    ?assertMatch(#{equal := true}, Result),
    ?assertMatch(#{failures := []}, Small),
    ?assert(maps:get(calls, Small) > 10),
    ?assertEqual([], rakv_ct:call(Beam, dist_peer, got, [w])).

%% A node that hangs is given up after net_ticktime by the BEAM, and works again once it goes on.
stopped_process(Config) ->
    Beam = rakv_ct:start_beam(Config, b, (options(Config))#{args => ["-kernel", "net_ticktime", "4"]}),
    Rakv = rakv(Config, r, ["--net-ticktime", "4"]),
    pong = rakv_ct:call(Beam, net_adm, ping, [Rakv]),
    ok = rakv_ct:call(Beam, dist_peer, watcher, [w, [nodes, {monitor, {net_kernel, Rakv}}]]),
    {ok, OsPid} = rakv:os_pid(Rakv),
    Creation = rakv_ct:call(Beam, dist_peer, creation, [Rakv]),
    signal("STOP", OsPid),
    try
        [{monitored, Ref} | Got] = await_got(Beam, w, 3),
        ?assertMatch([{'DOWN', Ref, process, {net_kernel, Rakv}, noconnection}], [D || {'DOWN', _, _, _, _} = D <- Got]),
        [{nodedown, Rakv, Info}] = [D || {nodedown, _, _} = D <- Got],
        ?assertEqual(net_tick_timeout, proplists:get_value(nodedown_reason, Info))
    after
        signal("CONT", OsPid)
    end,
    rakv_ct:wait_until(fun() -> pong =:= rakv_ct:call(Beam, net_adm, ping, [Rakv]) end),
    ?assertEqual(Creation, rakv_ct:call(Beam, dist_peer, creation, [Rakv])),
    %% and stays, for longer than net_ticktime, with nothing but ticks and beats
    {ok, Lines} = quiet_time(Beam, Rakv, 6000),
    ct:log("~p", [Lines]).

%% Beats of the failure detector come about every 100 ms.
beats(Config) ->
    Beam = beam(Config, b),
    Rakv = rakv(Config, r),
    ok = rakv_ct:call(Beam, dist_peer, watcher, [aten_sink, []]),
    pong = rakv_ct:call(Beam, net_adm, ping, [Rakv]),
    Beats = fun() -> length([hb || {'$gen_cast', {hb, Node}} <- rakv_ct:call(Beam, dist_peer, got, [aten_sink]),
                                   Node =:= Rakv]) end,
    Start = Beats(),
    receive after 2000 -> ok end,
    Count = Beats() - Start,
    ct:log("~b beats in 2 s", [Count]),
    ?assert(Count >= 15).

%% The real failure detector takes the node for up, for down while it hangs, and for up again.
aten_sees_the_node(Config) ->
    Beam = beam(Config, b),
    ok = rakv_ct:start_ra(Config, Beam),
    Rakv = rakv(Config, r),
    pong = rakv_ct:call(Beam, net_adm, ping, [Rakv]),
    ok = rakv_ct:call(Beam, dist_peer, aten_watcher, [w, Rakv]),
    Last = fun() ->
        case [Status || {node_event, Node, Status} <- rakv_ct:call(Beam, dist_peer, got, [w]), Node =:= Rakv] of
            [] -> nothing;
            Events -> lists:last(Events)
        end
    end,
    rakv_ct:wait_until(fun() -> Last() =:= up end),
    {ok, OsPid} = rakv:os_pid(Rakv),
    signal("STOP", OsPid),
    try rakv_ct:wait_until(fun() -> Last() =:= down end)
    after signal("CONT", OsPid)
    end,
    %% With too few heartbeats to judge by, aten said so only when the net tick had ended the connection.
    rakv_ct:wait_until(fun() ->
        pong = rakv_ct:call(Beam, net_adm, ping, [Rakv]),
        Last() =:= up
    end).

%% ---------------------------------------------------------------------------------------------------------------
%% Cookies.

%% A stranger that dials is turned away; the others are served as before.
wrong_cookie(Config) ->
    {Beam, Rakv} = pair(Config),
    pong = rakv_ct:call(Beam, net_adm, ping, [Rakv]),
    Other = [{rakv_cookie, "wrong-" ++ rakv_ct:cookie(Config)} | lists:keydelete(rakv_cookie, 1, Config)],
    Stranger = rakv_ct:start_beam(Other, stranger, options(Config)),
    [?assertEqual(pang, rakv_ct:call(Stranger, net_adm, ping, [Rakv])) || _ <- lists:seq(1, 5)],
    ?assertEqual([], rakv_ct:call(Stranger, erlang, nodes, [connected])),
    ?assertEqual([rakv_ct:node_of(Beam)], rakv_ct:call(Beam, erpc, call, [Rakv, erlang, nodes, []])),
    {ok, #{last_log := Lines}} = rakv:info(Rakv),
    ?assertMatch([_ | _], [Line || Line <- Lines, re:run(Line, "cookie") =/= nomatch]),
    ?assertEqual(pong, rakv_ct:call(Beam, net_adm, ping, [Rakv])).

%% The same when it is the node that dials: it goes on with the others, and says what is wrong.
wrong_cookie_dials(Config) ->
    Beam = beam(Config, b),
    Other = [{rakv_cookie, "wrong-" ++ rakv_ct:cookie(Config)} | lists:keydelete(rakv_cookie, 1, Config)],
    Rakv = rakv(Other, r, ["--connect", atom_to_list(rakv_ct:node_of(Beam))]),
    rakv_ct:wait_until(fun() -> [] =/= rakv_ct:beam_log(Beam, "Invalid challenge|bad cookie") end),
    ?assertEqual([], rakv_ct:call(Beam, erlang, nodes, [connected])),
    Friend = rakv_ct:start_beam(Other, friend, options(Config)),
    ?assertEqual(pong, rakv_ct:call(Friend, net_adm, ping, [Rakv])),
    ?assertEqual([rakv_ct:node_of(Friend)], rakv_ct:call(Friend, erpc, call, [Rakv, erlang, nodes, []])).

%% ---------------------------------------------------------------------------------------------------------------

options(Config) ->
    #{otp => ?config(otp, Config), modules => [dist_peer, plain_kv_client]}.

beam(Config, Name) ->
    rakv_ct:start_beam(Config, Name, options(Config)).

rakv(Config, Name) ->
    rakv(Config, Name, []).

rakv(Config, Name, Args) ->
    rakv_ct:start_rakv(Config, Name, #{args => ["--test-hooks" | Args]}).

pair(Config) ->
    {beam(Config, b), rakv(Config, r)}.

caught(Beam, Module, Function, Args) ->
    rakv_ct:call(Beam, dist_peer, caught, [{Module, Function, Args}]).

wait_for_nodes(Beam, Nodes) ->
    Wanted = lists:sort(Nodes),
    rakv_ct:wait_until(fun() ->
        case lists:sort(rakv_ct:call(Beam, erlang, nodes, [])) of
            Wanted -> true;
            Other -> Other
        end
    end).

%% Waits until a watcher has got so much.
await_got(Beam, Name, Count) ->
    rakv_ct:wait_for(fun() ->
        case rakv_ct:call(Beam, dist_peer, got, [Name]) of
            Got when length(Got) >= Count -> {ok, Got};
            Fewer -> Fewer
        end
    end, 30000).

%% One watcher by name, one by pid with a link.
watch_all(Beam, Rakv) ->
    ok = rakv_ct:call(Beam, dist_peer, watcher, [by_name, [{monitor, {net_kernel, Rakv}}, {node, Rakv}]]),
    rakv_ct:call(Beam, dist_peer, monitor_pid, [by_pid, Rakv, net_kernel]).

await_ends(Beam, Rakv, Pid, Reason) ->
    [{monitored, Name} | GotByName] = await_got(Beam, by_name, 3),
    [{monitored, Process} | GotByPid] = await_got(Beam, by_pid, 3),
    ?assertEqual(lists:sort([{'DOWN', Name, process, {net_kernel, Rakv}, Reason}, {nodedown, Rakv}]),
                 lists:sort(GotByName)),
    ?assertEqual(lists:sort([{'DOWN', Process, process, Pid, Reason}, {'EXIT', Pid, Reason}]), lists:sort(GotByPid)).

signal(Name, OsPid) ->
    "" = os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(OsPid)),
    ok.

%% Nothing is sent on purpose for so long, and the connection is the same as before.
quiet_time(Beam, Rakv, Milliseconds) ->
    ok = rakv_ct:call(Beam, dist_peer, watcher, [quiet, [nodes, {monitor, {net_kernel, Rakv}}]]),
    receive after Milliseconds -> ok end,
    [{monitored, _}] = Got = rakv_ct:call(Beam, dist_peer, got, [quiet]),
    {ok, Got}.

%% Connections of rakv's process that are neither epmd's nor in the midst of ending.
connections(Rakv, BeamNode) ->
    {ok, OsPid} = rakv:os_pid(Rakv),
    {ok, #{port := Listening}} = rakv:info(Rakv),
    BeamPort = beam_port(BeamNode),
    Fds = filename:join(["/proc", integer_to_list(OsPid), "fd"]),
    {ok, Names} = file:list_dir(Fds),
    Inodes = [Inode || Fd <- Names, {ok, "socket:[" ++ Rest} <- [file:read_link(filename:join(Fds, Fd))],
                       Inode <- [string:trim(Rest, trailing, "]")]],
    {ok, Table} = file:read_file("/proc/net/tcp"),
    length([Row || Row <- string:split(string:trim(binary_to_list(Table)), "\n", all),
                   [_, Local, Remote, "01", _, _, _, _, _, Inode | _] <- [string:lexemes(Row, " ")],
                   lists:member(Inode, Inodes),
                   port_of(Local) =:= Listening orelse port_of(Remote) =:= BeamPort]).

port_of(HexAddress) ->
    [_, Port] = string:split(HexAddress, ":"),
    list_to_integer(Port, 16).

beam_port(Node) ->
    [Alive, Host] = string:split(atom_to_list(Node), "@"),
    {port, Port, _} = erl_epmd:port_please(Alive, Host),
    Port.

%% ---------------------------------------------------------------------------------------------------------------
%% epmd.

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{reuseaddr, true}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

%% Starts an epmd in the foreground, which ends with stop_epmd/1 at the latest at the end of the test case.
start_epmd(Config, Port) ->
    Program = os:find_executable("epmd"),
    Starter = self(),
    spawn(fun() ->
        Erlang = open_port({spawn_executable, Program}, [{args, ["-port", integer_to_list(Port)]}, exit_status]),
        {os_pid, OsPid} = erlang:port_info(Erlang, os_pid),
        Starter ! {epmd, OsPid},
        (fun Wait() -> receive {Erlang, {exit_status, _}} -> ok; _ -> Wait() end end)()
    end),
    OsPid = receive {epmd, Started} -> Started end,
    ok = file:write_file(epmd_file(Config), [integer_to_list(OsPid), "\n"], [append]),
    rakv_ct:wait_until(fun() ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, []),
        gen_tcp:close(Socket) =:= ok
    end),
    OsPid.

stop_epmd(OsPid) ->
    Comm = filename:join(["/proc", integer_to_list(OsPid), "comm"]),
    case file:read_file(Comm) of
        {ok, <<"epmd", _/binary>>} ->
            signal("KILL", OsPid),
            rakv_ct:wait_until(fun() -> {error, enoent} =:= file:read_file(Comm) end);
        _ ->
            ok
    end.

epmds(Config) ->
    case file:read_file(epmd_file(Config)) of
        {ok, Text} -> [binary_to_integer(Line) || Line <- binary:split(Text, <<"\n">>, [global, trim_all])];
        {error, enoent} -> []
    end.

epmd_file(Config) ->
    filename:join(?config(rakv_dir, Config), "epmd.pids").
