%% SPDX-License-Identifier: Apache-2.0
%% Calls as nodes before OTP 23 and C nodes make them, for peers_SUITE: each gives what came, with the called node's name
%% put as `the_node`, so that two nodes can be compared.
-module(peers_client).

-compile([export_all, nowarn_export_all]).

-define(WAIT_MS, 10000).

gen_call(Node) -> common(Node, gen_server:call({rex, Node}, {call, erlang, node, [], group_leader()}, ?WAIT_MS)).

block_call(Node) -> common(Node, gen_server:call({rex, Node}, {block_call, erlang, node, [], group_leader()}, ?WAIT_MS)).

rpc_call(Node) ->
    [common(Node, rpc:call(Node, erlang, node, [])), common(Node, rpc:call(Node, erlang, node, [], ?WAIT_MS)),
     common(Node, rpc:block_call(Node, erlang, node, [], ?WAIT_MS)), common(Node, rpc:call(Node, no_such, function, [1]))].

plain_call(Node) ->
    {rex, Node} ! {self(), {call, erlang, node, [], user}},
    common(Node, received()).

undefined_function(Node) ->
    [common(Node, gen_server:call({rex, Node}, {call, no_such, function, Args, group_leader()}, ?WAIT_MS))
     || Args <- [[], [1], "ab", [{a, <<"b">>}]]].

%% The stacks below the reason are those of the called node.
bad_arguments(Node) ->
    {badrpc, {'EXIT', {Reason, _}}} = gen_server:call({rex, Node}, {call, erlang, nodes, [nonsense], group_leader()}, ?WAIT_MS),
    Reason.

cast(Node) ->
    ok = gen_server:cast({rex, Node}, {cast, no_such, function, [], group_leader()}),
    rpc:cast(Node, no_such, function, []).

features(Node) ->
    {rex, Node} ! {self(), features_request},
    common(Node, received()).

broadcast(Node) ->
    [begin
         {rex, Node} ! {self(), {sbcast, Name, hello}},
         common(Node, received())
     end || Name <- [nobody, rex]].

send(Node) ->
    {rex, Node} ! {self(), {send, nobody, hello}},
    [common(Node, received()), rpc:server_call(Node, nobody, reply, hello)].

received() ->
    receive Message -> Message after ?WAIT_MS -> nothing end.

common(Node, Node) -> the_node;
common(Node, Tuple) when is_tuple(Tuple) -> list_to_tuple(common(Node, tuple_to_list(Tuple)));
common(Node, [Head | Tail]) -> [common(Node, Head) | common(Node, Tail)];
common(_, Term) -> Term.
