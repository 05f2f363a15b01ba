%% SPDX-License-Identifier: Apache-2.0
%% Runs ra_kv_harness, as it comes with ra, on clusters of which some or all nodes are rakv, and says how it went.
%%
%%   erl -noinput -epmd_module harness_epmd -pa EBIN -run harness_run main OPS RAKV SEED DIR STAND_INS
%%
%% OPS    how many operations
%% RAKV   which of the nodes are rakv: all, odd (those with an odd number), one (the first), none
%% SEED   of what the harness draws: the number of nodes and the operations. When they happen is not replayed.
%% DIR    an empty folder for data and logs
%%
%% Ends with 0 when the harness said ok and every one of its own checks held; with 3 when it stumbled over itself.
-module(harness_run).

-export([main/1]).

%% Nothing the harness does may take longer than this, for each operation and beyond them.
-define(OPERATION_MS, 10000).
-define(RUN_MS, 300000).

-define(LOG, "ra_kv_harness.log").

-spec main([string()]) -> no_return().
main([Ops, Rakv, Seed, Dir, StandIns]) ->
    Status = try run(list_to_integer(Ops), list_to_atom(Rakv), list_to_integer(Seed), Dir, StandIns)
             catch Class:Reason:Stack ->
                 io:format(user, "harness: error: ~0tp~n", [{Class, Reason, Stack}]),
                 1
             end,
    halt(Status).

run(Ops, Rakv, Seed, Dir, StandIns) ->
    ok = harness_nodes:start_link(#{rakv => Rakv, dir => Dir, stand_ins => StandIns}),
    {ok, _} = net_kernel:start(list_to_atom("harness_" ++ os:getpid()), #{name_domain => shortnames}),
    true = erlang:set_cookie(list_to_atom("harness_" ++ os:getpid() ++ "_" ++ integer_to_list(Seed))),
    ok = application:start(sasl), % which the harness stops first of all
    ok = load_peer(StandIns),
    ok = file:set_cwd(Dir),
    Start = erlang:monotonic_time(second),
    Result = supervised(Ops, Seed, Dir),
    Seconds = erlang:monotonic_time(second) - Start,
    Nodes = harness_nodes:started(),
    Ended = harness_nodes:stop_all(),
    Log = case file:read_file(?LOG) of {ok, Written} -> Written; {error, enoent} -> <<>> end,
    Checks = checks(Result, Ended, Log),
    ok = print(Ops, Rakv, Seed, Seconds, Nodes, Result, Log),
    case [Text || {false, Text} <- Checks] of
        [] ->
            0;
        _ when Result =:= no_member_left ->
            io:format(user, "harness: VOID: it has to pick a member on the larger side of a partition, and there is none; "
                            "take another SEED~n", []),
            3;
        Failures ->
            [io:format(user, "harness: FAILED: ~ts~n", [Text]) || Text <- Failures],
            io:format(user, "harness: logs and data are in ~ts; again: make harness OPS=~b RAKV=~s SEED=~b~n",
                      [Dir, Ops, Rakv, Seed]),
            1
    end.

%% The real peer was loaded when the kernel booted.
load_peer(StandIns) ->
    ok = code:unstick_dir(filename:dirname(code:which(peer))),
    _ = code:purge(peer),
    {module, peer} = code:load_abs(filename:join(StandIns, "peer")),
    ok.

%% The harness in a process of its own, which may be given up on. What it prints is in its log already.
supervised(Ops, Seed, Dir) ->
    {ok, Output} = file:open(filename:join(Dir, "harness.out"), [write]),
    {Harness, Monitor} = spawn_monitor(fun() ->
        true = group_leader(Output, self()),
        _ = rand:seed(exsss, Seed),
        exit({result, ra_kv_harness:run(Ops, #{dir => Dir})})
    end),
    LimitMs = ?RUN_MS + Ops * ?OPERATION_MS,
    receive
        {'DOWN', Monitor, process, Harness, {result, Result}} -> without_its_own_fault(Result);
        {'DOWN', Monitor, process, Harness, Reason} -> {error, Reason}
    after LimitMs ->
        {current_stacktrace, Stack} = process_info(Harness, current_stacktrace),
        exit(Harness, kill),
        {error, {not_done_after_ms, LimitMs, Stack}}
    end.

%% To remove one of two members while the other is cut off, it draws a number below 1 to choose whom to ask, and crashes,
%% whatever the nodes are.
without_its_own_fault({error, {error, function_clause, [{rand, uniform_s, [0 | _], _}, {rand, uniform, 1, _},
                                                        {ra_kv_harness, random_non_partitioned_member, _, _} | _]}}) ->
    no_member_left;
without_its_own_fault(Result) ->
    Result.

%% ---------------------------------------------------------------------------------------------------------------
%% The harness says ok also when keys were wrong: its log has it.

checks(Result, Ended, Log) ->
    {Validated, Keys} = validated(Log),
    Errors = consistency_errors(Log),
    [{is_tuple(Result) andalso element(1, Result) =:= ok, io_lib:format("the harness ended with ~0tP", [Result, 60])},
     {Validated =:= Keys andalso Keys > 0, io_lib:format("~p of ~p keys validated", [Validated, Keys])},
     {Errors =:= 0, io_lib:format("~b consistency errors", [Errors])},
     {Ended =:= [], io_lib:format("nodes that ended by themselves: ~0tp", [Ended])}].

validated(Log) ->
    case re:run(Log, "([0-9]+)/([0-9]+) keys validated", [{capture, all_but_first, list}]) of
        {match, Numbers} -> list_to_tuple([list_to_integer(Number) || Number <- Numbers]);
        nomatch -> {0, 0}
    end.

consistency_errors(Log) ->
    count(Log, "CONSISTENCY ERROR|Consistency check failed\\. |failed overview check|mismatch on|but should exist|"
               "query failed on").

count(Log, Pattern) ->
    case re:run(Log, Pattern, [global]) of
        {match, Found} -> length(Found);
        nomatch -> 0
    end.

print(Ops, Rakv, Seed, Seconds, Nodes, Result, Log) ->
    {Validated, Keys} = validated(Log),
    Outcome = case Result of
                  {ok, #{successful := Good, failed := Bad}} -> io_lib:format("ok, ~b successful, ~b failed", [Good, Bad]);
                  _ -> "FAILED"
              end,
    io:format(user, "harness: RAKV=~s OPS=~b SEED=~b: ~ts; ~b/~b keys validated, ~b consistency errors, ~b s~n",
              [Rakv, Ops, Seed, Outcome, Validated, Keys, consistency_errors(Log), Seconds]),
    io:format(user, "harness:   ~b rakv and ~b BEAM nodes; ~ts~n",
              [length([N || {N, rakv} <- Nodes]), length([N || {N, beam} <- Nodes]),
               lists:join(", ", [[integer_to_list(count(Log, Pattern)), " ", What]
                                 || {Pattern, What} <- events()])]).

events() ->
    [{"Creating network partition", "partitions"}, {"Killing member", "members killed"}, {"Killing WAL", "WALs killed"},
     {"Added member", "members added"}, {"removed\\. Cluster", "removed"}, {"Rollover/snapshot", "snapshots"},
     {"Triggering major", "compactions"}, {"Updated [0-9]", "rewrites of most keys"},
     {"convergence timeout", "slow convergences"}].
