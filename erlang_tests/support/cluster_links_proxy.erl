%% SPDX-License-Identifier: Apache-2.0
%% A connection of a pair of nodes through cluster_links: what is sent goes on as the table of the links says, which has
%%
%%   {{blocked, Way}}          nothing passes
%%   {{delay, Pair}, Ms}       later, on connections that are made from now on
%%   {{loss, Pair}, Percent}   and {lost, Count} for what got lost
%%   {{hold_at, Pair}, Bytes}  the link is blocked when these have passed
-module(cluster_links_proxy).

-export([serve/3]).

-define(CONNECT, [binary, {packet, raw}, {active, false}, {nodelay, true}, {buffer, 262144}]).
%% hold_at looks for at most so many bytes.
-define(HELD_BYTES, 16).
%% The least time after which Linux sends again what was not acknowledged.
-define(RETRANSMISSION_MS, 200).

%% Runs in the process that owns the socket, on which the first of the two nodes has dialled.
-spec serve(gen_tcp:socket(), cluster_links:way(), cluster_links:links()) -> ok.
serve(Socket, {From, To} = There, Links) ->
    Back = {To, From},
    ok = cluster_links:add_pump(Links, pair(There), self()),
    ok = pass(Links, There),
    ok = pass(Links, Back),
    ok = inet:setopts(Socket, [{buffer, 262144}]),
    case cluster_links:own_port(Links, To) of
        {ok, Port} ->
            case gen_tcp:connect({127, 0, 0, 1}, Port, ?CONNECT) of
                {ok, Other} -> both(Links, There, Back, Socket, Other);
                {error, _} -> gen_tcp:close(Socket)
            end;
        error ->
            gen_tcp:close(Socket)
    end.

both(Links, There, Back, A, B) ->
    _ = spawn_link(fun() -> pump(Links, Back, B, sender(Links, Back, A), <<>>) end),
    pump(Links, There, A, sender(Links, There, B), <<>>).

%% How bytes go on to a socket: at once, or later by a process that ends with the connection.
sender(#{table := Table}, Way, Socket) ->
    case ets:lookup_element(Table, {delay, pair(Way)}, 2, 0) of
        0 -> {Socket, 0, none};
        Ms -> {Socket, Ms, spawn_link(fun() -> send_later(Socket) end)}
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
pump(Links, Way, From, To, Before) ->
    case gen_tcp:recv(From, 0) of
        {ok, Bytes} ->
            ok = lose(Links, Way, ?RETRANSMISSION_MS),
            ok = pass(Links, Way),
            case send(To, Bytes) of
                ok -> pump(Links, Way, From, To, watch(Links, Way, Before, Bytes));
                {error, _} -> close(Links, Way, From, To)
            end;
        {error, _} ->
            close(Links, Way, From, To)
    end.

close(Links, Way, From, {To, _, _}) ->
    ok = pass(Links, Way),
    _ = gen_tcp:close(To),
    _ = gen_tcp:close(From),
    ok.

%% Returns as soon as the way is not blocked.
pass(#{table := Table} = Links, Way) ->
    case ets:member(Table, {blocked, Way}) of
        false -> ok;
        true -> cluster_links:wait(Links, Way)
    end.

%% Returns when what got lost, and maybe once more, has been sent again.
lose(#{table := Table} = Links, Way, Ms) ->
    Percent = ets:lookup_element(Table, {loss, pair(Way)}, 2, 0),
    case Percent > 0 andalso rand:uniform(100) =< Percent of
        true ->
            _ = ets:update_counter(Table, lost, 1, {lost, 0}),
            timer:sleep(Ms),
            lose(Links, Way, 2 * Ms);
        false ->
            ok
    end.

%% Blocks the link if what hold_at/4 waits for is in what has just passed; gives the end of it.
watch(#{table := Table}, {From, To} = Way, Before, Bytes) ->
    case ets:lookup(Table, {hold_at, pair(Way)}) of
        [{_, Wanted}] ->
            case binary:match(<<Before/binary, Bytes/binary>>, Wanted) of
                nomatch -> ok;
                _ ->
                    true = ets:insert(Table, [{{blocked, Way}}, {{blocked, {To, From}}}]),
                    true = ets:delete(Table, {hold_at, pair(Way)})
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

pair({A, B}) -> {min(A, B), max(A, B)}.
