%% SPDX-License-Identifier: Apache-2.0
%% Links between nodes that a test can block, cut, delay and hold, without touching the nodes and without any privilege.
%%
%% Every node gets an epmd of its own (port/2 gives what goes into its ERL_EPMD_PORT). What it answers for another node
%% is the port of a proxy for just this pair (cluster_links_proxy). A blocked link swallows nothing and closes nothing:
%% bytes, new connections and ends of connections wait, as they do when a network goes silent; allow/3 lets them go on.
%% cut/3 closes.
-module(cluster_links).

-export([start_link/0, port/2, own_port/2, epmd_down/2, epmd_up/2]).
-export([block/3, block_one_way/3, allow/3, cut/3, delay/4, lose/4, lost/1, hold_at/4, held/3]).
%% For cluster_links_proxy.
-export([add_pump/3, wait/2]).

-type links() :: #{server := pid(), table := ets:table()}.
%% Alive names. Bytes go from the first to the second.
-type way() :: {From :: string(), To :: string()}.
%% In the order of their names.
-type pair() :: {string(), string()}.
-export_type([links/0, way/0, pair/0]).

-define(LISTEN, [binary, {packet, raw}, {active, false}, {reuseaddr, true}, {backlog, 64}, {nodelay, true}]).
-define(CALL_MS, 20000).
%% What passed is searched for so many bytes at most.
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

%% A node's own epmd ends: connections to it are refused, and nobody finds the node.
-spec epmd_down(links(), node()) -> ok.
epmd_down(Links, Node) -> ask(Links, {epmd_down, alive_name(Node)}).

%% It is back on its port and knows no names: a node that runs has to register again.
-spec epmd_up(links(), node()) -> ok.
epmd_up(Links, Node) -> ask(Links, {epmd_up, alive_name(Node)}).

%% From now on nothing passes between two nodes, in neither direction.
-spec block(links(), node(), node()) -> ok.
block(Links, A, B) -> ask(Links, {block, ways(pair(A, B))}).

%% Nothing passes from the first node to the second; what the second sends arrives. No connection comes about.
-spec block_one_way(links(), node(), node()) -> ok.
block_one_way(Links, From, To) -> ask(Links, {block, [{alive_name(From), alive_name(To)}]}).

%% Ends block/3, block_one_way/3 and hold_at/4: what waited goes on.
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

