%% SPDX-License-Identifier: Apache-2.0
%% The supervisor of one node. It starts the node again when its program dies, and gives it up (and ends itself) when
%% the program died more than `intensity` times within `period` seconds, or ended because it was told to.
-module(rakv_node_sup).
-behaviour(supervisor).

-export([start_link/1]).
-export([init/1]).

-spec start_link(rakv_node:settings()) -> {ok, pid()} | {error, term()}.
start_link(Settings) ->
    supervisor:start_link(?MODULE, Settings).

-spec init(rakv_node:settings()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(#{restart_intensity := {Intensity, PeriodS}, stop_timeout_ms := StopMs} = Settings) ->
    Flags = #{strategy => one_for_one, intensity => Intensity, period => PeriodS, auto_shutdown => any_significant},
    Child = #{id => node,
              start => {rakv_node, start_link, [Settings]},
              restart => transient,
              significant => true,
              %% the node kills its program when that did not end in time; only then is it late itself
              shutdown => StopMs + 5000},
    {ok, {Flags, [Child]}}.
