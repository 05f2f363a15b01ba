%% SPDX-License-Identifier: Apache-2.0
%% Faults for a cluster of cluster_ct, one after the other, drawn from a seed. Each is done, held for a while and undone;
%% then the cluster has to acknowledge a put again, before the next one comes.
%%
%% The cluster is one of `links => true` and `rakv_args => ["--test-hooks"]`. Clients reach every node that runs.
-module(nemesis).

-export([run/4, faults/1]).

-define(HEALED_MS, 60000).

%% What came of a run: how often each fault, and after how many milliseconds a put was acknowledged again when all was
%% undone, at worst and after which fault.
-type outcome() :: #{faults := #{atom() => pos_integer()}, longest_ms := non_neg_integer(), after_fault := term()}.

%% Until so many seconds are over. `AwaitPut` is told a time on the client's clock, in microseconds, and gives after how
%% many milliseconds a put that was called later was acknowledged, or none. Gives the cluster, whose kinds may be others.
-spec run(cluster_ct:cluster(), pos_integer(), [atom()],
          fun((integer(), pos_integer()) -> non_neg_integer() | none)) -> outcome().
run(Cluster, Seconds, Faults, AwaitPut) ->
    Until = erlang:monotonic_time(second) + Seconds,
    rounds(Cluster, Until, Faults, AwaitPut, #{faults => #{}, longest_ms => 0, after_fault => none}).

rounds(Cluster, Until, Faults, AwaitPut, Outcome) ->
    case erlang:monotonic_time(second) >= Until of
        true ->
            Outcome;
        false ->
            timer:sleep(rand:uniform(500)),
            Fault = one_of(Faults),
            What = fault(Fault, Cluster),
            Healed = cluster_ct:call(Cluster, erlang, monotonic_time, [microsecond]),
            case AwaitPut(Healed, ?HEALED_MS) of
                none -> ct:fail({no_put_after, What, Outcome});
                Ms -> rounds(Cluster, Until, Faults, AwaitPut, noted(Fault, What, Ms, Outcome))
            end
    end.

noted(Fault, What, Ms, #{faults := Counts, longest_ms := Longest} = Outcome) ->
    ct:log("~0p; a put ~b ms after all was undone", [What, Ms]),
    Counted = Outcome#{faults := maps:update_with(Fault, fun(Count) -> Count + 1 end, 1, Counts)},
    case Ms > Longest of
        true -> Counted#{longest_ms := Ms, after_fault := What};
        false -> Counted
    end.

%% Those that make sense for so many members.
-spec faults(pos_integer()) -> [atom()].
faults(Members) ->
    [kill, kill, kill_leader, pause, isolate, isolate_leader, halves, flap, delay, cut, slow_wal, slow_wal_then_kill,
     restart_servers, transfer, snapshots, take_over, replace] ++ [ring || Members >= 5].

%% ---------------------------------------------------------------------------------------------------------------
%% Each gives what it did.

%% kill -9 of some, or of all.
fault(kill, Cluster) -> kill(Cluster, some(cluster_ct:members(Cluster)));
fault(kill_leader, Cluster) -> kill(Cluster, leaders(Cluster));
fault(pause, Cluster) ->
    Names = some(cluster_ct:members(Cluster)),
    held({pause, Names}, fun() -> [ok = cluster_ct:pause(Cluster, Name) || Name <- Names] end,
         fun() -> [ok = cluster_ct:resume(Cluster, Name) || Name <- Names] end);
fault(isolate, Cluster) -> isolate(Cluster, one_of(cluster_ct:members(Cluster)));
fault(isolate_leader, Cluster) -> [isolate(Cluster, Name) || Name <- leaders(Cluster)];
fault(halves, Cluster) ->
    Names = shuffled(cluster_ct:members(Cluster)),
    {Some, Others} = lists:split(length(Names) div 2, Names),
    blocked({halves, Some, Others}, Cluster, [{A, B} || A <- Some, B <- Others]);
%% Each sees its two neighbours: a majority, and no two see the same one.
fault(ring, Cluster) ->
    Names = shuffled(cluster_ct:members(Cluster)),
    Places = lists:enumerate(Names),
    Last = length(Names),
    blocked({ring, Names}, Cluster, [{A, B} || {I, A} <- Places, {J, B} <- Places, J > I + 1, {I, J} =/= {1, Last}]);
%% A link comes and goes.
fault(flap, Cluster) ->
    [A, B | _] = shuffled(cluster_ct:members(Cluster)),
    [held(flap, fun() -> cluster_ct:block(Cluster, A, B) end, fun() -> cluster_ct:allow(Cluster, A, B) end, 300)
     || _ <- lists:seq(1, 8)],
    {flap, A, B};
fault(delay, Cluster) ->
    [Name | Others] = shuffled(cluster_ct:members(Cluster)),
    Ms = 10 + rand:uniform(90),
    held({delay, Name, Ms}, fun() -> delay(Cluster, Name, Others, Ms) end, fun() -> delay(Cluster, Name, Others, 0) end);
fault(cut, Cluster) ->
    [begin
         [A, B | _] = shuffled(cluster_ct:members(Cluster)),
         ok = cut(Cluster, A, B),
         timer:sleep(rand:uniform(200)),
         {cut, A, B}
     end || _ <- lists:seq(1, 5)];
%% Nothing is written, as when a disk hangs.
fault(slow_wal, Cluster) ->
    Names = some(cluster_ct:members(Cluster)),
    held({slow_wal, Names}, fun() -> suspend_wal(Cluster, Names) end, fun() -> resume_wal(Cluster, Names) end);
fault(slow_wal_then_kill, Cluster) ->
    Names = some(cluster_ct:members(Cluster)),
    ok = suspend_wal(Cluster, Names),
    timer:sleep(rand:uniform(500)),
    ok = restart_servers(Cluster, one_of([Names, []])),
    timer:sleep(rand:uniform(1500)),
    {slow_wal, kill(Cluster, Names)};
fault(restart_servers, Cluster) ->
    Names = some(cluster_ct:members(Cluster)),
    ok = restart_servers(Cluster, Names),
    {restart_servers, Names};
fault(transfer, Cluster) ->
    Name = one_of(cluster_ct:members(Cluster)),
    {transfer, Name, [cluster_ct:call(Cluster, ra, transfer_leadership, [cluster_ct:server(Cluster, Leader),
                                                                         cluster_ct:server(Cluster, Name)])
                      || Leader <- leaders(Cluster)]};
fault(snapshots, Cluster) ->
    [_ = cluster_ct:call(Cluster, ra_kv, take_snapshot, [Server]) || Server <- cluster_ct:servers(Cluster)],
    snapshots;
%% An operator moves a member from one program to the other, in place.
fault(take_over, Cluster) ->
    Name = one_of(cluster_ct:members(Cluster)),
    Kind = case cluster_ct:kind(Cluster, Name) of beam -> rakv; rakv -> beam end,
    ok = cluster_ct:stop(Cluster, Name),
    ok = cluster_ct:become(Cluster, Name, Kind),
    ok = cluster_ct:start_server(Cluster, Name),
    {take_over, Name, Kind};
%% A member leaves, its server is deleted, and a new one of its name joins.
fault(replace, Cluster) ->
    Name = one_of(cluster_ct:members(Cluster)),
    Server = cluster_ct:server(Cluster, Name),
    Rest = [_ | _] = lists:delete(Server, cluster_ct:servers(Cluster)),
    ok = removed(Cluster, Server, Rest),
    timer:sleep(rand:uniform(500)),
    ok = added(Cluster, Server, Rest),
    {replace, Name}.

%% ---------------------------------------------------------------------------------------------------------------

held(What, Do, Undo) -> held(What, Do, Undo, 4000).

held(What, Do, Undo, AtMostMs) ->
    Do(),
    timer:sleep(rand:uniform(AtMostMs)),
    Undo(),
    What.

kill(Cluster, Names) ->
    [ok = cluster_ct:kill(Cluster, Name) || Name <- Names],
    timer:sleep(rand:uniform(2000)),
    cluster_ct:parallel(fun(Name) -> ok = cluster_ct:start_again(Cluster, Name) end, Names),
    [ok = cluster_ct:start_server(Cluster, Name) || Name <- Names],
    {kill, Names}.

isolate(Cluster, Name) ->
    held({isolate, Name}, fun() -> ok = cluster_ct:isolate(Cluster, Name) end, fun() -> ok = cluster_ct:heal(Cluster, Name) end).

blocked(What, Cluster, Pairs) ->
    held(What, fun() -> [ok = cluster_ct:block(Cluster, A, B) || {A, B} <- Pairs] end,
         fun() -> [ok = cluster_ct:allow(Cluster, A, B) || {A, B} <- Pairs] end).

%% It counts for connections that are made from now on.
delay(Cluster, Name, Others, Ms) ->
    [begin
         ok = cluster_links:delay(cluster_ct:links(Cluster), cluster_ct:node_of(Cluster, Name),
                                  cluster_ct:node_of(Cluster, Other), Ms),
         ok = cut(Cluster, Name, Other)
     end || Other <- Others].

cut(Cluster, A, B) ->
    cluster_links:cut(cluster_ct:links(Cluster), cluster_ct:node_of(Cluster, A), cluster_ct:node_of(Cluster, B)).

suspend_wal(Cluster, Names) ->
    [ok = cluster_ct:rpc(Cluster, Name, sys, suspend, [ra_log_wal]) || Name <- Names],
    ok.

resume_wal(Cluster, Names) ->
    [ok = cluster_ct:rpc(Cluster, Name, sys, resume, [ra_log_wal]) || Name <- Names],
    ok.

%% They crash, and their supervisor starts them again.
restart_servers(Cluster, Names) ->
    [case cluster_ct:rpc(Cluster, Name, erlang, whereis, [kv]) of
         Pid when is_pid(Pid) -> true = cluster_ct:call(Cluster, erlang, exit, [Pid, kill]);
         undefined -> true
     end || Name <- Names],
    ok.

%% A cluster that has just been disturbed permits a change after a while.
removed(Cluster, Server, Rest) ->
    rakv_ct:wait_until(fun() ->
        _ = cluster_ct:call(Cluster, ra, remove_member, [Rest, Server, 5000]),
        case cluster_ct:call(Cluster, ra, members, [Rest, 5000]) of
            {ok, Members, _} -> not lists:member(Server, Members) orelse still_a_member;
            Other -> Other
        end
    end, ?HEALED_MS),
    rakv_ct:wait_until(fun() ->
        case cluster_ct:call(Cluster, ra, force_delete_server, [default, Server]) of
            ok -> true;
            {error, name_not_registered} -> true;
            Other -> Other
        end
    end).

%% An addition that failed may have started the server, and may yet be carried out: it counts as a member that has to leave
%% before it can be added again.
added(Cluster, Server, Rest) ->
    rakv_ct:wait_until(fun() ->
        try cluster_ct:call(Cluster, ra_kv, add_member, [default, Server, one_of(Rest)]) of
            ok -> true;
            Other -> ok = removed(Cluster, Server, Rest), Other
        catch
            Class:Reason -> ok = removed(Cluster, Server, Rest), {Class, Reason}
        end
    end, ?HEALED_MS).

%% Those who say that they lead, at this moment.
leaders(Cluster) ->
    [Name || Name <- cluster_ct:members(Cluster), cluster_ct:state(Cluster, Name) =:= leader].

%% One most often, then fewer than half, then any number.
some(Names) ->
    Count = case rand:uniform(4) of
                4 -> rand:uniform(length(Names));
                3 -> max(1, (length(Names) - 1) div 2);
                _ -> 1
            end,
    lists:sublist(shuffled(Names), Count).

one_of(List) -> lists:nth(rand:uniform(length(List)), List).

shuffled(List) -> [One || {_, One} <- lists:sort([{rand:uniform(), One} || One <- List])].