%% What passes between two nodes gets lost with this probability, piece by piece, in each direction. TCP sends it again after
%% 200 ms, then after twice as long, and so on; all that comes later waits for it, and then comes at once.
-spec lose(links(), node(), node(), 0..99) -> ok.
lose(#{table := Table}, A, B, Percent) ->
    true = ets:insert(Table, {{loss, pair(A, B)}, Percent}),
    ok.

%% How many pieces got lost, on all links.
-spec lost(links()) -> non_neg_integer().
lost(#{table := Table}) -> ets:lookup_element(Table, lost, 2, 0).

%% Blocks a link by itself as soon as these bytes passed it, in either direction; at most 16.
-spec hold_at(links(), node(), node(), binary()) -> ok.
hold_at(#{table := Table}, A, B, Bytes) when byte_size(Bytes) =< ?HELD_BYTES ->
    true = ets:insert(Table, {{hold_at, pair(A, B)}, Bytes}),
    ok.

%% Whether a link is blocked now, in both directions.
-spec held(links(), node(), node()) -> boolean().
held(#{table := Table}, A, B) -> lists:all(fun(Way) -> ets:member(Table, {blocked, Way}) end, ways(pair(A, B))).

%% A process whose end closes a connection.
-spec add_pump(links(), pair(), pid()) -> ok.
add_pump(Links, Pair, Pump) -> ask(Links, {pump, Pair, Pump}).

%% Until this way is not blocked. Ends the caller if the links end.
-spec wait(links(), way()) -> ok.
wait(#{server := Server}, Way) ->
    Monitor = monitor(process, Server),
    Server ! {ask, {self(), Monitor}, {wait, Way}},
    receive
        {Monitor, ok} -> demonitor(Monitor, [flush]), ok;
        {'DOWN', Monitor, process, Server, _} -> exit(normal)
    end.

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
        {ask, From, {wait, Way}} ->
            serve(wait(Way, From, State));
        {ask, {Caller, Tag}, Request} ->
            {Answer, Next} = answer(Request, State),
            Caller ! {Tag, Answer},
            serve(Next)
    end.

answer({epmd, Name}, #{epmds := Epmds} = State) ->
    case Epmds of
        #{Name := {Port, _}} ->
            {Port, State};
        _ ->
            Listen = listen(0, epmd_of(Name, State)),
            {ok, Port} = inet:port(Listen),
            {Port, State#{epmds := Epmds#{Name => {Port, Listen}}}}
    end;
%% The port stays taken meanwhile, by a socket that does not listen.
answer({epmd_down, Name}, #{epmds := Epmds, table := Table} = State) ->
    #{Name := {Port, Listen}} = Epmds,
    ok = gen_tcp:close(Listen),
    {ok, Place} = socket:open(inet, stream, tcp),
    ok = socket:setopt(Place, {socket, reuseaddr}, true),
    ok = socket:bind(Place, #{family => inet, addr => any, port => Port}),
    [exit(Registration, kill) || {_, _, Registration} <- ets:take(Table, {name, Name})],
    {ok, State#{epmds := Epmds#{Name := {Port, Place}}}};
answer({epmd_up, Name}, #{epmds := Epmds} = State) ->
    #{Name := {Port, Place}} = Epmds,
    Listen = listen(Port, epmd_of(Name, State)),
    ok = socket:close(Place),
    {ok, State#{epmds := Epmds#{Name := {Port, Listen}}}};
answer({proxy, From, To}, #{proxies := Proxies} = State) ->
    case Proxies of
        #{{From, To} := Port} ->
            {Port, State};
        _ ->
            Links = links(State),
            {ok, Port} = inet:port(listen(0, fun(Socket) -> cluster_links_proxy:serve(Socket, {From, To}, Links) end)),
            {Port, State#{proxies := Proxies#{{From, To} => Port}}}
    end;
answer({block, Ways}, #{table := Table} = State) ->
    true = ets:insert(Table, [{{blocked, Way}} || Way <- Ways]),
    {ok, State};
answer({allow, Pair}, #{table := Table, waiting := Waiting} = State) ->
    true = ets:delete(Table, {hold_at, Pair}),
    [true = ets:delete(Table, {blocked, Way}) || Way <- ways(Pair)],
    [Caller ! {Tag, ok} || Way <- ways(Pair), {Caller, Tag} <- maps:get(Way, Waiting, [])],
    {ok, State#{waiting := maps:without(ways(Pair), Waiting)}};
answer({cut, Pair}, #{pumps := Pumps} = State) ->
    [exit(Pump, kill) || Pump <- maps:get(Pair, Pumps, [])],
    {ok, State#{pumps := maps:remove(Pair, Pumps)}};
answer({pump, Pair, Pump}, #{pumps := Pumps} = State) ->
    Alive = [One || One <- maps:get(Pair, Pumps, []), is_process_alive(One)],
    {ok, State#{pumps := Pumps#{Pair => [Pump | Alive]}}}.

wait(Way, {Caller, Tag} = From, #{table := Table, waiting := Waiting} = State) ->
    case ets:member(Table, {blocked, Way}) of
        true ->
            State#{waiting := Waiting#{Way => [From | maps:get(Way, Waiting, [])]}};
        false ->
            Caller ! {Tag, ok},
            State
    end.

%% Accepts on a port, 0 for a free one; each connection is served by a process of its own. Runs in the server, with which
%% they all end.
listen(Port, Serve) ->
    {ok, Listen} = gen_tcp:listen(Port, ?LISTEN),
    Server = self(),
    Acceptor = spawn_link(fun() -> receive go -> accept(Listen, Server, Serve) end end),
    ok = gen_tcp:controlling_process(Listen, Acceptor),
    Acceptor ! go,
    Listen.

accept(Listen, Server, Serve) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            Owner = spawn(fun() -> link(Server), receive go -> Serve(Socket) end end),
            case gen_tcp:controlling_process(Socket, Owner) of
                ok -> Owner ! go;
                {error, _} -> exit(Owner, kill)
            end,
            accept(Listen, Server, Serve);
        {error, closed} ->
            ok
    end.

%% ---------------------------------------------------------------------------------------------------------------
%% epmd, as far as nodes talk to it.

epmd_of(Name, State) ->
    Links = links(State),
    fun(Socket) -> epmd(Socket, Name, Links) end.

epmd(Socket, Name, Links) ->
    case gen_tcp:recv(Socket, 2) of
        {ok, <<Size:16>>} ->
            {ok, Request} = gen_tcp:recv(Socket, Size),
            epmd(Request, Socket, Name, Links);
        {error, _} ->
            ok
    end.

%% ALIVE2: the name is there until the connection ends.
epmd(<<120, Port:16, _Type, _Protocol, _Highest:16, _Lowest:16, Length:16, Name:Length/binary, _/binary>>, Socket,
     _Own, #{table := Table}) ->
    Creation = erlang:unique_integer([positive]) rem 16#7fffffff + 4,
    true = ets:insert(Table, {{name, binary_to_list(Name)}, Port, self()}),
    ok = gen_tcp:send(Socket, <<118, 0, Creation:32>>),
    {error, _} = gen_tcp:recv(Socket, 0),
    true = ets:match_delete(Table, {{name, binary_to_list(Name)}, '_', self()}),
    ok;
%% PORT_PLEASE2
epmd(<<122, Wanted/binary>>, Socket, Name, Links) ->
    To = binary_to_list(Wanted),
    Answer = case own_port(Links, To) of
                 {ok, _} ->
                     Port = ask(Links, {proxy, Name, To}),
                     <<119, 0, Port:16, 77, 0, 6:16, 5:16, (byte_size(Wanted)):16, Wanted/binary, 0:16>>;
                 error ->
                     <<119, 1>>
             end,
    _ = gen_tcp:send(Socket, Answer),
    gen_tcp:close(Socket);
epmd(_Other, Socket, _Name, _Links) ->
    gen_tcp:close(Socket).

links(#{table := Table}) -> #{server => self(), table => Table}.

ways({A, B}) -> [{A, B}, {B, A}].

pair(A, B) ->
    [First, Second] = lists:sort([alive_name(A), alive_name(B)]),
    {First, Second}.

alive_name(Node) -> hd(string:split(atom_to_list(Node), "@")).
