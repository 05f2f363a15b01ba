%% SPDX-License-Identifier: Apache-2.0
%% The top supervisor: one rakv_node_sup for every node. A node that is given up takes no other with it, so these
%% children are temporary; what restarts a node is the supervisor of its own.
-module(rakv_sup).
-behaviour(supervisor).

-export([start_link/0, start_node/2, stop_node/1, nodes/0]).
-export([init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% Begins a node; it is not ready yet when this returns.
-spec start_node(node(), rakv_node:settings()) -> {ok, pid()} | {error, term()}.
start_node(Node, Settings) ->
    supervisor:start_child(?MODULE, #{id => Node,
                                      start => {rakv_node_sup, start_link, [Settings]},
                                      restart => temporary,
                                      type => supervisor,
                                      shutdown => infinity}).

%% Ends a node and its supervisor; returns when the program is gone. Waits beside the node's own supervisor, so that
%% other nodes can be started and stopped meanwhile.
-spec stop_node(node()) -> ok | {error, not_found}.
stop_node(Node) ->
    case [Pid || {Id, Pid, _, _} <- supervisor:which_children(?MODULE), Id =:= Node, is_pid(Pid)] of
        [NodeSup] ->
            try supervisor:terminate_child(NodeSup, node)
            catch exit:_ -> ok % it ended by itself
            end,
            _ = supervisor:terminate_child(?MODULE, Node),
            ok;
        [] ->
            {error, not_found}
    end.

-spec nodes() -> [node()].
nodes() ->
    [Node || {Node, Pid, _, _} <- supervisor:which_children(?MODULE), is_pid(Pid)].

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => one_for_one, intensity => 0, period => 1}, []}}.
