%% SPDX-License-Identifier: Apache-2.0
%% What dist_SUITE does inside a BEAM node: processes that watch, link and call, and keep what they got. Plain Erlang of
%% OTP 25, because it is compiled for either OTP; no ra.
-module(dist_peer).

-export([watcher/2, got/1, stop/1]).
-export([missing/1, caught/1, spawned/3, trans/1, creation/1, monitor_pid/3]).
-export([callers/2, stop_callers/1, large_values/3, aten_watcher/2]).
-export([part_and_hold_net_kernel/1, release_net_kernel/0, dial_later/1, dials_in/0]).

%% ---------------------------------------------------------------------------------------------------------------
%% Watchers.

%% Starts a process of that name which carries out Orders and then keeps all messages that it gets:
%%   nodes               net_kernel:monitor_nodes(true, [nodedown_reason])
%%   {monitor, Item}     monitor(process, Item), noted as {monitored, Reference}
%%   {link, Pid}         link(Pid); exits are trapped
%%   {node, Node}        erlang:monitor_node(Node, true)
-spec watcher(atom(), [term()]) -> ok.
watcher(Name, Orders) ->
    Self = self(),
    {_, Monitor} = spawn_monitor(fun() ->
        true = register(Name, self()),
        process_flag(trap_exit, true),
        Notes = lists:append([order(Order) || Order <- Orders]),
        Self ! {Name, ready},
        keep(lists:reverse(Notes))
    end),
    receive
        {Name, ready} -> demonitor(Monitor, [flush]), ok;
        {'DOWN', Monitor, process, _, Reason} -> error(Reason)
    end.

order(nodes) -> ok = net_kernel:monitor_nodes(true, [nodedown_reason]), [];
order({monitor, Item}) -> [{monitored, monitor(process, Item)}];
order({link, Pid}) -> true = link(Pid), [];
order({node, Node}) -> true = erlang:monitor_node(Node, true), [];
order({aten, Node}) -> ok = aten:register(Node), [].

keep(Notes) ->
    receive
        {'$got', From, Tag} -> From ! {Tag, lists:reverse(Notes)}, keep(Notes);
        '$stop' -> ok;
        Message -> keep([Message | Notes])
    end.

%% All that a watcher got, in order.
-spec got(atom()) -> [term()].
got(Name) ->
    Tag = make_ref(),
    Name ! {'$got', self(), Tag},
    receive {Tag, Notes} -> Notes end.

-spec stop(atom()) -> ok.
stop(Name) ->
    Name ! '$stop',
    ok.

%% ---------------------------------------------------------------------------------------------------------------
%% Single calls.

%% How a call to a name that nobody has ends, and after how many microseconds.
-spec missing({atom(), node()}) -> {term(), non_neg_integer()}.
missing(Server) ->
    Start = erlang:monotonic_time(microsecond),
    Result = try gen_server:call(Server, hello, 30000)
             catch exit:{Reason, _} -> Reason
             end,
    {Result, erlang:monotonic_time(microsecond) - Start}.

%% {value, V} or {Class, Reason} of a function.
-spec caught({module(), atom(), [term()]}) -> {value, term()} | {atom(), term()}.
caught({Module, Function, Args}) ->
    try {value, apply(Module, Function, Args)}
    catch Class:Reason -> {Class, Reason}
    end.

%% Spawns a function on Node with options and gives what came of it: the kind of the pid's node, and the message that
%% says how the process ended.
-spec spawned(node(), {module(), atom(), [term()]}, [monitor | link]) -> [term()].
spawned(Node, {Module, Function, Args}, Options) ->
    process_flag(trap_exit, true),
    {Pid, Monitor} = case spawn_opt(Node, Module, Function, Args, Options) of
                         {_, _} = Both -> Both;
                         Alone -> {Alone, undefined}
                     end,
    Node = node(Pid),
    [receive
         {'DOWN', Monitor, process, Pid, Reason} -> {down, Reason};
         {'EXIT', Pid, Reason} -> {exit, Reason}
     after 30000 -> {nothing, Option}
     end || Option <- Options].

-spec trans(node()) -> term().
trans(Node) ->
    global:trans({{?MODULE, Node}, self()}, fun() -> {in, nodes()} end).

