%% SPDX-License-Identifier: Apache-2.0
%% Every exported function of `ra` with the id of a rakv server, beside the same with a BEAM's: docs/ra-functions.md is
%% what this suite finds, and fails when it is not. And what ra's own suites ask of a node beyond that: settings, system
%% messages, calls of supervisors, remote functions for operators.
%%
%%   RAKV_WRITE_DOCS=1   writes docs/ra-functions.md anew
-module(ra_functions_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(MS, 10000).

all() -> [every_function, event_formatter, rejected_at_a_follower, settings, system_messages, stopped_by_gen_statem,
          supervisor_calls, rates, directory, operators, stopped_by_init].

suite() -> [{timetrap, {minutes, 4}}].

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
%% A BEAM's server crashes by the settings that every_function gives it.
end_per_testcase(every_function, Config) -> cluster_ct:finish(Config, "State machine functions terminating|leader_saw_");
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------

%% These run on the caller's own node alone.
local() -> [{start, 0}, {start, 1}, {start_in, 1}].

%% What may differ, and why.
remark({overview, 1}) -> "of the caller's own node; by rpc the same keys, `segment_writer` is empty";
remark({cast_aux_command, 2}) -> "ra_kv has no aux command that acts without a caller";
remark({restart_server, 2}) -> "the first call after a start of the node finds the server running and answers `ok`";
remark({start_or_restart_cluster, _}) -> "after a restart of the nodes, too (restart_cluster_SUITE)";
remark({start_server, 2}) -> "settings that no server can run with are refused in words; a BEAM's server ends";
remark({start_cluster, _}) -> "under the name of a stopped server its folder is kept as `UID.replaced`";
remark({local_query, 2}) -> "a fun is evaluated on the caller's node, where its code is";
remark({member_overview, 1}) -> "of the member itself";
remark(_) -> "".

every_function(Config) ->
    Cluster = cluster_ct:start_nodes(Config, [beam, rakv], #{modules => [ra_function_calls]}),
    [Theirs, Ours] = [{cluster_ct:node_of(Cluster, Name),
                       cluster_ct:call(Cluster, ra_function_calls, run, [{functions, cluster_ct:node_of(Cluster, Name)}])}
                      || Name <- [n1, n2]],
    Labelled = fun({Node, Results}) -> {Node, [{{Function, What}, Result} || {Function, What, Result} <- Results]} end,
    Differences = ra_kv_shape_SUITE:differences(Labelled(Theirs), Labelled(Ours)),
    Called = lists:usort([Function || {Function, _, _} <- element(2, Ours)]),
    Exported = lists:sort(cluster_ct:call(Cluster, ra_function_calls, exported, [])),
    ?assertEqual(Exported, lists:sort(Called ++ local())),
    Failed = [{Label, Result} || {Function, What, Result} <- element(2, Theirs), Label <- [{Function, What}],
                                 is_tuple(Result), element(1, Result) =:= '$not_within_ms'],
    ?assertEqual([], Failed),
    [cluster_ct:say("~p", [Difference]) || Difference <- Differences],
    Text = table(Exported, Differences),
    File = docs_file(),
    case os:getenv("RAKV_WRITE_DOCS") of
        false -> ok;
        _ -> ok = file:write_file(File, Text)
    end,
    {ok, Written} = file:read_file(File),
    ?assertEqual(string:split(iolist_to_binary(Text), "\n", all), string:split(Written, "\n", all)).

docs_file() ->
    Tests = filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile))),
    docs_file(Tests).

%% The source may be a copy in a build folder of the tree.
docs_file(Dir) ->
    case filelib:is_regular(filename:join([Dir, "docs", "divergence.md"])) of
        true -> filename:join([Dir, "docs", "ra-functions.md"]);
        false -> docs_file(filename:dirname(Dir))
    end.

