%% SPDX-License-Identifier: Apache-2.0
%% Calls of ra_kv's and ra's functions on one server, for ra_kv_shape_SUITE: it runs them on a client node against a BEAM
%% member and against a rakv member, and compares what they give. Every group takes {Name, Node} of a server that does
%% not exist yet, and gives [{Label, Result}]; what a call raises is its result, too.
-module(shape_calls).

-export([run/2, terms/1, round_trip/3, hold_call/3, state_size/1, state_size/2, bad/1]).

-define(MS, 10000).

-type server_id() :: {atom(), node()}.

-spec run(atom(), server_id()) -> [{term(), term()}].
run(Group, Server) ->
    _ = process_flag(trap_exit, true),
    [{Label, result(Call)} || {Label, Call} <- calls(Group, Server)].

result(Call) ->
    try Call()
    catch Class:Reason -> {'$raised', Class, without_stack(Reason)}
    end.

without_stack({Reason, {gen_statem, call, _}}) -> {Reason, in_call};
without_stack({Reason, [{_, _, _, _} | _]}) -> Reason;
without_stack({exception, Reason, _}) -> {exception, Reason};
without_stack(Reason) -> Reason.

%% ---------------------------------------------------------------------------------------------------------------

calls(start_cluster, {Name, Node} = Server) ->
    Unreachable = {Name, 'nobody@127.0.0.1'},
    [{first, fun() -> start(Server) end},
     {again, fun() -> start(Server) end},
     {still_there, fun() -> ra:members(Server, ?MS) end},
     {put, fun() -> put_some(Server) end},
     {other_system, fun() -> ra_kv:start_cluster(other, other_name(Name), #{members => [{other_name(Name), Node}]}) end},
     {no_quorum_of_unreachable, fun() ->
         ra:start_server(default, config({other_name(Name), Node}, [{other_name(Name), Node}, Unreachable])) end},
     {ping_of_the_new, fun() -> ra:ping({other_name(Name), Node}, ?MS) end},
     {deleted, fun() -> ra:force_delete_server(default, {other_name(Name), Node}) end},
     {only_unreachable, fun() -> ra_kv:start_cluster(default, Name, #{members => [Unreachable]}) end}];

calls(put_get_delete, Server) ->
    [{start, fun() -> start(Server) end},
     {get_of_nothing, fun() -> ra_kv:get(Server, <<"key">>, ?MS) end},
     {delete_of_nothing, fun() -> ra_kv:delete(Server, <<"key">>, ?MS) end},
     {put, fun() -> ra_kv:put(Server, <<"key">>, #{a => 1}, ?MS) end},
     {get, fun() -> ra_kv:get(Server, <<"key">>, ?MS) end},
     {put_again, fun() -> ra_kv:put(Server, <<"key">>, "other", ?MS) end},
     {get_again, fun() -> ra_kv:get(Server, <<"key">>, ?MS) end},
     {through_a_list, fun() -> ra:process_command([{nobody, element(2, Server)}, Server], put_command(<<"l">>, 1), ?MS) end},
     {delete, fun() -> ra_kv:delete(Server, <<"key">>, ?MS) end},
     {delete_again, fun() -> ra_kv:delete(Server, <<"key">>, ?MS) end},
     {get_deleted, fun() -> ra_kv:get(Server, <<"key">>, ?MS) end},
     {no_such_server, fun() -> ra_kv:put(bad(Server), <<"key">>, 1, ?MS) end},
     {get_no_such_server, fun() -> ra_kv:get(bad(Server), <<"key">>, ?MS) end},
     {read_entry, fun() -> rpc(Server, ra_kv, read_entry, [Server, 3, [Server], ?MS]) end},
     {read_entry_of_no_server, fun() -> rpc(Server, ra_kv, read_entry, [bad(Server), 3, [Server], ?MS]) end}];

%% Keys that are equal or nearly so.
calls(keys, Server) ->
    Big = 1 bsl 2000,
    Map = maps:from_list([{{N, Big}, N * 1.0} || N <- lists:seq(1, 100)]),
    Keys = [1, 1.0, <<"1">>, "1", '1', {1}, [1], [1 | 1], #{1 => 1}, #{1 => 1.0}, #{1.0 => 1}, 0.0, -0.0, Big, -Big, Map,
            #{}, [], {}, <<>>, <<1:1>>, <<0:1>>, <<0>>, self(), make_ref(), fun lists:map/2, true, undefined, 'ключ',
            #{b => 1, a => 2, c => #{z => 1, y => [Map]}}],
    [{start, fun() -> start(Server) end} |
     [{{put, N}, fun() -> ra_kv:put(Server, Key, {value, N}, ?MS) end} || {N, Key} <- lists:enumerate(Keys)]]
        ++ [{{get, N}, fun() -> ra_kv:get(Server, Key, ?MS) end} || {N, Key} <- lists:enumerate(Keys)]
        ++ [{machine, fun() -> state_query(Server, machine) end},
            {delete_float, fun() -> ra_kv:delete(Server, 1.0, ?MS) end},
            {get_integer, fun() -> ra_kv:get(Server, 1, ?MS) end},
            {get_float, fun() -> ra_kv:get(Server, 1.0, ?MS) end},
            {overview, fun() -> state_query(Server, overview, machine) end}];

calls(overviews, Server) ->
    [{start, fun() -> start(Server) end}, {settled, fun() -> settled(Server) end},
     {kv_fresh, fun() -> ra_kv:member_overview(Server) end},
     {ra_fresh, fun() -> ra:member_overview(Server, ?MS) end},
     {puts, fun() -> [ra_kv:put(Server, <<N>>, N, ?MS) || N <- lists:seq(1, 30)] end},
     {kv, fun() -> settled(Server), ra_kv:member_overview(Server) end},
     {ra, fun() -> ra:member_overview(Server, ?MS) end},
     {key_metrics, fun() -> ra:key_metrics(Server, ?MS) end},
     {key_metrics_of_nobody, fun() -> ra:key_metrics(bad(Server), ?MS) end},
     {take_snapshot, fun() -> ra_kv:take_snapshot(Server) end},
     {kv_after_snapshot, fun() -> snapshot_at(Server, 32), ra_kv:member_overview(Server) end},
     {ra_after_snapshot, fun() -> ra:member_overview(Server, ?MS) end},
     {key_metrics_after_snapshot, fun() -> ra:key_metrics(Server, ?MS) end},
     {directory_after_snapshot, fun() -> directory(Server) end},
     {get_below_snapshot, fun() -> ra_kv:get(Server, <<7>>, ?MS) end},
     {snapshot_again, fun() -> ra_kv:take_snapshot(Server) end},
     {more, fun() -> [ra_kv:put(Server, <<N>>, N, ?MS) || N <- lists:seq(11, 20)] end},
     {snapshot_of_more, fun() -> ra_kv:take_snapshot(Server) end},
     {after_more, fun() -> snapshot_at(Server, 42), ra_kv:member_overview(Server) end},
     {roll_over, fun() -> rpc(Server, ra_log_wal, force_roll_over, [ra_log_wal]) end},
     {rolled, fun() -> in_segments(Server), ra_kv:member_overview(Server) end},
     {get_from_segment, fun() -> ra_kv:get(Server, <<7>>, ?MS) end},
     {get_later, fun() -> ra_kv:get(Server, <<15>>, ?MS) end}];

calls(membership_queries, Server) ->
    [{start, fun() -> start(Server) end}, {settled, fun() -> settled(Server) end},
     {members, fun() -> ra:members(Server, ?MS) end},
     {members_local, fun() -> ra:members({local, Server}, ?MS) end},
     {members_of_list, fun() -> ra:members([Server], ?MS) end},
     {members_of_nobody, fun() -> ra:members(bad(Server), ?MS) end},
     {members_info, fun() -> ra:members_info(Server, ?MS) end},
     {members_info_local, fun() -> ra:members_info({local, Server}, ?MS) end},
     {initial_members, fun() -> ra:initial_members(Server, ?MS) end} |
     [{{state_query, Spec}, fun() -> state_query(Server, Spec) end}
      || Spec <- [members, voters, leader, last_applied, machine, initial_members, members_info, unknown, {a, "b"}]]]
        ++ [{unknown_call, fun() -> gen_statem:call(Server, {something, [1, 2]}, ?MS) end},
            {unknown_leader_call, fun() -> gen_statem:call(Server, {leader_call, something}, ?MS) end},
            {unknown_local_call, fun() -> gen_statem:call(Server, {local_call, <<"x">>}, ?MS) end},
            {gen_server_call, fun() -> gen_server:call(Server, ping, ?MS) end},
            {unknown_cast, fun() -> gen_statem:cast(Server, {something, [1, 2]}) end},
            {unknown_info, fun() -> Server ! {some, message}, ok end},
            {still_well, fun() -> ra:ping(Server, ?MS) end},
            {leader, fun() -> rpc(Server, ra_leaderboard, lookup_leader, [element(1, Server)]) end}];

calls(queries, Server) ->
    Queries = [{ignore, {ra_lib, ignore, []}}, {id, {ra_lib, id, []}}, {overview, {ra_kv, overview, []}},
               {live_indexes, {ra_kv, live_indexes, []}}, {external, fun ra_lib:id/1},
               {external_overview, fun ra_kv:overview/1}, {external_tuple, fun erlang:tuple_size/1},
               {other_module, {erlang, element, [1]}}, {own_module, {?MODULE, state_size, []}},
               {arity_1, fun(State) -> {one, element(1, State)} end},
               {arity_2, fun(Context, State) -> {two, Context, element(1, State)} end},
               {own_external_2, fun ?MODULE:state_size/2},
               {with_context, {?MODULE, state_size, [], [with_context]}},
               {without_context, {?MODULE, state_size, [], []}},
               {machine_state, fun(State) -> State end}],
    Bad = [{raises, fun(_) -> error(on_purpose) end}, {throws, fun(_) -> throw(on_purpose) end},
           {exits, fun(_) -> exit(on_purpose) end}, {undefined, {no_such_module, f, []}}, {arity_3, fun(_, _, _) -> 1 end},
           {no_query, 17}, {badmatch, fun(State) -> [] = State end}],
    [{start, fun() -> start(Server) end}, {put, fun() -> put_some(Server) end}]
        ++ [{{local, Label}, fun() -> ra:local_query(Server, Query, ?MS) end} || {Label, Query} <- Queries ++ Bad]
        ++ [{{leader, Label}, fun() -> ra:leader_query(Server, Query, ?MS) end} || {Label, Query} <- Queries ++ Bad]
        ++ [{{consistent, Label}, fun() -> ra:consistent_query(Server, Query, ?MS) end} || {Label, Query} <- Queries]
        ++ [{condition_met, fun() -> ra:local_query(Server, {ra_lib, ignore, []}, #{condition => {applied, {2, 1}}}) end},
            {condition_awaited, fun() ->
                Parent = self(),
                Tag = make_ref(),
                spawn_link(fun() ->
                    Parent ! {Tag, ra:local_query(Server, {ra_lib, ignore, []}, #{condition => {applied, {5, 1}}})}
                end),
                {ok, _} = ra_kv:put(Server, <<"next">>, 1, ?MS),
                {ok, _} = ra_kv:put(Server, <<"next">>, 2, ?MS),
                receive {Tag, Result} -> Result after ?MS -> no_answer end
            end},
            {condition_other_term, fun() ->
                ra:local_query(Server, {ra_lib, ignore, []}, #{condition => {applied, {2, 7}}, timeout => 300}) end},
            {local_no_server, fun() -> ra:local_query(bad(Server), {ra_lib, ignore, []}, ?MS) end},
            {consistent_no_server, fun() -> ra:consistent_query(bad(Server), {ra_lib, ignore, []}, ?MS) end}];

calls(commands, Server) ->
    Mode = fun(M) -> leader_command(Server, put_command(<<"mode">>, M), M, ?MS) end,
    [{start, fun() -> start(Server) end},
     {process_command, fun() -> ra:process_command(Server, put_command(<<"k">>, 1), ?MS) end},
     {after_log_append, fun() -> Mode(after_log_append) end},
     {await_consensus, fun() -> Mode(await_consensus) end},
     {raw_delete, fun() -> leader_command(Server, {delete, <<"none">>}, await_consensus, ?MS) end}]
        ++ [{{reply_from, From}, fun() ->
                ra:process_command(Server, put_command(<<"from">>, From), #{reply_from => From, timeout => ?MS}) end}
            || From <- [leader, local, {member, Server}, {member, bad(Server)}]]
        ++ [{{raw_reply_from, From}, fun() -> Mode({await_consensus, #{reply_from => From}}) end}
            || From <- [leader, local, {member, Server}]]
        ++ [{no_options, fun() -> Mode({await_consensus, #{}}) end},
            {noreply_in_a_call, fun() -> leader_command(Server, put_command(<<"n">>, 1), noreply, 300) end},
            {noreply_was_applied, fun() -> ra_kv:get(Server, <<"n">>, ?MS) end}]
        ++ [{{invalid_mode, N}, fun() -> Mode(Invalid) end}
            || {N, Invalid} <- lists:enumerate(
                   [something, {await_consensus, #{other => 1}}, {await_consensus, #{reply_from => nobody}},
                    {await_consensus, [reply_from]}, {notify, 1, nobody}, {notify, <<"text">>, self()}, 17, <<"mode">>,
                    {await_consensus, #{reply_from => {member, 1}}}, {notify, 1, self(), #{reply_from => 3}}])]
        ++ [{{pipelined, Priority}, fun() ->
                Corr = make_ref(),
                ok = ra:pipeline_command(Server, put_command(<<"p">>, Priority), Corr, Priority),
                {Event, Got} = receive {ra_event, From, {applied, [{Corr, R}]}} -> {From, R} after ?MS -> {none, none} end,
                {Event, Got}
            end} || Priority <- [normal, low]]
        ++ [{pipelined_hundred, fun() ->
                [ok = ra:pipeline_command(Server, put_command(<<"p", N>>, N), N, normal) || N <- lists:seq(1, 100)],
                [{N, element(1, Reply)} || {N, Reply} <- collect(100)]
            end},
            {pipelined_hundred_low, fun() ->
                [ok = ra:pipeline_command(Server, put_command(<<"p", N>>, N), N, low) || N <- lists:seq(1, 100)],
                [{N, element(1, Reply)} || {N, Reply} <- collect(100)]
            end},
            {pipelined_not_found, fun() ->
                ok = ra:pipeline_command(Server, {delete, <<"none">>}, 7, normal),
                collect(1)
            end},
            {fire_and_forget, fun() ->
                ok = ra:pipeline_command(Server, put_command(<<"f">>, forgotten)),
                ok = ra:pipeline_command(Server, put_command(<<"f">>, last), no_correlation, normal),
                ok
            end},
            {notify_with_options, fun() ->
                gen_statem:cast(Server, {command, normal, {'$usr', put_command(<<"o">>, 1), {notify, 1, self(), #{}}}}),
                receive {ra_event, _, _} = Event -> Event after 300 -> none end
            end},
            {cast_with_invalid_mode, fun() ->
                gen_statem:cast(Server, {command, normal, {'$usr', put_command(<<"i">>, 1), something}}),
                receive {ra_event, _, _} = Event -> Event after 100 -> none end
            end},
            {command_without_leader_call, fun() ->
                gen_statem:call(Server, {command, normal, {'$usr', put_command(<<"c">>, 1), await_consensus}}, ?MS) end},
            {unknown_server, fun() -> ra:process_command(bad(Server), put_command(<<"k">>, 1), ?MS) end},
            {add_existing, fun() -> ra:add_member(Server, Server, ?MS) end},
            {remove_unknown, fun() -> ra:remove_member(Server, bad(Server), ?MS) end},
            {final_keys, fun() -> {ok, #{machine := #{num_keys := N}}, _} = ra:member_overview(Server), N end}];

calls(aux, Server) ->
    [{start, fun() -> start(Server) end}, {put, fun() -> put_some(Server) end},
     {get, fun() -> ra:aux_command(Server, {get, <<"key">>}, ?MS) end},
     {get_nothing, fun() -> ra:aux_command(Server, {get, <<"none">>}, ?MS) end},
     {take_snapshot, fun() -> ra:aux_command(Server, take_snapshot, ?MS) end},
     {wrapped, fun() -> gen_statem:call(Server, {aux_command, {'$wrap_reply', {get, <<"key">>}}}, ?MS) end},
     {unknown, fun() -> ra:aux_command(Server, something, 300) end},
     {cast, fun() -> ra:cast_aux_command(Server, take_snapshot) end},
     {consistent, fun() -> ra:consistent_aux(Server, {get, <<"key">>}, ?MS) end},
     {consistent_nothing, fun() -> ra:consistent_aux(Server, {get, 1}, ?MS) end},
     {consistent_unknown, fun() -> ra:consistent_aux(Server, something, 300) end},
     {consistent_nobody, fun() -> ra:consistent_aux(bad(Server), something, 300) end},
     {aux_nobody, fun() -> ra:aux_command(bad(Server), something, 300) end},
     {trigger_compaction, fun() -> ra:trigger_compaction(Server) end},
     {still_well, fun() -> ra_kv:get(Server, <<"key">>, ?MS) end}];

calls(elections, Server) ->
    [{start, fun() -> start(Server) end},
     {ping, fun() -> ra:ping(Server, ?MS) end},
     {ping_nobody, fun() -> ra:ping(bad(Server), ?MS) end},
     {trigger, fun() -> ra:trigger_election(Server, ?MS) end},
     {trigger_nobody, fun() -> ra:trigger_election(bad(Server), ?MS) end},
     {transfer_to_self, fun() -> ra:transfer_leadership(Server, Server, ?MS) end},
     {transfer_to_unknown, fun() -> ra:transfer_leadership(Server, bad(Server), ?MS) end},
     {transfer_by_nobody, fun() -> ra:transfer_leadership(bad(Server), Server, ?MS) end},
     {term, fun() -> {ok, #{current_term := Term}, _} = ra:member_overview(Server), Term end},
     {force_member_change, fun() -> gen_statem:call(Server, force_member_change, ?MS) end},
     {leads_again, fun() -> leading(Server), ra:members(Server, ?MS) end},
     {put, fun() -> element(1, ra_kv:put(Server, <<"key">>, 1, ?MS)) end}];

calls(servers, {Name, Node} = Server) ->
    Config = config(Server, [Server]),
    Other = {other_name(Name), Node},
    [{start_server, fun() -> ra:start_server(default, Config) end},
     {already_started, fun() -> ra:start_server(default, Config) end},
     {same_name_other_uid, fun() -> ra:start_server(default, config(Server, [Server])) end},
     {before_election, fun() -> ra:ping(Server, ?MS) end},
     {trigger, fun() -> ra:trigger_election(Server, ?MS) end},
     {put, fun() -> put_some(Server) end},
     {applied, fun() -> settled(Server) end},
     {uid, fun() -> rpc(Server, ra_directory, uid_of, [default, Name]) end},
     {restart_running, fun() -> ra:restart_server(default, Server) end},
     {stop, fun() -> ra:stop_server(default, Server) end},
     {stop_again, fun() -> ra:stop_server(default, Server) end},
     {call_stopped, fun() -> ra:members(Server, ?MS) end},
     {metrics_stopped, fun() -> ra:key_metrics(Server, ?MS) end},
     {leader_stopped, fun() -> rpc(Server, ra_leaderboard, lookup_leader, [Name]) end},
     {directory_stopped, fun() -> directory(Server) end},
     {not_new, fun() -> ra:start_server(default, Config) end},
     {restart, fun() -> ra:restart_server(default, Server) end},
     {get, fun() -> leading(Server), ra_kv:get(Server, <<"key">>, ?MS) end},
     {restart_with_config, fun() ->
         ok = ra:stop_server(default, Server), ra:restart_server(default, Server, #{tick_timeout => 500}) end},
     {get_2, fun() -> leading(Server), ra_kv:get(Server, <<"key">>, ?MS) end},
     {term, fun() -> {ok, #{current_term := Term}, _} = ra:member_overview(Server), Term end},
     {directory, fun() -> directory(Server) end},
     {leaderboard_leader, fun() -> rpc(Server, ra_leaderboard, lookup_leader, [Name]) end},
     {leaderboard_members, fun() -> rpc(Server, ra_leaderboard, lookup_members, [Name]) end},
     {leaderboard_unknown, fun() -> rpc(Server, ra_leaderboard, lookup_leader, [nobody]) end},
     {leaderboard_members_unknown, fun() -> rpc(Server, ra_leaderboard, lookup_members, [nobody]) end},
     {settled, fun() -> settled(Server) end},
     {counters, fun() -> rpc(Server, ra_counters, counters, [Server, [last_applied, term, elections, nonsense]]) end},
     {counters_nobody, fun() -> rpc(Server, ra_counters, counters, [Other, [last_applied]]) end},
     {counters_overview, fun() -> maps:get(Server, rpc(Server, ra_counters, overview, [])) end},
     {counters_overview_one, fun() -> rpc(Server, ra_counters, overview, [Server]) end},
     {counters_overview_nobody, fun() -> rpc(Server, ra_counters, overview, [Other]) end},
     {uid_of_nobody, fun() -> rpc(Server, ra_directory, uid_of, [default, nobody]) end},
     {where_is, fun() -> rpc(Server, ra_directory, where_is, [default, Name]) end},
     {name_of, fun() -> rpc(Server, ra_directory, name_of, [default, rpc(Server, ra_directory, uid_of, [default, Name])]) end},
     {whereis, fun() -> rpc(Server, erlang, whereis, [Name]) end},
     {whereis_nobody, fun() -> rpc(Server, erlang, whereis, [nobody]) end},
     {system, fun() -> rpc(Server, ra_system, fetch, [default]) end},
     {no_system, fun() -> rpc(Server, ra_system, fetch, [other]) end},
     {meta_term, fun() -> rpc(Server, ra_log_meta, fetch, [ra_log_meta, maps:get(uid, Config), current_term]) end},
     {meta_vote, fun() -> rpc(Server, ra_log_meta, fetch, [ra_log_meta, maps:get(uid, Config), voted_for]) end},
     {meta_nobody, fun() -> rpc(Server, ra_log_meta, fetch, [ra_log_meta, <<"nobody">>, current_term]) end},
     {remote_put, fun() -> rpc(Server, ra_kv, put, [Server, <<"remote">>, 1, ?MS]) end},
     {remote_get, fun() -> rpc(Server, ra_kv, get, [Server, <<"key">>, ?MS]) end},
     {remote_get_nothing, fun() -> rpc(Server, ra_kv, get, [Server, <<"no such key">>, ?MS]) end},
     {remote_aux, fun() -> rpc(Server, ra, aux_command, [Server, {get, <<"key">>}]) end},
     {remote_aux_nobody, fun() -> rpc(Server, ra, aux_command, [Other, {get, <<"key">>}]) end},
     {remote_compaction, fun() -> rpc(Server, ra, trigger_compaction, [Server]) end},
     {remote_delete, fun() -> rpc(Server, ra_kv, delete, [Server, <<"remote">>, ?MS]) end},
     {remote_overview, fun() -> rpc(Server, ra_kv, member_overview, [Server]) end},
     {remote_members, fun() -> rpc(Server, ra, members, [Server, ?MS]) end},
     {remote_stop, fun() -> rpc(Server, ra, stop_server, [default, Server]) end},
     {remote_restart, fun() -> rpc(Server, ra, restart_server, [default, Server]) end},
     {remote_ping, fun() -> leading(Server), rpc(Server, ra, ping, [Server, ?MS]) end},
     {undefined_function, fun() -> rpc(Server, no_such_module, no_such_function, [1, 2]) end},
     {undefined_by_erpc, fun() -> erpc:call(Node, no_such_module, no_such_function, [1]) end},
     {start_in_no_system, fun() -> ra:start_server(other, config(Other, [Other])) end},
     {restart_in_no_system, fun() -> ra:restart_server(other, Other) end},
     {delete_in_no_system, fun() -> ra:force_delete_server(other, Other) end},
     {restart_nobody, fun() -> ra:restart_server(default, Other) end},
     {stop_nobody, fun() -> ra:stop_server(default, Other) end},
     {delete_nobody, fun() -> ra:force_delete_server(default, Other) end},
     {bad_uid, fun() -> ra:start_server(default, (config(Other, [Other]))#{uid => <<"a b">>}) end},
     {delete, fun() -> ra:force_delete_server(default, Server) end},
     {deleted, fun() -> ra:restart_server(default, Server) end},
     {metrics_deleted, fun() -> ra:key_metrics(Server, ?MS) end},
     {directory_deleted, fun() -> directory(Server) end},
     {from_the_beginning, fun() -> start(Server) end},
     {begins_empty, fun() -> ra_kv:get(Server, <<"key">>, ?MS) end}];

calls(delete_cluster, Server) ->
    [{start, fun() -> start(Server) end}, {put, fun() -> put_some(Server) end},
     {delete, fun() -> ra:delete_cluster([Server], ?MS) end},
     {gone, fun() -> gone(Server) end},
     {put_on_deleted, fun() -> ra_kv:put(Server, <<"key">>, 1, ?MS) end},
     {restart_deleted, fun() -> ra:restart_server(default, Server) end},
     {delete_again, fun() -> ra:delete_cluster([Server], 1000) end},
     {directory, fun() -> directory(Server) end},
     {start_again, fun() -> start(Server) end},
     %% a leader refuses changes of members until the first entry of its term is applied: a put waits for that
     {put_again, fun() -> put_some(Server) end},
     {leave, fun() -> ra:leave_and_delete_server(default, Server, Server, 2000) end}].

%% ---------------------------------------------------------------------------------------------------------------

start({Name, _} = Server) -> ra_kv:start_cluster(default, Name, #{members => [Server]}).

config({Name, _} = Server, Members) ->
    UId = ra:new_uid(ra_lib:to_binary(Name)),
    #{id => Server, uid => UId, cluster_name => Name, initial_members => Members,
      log_init_args => #{uid => UId, min_snapshot_interval => 0}, machine => {module, ra_kv, #{}}}.

put_some(Server) -> ra_kv:put(Server, <<"key">>, value, ?MS).

put_command(Key, Value) ->
    {put, Key, Value, #{size => erlang:external_size(Value), hash => erlang:phash2(Value)}}.

leader_command(Server, Command, Mode, TimeoutMs) ->
    gen_statem:call(Server, {leader_call, {command, normal, {'$usr', Command, Mode}}}, TimeoutMs).

rpc({_, Node}, Module, Function, Args) -> rpc:call(Node, Module, Function, Args, ?MS).

-spec bad(server_id()) -> server_id().
bad({_, Node}) -> {nobody, Node}.

other_name(Name) -> list_to_atom(atom_to_list(Name) ++ "_other").

state_query(Server, Spec) -> gen_statem:call(Server, {local_call, {state_query, Spec}}, ?MS).

state_query(Server, Spec, Key) ->
    {ok, Overview, _} = state_query(Server, Spec),
    maps:get(Key, Overview).

directory({Name, _} = Server) ->
    maps:get(Name, rpc(Server, ra_directory, overview, [default]), none).

collect(0) -> [];
collect(Left) ->
    receive {ra_event, _, {applied, Pairs}} -> Pairs ++ collect(Left - length(Pairs))
    after ?MS -> [{missing, {Left}}]
    end.

%% Until all is written and applied.
settled(Server) ->
    until(fun() ->
        {ok, #{last_applied := Applied, log := #{last_index := Last, last_written_index_term := {Written, _}}}, _} =
            ra:member_overview(Server),
        Applied =:= Last andalso Written =:= Last
    end).

snapshot_at(Server, Least) ->
    until(fun() ->
        {ok, #{log := #{snapshot_index := Index}}, _} = ra:member_overview(Server),
        is_integer(Index) andalso Index >= Least - 1
    end).

in_segments(Server) ->
    until(fun() ->
        {ok, #{log := #{mem_table_range := Range, num_segments := Segments}}, _} = ra:member_overview(Server),
        Range =:= undefined andalso Segments > 0
    end).

leading(Server) -> until(fun() -> ra:ping(Server, ?MS) =:= {pong, leader} end).

gone(Server) -> until(fun() -> ra:ping(Server, ?MS) =:= {error, noproc} end).

until(Condition) -> until(Condition, erlang:monotonic_time(millisecond) + ?MS).

until(Condition, Deadline) ->
    case Condition() of
        true -> ok;
        Other ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> receive after 10 -> until(Condition, Deadline) end;
                false -> {'$not_within_ms', ?MS, Other}
            end
    end.

%% Queries of this module.
-spec state_size(term()) -> {term(), non_neg_integer()}.
state_size({Name, Keys}) -> {Name, map_size(Keys)}.

-spec state_size(map(), term()) -> {map(), term()}.
state_size(Context, State) -> {Context, state_size(State)}.

%% ---------------------------------------------------------------------------------------------------------------

%% Puts terms and reads them; gives those that came back otherwise.
-spec round_trip(server_id(), pos_integer(), integer()) -> [{term(), term()}].
round_trip(Server, Count, Seed) ->
    {ok, [Server], []} = start(Server),
    _ = rand:seed(exsss, {Seed, 7, 8}),
    Values = terms(Count) ++ large(),
    Puts = [{Number, Value, element(1, ra_kv:put(Server, {key, Number}, Value, 60000))}
            || {Number, Value} <- lists:enumerate(Values)],
    [{short(Value), short(Got)} || {Number, Value, Put} <- Puts, Got <- [get_value(Server, {key, Number})],
                                   Put =/= ok orelse Got =/= {value, Value}].

get_value(Server, Key) ->
    case ra_kv:get(Server, Key, 60000) of
        {ok, _, Value} -> {value, Value};
        Other -> Other
    end.

short(Term) -> io_lib:format("~0tP", [Term, 30]).

large() ->
    [1 bsl 800000 - 1, -(1 bsl 800000), rand:bytes(10 * 1024 * 1024), {binary:copy(<<"0123456789">>, 1024 * 1024), last},
     lists:seq(1, 70000), lists:duplicate(70000, $a), maps:from_list([{N, integer_to_list(N)} || N <- lists:seq(1, 5000)]),
     list_to_tuple(lists:seq(1, 300)), lists:foldl(fun(N, Nested) -> {N, [Nested]} end, [], lists:seq(1, 2000))].

-spec terms(pos_integer()) -> [term()].
terms(Count) -> [term(4) || _ <- lists:seq(1, Count)].

term(0) -> leaf(rand:uniform(26));
term(Depth) ->
    case rand:uniform(12) of
        1 -> [term(Depth - 1) || _ <- lists:seq(1, rand:uniform(6))];
        2 -> list_to_tuple([term(Depth - 1) || _ <- lists:seq(0, rand:uniform(6))]);
        3 -> maps:from_list([{term(Depth - 1), term(Depth - 1)} || _ <- lists:seq(1, rand:uniform(6))]);
        4 -> maps:from_list([{{N, term(0)}, term(0)} || N <- lists:seq(1, 30 + rand:uniform(60))]);
        5 -> [term(Depth - 1), term(Depth - 1) | leaf(rand:uniform(26))];
        6 -> Captured = term(Depth - 1), fun(X) -> {X, Captured} end;
        _ -> leaf(rand:uniform(26))
    end.

leaf(1) -> rand:uniform(256) - 1;
leaf(2) -> rand:uniform(1 bsl 32) - (1 bsl 31);
leaf(3) -> rand:uniform(1 bsl 60) - (1 bsl 59);
leaf(4) -> rand:uniform(1 bsl 200) - (1 bsl 199);
leaf(5) -> -(1 bsl (64 * rand:uniform(5)));
leaf(6) -> rand:normal();
leaf(7) -> lists:nth(rand:uniform(5), [0.0, -0.0, 1.0e308, 5.0e-324, -1.0]);
leaf(8) -> rand:bytes(rand:uniform(300) - 1);
leaf(9) -> Bits = rand:uniform(70), <<(rand:uniform(1 bsl 70) - 1):Bits>>;
leaf(10) -> lists:nth(rand:uniform(6), ['', ok, 'атом с пробелом', '漢字', 'a.b@c', list_to_atom(lists:duplicate(255, $x))]);
leaf(11) -> list_to_atom(lists:duplicate(255, 16#1F600 + rand:uniform(50)));
leaf(12) -> self();
leaf(13) -> list_to_pid("<0." ++ integer_to_list(rand:uniform(1000)) ++ ".0>");
leaf(14) -> make_ref();
leaf(15) -> alias([explicit_unalias]);
leaf(16) -> hd(erlang:ports());
leaf(17) -> fun lists:map/2;
leaf(18) -> fun no_such_module:'нет'/17;
leaf(19) -> fun terms/1;
leaf(20) -> [];
leaf(21) -> {};
leaf(22) -> #{};
leaf(23) -> "a string";
leaf(24) -> [256, 1, 2];
leaf(25) -> <<>>;
leaf(26) -> [1 | 2].

%% ---------------------------------------------------------------------------------------------------------------

%% A process that calls and can be killed, or whose node can, while calls of many kinds are under way.
-spec hold_call(server_id(), pos_integer(), pos_integer()) -> ok.
hold_call({_, Node} = Server, Processes, Bytes) ->
    Value = binary:copy(<<"v">>, Bytes),
    [spawn(fun() -> busy(Server, Node, {self(), N}, Value) end) || N <- lists:seq(1, Processes)],
    ok.

busy(Server, Node, Key, Value) ->
    _ = ra_kv:put(Server, Key, Value, ?MS),
    _ = ra_kv:get(Server, Key, ?MS),
    ok = ra:pipeline_command(Server, put_command(Key, Value), make_ref(), normal),
    _ = ra:local_query(Server, fun(State) -> State end, ?MS),
    _ = rpc:call(Node, ra, key_metrics, [Server]),
    busy(Server, Node, Key, Value).
