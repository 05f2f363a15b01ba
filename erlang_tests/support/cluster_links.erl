%% SPDX-License-Identifier: Apache-2.0
%% Links between nodes that a test can block, cut and hold, without touching the nodes and without any privilege.
%%
%% Every node gets an epmd of its own (port/2 gives what goes into its ERL_EPMD_PORT). What it answers for another node
%% is the port of a proxy for just this pair. A blocked link swallows nothing and closes nothing: bytes, new connections
%% and ends of connections wait, as they do when a network goes silent; allow/3 lets them go on. cut/3 closes.
-module(cluster_links).

-export([start_link/0, port/2, own_port/2, block/3, allow/3, cut/3, delay/4, hold_at/4, held/3]).

-type links() :: #{server := pid(), table := ets:table()}.
-export_type([links/0]).

-define(LISTEN, [binary, {packet, raw}, {active, false}, {reuseaddr, true}, {backlog, 64}, {nodelay, true}]).
-define(CONNECT, [binary, {packet, raw}, {active, false}, {nodelay, true}, {buffer, 262144}]).
-define(CALL_MS, 20000).
-define(HELD_BYTES, 16).

%% Lives as long as the process that starts it.
-spec start_link() -> links().
start_link() ->
    Starter = self(),
    Server = spawn_link(fun() ->
        process_flag(trap_exit, true),
        Table = ets:new(?MODULE, [public, {read_concurrency, true}]),
        Starter ! {self(), Table},
        serve(#{starter => Starter, table => Table, epmds => #{}, proxies => #{}, waiting => #{}, pumps => #{}})
    end),
    receive {Server, Table} -> #{server => Server, table => Table} end.

%% The port of a node's own epmd.
-spec port(links(), node()) -> inet:port_number().
port(Links, Node) -> ask(Links, {epmd, alive_name(Node)}).

%% The port on which a node itself listens, past the proxies; error while it is not there.
-spec own_port(links(), string()) -> {ok, inet:port_number()} | error.
own_port(#{table := Table}, AliveName) ->
    case ets:lookup(Table, {name, AliveName}) of
        [{_, Port, _}] -> {ok, Port};
        [] -> error
    end.

%% From now on nothing passes between two nodes, in neither direction.
-spec block(links(), node(), node()) -> ok.
block(Links, A, B) -> ask(Links, {block, pair(A, B)}).

%% Ends block/3 and hold_at/4: what waited goes on.
-spec allow(links(), node(), node()) -> ok.
allow(Links, A, B) -> ask(Links, {allow, pair(A, B)}).

%% Closes the connections between two nodes; new ones are possible.
-spec cut(links(), node(), node()) -> ok.
cut(Links, A, B) -> ask(Links, {cut, pair(A, B)}).

%% What passes between two nodes comes so many milliseconds later, in each direction; on connections that are made from
%% now on.
-spec delay(links(), node(), node(), non_neg_integer()) -> ok.
delay(#{table := Table}, A, B, Ms) ->
    true = ets:insert(Table, {{delay, pair(A, B)}, Ms}),
    ok.

%% Blocks a link by itself as soon as these bytes passed it, in either direction; at most 16.
-spec hold_at(links(), node(), node(), binary()) -> ok.
hold_at(#{table := Table}, A, B, Bytes) when byte_size(Bytes) =< ?HELD_BYTES ->
    true = ets:insert(Table, {{hold_at, pair(A, B)}, Bytes}),
    ok.

%% Whether a link is blocked now.
-spec held(links(), node(), node()) -> boolean().
held(#{table := Table}, A, B) -> ets:member(Table, {blocked, pair(A, B)}).

%% ---------------------------------------------------------------------------------------------------------------
%% The keeper of names, proxies and blocks.

ask(#{server := Server}, Request) ->
    Monitor = monitor(process, Server),
    Server ! {ask, {self(), Monitor}, Request},
    receive
        {Monitor, Answer} -> demonitor(Monitor, [flush]), Answer;
        {'DOWN', Monitor, process, Server, Reason} -> error({links_gone, Reason})
    after ?CALL_MS ->
        error({links_do_not_answer, Request})
    end.

serve(#{starter := Starter} = State) ->
    receive
        {'EXIT', Starter, Reason} ->
            exit(Reason);
        {'EXIT', _Connection, _} ->
            serve(State);
        {ask, From, {wait, Pair}} ->
            serve(wait(Pair, From, State));
        {ask, {Caller, Tag}, Request} ->
            {Answer, Next} = answer(Request, State),
            Caller ! {Tag, Answer},
            serve(Next)
    end.

answer({epmd, Name}, #{epmds := Epmds} = State) ->
    case Epmds of
        #{Name := Port} ->
            {Port, State};
        _ ->
            Port = listen(fun(Socket) -> epmd(Socket, Name, State) end),
            {Port, State#{epmds := Epmds#{Name => Port}}}
    end;
answer({proxy, From, To}, #{proxies := Proxies} = State) ->
    case Proxies of
        #{{From, To} := Port} ->
            {Port, State};
        _ ->
            Port = listen(fun(Socket) -> proxy(Socket, sorted(From, To), To, State) end),
            {Port, State#{proxies := Proxies#{{From, To} => Port}}}
    end;
answer({block, Pair}, #{table := Table} = State) ->
    true = ets:insert(Table, {{blocked, Pair}}),
    {ok, State};
answer({allow, Pair}, #{table := Table, waiting := Waiting} = State) ->
    true = ets:delete(Table, {hold_at, Pair}),
    true = ets:delete(Table, {blocked, Pair}),
    [Caller ! {Tag, ok} || {Caller, Tag} <- maps:get(Pair, Waiting, [])],
    {ok, State#{waiting := maps:remove(Pair, Waiting)}};
answer({cut, Pair}, #{pumps := Pumps} = State) ->
    [exit(Pump, kill) || Pump <- maps:get(Pair, Pumps, [])],
    {ok, State#{pumps := maps:remove(Pair, Pumps)}};
answer({pump, Pair, Pump}, #{pumps := Pumps} = State) ->
    Alive = [One || One <- maps:get(Pair, Pumps, []), is_process_alive(One)],
    {ok, State#{pumps := Pumps#{Pair => [Pump | Alive]}}}.

wait(Pair, {Caller, Tag} = From, #{table := Table, waiting := Waiting} = State) ->
    case ets:member(Table, {blocked, Pair}) of
        true ->
            State#{waiting := Waiting#{Pair => [From | maps:get(Pair, Waiting, [])]}};
        false ->
            Caller ! {Tag, ok},
            State
    end.

%% Accepts on a free port; each connection is served by a process of its own. Runs in the server, with which they all
%% end.
listen(Serve) ->
    {ok, Listen} = gen_tcp:listen(0, ?LISTEN),
    {ok, Port} = inet:port(Listen),
    Server = self(),
    Acceptor = spawn_link(fun() -> receive go -> accept(Listen, Server, Serve) end end),
    ok = gen_tcp:controlling_process(Listen, Acceptor),
    Acceptor ! go,
    Port.

accept(Listen, Server, Serve) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    Owner = spawn(fun() -> link(Server), receive go -> Serve(Socket) end end),
    case gen_tcp:controlling_process(Socket, Owner) of
        ok -> Owner ! go;
        {error, _} -> exit(Owner, kill)
    end,
    accept(Listen, Server, Serve).

%% ---------------------------------------------------------------------------------------------------------------
%% epmd, as far as nodes talk to it.

epmd(Socket, Name, #{table := Table} = State) ->
    case gen_tcp:recv(Socket, 2) of
        {ok, <<Size:16>>} ->
            {ok, Request} = gen_tcp:recv(Socket, Size),
            epmd(Request, Socket, Name, Table, State);
        {error, _} ->
            ok
    end.

%% ALIVE2: the name is there until the connection ends.
epmd(<<120, Port:16, _Type, _Protocol, _Highest:16, _Lowest:16, Length:16, Name:Length/binary, _/binary>>, Socket,
     _Own, Table, _State) ->
    Creation = erlang:unique_integer([positive]) rem 16#7fffffff + 4,
    true = ets:insert(Table, {{name, binary_to_list(Name)}, Port, self()}),
    ok = gen_tcp:send(Socket, <<118, 0, Creation:32>>),
    {error, _} = gen_tcp:recv(Socket, 0),
    true = ets:match_delete(Table, {{name, binary_to_list(Name)}, '_', self()}),
    ok;
%% PORT_PLEASE2
epmd(<<122, Wanted/binary>>, Socket, Name, Table, #{} = State) ->
    To = binary_to_list(Wanted),
    Answer = case ets:member(Table, {name, To}) of
                 true ->
                     Port = ask(#{server => server(State), table => Table}, {proxy, Name, To}),
                     <<119, 0, Port:16, 77, 0, 6:16, 5:16, (byte_size(Wanted)):16, Wanted/binary, 0:16>>;
                 false ->
                     <<119, 1>>
             end,
    _ = gen_tcp:send(Socket, Answer),
    gen_tcp:close(Socket);
epmd(_Other, Socket, _Name, _Table, _State) ->
    gen_tcp:close(Socket).

server(#{table := Table}) -> ets:info(Table, owner).

%% ---------------------------------------------------------------------------------------------------------------
%% A connection of a pair of nodes.

proxy(Socket, Pair, To, #{table := Table} = State) ->
    Links = #{server => server(State), table => Table},
    ok = ask(Links, {pump, Pair, self()}),
    ok = pass(Links, Pair),
    ok = inet:setopts(Socket, [{buffer, 262144}]),
    case own_port(Links, To) of
        {ok, Port} ->
            case gen_tcp:connect({127, 0, 0, 1}, Port, ?CONNECT) of
                {ok, Other} -> both(Links, Pair, Socket, Other);
                {error, _} -> gen_tcp:close(Socket)
            end;
        error ->
            gen_tcp:close(Socket)
    end.

both(Links, Pair, A, B) ->
    _ = spawn_link(fun() -> pump(Links, Pair, B, sender(Links, Pair, A), <<>>) end),
    pump(Links, Pair, A, sender(Links, Pair, B), <<>>).

%% How bytes go on to a socket: at once, or later by a process that ends with the connection.
sender(#{table := Table}, Pair, Socket) ->
    case ets:lookup(Table, {delay, Pair}) of
        [{_, Ms}] when Ms > 0 -> {Socket, Ms, spawn_link(fun() -> send_later(Socket) end)};
        _ -> {Socket, 0, none}
    end.

send({Socket, 0, none}, Bytes) -> gen_tcp:send(Socket, Bytes);
send({_, Ms, Later}, Bytes) ->
    Later ! {erlang:monotonic_time(millisecond) + Ms, Bytes},
    ok.

send_later(Socket) ->
    receive
        {At, Bytes} ->
            timer:sleep(max(0, At - erlang:monotonic_time(millisecond))),
            _ = gen_tcp:send(Socket, Bytes),
            send_later(Socket)
    end.

%% The sockets belong to the first process of the two, which lives on until the connection is over in both directions.
%% `Before` is the end of what passed.
pump(Links, Pair, From, To, Before) ->
    case gen_tcp:recv(From, 0) of
        {ok, Bytes} ->
            ok = pass(Links, Pair),
            case send(To, Bytes) of
                ok -> pump(Links, Pair, From, To, watch(Links, Pair, Before, Bytes));
                {error, _} -> close(Links, Pair, From, To)
            end;
        {error, _} ->
            close(Links, Pair, From, To)
    end.

close(Links, Pair, From, {To, _, _}) ->
    ok = pass(Links, Pair),
    _ = gen_tcp:close(To),
    _ = gen_tcp:close(From),
    ok.

%% Returns as soon as the link is not blocked.
pass(#{table := Table} = Links, Pair) ->
    case ets:member(Table, {blocked, Pair}) of
        false -> ok;
        true -> wait_until_allowed(Links, Pair)
    end.

wait_until_allowed(#{server := Server}, Pair) ->
    Monitor = monitor(process, Server),
    Server ! {ask, {self(), Monitor}, {wait, Pair}},
    receive
        {Monitor, ok} -> demonitor(Monitor, [flush]), ok;
        {'DOWN', Monitor, process, Server, _} -> exit(normal)
    end.

%% Blocks the link if what hold_at/4 waits for is in what has just passed; gives the end of it.
watch(#{table := Table}, Pair, Before, Bytes) ->
    case ets:lookup(Table, {hold_at, Pair}) of
        [{_, Wanted}] ->
            case binary:match(<<Before/binary, Bytes/binary>>, Wanted) of
                nomatch -> ok;
                _ ->
                    true = ets:insert(Table, {{blocked, Pair}}),
                    true = ets:delete(Table, {hold_at, Pair})
            end;
        [] ->
            ok
    end,
    last_bytes(Before, Bytes).

last_bytes(_Before, Bytes) when byte_size(Bytes) >= ?HELD_BYTES ->
    binary:copy(binary:part(Bytes, byte_size(Bytes), -?HELD_BYTES));
last_bytes(Before, Bytes) ->
    Both = <<Before/binary, Bytes/binary>>,
    binary:part(Both, byte_size(Both), -min(byte_size(Both), ?HELD_BYTES)).

pair(A, B) -> sorted(alive_name(A), alive_name(B)).

sorted(A, B) -> {min(A, B), max(A, B)}.

alive_name(Node) -> hd(string:split(atom_to_list(Node), "@")).
