#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%% The longest put of one cluster of a rakv node, undisturbed, and while another server of that node
%%   - is killed and starts again, with many entries above its snapshot,
%%   - joins a cluster with as many keys and is sent its snapshot, by a third server of the node.
%% Called by scripts/bench_start.sh: NODE COOKIE ENTRIES.
%% The name of this node and distribution are given by ERL_FLAGS.

-define(FEW, 3000).  % ms

main([NodeText, CookieText, EntriesText]) ->
    Node = list_to_atom(NodeText),
    erlang:set_cookie(list_to_atom(CookieText)),
    pong = net_adm:ping(Node),
    Entries = list_to_integer(EntriesText),
    [start(Name, Node) || Name <- [big, small]],
    fill({big, Node}, Entries),
    timer:sleep(2000),  % last_applied is noted with each tick
    Quiet = measure({small, Node}, fun() -> timer:sleep(?FEW) end),
    Pid = rpc:call(Node, ra_directory, where_is, [default, big]),
    Began = erlang:monotonic_time(millisecond),
    Busy = measure({small, Node}, fun() ->
                                          exit(Pid, kill),
                                          await({big, Node}, Pid)
                                  end),
    say("start of a server with ~b entries", Entries, Began, Busy, Quiet),
    snapshot({big, Node}),
    Joined = erlang:monotonic_time(millisecond),
    Installing = measure({small, Node}, fun() -> join({late, Node}, {big, Node}) end),
    say("snapshot of ~b keys sent and taken in", Entries, Joined, Installing, Quiet).

say(What, Entries, Began, Busy, Quiet) ->
    io:format(What ++ ": ~b ms; longest put of another cluster meanwhile ~.1f ms, without ~.1f ms, ratio ~.1f~n",
              [Entries, erlang:monotonic_time(millisecond) - Began, Busy / 1000, Quiet / 1000, Busy / max(Quiet, 1)]).

start(Name, Node) ->
    Id = {Name, Node},
    start_server(Id, [Id]),
    ok = gen_statem:call(Id, trigger_election),
    store(Id, <<"first">>).

start_server({Name, Node} = Id, Members) ->
    Uid = list_to_binary(string:uppercase(atom_to_list(Name)) ++ "AAAAAAAAAAAA"),
    Config = #{id => Id, uid => Uid, cluster_name => Name, initial_members => Members,
               machine => {module, ra_kv, #{}}, log_init_args => #{uid => Uid}},
    {ok, _} = rpc:call(Node, ra_server_sup_sup, start_server_rpc, [default, Uid, Config]).

snapshot(Id) ->
    ok = ask(Id, {aux_command, take_snapshot}),
    until(fun() ->
                  {ok, #{log := #{snapshot_index := Index}}, _} = ask(Id, {state_query, overview}),
                  is_integer(Index) andalso Index > 0
          end).

%% Until the new member has applied all that the leader had.
join(Id, Leader) ->
    {ok, Index, _} = ask(Leader, {state_query, last_applied}),
    start_server(Id, [Leader]),
    Join = {leader_call, {command, normal, {'$ra_join', Id, after_log_append}}},
    until(fun() -> ask(Leader, Join) =/= {error, cluster_change_not_permitted} end),
    until(fun() ->
                  {ok, Applied, _} = ask(Id, {state_query, last_applied}),
                  Applied >= Index
          end).

until(Condition) -> Condition() orelse begin timer:sleep(20), until(Condition) end.

ask(Id, Request) -> gen_statem:call(Id, Request, infinity).

command(Key) ->
    Value = <<0:800>>,
    {'$usr', {put, Key, Value, #{size => byte_size(Value), hash => erlang:phash2(Value)}}}.

store(Id, Key) ->
    {Usr, Command} = command(Key),
    gen_statem:call(Id, {leader_call, {command, normal, {Usr, Command, await_consensus}}}, 60000).

fill(Id, Entries) ->
    [begin
         {Usr, Command} = command(integer_to_binary(N)),
         gen_statem:cast(Id, {command, normal, {Usr, Command, noreply}}),
         N rem 2000 =:= 0 andalso store(Id, <<"now and then">>)
     end || N <- lists:seq(1, Entries)],
    store(Id, <<"last">>).

%% The longest put in microseconds while Fun runs.
measure(Id, Fun) ->
    Self = self(),
    Measuring = spawn_link(fun() -> measuring(Id, 0, Self) end),
    Fun(),
    Measuring ! stop,
    receive {longest, Longest} -> Longest end.

measuring(Id, Longest, To) ->
    {Time, _} = timer:tc(fun() -> store(Id, <<"x">>) end),
    receive
        stop -> To ! {longest, max(Time, Longest)}
    after 0 -> measuring(Id, max(Time, Longest), To)
    end.

%% Until another process has the name, and answers as a member.
await({Name, Node} = Id, Old) ->
    case rpc:call(Node, ra_directory, where_is, [default, Name]) of
        New when is_pid(New), New =/= Old ->
            {ok, Applied, _} = gen_statem:call(Id, {state_query, last_applied}, infinity),
            io:format("last applied ~b~n", [Applied]);
        _ ->
            await(Id, Old)
    end.