table(Exported, Differences) ->
    Rows = [io_lib:format("| `~s/~b` | ~s | ~s |~n", [Name, Arity, outcome(Function, Differences), remark(Function)])
            || {Name, Arity} = Function <- Exported],
    ["# Every function of `ra`, called with the id of a rakv server\n\n"
     "`erlang_tests/test/ra_functions_SUITE.erl` calls each one from a BEAM client, with the id of a server on a BEAM and\n"
     "with that of one on rakv, and compares the results as `ra_kv_shape_SUITE` does. It makes this page, and fails when\n"
     "it finds something else. docs/divergence.md has the reasons.\n\n"
     "| Function | With a rakv id | Remark |\n|---|---|---|\n" | Rows].

outcome(Function, Differences) ->
    case lists:member(Function, local()) of
        true -> "runs on the caller's node";
        false ->
            case lists:usort([{What, Path} || {[{F, What} | Path], _, _} <- Differences, F =:= Function]) of
                [] -> "same";
                Found -> ["differs: ", lists:join(", ", [io_lib:format("`~0tp`", [{What, Path}]) || {What, Path} <- Found])]
            end
    end.

%% ---------------------------------------------------------------------------------------------------------------

config({Name, _} = Server, Members, More) ->
    UId = iolist_to_binary(io_lib:format("UID~b", [erlang:unique_integer([positive])])),
    maps:merge(#{id => Server, uid => <<UId/binary, "ABCDEFGH">>, cluster_name => Name, initial_members => Members,
                 log_init_args => #{uid => <<UId/binary, "ABCDEFGH">>}, machine => {module, ra_kv, #{}}}, More).

put_command(Key, Value) -> {put, Key, Value, #{size => erlang:external_size(Value), hash => erlang:phash2(Value)}}.

%% Events come in the formatter's shape and in their order.
event_formatter(Config) ->
    Cluster = cluster_ct:start_nodes(Config, [beam, rakv], #{modules => [event_client]}),
    [begin
         Server = {formatted, cluster_ct:node_of(Cluster, Name)},
         Conf = config(Server, [Server], #{ra_event_formatter => {event_client, format, [extra]}}),
         %% a BEAM applies the function on the member's node
         {module, event_client} = load(Cluster, Name),
         ok = cluster_ct:call(Cluster, ra, start_server, [default, Conf]),
         ok = cluster_ct:call(Cluster, ra, trigger_election, [Server]),
         ?assertEqual({ok, lists:seq(1, 100)}, cluster_ct:call(Cluster, event_client, pipelined, [Server, 100]))
     end || Name <- [n1, n2]].

load(Cluster, Name) ->
    case cluster_ct:kind(Cluster, Name) of
        rakv -> {module, event_client};
        beam ->
            {event_client, Binary, File} = cluster_ct:call(Cluster, code, get_object_code, [event_client]),
            cluster_ct:rpc(Cluster, Name, code, load_binary, [event_client, File, Binary])
    end.

%% A follower says where the leader is, whatever the correlation: a leader would refuse it.
rejected_at_a_follower(Config) ->
    Cluster = cluster_ct:start(Config, [beam, rakv], #{modules => [event_client]}),
    [begin
         ok = cluster_ct:lead(Cluster, Leader),
         Led = cluster_ct:server(Cluster, Leader),
         rakv_ct:wait_until(fun() -> #{leader_id := L} = cluster_ct:overview(Cluster, Follower), L =:= Led end),
         [?assertEqual({rejected, {not_leader, Led, Correlation}},
                       cluster_ct:call(Cluster, event_client, event, [cluster_ct:server(Cluster, Follower), Command, Correlation]))
          || Correlation <- [an_atom, 17, <<"text">>, {a, tuple}, "list"], Command <- [put_command(<<"k">>, 1), unknown]]
     end || {Leader, Follower} <- [{n2, n1}, {n1, n2}]].

%% Accepted is what has an effect; the rest is refused in words.
settings(Config) ->
    Cluster = cluster_ct:start_nodes(Config, [rakv], #{}),
    Server = {settings, cluster_ct:node_of(Cluster, n1)},
    Start = fun(Conf) -> cluster_ct:call(Cluster, ra, start_server, [default, Conf]) end,
    Text = fun({error, {bad_config, T}}) -> binary_to_list(T);
              ({error, {shutdown, {failed_to_start_child, settings, {bad_config, T}}}}) -> binary_to_list(T);
              (Other) -> {no_text, Other} end,
    [?assertNotEqual(nomatch, string:find(Text(Start(config(Server, [Server], #{Key => Value}))), atom_to_list(Key)))
     || {Key, Value} <- [{tick_timeout, "x"}, {tick_timeout, -1}, {broadcast_time, 1.5}, {await_condition_timeout, soon},
                         {max_pipeline_count, <<>>}, {max_append_entries_rpc_batch_size, []}, {ra_event_formatter, {a, b}},
                         {friendly_name, {}}, {membership, boss}, {min_recovery_checkpoint_interval, never},
                         {metrics_labels, []}]],
    ?assertMatch({error, {start_failed, _}}, Start(maps:remove(log_init_args, config(Server, [Server], #{})))),
    ok = Start(config(Server, [Server], #{friendly_name => <<"my friend">>, min_recovery_checkpoint_interval => 7,
                                          max_append_entries_rpc_batch_size => 33})),
    {ok, Shown, _} = cluster_ct:call(Cluster, ra, member_overview, [Server]),
    ?assertMatch(#{log_id := <<"my friend">>, min_recovery_checkpoint_interval := 7, max_append_entries_rpc_batch_size := 33},
                 Shown),
    ok = cluster_ct:call(Cluster, ra, stop_server, [default, Server]),
    ?assertNotEqual(nomatch, string:find(Text(cluster_ct:call(Cluster, ra, restart_server,
                                                              [default, Server, #{tick_timeout => "x"}])), "tick_timeout")),
    ?assertMatch({error, _}, cluster_ct:call(Cluster, ra, restart_server, [default, Server, nomap])),
    ?assertEqual(ok, cluster_ct:call(Cluster, ra, restart_server, [default, Server, #{}])).

%% ---------------------------------------------------------------------------------------------------------------

raised(Cluster, Module, Function, Args) ->
    try {answered, cluster_ct:call(Cluster, Module, Function, Args)}
    catch Class:Reason -> {Class, Reason}
    end.

%% Each one is answered at once, for every name that a rakv node owns through its ra system.
system_messages(Config) ->
    Cluster = cluster_ct:start(Config, [rakv]),
    Node = cluster_ct:node_of(Cluster, n1),
    [begin
         Answers = [raised(Cluster, sys, Function, [{Name, Node} | Args] ++ [?MS])
                    || {Function, Args} <- [{get_state, []}, {get_status, []}, {suspend, []}, {resume, []}, {get_log, []},
                                            {replace_state, [fun(S) -> S end]}, {trace, [true]}, {statistics, [get]},
                                            {no_debug, []}]],
         [?assertEqual({Answer, answered}, {Answer, case Answer of
                                                        {_, {timeout, _}} -> timeout;
                                                        {_, timeout} -> timeout;
                                                        _ -> answered
                                                    end}) || Answer <- Answers]
     end || Name <- [kv, ra_server_sup_sup]],
    [?assertMatch({answered, {error, _}}, raised(Cluster, gen_server, call, [{Name, Node}, {something, 1}, ?MS]))
     || Name <- [kv, ra_server_sup_sup]],
    ?assertEqual({pong, leader}, cluster_ct:call(Cluster, ra, ping, [{kv, Node}, ?MS])).

%% Ends the server as on a BEAM: in order, it stays stopped; with another reason, its supervisor starts it again.
stopped_by_gen_statem(Config) ->
    Cluster = cluster_ct:start(Config, [beam, rakv, rakv]),
    ok = cluster_ct:fill(Cluster, "k", 20),
    [begin
         Server = cluster_ct:server(Cluster, Name),
         ok = cluster_ct:call(Cluster, gen_statem, stop, [Server]),
         ?assertEqual({error, noproc}, cluster_ct:call(Cluster, ra, ping, [Server, ?MS])),
         ?assertEqual(ok, cluster_ct:call(Cluster, ra, restart_server, [default, Server])),
         ok = cluster_ct:wait_caught_up(Cluster, Name),
         Before = cluster_ct:rpc(Cluster, Name, erlang, whereis, [kv]),
         _ = raised(Cluster, gen_statem, stop, [Server, crash, ?MS]),
         rakv_ct:wait_until(fun() ->
             Pid = cluster_ct:rpc(Cluster, Name, erlang, whereis, [kv]), is_pid(Pid) andalso Pid =/= Before end),
         ok = cluster_ct:wait_caught_up(Cluster, Name)
     end || Name <- [n2, n3]],
    ok = cluster_ct:same_everywhere(Cluster).

supervisor_calls(Config) ->
    Cluster = cluster_ct:start(Config, [rakv]),
    Sup = {ra_server_sup_sup, cluster_ct:node_of(Cluster, n1)},
    Pid = cluster_ct:rpc(Cluster, n1, erlang, whereis, [kv]),
    ?assertEqual([{undefined, Pid, supervisor, [ra_server_sup]}],
                 cluster_ct:call(Cluster, supervisor, which_children, [Sup])),
    ?assertEqual([{active, 1}, {specs, 1}, {supervisors, 1}, {workers, 0}],
                 lists:sort(cluster_ct:call(Cluster, supervisor, count_children, [Sup]))),
    [?assertMatch({error, _}, cluster_ct:call(Cluster, supervisor, Function, [Sup, Arg]))
     || {Function, Arg} <- [{start_child, []}, {delete_child, kv}, {restart_child, kv}, {get_childspec, kv}]].

%% The rate of the last tick alone, and the version that the cluster runs at.
rates(Config) ->
    Cluster = cluster_ct:start(Config, [beam, rakv]),
    Seen = fun(Name) -> maps:with([commit_rate, commit_rate_last, effective_machine_version, machine_version],
                                  cluster_ct:overview(Cluster, Name)) end,
    ok = cluster_ct:fill(Cluster, "k", 300),
    [rakv_ct:wait_until(fun() -> #{commit_rate_last := Last} = Seen(Name), Last == 0 end) || Name <- [n1, n2]],
    ok = cluster_ct:fill(Cluster, "k", 300),
    [rakv_ct:wait_until(fun() ->
         ok = cluster_ct:fill(Cluster, "k", 10),
         #{commit_rate_last := Last} = Seen(Name), Last >= 10.0 andalso round(Last) == Last orelse Seen(Name) end)
     || Name <- [n1, n2]],
    [#{effective_machine_version := Theirs}, #{effective_machine_version := Ours}] = [Seen(n1), Seen(n2)],
    ?assertEqual(Theirs, Ours).

%% ---------------------------------------------------------------------------------------------------------------

%% ra_directory by rpc, as a BEAM's.
directory(Config) ->
    Cluster = cluster_ct:start(Config, [beam, rakv]),
    Ask = fun(Name) ->
        Rpc = fun(Function, Args) -> cluster_ct:rpc(Cluster, Name, ra_directory, Function, [default | Args]) end,
        UId = Rpc(uid_of, [kv]),
        [{is_binary(UId)},
         {uid, [Rpc(uid_of, [{kv, cluster_ct:node_of(Cluster, Name)}]) =:= UId, Rpc(uid_of, [nobody])]},
         {name, [Rpc(name_of, [U]) || U <- [UId, <<"nobody">>]]},
         {cluster, [Rpc(cluster_name_of, [U]) || U <- [UId, <<"nobody">>]]},
         {registered, [Rpc(is_registered_uid, [U]) || U <- [UId, <<"nobody">>]]},
         {pids, [is_pid(Rpc(Function, [Key])) || {Function, Key} <- [{where_is, kv}, {where_is, UId}, {where_is_parent, kv},
                                                                      {where_is_parent, UId}, {pid_of, UId},
                                                                      {where_is, nobody}, {where_is, <<"nobody">>}]]},
         {whereis, Rpc(where_is, [UId]) =:= cluster_ct:rpc(Cluster, Name, erlang, whereis, [kv])},
         {listed, [N || {N, U} <- Rpc(list_registered, []), U =:= UId]}]
    end,
    ?assertEqual(Ask(n1), Ask(n2)).

operators(Config) ->
    Cluster = cluster_ct:start(Config, [beam, rakv]),
    Rpc = fun(Name, M, F, A) -> cluster_ct:rpc(Cluster, Name, M, F, A) end,
    Each = fun(Fun) -> ?assertEqual(Fun(n1), Fun(n2)) end,
    %% the folder of the node's servers, on both
    Each(fun(Name) -> filename:basename(Rpc(Name, ra_env, data_dir, [])) =:= atom_to_list(cluster_ct:node_of(Cluster, Name)) end),
    Each(fun(Name) ->
        UId = Rpc(Name, ra_directory, uid_of, [default, kv]),
        filelib:is_regular(filename:join(Rpc(Name, ra_env, server_data_dir, [default, UId]), "config")) end),
    Each(fun(Name) -> lists:sort(maps:keys(Rpc(Name, ra, overview, [default]))) end),
    Each(fun(Name) -> maps:keys(maps:get(servers, Rpc(Name, ra, overview, [default]))) end),
    Each(fun(Name) -> Rpc(Name, ra, overview, [other]) end),
    Each(fun(Name) -> {ok, M, L} = Rpc(Name, ra, members, [cluster_ct:server(Cluster, Name)]), {lists:sort(M), L} end),
    Each(fun(Name) -> {ok, M, L} = Rpc(Name, ra, members, [cluster_ct:server(Cluster, Name), ?MS]), {lists:sort(M), L} end),
    Each(fun(Name) -> Rpc(Name, ra, members, [{nobody, cluster_ct:node_of(Cluster, Name)}, ?MS]) end),
    Each(fun(Name) -> [{C, L, lists:sort(M)} || {C, L, M} <- Rpc(Name, ra_leaderboard, overview, [])] end),
    Each(fun(Name) -> lists:keymember(ra, 1, Rpc(Name, application, which_applications, [])) end),
    Each(fun(Name) -> lists:sort([K || {K, B} <- Rpc(Name, erlang, memory, []), is_integer(B)]) end),
    ?assert(proplists:get_value(total, Rpc(n2, erlang, memory, [])) > 1000000),
    Each(fun(Name) -> [Rpc(Name, erlang, system_info, [wordsize]),
                       [is_integer(Rpc(Name, erlang, system_info, [K]))
                        || K <- [schedulers, schedulers_online, logical_processors, process_count, creation]],
                       Rpc(Name, erlang, system_info, [endian])] end),
    ?assertMatch({badrpc, {'EXIT', {badarg, _}}}, Rpc(n2, erlang, system_info, [nonsense])).

%% In order: what was acknowledged is there at the next start.
stopped_by_init(Config) ->
    Cluster = cluster_ct:start(Config, [rakv]),
    ok = cluster_ct:fill(Cluster, "k", 20),
    OsPid = cluster_ct:os_pid(Cluster, n1),
    ok = cluster_ct:rpc(Cluster, n1, init, stop, []),
    rakv_ct:wait_until(fun() -> not filelib:is_dir("/proc/" ++ OsPid) end),
    ok = cluster_ct:after_kill(Cluster, n1),
    ok = cluster_ct:start_again(Cluster, n1),
    _ = cluster_ct:leader(Cluster),
    ?assertMatch({ok, _, {7, _}}, cluster_ct:get(Cluster, n1, <<"k7">>)).
