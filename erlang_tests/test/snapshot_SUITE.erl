%% SPDX-License-Identifier: Apache-2.0
%% Snapshots with live keys from a BEAM leader to a rakv member and from a rakv leader to a BEAM member, while writes go
%% on: of a size that does not fit into the bound on the rakv process's memory, and interrupted in each of the phases
%% init, pre, next and last. Nobody helps: what was interrupted recovers by itself.
%%
%%   RAKV_SNAPSHOT_KEYS     live keys of the large snapshots (default 2000; the whole thing is 20000)
%%   RAKV_SNAPSHOT_MB       and their values' size in MB, 10^6 bytes (default 60; the whole thing is 1000)
%%   RAKV_SNAPSHOT_PEAK_MB  what the rakv process may take at most (default 700; sanitizers need more)
-module(snapshot_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% What a rakv process may take at most, whatever the size of the values: its tables of entries that are not in segments
%% yet (a WAL file of 256 MB and the one before, which is on its way to segments) and what waits for the disk and for peers.
-define(MAX_PEAK_MB, 700).
%% Those of the interrupted snapshots.
-define(KEYS, 1300).
-define(VALUE_BYTES, 8_000).
%% Keys so long that the snapshot's file, which holds no values, takes several chunks of 1 MB.
-define(KEY_BYTES, 1_000).
-define(TRANSFER_MS, 120_000).

all() -> [beam_to_rakv, rakv_to_beam, beam_to_rakv_interrupted, rakv_to_beam_interrupted].

suite() -> [{timetrap, {minutes, 30}}].

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

beam_to_rakv(Config) -> large(beam, rakv, Config).
rakv_to_beam(Config) -> large(rakv, beam, Config).
beam_to_rakv_interrupted(Config) -> interrupted(beam, rakv, Config).
rakv_to_beam_interrupted(Config) -> interrupted(rakv, beam, Config).

%% ---------------------------------------------------------------------------------------------------------------

%% The third member is away while all keys are written, and gets them as a snapshot.
large(Sender, Receiver, Config) ->
    Keys = from_environment("RAKV_SNAPSHOT_KEYS", 2000),
    Megabytes = from_environment("RAKV_SNAPSHOT_MB", 60),
    Cluster = start(Sender, Receiver, #{}, Config),
    ok = cluster_ct:kill(Cluster, n3),
    Index = fill_and_take_snapshots(Cluster, Keys, Megabytes * 1_000_000 div Keys),
    ok = cluster_ct:lead(Cluster#{members := [n1, n2]}, n1),
    Load = start_load(Cluster),
    ok = forget_peak(Cluster, n1),
    Written = acknowledged(Cluster, Load),
    Started = erlang:monotonic_time(millisecond),
    ok = cluster_ct:restart(Cluster, n3),
    ok = wait_installed(Cluster, Index),
    Ms = erlang:monotonic_time(millisecond) - Started,
    Meanwhile = acknowledged(Cluster, Load) - Written,
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    [Measured] = [Name || Name <- [n1, n3], cluster_ct:kind(Cluster, Name) =:= rakv],
    Peak = peak_mb(Cluster, Measured),
    cluster_ct:say("~b live keys, ~b MB of values, from ~p to ~p: installed ~.1f s after the start of the receiver; ~b writes "
                   "acknowledged meanwhile; peak of the rakv process ~b MB",
                   [Keys, Megabytes, Sender, Receiver, Ms / 1000, Meanwhile, Peak]),
    ok = stop_load(Cluster, Load),
    ?assert(Meanwhile > 0),
    ?assert(Peak =< from_environment("RAKV_SNAPSHOT_PEAK_MB", ?MAX_PEAK_MB)),
    ok = cluster_ct:same_everywhere(Cluster).

%% Each phase is interrupted in each way.
interrupted(Sender, Receiver, Config) ->
    Cluster = start(Sender, Receiver, #{links => true, ticktime => 4}, Config),
    Times = [{Phase, Interruption, round(Cluster, Phase, Interruption)}
             || Phase <- [init, pre, next, last], Interruption <- [hold, silence, cut, kill_receiver, kill_sender]],
    cluster_ct:say("from ~p to ~p, interrupted ~b times: caught up ~.1f s after the interruption at the latest; seconds: ~0p",
                   [Sender, Receiver, length(Times), lists:max([Seconds || {_, _, Seconds} <- Times]), Times]).

%% Gives the seconds from the interruption until the receiver has everything.
round(Cluster, Phase, Interruption) ->
    ct:log("~p in phase ~p", [Interruption, Phase]),
    ok = cluster_ct:kill(Cluster, n3),
    Index = fill_and_take_snapshots(Cluster, ?KEYS, ?VALUE_BYTES),
    ok = cluster_ct:lead(Cluster#{members := [n1, n2]}, n1),
    Load = start_load(Cluster),
    Links = cluster_ct:links(Cluster),
    [Leader, Follower] = [cluster_ct:node_of(Cluster, Name) || Name <- [n1, n3]],
    ok = cluster_links:hold_at(Links, Leader, Follower, in_bytes(Phase)),
    ok = cluster_ct:restart(Cluster, n3),
    rakv_ct:wait_until(fun() -> cluster_links:held(Links, Leader, Follower) end, ?TRANSFER_MS),
    Started = erlang:monotonic_time(millisecond),
    ok = interrupt(Interruption, Cluster, Load),
    ok = wait_installed(Cluster, Index),
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    Ms = erlang:monotonic_time(millisecond) - Started,
    ok = stop_load(Cluster, Load),
    ok = cluster_ct:same_everywhere(Cluster),
    Ms / 1000.

%% As the phase's atom stands on the link, with its length.
in_bytes(Phase) ->
    Name = atom_to_binary(Phase),
    <<(byte_size(Name)), Name/binary>>.

%% Nothing arrives for a while, and then it does.
interrupt(hold, Cluster, Load) ->
    ok = more_writes(Cluster, Load),
    cluster_ct:allow(Cluster, n1, n3);
%% So long that the nodes give the connection up.
interrupt(silence, Cluster, _Load) ->
    rakv_ct:wait_until(fun() ->
        not lists:member(cluster_ct:node_of(Cluster, n3), cluster_ct:rpc(Cluster, n1, erlang, nodes, []))
    end),
    cluster_ct:allow(Cluster, n1, n3);
interrupt(cut, Cluster, _Load) ->
    ok = cluster_links:cut(cluster_ct:links(Cluster), cluster_ct:node_of(Cluster, n1), cluster_ct:node_of(Cluster, n3)),
    cluster_ct:allow(Cluster, n1, n3);
interrupt(kill_receiver, Cluster, Load) ->
    ok = cluster_ct:kill(Cluster, n3),
    ok = cluster_ct:allow(Cluster, n1, n3),
    ok = more_writes(Cluster, Load),
    cluster_ct:restart(Cluster, n3);
interrupt(kill_sender, Cluster, Load) ->
    ok = cluster_ct:kill(Cluster, n1),
    ok = cluster_ct:allow(Cluster, n1, n3),
    ok = more_writes(Cluster, Load),
    cluster_ct:restart(Cluster, n1).

%% ---------------------------------------------------------------------------------------------------------------

%% Two of the sender's kind, so that whoever leads without the third member is of that kind.
start(Sender, Receiver, Options, Config) ->
    Cluster = cluster_ct:start(Config, [Sender, Sender, Receiver], Options#{modules => [failover_load]}),
    ok = cluster_ct:fill(Cluster, "start-", 20),
    Cluster.

%% Every key anew; afterwards no log has what came before. Gives the index of the older snapshot.
fill_and_take_snapshots(#{members := Members} = Cluster0, Keys, Bytes) ->
    Cluster = Cluster0#{members := lists:delete(n3, Members)},
    Prefix = lists:duplicate(?KEY_BYTES, $k),
    ok = cluster_ct:call(Cluster, cluster_client, fill, [cluster_ct:servers(Cluster), Prefix, Keys, Bytes], ?TRANSFER_MS),
    [ok = cluster_ct:take_snapshot(Cluster, Name) || Name <- cluster_ct:members(Cluster)],
    lists:min([snapshot_index(Cluster, Name) || Name <- cluster_ct:members(Cluster)]).

snapshot_index(Cluster, Name) ->
    #{log := #{snapshot_index := Index}} = cluster_ct:overview(Cluster, Name),
    Index.

%% The receiver takes none of its own.
wait_installed(Cluster, Index) ->
    rakv_ct:wait_until(fun() ->
        Here = snapshot_index(Cluster, n3),
        is_integer(Here) andalso Here >= Index orelse {snapshot_at, Here, Index}
    end, ?TRANSFER_MS).

start_load(Cluster) ->
    Options = #{writers => 2, readers => 1, base => erlang:system_time(microsecond)},
    cluster_ct:call(Cluster, failover_load, start, [cluster_ct:servers(Cluster), Options]).

acknowledged(Cluster, Load) -> cluster_ct:call(Cluster, failover_load, acknowledged, [Load]).

more_writes(Cluster, Load) ->
    Before = acknowledged(Cluster, Load),
    rakv_ct:wait_until(fun() -> acknowledged(Cluster, Load) >= Before + 100 end).

stop_load(Cluster, Load) ->
    ok = cluster_ct:call(Cluster, failover_load, stop, [Load]),
    #{lost := Lost, older := Older} = cluster_ct:call(Cluster, failover_load, check, [Load], infinity),
    ?assertEqual({[], []}, {Lost, Older}),
    ok.

%% The most memory that the process has had resident, in MB of 10^6 bytes.
peak_mb(Cluster, Name) ->
    {ok, Status} = file:read_file("/proc/" ++ cluster_ct:os_pid(Cluster, Name) ++ "/status"),
    {match, [KiloBytes]} = re:run(Status, "VmHWM:\\s+(\\d+) kB", [{capture, all_but_first, list}]),
    list_to_integer(KiloBytes) * 1024 div 1_000_000.

%% What it had before does not count.
forget_peak(Cluster, Name) ->
    file:write_file("/proc/" ++ cluster_ct:os_pid(Cluster, Name) ++ "/clear_refs", "5").

from_environment(Name, Default) ->
    list_to_integer(os:getenv(Name, integer_to_list(Default))).
