%% SPDX-License-Identifier: Apache-2.0
%% The epmd of the VM that runs ra_kv_harness: it finds nodes in the table of cluster_links and reaches them directly, past
%% the relays. Nodes never dial this VM: it is the one that connects.
-module(harness_epmd).

-export([start_link/0, use/1]).
-export([register_node/2, register_node/3, address_please/3, listen_port_please/2, names/1]).

-define(LINKS, {?MODULE, links}).
-define(VERSION, 6).

%% Which links to look in; before the VM becomes a node.
-spec use(cluster_links:links()) -> ok.
use(Links) ->
    persistent_term:put(?LINKS, Links).

start_link() ->
    ignore.

register_node(Name, Port) ->
    register_node(Name, Port, inet).

register_node(_Name, _Port, _Family) ->
    {ok, erlang:unique_integer([positive]) rem 16#7fffffff + 4}.

address_please(Name, _Host, _Family) ->
    case cluster_links:own_port(persistent_term:get(?LINKS), Name) of
        {ok, Port} -> {ok, {127, 0, 0, 1}, Port, ?VERSION};
        error -> {error, nxdomain}
    end.

listen_port_please(_Name, _Host) ->
    {ok, 0}.

names(_Host) ->
    {error, address}.
