%% SPDX-License-Identifier: Apache-2.0
%% Stands in for the distribution module of that name on the BEAM nodes of ra_kv_harness: it freezes this node's link to
%% another one in the relays that lie between them (see harness_nodes). A rakv node answers the same calls itself, when
%% started with --test-hooks.
-module(inet_tcp_proxy_dist).

-export([block/1, allow/1]).

-spec block(node()) -> ok.
block(Other) -> ask(block, Other).

-spec allow(node()) -> ok.
allow(Other) -> ask(allow, Other).

ask(Function, Other) ->
    {ok, Controller} = application:get_env(rakv_harness, controller),
    erpc:call(Controller, harness_nodes, Function, [node(), Other], 5000).
