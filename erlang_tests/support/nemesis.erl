%% SPDX-License-Identifier: Apache-2.0
%% Faults for a cluster, one after the other, drawn from a seed. Each is done, held for a while and undone (nemesis_faults);
%% then the cluster has to acknowledge a put again, before the next one comes. What the clients of nemesis_load saw meanwhile
%% is added up for each kind of fault.
%%
%% The cluster is one of options/0. Clients reach every node that runs.
-module(nemesis).

-export([options/0, run/4, table/1]).

-define(HEALED_MS, 60000).
-define(DISK_BYTES, 256 * 1024 * 1024).

%% Of one fault: how long it was held, what clients saw meanwhile, after how many milliseconds a put that was called when all
%% was undone was acknowledged, and the longest time without any acknowledged put from then until the next fault.
-type seen() :: #{fault := atom(), what := term(), held_ms := non_neg_integer(), puts := non_neg_integer(),
                  terms := non_neg_integer(), clock_off_s := non_neg_integer(), put_ms := non_neg_integer(),
                  silence_ms := non_neg_integer()}.
-export_type([seen/0]).

%% Of cluster_ct:start/3.
-spec options() -> map().
options() ->
    #{links => true, clocks => true, disk_bytes => ?DISK_BYTES, rakv_args => ["--test-hooks"],
      modules => [nemesis_load, linearizability]}.

%% Until so many seconds are over, with the load that runs on the client's node.
-spec run(cluster_ct:cluster(), pos_integer(), [atom()], pid()) -> [seen()].
run(Cluster, Seconds, Faults, Load) ->
    Until = erlang:monotonic_time(second) + Seconds,
    rounds(Cluster, Until, Faults, Load, []).

rounds(Cluster, Until, Faults, Load, Seen) ->
    case erlang:monotonic_time(second) >= Until of
        true ->
            lists:reverse(Seen);
        false ->
            timer:sleep(rand:uniform(500)),
            Fault = lists:nth(rand:uniform(length(Faults)), Faults),
            rounds(Cluster, Until, Faults, Load, [one(Cluster, Fault, Load, Seen) | Seen])
    end.

one(Cluster, Fault, Load, Before) ->
    #{at := Begun} = meter(Cluster, Load),
    ct:log("~p", [Fault]),
    What = nemesis_faults:inflict(Fault, Cluster),
    #{at := Healed, puts := Puts, terms := Terms, clock_off_s := Off} = meter(Cluster, Load),
    case cluster_ct:call(Cluster, nemesis_load, await_put, [Load, Healed, ?HEALED_MS]) of
        none ->
            States = [{Name, state_of(Cluster, Name)} || Name <- cluster_ct:members(Cluster)],
            cluster_ct:say("no put within ~b ms after ~0p; members: ~p~n~ts", [?HEALED_MS, What, States, table(Before)]),
            ct:fail({no_put_after, What});
        Ms ->
            %% The cluster has to go on, too.
            timer:sleep(200 + rand:uniform(300)),
            #{silence_ms := Silence} = meter(Cluster, Load),
            Seen = #{fault => Fault, what => What, held_ms => (Healed - Begun) div 1000, puts => Puts, terms => Terms,
                     clock_off_s => Off, put_ms => Ms, silence_ms => Silence},
            ct:log("~0p", [Seen]),
            Seen
    end.

meter(Cluster, Load) -> cluster_ct:call(Cluster, nemesis_load, meter, [Load]).

state_of(Cluster, Name) ->
    Answer = cluster_ct:call(Cluster, ra, member_overview, [cluster_ct:server(Cluster, Name), 2000]),
    {cluster_ct:kind(Cluster, Name), cluster_ct:state(Cluster, Name), Answer}.

%% A line for each kind of fault.
-spec table([seen()]) -> iodata().
table(Seen) ->
    Kinds = maps:groups_from_list(fun(#{fault := Fault}) -> Fault end, Seen),
    [io_lib:format("~-18s |         while it lasts          | ms afterwards, to a put: | without~n"
                   "~-18s | ~5s ~6s ~6s ~11s | ~11s ~12s | ~7s~n",
                   ["", fault, count, "put/s", terms, "clock off s", median, longest, "any"]),
     [line(Fault, Kind) || {Fault, Kind} <- lists:sort(maps:to_list(Kinds))],
     case Seen of [] -> ""; _ -> line(all, Seen) end].

line(Fault, Seen) ->
    Of = fun(Key) -> [maps:get(Key, One) || One <- Seen] end,
    PutMs = lists:sort(Of(put_ms)),
    io_lib:format("~-18s | ~5b ~6b ~6b ~11b | ~11b ~12b | ~7b~n",
                  [Fault, length(Seen), 1000 * lists:sum(Of(puts)) div max(1, lists:sum(Of(held_ms))), lists:sum(Of(terms)),
                   lists:max(Of(clock_off_s)), lists:nth((length(PutMs) + 1) div 2, PutMs), lists:last(PutMs),
                   lists:max(Of(silence_ms))]).