%% The incarnation that a node puts into its pids.
-spec creation(node()) -> pos_integer().
creation(Node) ->
    Bytes = term_to_binary(spawn(Node, no_such_module, no_such_function, [])),
    <<Creation:32>> = binary:part(Bytes, byte_size(Bytes), -4),
    Creation.

%% A watcher that monitors the process with a registered name of Node, and links to it.
-spec monitor_pid(atom(), node(), atom()) -> pid().
monitor_pid(Watcher, Node, Name) ->
    Pid = erpc:call(Node, erlang, whereis, [Name]),
    true = is_pid(Pid),
    ok = watcher(Watcher, [{monitor, Pid}, {link, Pid}]),
    Pid.

%% ---------------------------------------------------------------------------------------------------------------
%% Small calls in the background.

%% Calls net_kernel of Node about every millisecond until stop_callers/1.
-spec callers(atom(), node()) -> ok.
callers(Name, Node) ->
    true = register(Name, spawn(fun() -> call_on(Node, 0, 0, []) end)),
    ok.

call_on(Node, Count, Longest, Failures) ->
    receive
        {stop, From, Tag} -> From ! {Tag, #{calls => Count, longest_us => Longest, failures => Failures}}
    after 1 ->
        Start = erlang:monotonic_time(microsecond),
        Failed = try gen_server:call({net_kernel, Node}, {is_auth, node()}, 30000) of
                     yes -> [];
                     Other -> [Other]
                 catch Class:Reason -> [{Class, Reason}]
                 end,
        Took = erlang:monotonic_time(microsecond) - Start,
        call_on(Node, Count + 1, max(Longest, Took), lists:sublist(Failed ++ Failures, 10))
    end.

-spec stop_callers(atom()) -> map().
stop_callers(Name) ->
    Tag = make_ref(),
    Name ! {stop, self(), Tag},
    receive {Tag, Result} -> Result end.

%% Puts a value of so many bytes and gets it back, with a client module that has put/4 and get/3 of ra_kv.
-spec large_values(module(), {atom(), node()}, pos_integer()) -> map().
large_values(Client, Id, Bytes) ->
    Value = binary:copy(<<"0123456789">>, Bytes div 10),
    {PutUs, {ok, _}} = timer:tc(Client, put, [Id, <<"large">>, Value, 120000]),
    {GetUs, {ok, _, Got}} = timer:tc(Client, get, [Id, <<"large">>, 120000]),
    #{bytes => byte_size(Value), put_ms => PutUs div 1000, get_ms => GetUs div 1000, equal => Got =:= Value}.

%% A watcher that gets aten's node events about Node.
-spec aten_watcher(atom(), node()) -> ok.
aten_watcher(Name, Node) ->
    watcher(Name, [{aten, Node}]).

%% ---------------------------------------------------------------------------------------------------------------
%% Dialling at the same moment: net_kernel stands still until both sides' attempts lie in its mailbox.

-spec part_and_hold_net_kernel([node()]) -> held | back_already.
part_and_hold_net_kernel(Nodes) ->
    ok = net_kernel:monitor_nodes(true),
    [true = erlang:disconnect_node(Node) || Node <- Nodes],
    [receive {nodedown, Node} -> ok end || Node <- Nodes],
    ok = sys:suspend(net_kernel, 30000),
    %% net_kernel answered, so what came up before has been told of
    case [Node || Node <- Nodes, receive {nodeup, Node} -> true after 0 -> false end] of
        [] -> held;
        _ -> ok = release_net_kernel(), back_already
    end.

-spec release_net_kernel() -> ok.
release_net_kernel() ->
    sys:resume(net_kernel, 30000).

%% Asks net_kernel for a connection without waiting.
-spec dial_later(node()) -> ok.
dial_later(Node) ->
    spawn(fun() -> net_kernel:connect_node(Node) end),
    ok.

%% Dials that wait in net_kernel's mailbox: those of this node, and those that came in.
-spec dials_in() -> {Own :: non_neg_integer(), Incoming :: non_neg_integer()}.
dials_in() ->
    {messages, Messages} = process_info(whereis(net_kernel), messages),
    {length([M || {'$gen_call', _, Request} = M <- Messages, element(1, Request) =:= connect]),
     length([M || M <- Messages, is_tuple(M), element(1, M) =:= accept])}.
