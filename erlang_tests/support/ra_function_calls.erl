%% SPDX-License-Identifier: Apache-2.0
%% Every function that `ra` exports, called on the client's node with the id of a server of another node, for
%% ra_functions_SUITE: it runs them against a BEAM member and against a rakv member and compares what they give.
-module(ra_function_calls).

-export([exported/0, run/1]).

-define(MS, 10000).
-define(MACHINE_CONF, {module, ra_kv, #{}}).
-define(OVERVIEW, {ra_kv, overview, []}).

-type server_id() :: {atom(), node()}.

-spec exported() -> [{atom(), arity()}].
exported() -> [Function || {Name, _} = Function <- ra:module_info(exports), Name =/= module_info].

%% {{Name, Arity}, What, Result}: What tells calls of one function apart.
-spec run(server_id()) -> [{{atom(), arity()}, term(), term()}].
run(Server) ->
    _ = process_flag(trap_exit, true),
    [{Function, What, result(Call)} || {Function, What, Call} <- calls(Server)].

result(Call) ->
    try Call()
    catch Class:Reason -> {'$raised', Class, without_stack(Reason)}
    end.

without_stack({Reason, {gen_statem, call, _}}) -> {Reason, in_call};
without_stack({Reason, [{_, _, _, _} | _]}) -> Reason;
without_stack(Reason) -> Reason.

calls({Name, Node} = S) ->
    Nobody = {nobody, Node},
    Other = {list_to_atom(atom_to_list(Name) ++ "_other"), Node},
    Third = {list_to_atom(atom_to_list(Name) ++ "_third"), Node},
    OtherConfig = config(Other, [Other]),
    start(S, Other, OtherConfig) ++ clients(S, Nobody) ++ looks(S, Nobody) ++ servers(S, Nobody, Other, OtherConfig)
        ++ members(S, Nobody, Third) ++ ends(S, Other, Third).

start({Name, _} = S, Other, OtherConfig) ->
    [{{start_cluster, 4}, new, fun() -> ra:start_cluster(default, Name, ?MACHINE_CONF, [S]) end},
     {{start_cluster, 4}, again, fun() -> ra:start_cluster(default, Name, ?MACHINE_CONF, [S]) end},
     {{start_cluster, 3}, new, fun() -> ra:start_cluster(default, [OtherConfig], ?MS) end},
     {{start_cluster, 3}, no_such_system, fun() -> ra:start_cluster(other, [OtherConfig], ?MS) end},
     {{start_cluster, 2}, again, fun() -> ra:start_cluster(default, [OtherConfig]) end},
     {{start_or_restart_cluster, 4}, running, fun() ->
         ra:start_or_restart_cluster(default, Name, ?MACHINE_CONF, [S]) end},
     {{start_or_restart_cluster, 4}, stopped, fun() ->
         ok = ra:stop_server(default, S), R = ra:start_or_restart_cluster(default, Name, ?MACHINE_CONF, [S]), leading(S), R end},
     {{start_or_restart_cluster, 5}, stopped, fun() ->
         ok = ra:stop_server(default, S), R = ra:start_or_restart_cluster(default, Name, ?MACHINE_CONF, [S], ?MS), leading(S), R end},
     {{start_or_restart_cluster, 5}, new, fun() ->
         ok = ra:force_delete_server(default, Other),
         ra:start_or_restart_cluster(default, element(1, Other), ?MACHINE_CONF, [Other], ?MS) end}].

clients(S, Nobody) ->
    [{{process_command, 2}, put, fun() -> ra:process_command(S, put_command(<<"a">>, 1)) end},
     {{process_command, 2}, list, fun() -> ra:process_command([Nobody, S], put_command(<<"b">>, 2)) end},
     {{process_command, 3}, delete, fun() -> ra:process_command(S, {delete, <<"b">>}, ?MS) end},
     {{process_command, 3}, local, fun() -> ra:process_command(S, put_command(<<"c">>, 3), #{reply_from => local, timeout => ?MS}) end},
     {{process_command, 3}, nobody, fun() -> ra:process_command(Nobody, put_command(<<"c">>, 3), ?MS) end},
     {{pipeline_command, 2}, put, fun() -> ra:pipeline_command(S, put_command(<<"p2">>, 1)) end},
     {{pipeline_command, 3}, low, fun() -> event(fun(C) -> ra:pipeline_command(S, put_command(<<"p3">>, 1), C) end) end},
     {{pipeline_command, 4}, normal, fun() -> event(fun(C) -> ra:pipeline_command(S, put_command(<<"p4">>, 1), C, normal) end) end},
     {{pipeline_command, 4}, no_correlation, fun() -> ra:pipeline_command(S, put_command(<<"p5">>, 1), no_correlation, normal) end},
     {{pipeline_command, 4}, nobody, fun() -> ra:pipeline_command(Nobody, put_command(<<"p">>, 1), 1, normal) end},
     {{local_query, 2}, id, fun() -> settled(S), ra:local_query(S, fun ra_lib:id/1) end},
     {{local_query, 2}, 'fun', fun() -> ra:local_query(S, fun(State) -> element(1, State) end) end},
     {{local_query, 3}, overview, fun() -> ra:local_query(S, ?OVERVIEW, ?MS) end},
     {{local_query, 3}, condition, fun() ->
         ra:local_query(S, ?OVERVIEW, #{condition => {applied, {2, 1}}, timeout => ?MS}) end},
     {{local_query, 3}, nobody, fun() -> ra:local_query(Nobody, ?OVERVIEW, ?MS) end},
     {{leader_query, 2}, overview, fun() -> ra:leader_query(S, ?OVERVIEW) end},
     {{leader_query, 3}, overview, fun() -> ra:leader_query(S, ?OVERVIEW, ?MS) end},
     {{leader_query, 3}, nobody, fun() -> ra:leader_query(Nobody, ?OVERVIEW, ?MS) end},
     {{consistent_query, 2}, overview, fun() -> ra:consistent_query(S, ?OVERVIEW) end},
     {{consistent_query, 3}, list, fun() -> ra:consistent_query([Nobody, S], ?OVERVIEW, ?MS) end},
     {{consistent_aux, 3}, get, fun() -> ra:consistent_aux(S, {get, <<"a">>}, ?MS) end},
     {{consistent_aux, 3}, nothing, fun() -> ra:consistent_aux(S, {get, <<"b">>}, ?MS) end},
     {{aux_command, 2}, get, fun() -> ra:aux_command(S, {get, <<"a">>}) end},
     {{aux_command, 3}, get, fun() -> ra:aux_command(S, {get, <<"a">>}, ?MS) end},
     {{aux_command, 3}, nobody, fun() -> ra:aux_command(Nobody, {get, <<"a">>}, ?MS) end},
     {{cast_aux_command, 2}, unknown, fun() -> ra:cast_aux_command(S, {get, <<"a">>}) end}].

looks(S, Nobody) ->
    [{{members, 1}, leader, fun() -> ra:members(S) end},
     {{members, 1}, local, fun() -> ra:members({local, S}) end},
     {{members, 2}, leader, fun() -> ra:members(S, ?MS) end},
     {{members, 2}, nobody, fun() -> ra:members(Nobody, ?MS) end},
     {{members_info, 1}, leader, fun() -> ra:members_info(S) end},
     {{members_info, 2}, local, fun() -> ra:members_info({local, S}, ?MS) end},
     {{initial_members, 1}, leader, fun() -> ra:initial_members(S) end},
     {{initial_members, 2}, nobody, fun() -> ra:initial_members(Nobody, ?MS) end},
     {{ping, 2}, leader, fun() -> ra:ping(S, ?MS) end},
     {{ping, 2}, nobody, fun() -> ra:ping(Nobody, ?MS) end},
     {{member_overview, 1}, leader, fun() -> ra:member_overview(S) end},
     {{member_overview, 2}, nobody, fun() -> ra:member_overview(Nobody, ?MS) end},
     {{key_metrics, 1}, leader, fun() -> ra:key_metrics(S) end},
     {{key_metrics, 2}, nobody, fun() -> ra:key_metrics(Nobody, ?MS) end},
     {{overview, 1}, by_rpc, fun() -> lists:sort(maps:keys(rpc:call(element(2, S), ra, overview, [default], ?MS))) end},
     {{overview, 1}, other_system, fun() -> rpc:call(element(2, S), ra, overview, [other], ?MS) end},
     {{new_uid, 1}, local, fun() -> byte_size(ra:new_uid(<<"kv">>)) end},
     {{trigger_compaction, 1}, leader, fun() -> ra:trigger_compaction(S) end}].

servers(S, Nobody, Other, OtherConfig) ->
    [{{stop_server, 2}, running, fun() -> ra:stop_server(default, Other) end},
     {{stop_server, 2}, stopped, fun() -> ra:stop_server(default, Other) end},
     {{stop_server, 2}, nobody, fun() -> ra:stop_server(default, Nobody) end},
     {{restart_server, 2}, stopped, fun() -> ra:restart_server(default, Other) end},
     {{restart_server, 2}, running, fun() -> ra:restart_server(default, Other) end},
     {{restart_server, 2}, nobody, fun() -> ra:restart_server(default, Nobody) end},
     {{restart_server, 3}, settings, fun() ->
         ok = ra:stop_server(default, Other), ra:restart_server(default, Other, #{max_pipeline_count => 99}) end},
     {{restart_server, 3}, shown, fun() -> {ok, #{max_pipeline_count := N}, _} = ra:member_overview(Other), N end},
     {{restart_server, 3}, no_map, fun() ->
         ok = ra:stop_server(default, Other), first(ra:restart_server(default, Other, nomap)) end},
     {{force_delete_server, 2}, stopped, fun() -> ra:force_delete_server(default, Other) end},
     {{force_delete_server, 2}, nobody, fun() -> ra:force_delete_server(default, Nobody) end},
     {{start_server, 2}, new, fun() -> ra:start_server(default, OtherConfig#{friendly_name => "a friend"}) end},
     {{start_server, 2}, friendly, fun() -> {ok, #{log_id := Id}, _} = ra:member_overview(Other), Id end},
     {{start_server, 2}, again, fun() -> ra:start_server(default, OtherConfig) end},
     {{start_server, 2}, bad_setting, fun() ->
         first(ra:start_server(default, (config({bad, element(2, S)}, [Other]))#{tick_timeout => "x"})) end},
     {{start_server, 2}, no_log_init_args, fun() ->
         first(ra:start_server(default, maps:remove(log_init_args, config({bad, element(2, S)}, [Other])))) end},
     {{start_server, 2}, bad_one_is_not_there, fun() -> ra:restart_server(default, {bad, element(2, S)}) end},
     {{trigger_election, 1}, new, fun() -> ra:trigger_election(Other) end},
     {{trigger_election, 2}, leader, fun() -> leading(Other), ra:trigger_election(Other, ?MS) end},
     {{trigger_election, 2}, nobody, fun() -> ra:trigger_election(Nobody, ?MS) end}].

members(S, Nobody, {ThirdName, _} = Third) ->
    [{{transfer_leadership, 2}, to_itself, fun() -> ra:transfer_leadership(S, S) end},
     {{transfer_leadership, 3}, to_nobody, fun() -> ra:transfer_leadership(S, Nobody, ?MS) end},
     {{start_server, 5}, new, fun() -> ra:start_server(default, element(1, S), Third, ?MACHINE_CONF, [S]) end},
     {{add_member, 2}, new, fun() -> index(ra:add_member(S, Third)) end},
     {{add_member, 3}, again, fun() -> both(S, Third), ra:add_member(S, Third, ?MS) end},
     {{remove_member, 2}, member, fun() -> index(ra:remove_member(S, Third)) end},
     {{remove_member, 3}, no_member, fun() -> alone(S), ra:remove_member(S, Third, ?MS) end},
     {{leave_and_terminate, 3}, member, fun() -> join(S, Third), ra:leave_and_terminate(default, S, Third) end},
     {{leave_and_terminate, 4}, member, fun() -> join(S, Third), ra:leave_and_terminate(default, S, Third, ?MS) end},
     {{leave_and_delete_server, 3}, member, fun() -> join(S, Third), ra:leave_and_delete_server(default, S, Third) end},
     {{leave_and_delete_server, 4}, member, fun() -> join(S, Third), ra:leave_and_delete_server(default, S, Third, ?MS) end},
     {{leave_and_delete_server, 4}, gone, fun() -> ra:ping({ThirdName, element(2, S)}, ?MS) end}].

ends(S, Other, _Third) ->
    [{{delete_cluster, 1}, leader, fun() -> ra:delete_cluster([S]) end},
     {{delete_cluster, 2}, leader, fun() -> leading(Other), ra:delete_cluster([Other], ?MS) end},
     {{delete_cluster, 2}, gone, fun() -> until(fun() -> ra:ping(S, ?MS) =:= {error, noproc} end) end}].

%% ---------------------------------------------------------------------------------------------------------------

config({Name, _} = Server, Members) ->
    UId = ra:new_uid(ra_lib:to_binary(Name)),
    #{id => Server, uid => UId, cluster_name => Name, initial_members => Members,
      log_init_args => #{uid => UId}, machine => ?MACHINE_CONF}.

put_command(Key, Value) -> {put, Key, Value, #{size => erlang:external_size(Value), hash => erlang:phash2(Value)}}.

event(Send) ->
    Correlation = make_ref(),
    ok = Send(Correlation),
    receive {ra_event, From, {applied, [{Correlation, {ok, _}}]}} -> From after ?MS -> none end.

%% Whatever an error says.
first({Tag, _}) -> Tag;
first(Other) -> Other.

%% The place of a change depends on what came before.
index({ok, {_, Term}, Leader}) -> {ok, Term, Leader};
index(Other) -> Other.

join(S, {_, _} = Third) ->
    alone(S),
    _ = ra:force_delete_server(default, Third),
    ok = ra:start_server(default, element(1, S), Third, ?MACHINE_CONF, [S]),
    {ok, _, _} = ra:add_member(S, Third),
    both(S, Third).

%% Both have it, and the next change may come.
both(S, Third) -> until(fun() -> same(S, Third) andalso permitted(S, 2) end).
alone(S) -> until(fun() -> permitted(S, 1) end).

same(S, Third) ->
    {ok, #{last_applied := Applied, log := #{last_index := Applied}}, _} = ra:member_overview(S),
    {ok, #{last_applied := There}, _} = ra:member_overview(Third),
    There =:= Applied.

permitted(S, Count) ->
    {ok, #{cluster := Cluster, cluster_change_permitted := Permitted, last_applied := A, commit_index := A}, _} =
        ra:member_overview(S),
    Permitted andalso map_size(Cluster) =:= Count.

settled(S) ->
    until(fun() -> {ok, #{last_applied := A, log := #{last_index := A, last_written_index_term := {A, _}}}, _} =
                       ra:member_overview(S), true end).

leading(S) -> until(fun() -> ra:ping(S, ?MS) =:= {pong, leader} end).

until(Condition) -> until(Condition, erlang:monotonic_time(millisecond) + ?MS).

until(Condition, Deadline) ->
    try true = Condition(), ok
    catch _:Reason ->
        case erlang:monotonic_time(millisecond) < Deadline of
            true -> receive after 10 -> until(Condition, Deadline) end;
            false -> {'$not_within_ms', ?MS, Reason}
        end
    end.
