%% SPDX-License-Identifier: Apache-2.0
%% A peer made by hand: a socket, the handshake of the distribution, and whatever frames one likes. It is no node: it reads
%% only when told to, and finishes only what it wants to.
-module(raw_peer).

-export([connect/3, send/2, drain/1, sync/1, close/1, is_open/1, node_of/1]).
-export([message/2, message/3, first_fragment/4, later_fragment/3, framed/1]).
-export([term/1, pid/2, reference/2, call/3, call/4, cast/2]).
-export_type([peer/0]).

-type peer() :: #{socket := gen_tcp:socket(), name := binary()}.

-define(FLAGS, 16#2d07df5fbd).
-define(CREATION, 7).
-define(RECV_MS, 20000).
%% How long the node may leave what is sent in the socket's buffers.
-define(SEND_MS, 5000).

%% ---------------------------------------------------------------------------------------------------------------
%% The connection.

%% Connects as Alive@hostile. Its receive buffer is small, so that it fetches little when it does not read.
-spec connect(inet:port_number(), string(), string()) -> {ok, peer()} | {error, term()}.
connect(Port, Cookie, Alive) ->
    Name = node_of(Alive),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port,
                                   [binary, {active, false}, {nodelay, true}, {packet, 2}, {recbuf, 16384},
                                    {send_timeout, ?SEND_MS}]),
    try
        ok = gen_tcp:send(Socket, <<$N, ?FLAGS:64, ?CREATION:32, (byte_size(Name)):16, Name/binary>>),
        {ok, <<"sok">>} = gen_tcp:recv(Socket, 0, ?RECV_MS),
        {ok, <<$N, _:64, Challenge:32, _/binary>>} = gen_tcp:recv(Socket, 0, ?RECV_MS),
        ok = gen_tcp:send(Socket, <<$r, 4711:32, (digest(Cookie, Challenge))/binary>>),
        {ok, <<$a, _:16/binary>>} = gen_tcp:recv(Socket, 0, ?RECV_MS),
        ok = inet:setopts(Socket, [{packet, raw}]),
        {ok, #{socket => Socket, name => Name}}
    catch error:{badmatch, Reason} ->
        ok = gen_tcp:close(Socket),
        {error, Reason}
    end.

digest(Cookie, Challenge) -> crypto:hash(md5, [Cookie, integer_to_list(Challenge)]).

%% Sends these frames; gives what the socket says when the node takes no more, for now or for ever.
-spec send(peer(), iodata()) -> ok | {error, term()}.
send(#{socket := Socket}, Bytes) -> gen_tcp:send(Socket, Bytes).

%% Reads what has come, and forgets it.
-spec drain(peer()) -> ok | {error, term()}.
drain(#{socket := Socket} = Peer) ->
    case gen_tcp:recv(Socket, 0, 0) of
        {ok, _} -> drain(Peer);
        {error, timeout} -> ok;
        {error, _} = Error -> Error
    end.

%% Waits until the node has handled all that was sent: it answers a monitor of nobody. Reads what comes.
-spec sync(peer()) -> ok | {error, term()}.
sync(Peer) ->
    {raw, Mark} = Reference = reference(Peer, (1 bsl 40) + erlang:unique_integer([positive, monotonic])),
    case send(Peer, message(Peer, {19, {pid, 1}, nobody_is_here, Reference})) of
        ok -> await(Peer, binary:part(Mark, byte_size(Mark) - 12, 12), <<>>);
        Error -> Error
    end.

await(#{socket := Socket} = Peer, Mark, Before) ->
    case gen_tcp:recv(Socket, 0, ?RECV_MS) of
        {ok, Bytes} ->
            Read = <<Before/binary, Bytes/binary>>,
            case binary:match(Read, Mark) of
                nomatch -> await(Peer, Mark, binary:part(Read, byte_size(Read), -min(byte_size(Read), byte_size(Mark))));
                _ -> ok
            end;
        {error, _} = Error ->
            Error
    end.

-spec close(peer()) -> ok.
close(#{socket := Socket}) ->
    ok = inet:setopts(Socket, [{linger, {true, 0}}]),
    gen_tcp:close(Socket).

%% Whether the node has not closed it. Reads what has come.
-spec is_open(peer()) -> boolean().
is_open(Peer) -> drain(Peer) =:= ok.

-spec node_of(string()) -> binary().
node_of(Alive) -> iolist_to_binary([Alive, "@hostile"]).

%% ---------------------------------------------------------------------------------------------------------------
%% Frames.

-spec message(peer(), term()) -> iodata().
message(Peer, Control) -> framed([<<131, 68, 0>>, encoded(Peer, Control)]).

-spec message(peer(), term(), term()) -> iodata().
message(Peer, Control, Payload) -> framed([<<131, 68, 0>>, encoded(Peer, Control), encoded(Peer, Payload)]).

-spec first_fragment(peer(), pos_integer(), pos_integer(), iodata()) -> iodata().
first_fragment(Peer, Sequence, Fragments, Bytes) ->
    Control = encoded(Peer, {6, {pid, 1}, '', kv}),
    framed([<<131, 69, Sequence:64, Fragments:64, 0>>, Control, Bytes]).

-spec later_fragment(pos_integer(), pos_integer(), iodata()) -> iodata().
later_fragment(Sequence, Fragment, Bytes) -> framed([<<131, 70, Sequence:64, Fragment:64>>, Bytes]).

-spec framed(iodata()) -> iodata().
framed(Bytes) -> [<<(iolist_size(Bytes)):32>>, Bytes].

%% A gen call to the name kv, or another one, from the peer's process 1 with a reference of this number.
-spec call(peer(), pos_integer(), term()) -> iodata().
call(Peer, Number, Request) -> call(Peer, kv, Number, Request).

-spec call(peer(), atom(), pos_integer(), term()) -> iodata().
call(Peer, Name, Number, Request) ->
    message(Peer, {6, {pid, 1}, '', Name}, {'$gen_call', {{pid, 1}, {reference, Number}}, Request}).

-spec cast(peer(), term()) -> iodata().
cast(Peer, Request) -> message(Peer, {6, {pid, 1}, '', kv}, {'$gen_cast', Request}).

%% ---------------------------------------------------------------------------------------------------------------
%% Terms in which {pid, N} and {reference, N} stand for those of the peer, and {raw, Bytes} for themselves.

encoded(#{name := Name}, Term) -> enc(Name, Term).

-spec term(term()) -> binary().
term(Term) ->
    <<131, Bytes/binary>> = term_to_binary(Term),
    Bytes.

-spec pid(peer(), pos_integer()) -> {raw, binary()}.
pid(#{name := Name}, Number) -> {raw, iolist_to_binary(enc(Name, {pid, Number}))}.

-spec reference(peer(), pos_integer()) -> {raw, binary()}.
reference(#{name := Name}, Number) -> {raw, iolist_to_binary(enc(Name, {reference, Number}))}.

enc(_, {raw, Bytes}) -> Bytes;
enc(Name, {pid, Number}) -> <<88, 119, (byte_size(Name)), Name/binary, Number:32, 0:32, ?CREATION:32>>;
enc(Name, {reference, Number}) ->
    <<90, 3:16, 119, (byte_size(Name)), Name/binary, ?CREATION:32, (Number band 16#3ffff):32, (Number bsr 18):32, 0:32>>;
enc(Name, Tuple) when is_tuple(Tuple), tuple_size(Tuple) < 256 ->
    [<<104, (tuple_size(Tuple))>>, [enc(Name, Element) || Element <- tuple_to_list(Tuple)]];
enc(Name, [First | _] = List) when not is_integer(First) ->
    [<<108, (length(List)):32>>, [enc(Name, Element) || Element <- List], 106];
enc(Name, Map) when is_map(Map) ->
    [<<116, (map_size(Map)):32>>, [[enc(Name, Key), enc(Name, Value)] || {Key, Value} <- maps:to_list(Map)]];
enc(_, Term) -> term(Term).
