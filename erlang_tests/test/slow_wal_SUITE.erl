%% SPDX-License-Identifier: Apache-2.0
%% A WAL that hangs (sys:suspend/1), and what happens meanwhile to whatever waits for it: what was acknowledged is on the
%% disks of a majority.
-module(slow_wal_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(PUTS, 20).
-define(PUT_MS, 60000).

all() -> [{group, Name} || {Name, _} <- compositions()].

groups() -> [{Name, [], [killed, server_restarted, server_restarted_then_killed]} || {Name, _} <- compositions()].

%% Leaders and their followers.
compositions() -> [{beam_leads, [beam, rakv, rakv]}, {rakv_leads, [rakv, rakv, rakv]}].

suite() -> [{timetrap, {minutes, 3}}].

init_per_group(Group, Config) -> [{kinds, proplists:get_value(Group, compositions())} | Config].
end_per_group(_Group, _Config) -> ok.

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------

%% The followers take entries that they can't write, and die.
killed(Config) ->
    survives(Config, 0, fun(Cluster) ->
        await_replies(Cluster),
        [ok = cluster_ct:kill(Cluster, Name) || Name <- followers()]
    end).

%% Their servers start again inside their nodes: what is in memory is not on disk. Then the WAL goes on.
server_restarted(Config) ->
    survives(Config, ?PUT_MS, fun(Cluster) ->
        restart_servers(Cluster),
        [resume(Cluster, Name) || Name <- followers()]
    end).

%% The same, and they die with what they hold in memory.
server_restarted_then_killed(Config) ->
    survives(Config, 0, fun(Cluster) ->
        restart_servers(Cluster),
        await_replies(Cluster),
        [ok = cluster_ct:kill(Cluster, Name) || Name <- followers()]
    end).

%% Puts while the followers' WALs hang, something happens to these, the leader dies for good: what was acknowledged up to
%% then is there, and the cluster goes on. All puts are acknowledged when they are waited for.
survives(Config, WaitMs, Happens) ->
    Cluster = cluster_ct:start(Config, proplists:get_value(kinds, Config), #{rakv_args => ["--test-hooks"]}),
    ok = cluster_ct:lead(Cluster, n1),
    ok = cluster_ct:fill(Cluster, "before-", 20),
    [suspend(Cluster, Name) || Name <- followers()],
    Put = fun(Key) -> exit({put, cluster_ct:call(Cluster, ra_kv, put, [leader(Cluster), Key, Key, ?PUT_MS])}) end,
    Puts = [{Key, spawn_monitor(fun() -> Put(Key) end)}
            || Number <- lists:seq(1, ?PUTS), Key <- [<<"hanging-", (integer_to_binary(Number))/binary>>]],
    ok = await_in_memory(Cluster),
    Happens(Cluster),
    Acknowledged = [Key || {Key, {Pid, Monitor}} <- Puts, acknowledged(Pid, Monitor, WaitMs)],
    ?assert(WaitMs =:= 0 orelse length(Acknowledged) =:= ?PUTS),
    ok = cluster_ct:kill(Cluster, n1),
    Rest = Cluster#{members := followers()},
    [ok = cluster_ct:restart(Cluster, Name) || Name <- followers(), not runs(Cluster, Name)],
    _ = cluster_ct:leader(Rest),
    ok = cluster_ct:fill(Rest, "after-", 20),
    [?assertMatch({ok, _, Key}, cluster_ct:get(Rest, n2, Key)) || Key <- Acknowledged],
    ok = cluster_ct:restart(Cluster, n1),
    ok = cluster_ct:same_everywhere(Cluster),
    [true = exit(Pid, kill) || {_, {Pid, _}} <- Puts],
    cluster_ct:say("~b of ~b puts acknowledged before the leader died, all there", [length(Acknowledged), ?PUTS]).

followers() -> [n2, n3].

leader(Cluster) -> cluster_ct:server(Cluster, n1).

suspend(Cluster, Name) -> ok = cluster_ct:rpc(Cluster, Name, sys, suspend, [ra_log_wal]).

resume(Cluster, Name) -> ok = cluster_ct:rpc(Cluster, Name, sys, resume, [ra_log_wal]).

%% They crash, and their supervisor starts them again.
restart_servers(Cluster) ->
    [begin
         Before = pid(Cluster, Name),
         true = cluster_ct:call(Cluster, erlang, exit, [Before, kill]),
         rakv_ct:wait_until(fun() ->
             Pid = pid(Cluster, Name),
             is_pid(Pid) andalso Pid =/= Before orelse Pid
         end)
     end || Name <- followers()].

pid(Cluster, Name) -> cluster_ct:rpc(Cluster, Name, erlang, whereis, [kv]).

%% The followers have the puts, though not on disk.
await_in_memory(Cluster) ->
    rakv_ct:wait_until(fun() ->
        Ends = [Index || Name <- [n1 | followers()],
                         #{log := #{last_index := Index}} <- [cluster_ct:overview(Cluster, Name)]],
        #{commit_index := Committed} = cluster_ct:overview(Cluster, n1),
        length(lists:usort(Ends)) =:= 1 andalso hd(Ends) >= Committed + ?PUTS orelse {Ends, Committed}
    end).

%% The leader asks again with its ticks: whoever would acknowledge what is not on disk has done so.
await_replies(Cluster) ->
    Before = replies(Cluster),
    rakv_ct:wait_until(fun() ->
        Replies = replies(Cluster),
        Replies >= Before + 2 * length(followers()) orelse {Before, Replies}
    end).

replies(Cluster) ->
    Fields = [aer_replies_success, aer_replies_failed],
    lists:sum([Count || Name <- followers(),
                        Count <- maps:values(cluster_ct:rpc(Cluster, Name, ra_counters, counters,
                                                            [cluster_ct:server(Cluster, Name), Fields]))]).

acknowledged(Pid, Monitor, WaitMs) ->
    receive
        {'DOWN', Monitor, process, Pid, {put, {ok, _}}} -> true;
        {'DOWN', Monitor, process, Pid, _} -> false
    after WaitMs -> false
    end.

runs(Cluster, Name) -> lists:member(cluster_ct:node_of(Cluster, Name), rakv:nodes()).
