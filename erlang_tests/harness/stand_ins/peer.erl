%% SPDX-License-Identifier: Apache-2.0
%% Stands in for OTP's `peer` in the VM that runs ra_kv_harness: what it starts may be a rakv node (see harness_nodes).
%% OTP's kernel uses the real one while it boots, so this one is loaded afterwards, and lies outside the code path that
%% ra_kv_harness hands to its nodes.
-module(peer).

-export([start_link/1, stop/1]).
-export_type([server_ref/0]).

-type server_ref() :: pid().

%% Starts a node of that name and waits until it serves. `args` are those of erl; a rakv node has no use for them.
-spec start_link(#{name := node(), args := [string()], connection := standard_io}) ->
          {ok, server_ref(), node()} | {error, term()}.
start_link(#{name := Node, args := Args, connection := standard_io}) ->
    harness_nodes:start(Node, Args).

-spec stop(server_ref()) -> ok.
stop(Peer) ->
    harness_nodes:stop(Peer).
