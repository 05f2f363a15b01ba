%% SPDX-License-Identifier: Apache-2.0
%% A rakv member between two BEAM members whose files are lost or damaged while it is down: it comes back, gets
%% everything again, and votes when it has it. And values that are damaged while it runs: it fetches them when they are
%% needed.
-module(damage_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(WAIT_MS, 90000).

all() -> [lost_wal, damaged_wal, lost_meta, damaged_snapshot, damaged_values, damaged_value_for_a_snapshot].

suite() -> [{timetrap, {minutes, 4}}].

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

%% Its log is shorter than what it had applied.
lost_wal(Config) ->
    comes_back(Config, fun(Node, _Server) -> [ok = file:delete(Wal) || Wal <- filelib:wildcard(Node ++ "/*.wal")] end),
    ok.

%% A byte of an acknowledged batch is another one; the file is kept as .bad.
damaged_wal(Config) ->
    {Node, _} = comes_back(Config, fun(Node, _Server) ->
        [Wal] = filelib:wildcard(Node ++ "/*.wal"),
        flip(Wal, fun(Bytes) -> element(1, binary:match(Bytes, <<"key-50">>)) end)
    end),
    ?assertMatch([_], filelib:wildcard(Node ++ "/*.wal.bad")).

%% Term and vote are lost: it votes only after an election.
lost_meta(Config) ->
    Cluster = started(Config),
    {Node, Server} = dirs(Config, Cluster),
    ok = cluster_ct:kill(Cluster, n3),
    ok = file:delete(Node ++ "/meta.dets"),
    ok = cluster_ct:restart(Cluster, n3),
    ok = cluster_ct:fill(Cluster, "after-", 20),
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    ?assert(filelib:is_regular(Server ++ "/amnesia")),
    ok = cluster_ct:lead(Cluster, n2),
    ok = has_caught_up(Server),
    ok = cluster_ct:lead(Cluster, n3),
    ok = cluster_ct:same_everywhere(Cluster).

%% The newest snapshot is kept as .bad; the leader sends what is missing.
damaged_snapshot(Config) ->
    {_, Server} = comes_back(Config, fun(_Node, Server) ->
        [File] = filelib:wildcard(Server ++ "/snapshots/*/snapshot.dat"),
        flip(File, fun(Bytes) -> byte_size(Bytes) div 2 end)
    end),
    ?assertMatch([_], filelib:wildcard(Server ++ "/snapshots/*.bad")).

%% Values in a segment are fetched from another member when they are read, through a follower and through a leader; the
%% damaged file is kept as .bad.
damaged_values(Config) ->
    Cluster = started(Config),
    {_, Server} = dirs(Config, Cluster),
    ok = in_segments(Config, Cluster),
    [Segment] = filelib:wildcard(Server ++ "/*.segment"),
    [flip(Segment, at(Key)) || Key <- [<<"key-50">>, <<"key-61">>, <<"more-72">>]],
    ok = cluster_ct:same_everywhere(Cluster),
    ?assertMatch([_], filelib:wildcard(Server ++ "/*.segment.bad")),
    ok = cluster_ct:lead(Cluster, n3),
    flip(Segment, at(<<"key-83">>)),
    ?assertMatch({ok, _, {83, _}}, cluster_ct:get(Cluster, n3, <<"key-83">>)),
    %% they are on its disk now
    ok = cluster_ct:kill(Cluster, n3),
    {0, Checked, <<>>} = rakv_ct:run(Config, ["check", rakv_ct:system_dir(Config, n3)]),
    ?assertMatch({match, _}, re:run(Checked, "\nsound\n$")),
    ok = cluster_ct:restart(Cluster, n3),
    ok = cluster_ct:same_everywhere(Cluster),
    ?assertNot(filelib:is_regular(Server ++ "/amnesia")).

%% The member that needs it gets it all the same.
damaged_value_for_a_snapshot(Config) ->
    Cluster = started(Config),
    ok = cluster_ct:lead(Cluster, n3),
    ok = cluster_ct:kill(Cluster, n1),
    Rest = Cluster#{members := [n2, n3]},
    ok = cluster_ct:fill(Rest, "late-", 100),
    ok = in_segments(Config, Rest),
    [ok = cluster_ct:take_snapshot(Rest, Name) || Name <- [n2, n3]],
    {_, Server} = dirs(Config, Cluster),
    [Damaged] = [Segment || Segment <- filelib:wildcard(Server ++ "/*.segment"), has(Segment, <<"late-44">>)],
    flip(Damaged, at(<<"late-44">>)),
    ok = cluster_ct:restart(Cluster, n1),
    ok = cluster_ct:wait_caught_up(Cluster, n1),
    ?assertMatch([_], filelib:wildcard(Server ++ "/*.segment.bad")),
    ok = cluster_ct:same_everywhere(Cluster).

%% ---------------------------------------------------------------------------------------------------------------

in_segments(Config, Cluster) ->
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    Wals = fun() -> filelib:wildcard(rakv_ct:system_dir(Config, n3) ++ "/*.wal") end,
    Before = lists:max(Wals()),
    ok = cluster_ct:rpc(Cluster, n3, ra_log_wal, force_roll_over, [ra_log_wal]),
    rakv_ct:wait_until(fun() -> case Wals() of [Wal] when Wal > Before -> true; Other -> Other end end, ?WAIT_MS).

at(Key) -> fun(Bytes) -> element(1, binary:match(Bytes, Key)) end.

has(File, Key) ->
    {ok, Bytes} = file:read_file(File),
    binary:match(Bytes, Key) =/= nomatch.

started(Config) ->
    Cluster = cluster_ct:start(Config, [beam, beam, rakv]),
    ok = cluster_ct:lead(Cluster, n1),
    ok = cluster_ct:fill(Cluster, "key-", 100),
    ok = cluster_ct:take_snapshot(Cluster, n3),
    ok = cluster_ct:fill(Cluster, "more-", 100),
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    Cluster.

%% Kills the member, does something to its files, and starts it again; its directories.
comes_back(Config, Damage) ->
    Cluster = started(Config),
    {Node, Server} = Dirs = dirs(Config, Cluster),
    %% What it has applied is stored every few seconds, or with a term.
    ok = cluster_ct:lead(Cluster, n2),
    ok = cluster_ct:kill(Cluster, n3),
    _ = Damage(Node, Server),
    ok = cluster_ct:restart(Cluster, n3),
    ok = cluster_ct:fill(Cluster, "after-", 20),
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    ok = has_caught_up(Server),
    ok = cluster_ct:lead(Cluster, n3),
    ok = cluster_ct:same_everywhere(Cluster),
    Dirs.

dirs(Config, Cluster) ->
    Node = filename:join(rakv_ct:data_dir(Config, n3), atom_to_list(cluster_ct:node_of(Cluster, n3))),
    [Snapshots] = filelib:wildcard(Node ++ "/*/snapshots"),
    {Node, filename:dirname(Snapshots)}.

has_caught_up(Server) ->
    rakv_ct:wait_until(fun() -> not filelib:is_regular(Server ++ "/amnesia") end, ?WAIT_MS).

flip(File, Where) ->
    {ok, Bytes} = file:read_file(File),
    At = Where(Bytes),
    <<Before:At/binary, Byte, After/binary>> = Bytes,
    ok = file:write_file(File, [Before, Byte bxor 1, After]).
