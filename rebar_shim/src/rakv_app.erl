%% SPDX-License-Identifier: Apache-2.0
%% The application: starts the nodes that its environment names (`nodes`), and stops all nodes with itself.
-module(rakv_app).
-behaviour(application).

-export([start/2, stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    {ok, Sup} = rakv_sup:start_link(),
    case start_nodes(application:get_env(rakv, nodes, [])) of
        ok ->
            {ok, Sup};
        {error, _} = Error ->
            stop_all(Sup),
            Error
    end.

-spec stop(term()) -> ok.
stop(_State) ->
    ok.

%% Returns when every program that was started already has ended.
-spec stop_all(pid()) -> ok.
stop_all(Sup) ->
    Monitor = monitor(process, Sup),
    unlink(Sup),
    exit(Sup, shutdown),
    receive
        {'DOWN', Monitor, process, Sup, _} -> ok
    end.

-spec start_nodes([rakv:options()]) -> ok | {error, {rakv:options(), term()}}.
start_nodes([]) ->
    ok;
start_nodes([Options | Rest]) ->
    case rakv:start_node(Options) of
        {ok, _Node} -> start_nodes(Rest);
        {error, Reason} -> {error, {maps:without([cookie], Options), Reason}}
    end.
