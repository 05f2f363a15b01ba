%% SPDX-License-Identifier: Apache-2.0
%% The same calls to a member on a BEAM and to a member on rakv give the same: shape_calls has them; the results are
%% compared here, key by key and as deep as they go. Names of nodes, pids, references, times, uids, paths and sizes are
%% compared by kind. What differs nevertheless, and may, is in known/3 and in docs/divergence.md.
%%
%%   RAKV_SEED   repeats a run's choices
-module(ra_kv_shape_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

groups_of_calls() ->
    [start_cluster, put_get_delete, keys, overviews, membership_queries, queries, commands, aux, elections, servers,
     delete_cluster].

all() ->
    groups_of_calls()
        ++ [values, equal_keys_of_other_nodes, refused_commands, failing_consistent_query, oldest_client, killed_client,
            several_clusters, functions_of_ra_kv, safer_than_a_beam, differences_are_seen, nothing_was_malformed].

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config0) ->
    Seed = case os:getenv("RAKV_SEED") of
               false -> erlang:phash2({node(), os:getpid(), erlang:system_time()});
               Text -> list_to_integer(Text)
           end,
    io:format(user, "~nRAKV_SEED=~b~n", [Seed]),
    Config = rakv_ct:init(Config0),
    Client = rakv_ct:start_beam(Config, client, #{modules => [shape_calls]}),
    ok = rakv_ct:start_ra(Config, Client),
    Beam = rakv_ct:start_beam(Config, beam, #{modules => [shape_calls]}),
    ok = rakv_ct:start_ra(Config, Beam),
    %% as long a name as the other's: it is part of what has a size
    Rakv = rakv_ct:start_rakv(Config, rakv),
    [{seed, Seed}, {client, Client}, {beam, Beam}, {rakv, Rakv} | Config].

end_per_suite(Config) ->
    rakv_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------

start_cluster(Config) -> compare(start_cluster, Config).
put_get_delete(Config) -> compare(put_get_delete, Config).
keys(Config) -> compare(keys, Config).
overviews(Config) -> compare(overviews, Config).
membership_queries(Config) -> compare(membership_queries, Config).
queries(Config) -> compare(queries, Config).
commands(Config) -> compare(commands, Config).
aux(Config) -> compare(aux, Config).
elections(Config) -> compare(elections, Config).
servers(Config) -> compare(servers, Config).
delete_cluster(Config) -> compare(delete_cluster, Config).

compare(Group, Config) ->
    {Client, Beam, Rakv} = nodes_of(Config),
    [Theirs, Ours] = [{Node, rakv_ct:call(Client, shape_calls, run, [Group, {Group, Node}], 150000)}
                      || Node <- [rakv_ct:node_of(Beam), Rakv]],
    Found = differences(Theirs, Ours),
    {Known, New} = lists:partition(fun({[Label | Path], A, B}) -> known(Label, Path, {A, B}) end, Found),
    ct:log("~b calls, differences known: ~p", [length(element(2, Ours)), Known]),
    New =:= [] orelse io:format(user, "~n~p: ~b differences~n~p~n", [Group, length(New), New]),
    ?assertEqual([], New).

%% Differences that are meant to be (docs/divergence.md): where, and exactly what it is on either side.
%% What is below the lowest live index (2) leaves a BEAM's memory table with the snapshot; here it stays until the WAL has
%% gone to segments, and for a while there.
known(kv_after_snapshot, [log | Path], Values) -> below_live(Path, Values);
known(ra_after_snapshot, [2, log | Path], Values) -> below_live(Path, Values);
known(after_more, [log | Path], Values) -> below_live(Path, Values);
known(rolled, [log, segments_range, 1], {2, 1}) -> true;
known(ra_after_snapshot, [2, machine_versions, 1, 1], {0, 31}) -> true;
%% counts of what is done otherwise
known(Label, [Counter], Counts) when Label =:= counters_overview; Label =:= counters_overview_one ->
    counted(Counter, Counts);
%% functions for clients, called on the member's node
known(Label, Path, Values) ->
    case remote(Label) of
        {Module, Function} -> only_undefined(Path, Values, Module, Function);
        none -> false
    end.

below_live([mem_table_info, size], {Theirs, Ours}) -> Ours =:= Theirs + 2;
below_live(Path, {2, 0}) ->
    lists:member(Path, [[mem_table_range, 1], [mem_table_info, range, 1], [mem_table_info, local_range, 1]]);
below_live(_, _) -> false.

%% index 0 of a new log is an operation there
counted(write_ops, {Theirs, Ours}) -> Theirs =:= Ours + 1;
%% the vote for oneself that goes with a pre-vote is stored there
counted(term_and_voted_for_updates, {Theirs, Ours}) -> Theirs =:= Ours + 1;
%% there, what is applied is read from the log; here, only values that a client reads
counted(read_ops, {Theirs, Ours}) -> is_integer(Theirs) andalso Ours < Theirs;
counted(read_mem_table, {Theirs, 0}) -> is_integer(Theirs) andalso Theirs > 0;
%% there is no garbage
counted(forced_gcs, {Theirs, 0}) -> is_integer(Theirs) andalso Theirs > 0;
counted(_, _) -> false.

remote(remote_put) -> {ra_kv, put};
remote(remote_delete) -> {ra_kv, delete};
remote(remote_overview) -> {ra_kv, member_overview};
remote(remote_members) -> {ra, members};
remote(remote_stop) -> {ra, stop_server};
remote(remote_restart) -> {ra, restart_server};
remote(remote_ping) -> {ra, ping};
remote(_) -> none.

%% It works there and is undefined here; pairs are compared element by element.
only_undefined([], {Theirs, {badrpc, Exit}}, Module, Function) ->
    (Theirs =:= ok orelse is_map(Theirs) orelse element(1, Theirs) =:= ok) andalso is_undefined(Exit, Module, Function);
only_undefined([1], {Theirs, badrpc}, _, _) -> lists:member(Theirs, [ok, pong]);
only_undefined([2], {Theirs, Exit}, Module, Function) ->
    (Theirs =:= leader orelse is_map(Theirs)) andalso is_undefined(Exit, Module, Function);
only_undefined(_, _, _, _) -> false.

is_undefined({'EXIT', {undef, [{Module, Function, _, []}]}}, Module, Function) -> true;
is_undefined(_, _, _) -> false.

%% ---------------------------------------------------------------------------------------------------------------

%% Terms of every type come back as they were put.
values(Config) ->
    {Client, Beam, Rakv} = nodes_of(Config),
    [?assertEqual([], rakv_ct:call(Client, shape_calls, round_trip, [{values, Node}, 1000, seed(Config)], 200000))
     || Node <- [rakv_ct:node_of(Beam), Rakv]].

%% Maps are encoded in an order that depends on the node; they are one key all the same. So are the forms of old and
%% new OTPs.
equal_keys_of_other_nodes(Config) ->
    {Client, _, Rakv} = nodes_of(Config),
    Old = rakv_ct:start_beam(Config, equal_old, #{otp => 25}),
    Other = rakv_ct:start_beam(Config, equal_other),
    Server = start(Client, Rakv, equal_keys),
    %% these nodes meet the atoms in another order
    [rakv_ct:call(Node, erlang, list_to_atom, [Text])
     || Node <- [Old, Other], Text <- ["equal_key_z", "equal_key_y", "equal_key_x"]],
    Keys = [#{list_to_atom("equal_key_" ++ [C]) => C || C <- "xyz"},
            maps:from_list([{N, #{list_to_atom("equal_key_" ++ [C]) => N || C <- "zxy"}} || N <- lists:seq(1, 50)]),
            {'ключ', 1 bsl 70, -1.5, [<<1:3>>], fun lists:map/2}],
    [begin
         {ok, _} = rakv_ct:call(Client, ra_kv, put, [Server, Key, N, 10000]),
         ?assertMatch({ok, _, N}, rakv_ct:call(Other, ra_kv, get, [Server, Key, 10000])),
         ?assertMatch({ok, _, N}, rakv_ct:call(Old, plain_kv_client, get, [Server, Key, 10000])),
         {ok, _} = rakv_ct:call(Old, plain_kv_client, put, [Server, Key, {N, again}, 10000]),
         ?assertMatch({ok, _, {N, again}}, rakv_ct:call(Client, ra_kv, get, [Server, Key, 10000]))
     end || {N, Key} <- lists:enumerate(Keys)],
    {ok, {_, #{num_keys := Count}}, _} = rakv_ct:call(Client, ra, local_query, [Server, {ra_kv, overview, []}, 10000]),
    ?assertEqual(length(Keys), Count).

%% A BEAM member would crash on these, again and again; rakv refuses them before they are in the log.
refused_commands(Config) ->
    {Client, _, Rakv} = nodes_of(Config),
    Server = start(Client, Rakv, refused),
    {ok, #{index := Index}} = rakv_ct:call(Client, ra_kv, put, [Server, <<"key">>, 1, 10000]),
    Commands = [something, {put, 1}, {put, 1, 2}, {put, 1, 2, #{}}, {put, 1, 2, #{size => 1}}, {put, 1, 2, []},
                {delete}, {delete, 1, 2}, {get, 1}, 17, <<"put">>, [], #{}, {}, {'PUT', 1, 2, #{hash => 1}}],
    [begin
         ?assertMatch({error, {unsupported_command, _}}, rakv_ct:call(Client, ra, process_command, [Server, Command, 10000])),
         ok = rakv_ct:call(Client, ra, pipeline_command, [Server, Command, 1, normal]),
         ok = rakv_ct:call(Client, ra, pipeline_command, [Server, Command])
     end || Command <- Commands],
    ?assertMatch({ok, #{index := Next}} when Next =:= Index + 1,
                 rakv_ct:call(Client, ra_kv, put, [Server, <<"key">>, 2, 10000])).

%% These crash a BEAM leader.
failing_consistent_query(Config) ->
    {Client, _, Rakv} = nodes_of(Config),
    Server = start(Client, Rakv, failing),
    [?assertMatch({error, _}, rakv_ct:call(Client, gen_statem, call,
                                           [Server, {leader_call, {consistent_query, Query}}, 10000]))
     || Query <- [{no_such_module, f, []}, {erlang, element, [17]}, fun erlang:hd/1, 17, {erlang, error, []}]],
    ?assertEqual({pong, leader}, rakv_ct:call(Client, ra, ping, [Server, 10000])).

%% A client of OTP 25, without ra.
oldest_client(Config) ->
    {Client, Beam, Rakv} = nodes_of(Config),
    Old = rakv_ct:start_beam(Config, oldest, #{otp => 25}),
    Run = fun(Node) ->
        Server = start(Client, Node, oldest),
        Call = fun(Function, Args) -> rakv_ct:call(Old, plain_kv_client, Function, Args) end,
        [{{Function, Args0}, Call(Function, [Server | Args0])}
         || {Function, Args0} <- [{put, [<<"key">>, [1, {2, "three"}], 10000]}, {get, [<<"key">>, 10000]},
                                  {put, [1.0, #{a => 'ключ'}, 10000]}, {get, [1.0, 10000]}, {get, [1, 10000]},
                                  {delete, [<<"key">>, 10000]}, {delete, [<<"key">>, 10000]}, {get, [<<"key">>, 10000]},
                                  {members, [10000]}]]
            ++ [{noproc, Call(members, [shape_calls:bad(Server), 10000])}]
            ++ [{{raw, Request}, rakv_ct:call(Old, gen_statem, call, [Server, Request, 10000])}
                || Request <- [ping, {state_query, members}, {local_query, {ra_kv, overview, []}}, {aux_command, {get, 1.0}},
                               {local_call, {state_query, last_applied}}, trigger_election, something]]
    end,
    ?assertEqual([], differences({rakv_ct:node_of(Beam), Run(rakv_ct:node_of(Beam))}, {Rakv, Run(Rakv)})).

%% Clients that die while calls of theirs, large ones too, are under way leave a node that serves.
killed_client(Config) ->
    {Client, _, Rakv} = nodes_of(Config),
    Server = start(Client, Rakv, killed_client),
    lists:foreach(fun(Round) ->
        Victim = rakv_ct:start_beam(Config, "victim" ++ integer_to_list(Round), #{modules => [shape_calls]}),
        ok = rakv_ct:start_ra(Config, Victim),
        ok = rakv_ct:call(Victim, shape_calls, hold_call, [Server, 10, 300000]),
        %% it is in the middle of it
        Before = applied(Client, Server),
        rakv_ct:wait_until(fun() -> applied(Client, Server) > Before + 20 end),
        ok = rakv_ct:kill_beam(Config, Victim),
        {ok, _} = rakv_ct:call(Client, ra_kv, put, [Server, {round, Round}, Round, 10000]),
        ?assertMatch({ok, _, Round}, rakv_ct:call(Client, ra_kv, get, [Server, {round, Round}, 10000])),
        rakv_ct:wait_until(fun() ->
            not lists:member(rakv_ct:node_of(Victim), rakv_ct:call(Client, rpc, call, [Rakv, erlang, nodes, []]))
        end)
    end, [1, 2, 3]).

%% Each has its own keys, and they don't disturb one another.
several_clusters(Config) ->
    {Client, _, Rakv} = nodes_of(Config),
    Names = [list_to_atom("several_" ++ integer_to_list(N)) || N <- lists:seq(1, 10)],
    Servers = [start(Client, Rakv, Name) || Name <- Names],
    [{ok, _} = rakv_ct:call(Client, ra_kv, put, [Server, Key, {Server, Key}, 10000])
     || Key <- [<<"a">>, <<"b">>], Server <- Servers],
    ok = rakv_ct:call(Client, ra, force_delete_server, [default, hd(Servers)]),
    ok = rakv_ct:call(Client, ra, stop_server, [default, lists:nth(2, Servers)]),
    ok = rakv_ct:call(Client, ra_kv, take_snapshot, [lists:nth(3, Servers)]),
    [?assertMatch({ok, _, {Server, Key}}, rakv_ct:call(Client, ra_kv, get, [Server, Key, 10000]))
     || Key <- [<<"a">>, <<"b">>], Server <- lists:nthtail(2, Servers)],
    ?assertEqual({error, noproc}, rakv_ct:call(Client, ra, members, [hd(Servers), 10000])),
    Registered = rakv_ct:call(Client, rpc, call, [Rakv, ra_directory, overview, [default]]),
    ?assertEqual(tl(Names), [Name || Name <- Names, is_map_key(Name, Registered)]).

%% Which functions of ra_kv a member's node answers: a BEAM all, rakv those that a client of another node needs there.
functions_of_ra_kv(Config) ->
    {Client, _, Rakv} = nodes_of(Config),
    Exported = [Function || {Name, _} = Function <- rakv_ct:call(Client, ra_kv, module_info, [exports]), Name =/= module_info],
    Served = [{Name, Arity} || {Name, Arity} <- Exported,
                               not is_undefined(element(2, rakv_ct:call(Client, rpc, call, [Rakv, ra_kv, Name, lists:duplicate(Arity, x)])),
                                                ra_kv, Name)],
    ?assertEqual([{get, 3}, {read_entry, 4}], lists:sort(Served)).

%% What a BEAM member gives away of its inside, or crashes on.
safer_than_a_beam(Config) ->
    {Client, Beam, Rakv} = nodes_of(Config),
    Read = fun(Node, Server, Index) -> rakv_ct:call(Client, rpc, call, [Node, ra_kv, read_entry, [Server, Index, [Server], 10000]]) end,
    All = fun(Server) -> rakv_ct:call(Client, gen_statem, call, [Server, {local_call, {state_query, all}}, 10000]) end,
    Theirs = start(Client, rakv_ct:node_of(Beam), safer),
    ?assertMatch({ok, {Nothing, _}} when Nothing =:= #{}, Read(rakv_ct:node_of(Beam), Theirs, 17)),
    {ok, #{cfg := Record}, Theirs} = All(Theirs),
    ?assert(is_tuple(Record)),
    Ours = start(Client, Rakv, safer),
    [?assertEqual({error, not_found}, Read(Rakv, Ours, Index)) || Index <- [0, 1]],
    ?assertMatch({error, {not_readable, 17, <<_/binary>>}}, Read(Rakv, Ours, 17)),
    {ok, Overview, _} = rakv_ct:call(Client, ra, member_overview, [Ours, 10000]),
    {ok, Inside, Ours} = All(Ours),
    ?assertEqual(lists:sort(maps:keys(Overview)), lists:sort(maps:keys(Inside))),
    %% a leader takes no change of its members before an entry of its term is applied
    {ok, _} = rakv_ct:call(Client, ra_kv, put, [Ours, <<"key">>, value, 10000]),
    ?assertEqual({error, missing_uid},
                 rakv_ct:call(Client, ra, add_member, [Ours, #{id => {safer, 'nobody@127.0.0.1'}, membership => promotable}, 10000])),
    ?assertEqual({pong, leader}, rakv_ct:call(Client, ra, ping, [Ours, 10000])).

%% The comparison itself.
differences_are_seen(_Config) ->
    Compare = fun(A, B) -> differences({'a@h', [{label, A}]}, {'b@h', [{label, B}]}) end,
    [?assertEqual([], Compare(A, B))
     || {A, B} <- [{1, 1}, {'a@h', 'b@h'}, {#{ts => 1}, #{ts => 2}}, {#{uid => <<"A">>}, #{uid => <<"B">>}},
                   {{ok, "x a@h"}, {ok, "x b@h"}}, {make_ref(), make_ref()}]],
    [?assertMatch([_], Compare(A, B))
     || {A, B} <- [{1, 2}, {1, 1.0}, {#{a => 1}, #{}}, {#{}, #{a => 1}}, {#{ts => 1}, #{ts => a}}, {{1, 2}, {1, 3}},
                   {{1}, {1, 2}}, {[1, 2], [1]}, {[1 | 2], [1, 2]}, {self(), make_ref()}, {'a@h', 'a@h'}, {"a", <<"a">>},
                   {#{a => #{b => [{1, x}]}}, #{a => #{b => [{1, y}]}}}]].

nothing_was_malformed(Config) ->
    {Client, Beam, _} = nodes_of(Config),
    [?assertEqual([], rakv_ct:complaints(Node)) || Node <- [Client, Beam]].

%% ---------------------------------------------------------------------------------------------------------------

nodes_of(Config) ->
    {proplists:get_value(client, Config), proplists:get_value(beam, Config), proplists:get_value(rakv, Config)}.

seed(Config) -> proplists:get_value(seed, Config).

start(Client, Node, Name) ->
    Server = {Name, Node},
    {ok, [Server], []} = rakv_ct:call(Client, ra_kv, start_cluster, [default, Name, #{members => [Server]}]),
    Server.

applied(Client, Server) ->
    {ok, #{last_applied := Index}, _} = rakv_ct:call(Client, ra, member_overview, [Server, 10000]),
    Index.

%% ---------------------------------------------------------------------------------------------------------------
%% Comparison. A path leads from a label into its result: map keys, and positions in tuples and lists.

differences({NodeA, A}, {NodeB, B}) ->
    lists:append([diff(plain(ValueA, NodeA), plain(ValueB, NodeB), [Label])
                  || {{Label, ValueA}, {Label, ValueB}} <- lists:zip(labels(A, NodeA), labels(B, NodeB))]).

labels(Results, Node) -> [{plain(Label, Node), Value} || {Label, Value} <- Results].

diff(Same, Same, _Path) -> [];
diff(A, B, Path) when is_map(A), is_map(B) ->
    lists:append([case {A, B} of
                      {#{Key := ValueA}, #{Key := ValueB}} -> diff(ValueA, ValueB, [Key | Path]);
                      {#{Key := ValueA}, _} -> [{lists:reverse([Key | Path]), ValueA, '$no_such_key'}];
                      {_, #{Key := ValueB}} -> [{lists:reverse([Key | Path]), '$no_such_key', ValueB}]
                  end || Key <- lists:usort(maps:keys(A) ++ maps:keys(B))]);
diff(A, B, Path) when is_tuple(A), tuple_size(A) =:= tuple_size(B) ->
    positions(tuple_to_list(A), tuple_to_list(B), Path);
diff([_ | _] = A, [_ | _] = B, Path) ->
    try length(A) =:= length(B) of
        true -> positions(A, B, Path);
        false -> [{lists:reverse(Path), A, B}]
    catch
        error:badarg -> [{lists:reverse(Path), A, B}]
    end;
diff(A, B, Path) -> [{lists:reverse(Path), A, B}].

positions(A, B, Path) ->
    lists:append([diff(X, Y, [N | Path]) || {N, X, Y} <- lists:zip3(lists:seq(1, length(A)), A, B)]).

%% A term without what differs from node to node and from moment to moment.
plain(Node, Node) -> '$node';
plain(Pid, Node) when is_pid(Pid) -> {'$pid', node(Pid) =:= Node};
plain(Reference, _) when is_reference(Reference) -> '$reference';
plain(Port, _) when is_port(Port) -> '$port';
plain(Map, Node) when is_map(Map) ->
    #{plain(Key, Node) => case by_kind(Key) of
                              true -> {'$kind', kind(Value)};
                              false when Key =:= live_indexes -> lists:sort(Value); % in no order
                              false -> plain(Value, Node)
                          end || Key := Value <- Map};
plain(Tuple, Node) when is_tuple(Tuple) -> list_to_tuple([plain(Element, Node) || Element <- tuple_to_list(Tuple)]);
plain([Head | Tail] = List, Node) ->
    case io_lib:printable_unicode_list(List) of
        true -> unicode:characters_to_list(string:replace(List, atom_to_list(Node), "$node", all));
        false -> [plain(Head, Node) | plain_tail(Tail, Node)]
    end;
plain(Binary, _) when is_binary(Binary) ->
    case re:run(Binary, "^[A-Z0-9_=-]{2,6}[A-Z0-9]{12}$", [{capture, none}]) of
        match -> '$uid';
        nomatch -> Binary
    end;
plain(Other, _) -> Other.

plain_tail([Head | Tail], Node) -> [plain(Head, Node) | plain_tail(Tail, Node)];
plain_tail(Tail, Node) -> plain(Tail, Node).

by_kind(Key) ->
    lists:member(Key, [ts, system_time, last_wal_write, commit_latency, commit_rate, commit_rate_last, uid, data_dir,
                       wal_data_dir]).

kind(Value) when is_integer(Value) -> integer;
kind(Value) when is_float(Value) -> float;
kind(Value) when is_binary(Value) -> binary;
kind(Value) when is_list(Value) -> list;
kind(Value) when is_atom(Value) -> Value;
kind(Value) when is_map(Value) -> map;
kind(Value) when is_tuple(Value) -> {tuple, tuple_size(Value)};
kind(_) -> other.
