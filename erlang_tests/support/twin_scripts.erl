%% SPDX-License-Identifier: Apache-2.0
%% The scripts of the twin tests: what a leader, a candidate, a follower or a client says to a member, step by step.
-module(twin_scripts).

-export([all/0, modules/0]).

%% {Name, Options, Steps}.
all() -> lists:append([Module:all() || Module <- scripts()]).

%% What a node needs that makes them.
modules() -> [?MODULE, twin_records | scripts()].

scripts() -> [twin_follower_scripts, twin_leader_scripts, twin_snapshot_scripts].
