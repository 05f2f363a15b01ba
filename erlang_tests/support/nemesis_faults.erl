%% SPDX-License-Identifier: Apache-2.0
%% What can happen to a cluster of cluster_ct: each fault is done, held for a while and undone. See nemesis for the rest.
-module(nemesis_faults).

-export([names/2, inflict/2]).

-define(HEALED_MS, 60000).
-define(HELD_MS, 4000).
%% In less the rolling faults, which take a while each, would be all that there is.
-define(LONG_RUN_S, 60).

%% Those that make sense for so many members in so many seconds. kill counts double, nothing is left out.
-spec names(pos_integer(), pos_integer()) -> [atom()].
names(Members, Seconds) ->
    [kill, kill, kill_leader, pause, isolate, isolate_leader, halves, one_way, flap, delay, loss, cut, epmd, clocks, slow_wal,
     slow_wal_then_kill, full_disk, restart_servers, transfer, snapshots, take_over, replace, together]
        ++ [ring || Members >= 5] ++ [Rolling || Seconds >= ?LONG_RUN_S, Rolling <- [rolling_restart, rolling_take_over]].

%% Gives what was done, when all of it is undone.
-spec inflict(atom(), cluster_ct:cluster()) -> term().
%% To compare with.
inflict(nothing, _Cluster) -> held(nothing, fun() -> ok end, fun() -> ok end);
%% kill -9 of some, or of all.
inflict(kill, Cluster) -> kill(Cluster, some(cluster_ct:members(Cluster)));
inflict(kill_leader, Cluster) -> kill(Cluster, leaders(Cluster));
inflict(pause, Cluster) ->
    Names = some(cluster_ct:members(Cluster)),
    held({pause, Names}, fun() -> [ok = cluster_ct:pause(Cluster, Name) || Name <- Names] end,
         fun() -> [ok = cluster_ct:resume(Cluster, Name) || Name <- Names] end);
%% An operator starts all of them again, one after the other.
inflict(rolling_restart, Cluster) ->
    Names = cluster_ct:members(Cluster),
    [begin
         ok = cluster_ct:stop(Cluster, Name),
         ok = cluster_ct:restart(Cluster, Name),
         ok = cluster_ct:wait_caught_up(Cluster, Name)
     end || Name <- Names],
    {rolling_restart, Names};
inflict(isolate, Cluster) -> isolate(Cluster, one_of(cluster_ct:members(Cluster)));
inflict(isolate_leader, Cluster) -> [isolate(Cluster, Name) || Name <- leaders(Cluster)];
inflict(halves, Cluster) ->
    Names = shuffled(cluster_ct:members(Cluster)),
    {Some, Others} = lists:split(length(Names) div 2, Names),
    blocked({halves, Some, Others}, Cluster, [{A, B} || A <- Some, B <- Others]);
%% Each sees its two neighbours: a majority, and no two see the same one.
inflict(ring, Cluster) ->
    Names = shuffled(cluster_ct:members(Cluster)),
    Places = lists:enumerate(Names),
    Last = length(Names),
    blocked({ring, Names}, Cluster, [{A, B} || {I, A} <- Places, {J, B} <- Places, J > I + 1, {I, J} =/= {1, Last}]);
%% One hears the others, who don't hear it, or the other way round.
inflict(one_way, Cluster) ->
    Name = one_of(leaders(Cluster) ++ cluster_ct:members(Cluster)),
    Others = [Other || Other <- cluster_ct:members(Cluster), Other =/= Name],
    Ways = one_of([[{Name, Other} || Other <- Others], [{Other, Name} || Other <- Others]]),
    held({one_way, Ways}, fun() -> [ok = cluster_ct:block_one_way(Cluster, From, To) || {From, To} <- Ways] end,
         fun() -> cluster_ct:heal(Cluster, Name) end);
%% A link comes and goes.
inflict(flap, Cluster) ->
    [A, B | _] = shuffled(cluster_ct:members(Cluster)),
    [held(flap, fun() -> cluster_ct:block(Cluster, A, B) end, fun() -> cluster_ct:allow(Cluster, A, B) end, 300)
     || _ <- lists:seq(1, 8)],
    {flap, A, B};
inflict(delay, Cluster) ->
    [Name | Others] = shuffled(cluster_ct:members(Cluster)),
    Ms = 10 + rand:uniform(90),
    held({delay, Name, Ms}, fun() -> delay(Cluster, Name, Others, Ms) end, fun() -> delay(Cluster, Name, Others, 0) end);
%% On all links, or those of one member.
inflict(loss, Cluster) ->
    Links = cluster_ct:links(Cluster),
    Before = cluster_links:lost(Links),
    [Name | Others] = shuffled(cluster_ct:members(Cluster)),
    Pairs = [{Name, Other} || Other <- Others] ++ one_of([[], [{A, B} || A <- Others, B <- Others, A < B]]),
    Percent = 5 + rand:uniform(25),
    held(loss, fun() -> lose(Cluster, Pairs, Percent) end, fun() -> lose(Cluster, Pairs, 0) end),
    {loss, Percent, Pairs, lost, cluster_links:lost(Links) - Before};
inflict(cut, Cluster) ->
    [begin
         [A, B | _] = shuffled(cluster_ct:members(Cluster)),
         ok = cut(Cluster, A, B),
         timer:sleep(rand:uniform(200)),
         {cut, A, B}
     end || _ <- lists:seq(1, 5)];
%% Their epmds die; what was connected stays so, what is closed meanwhile can't be opened until they have registered again.
inflict(epmd, Cluster) ->
    Names = some(cluster_ct:members(Cluster)),
    held({epmd, Names}, fun() -> [ok = epmd_down(Cluster, Name) || Name <- Names], ok = cut_all(Cluster, one_of(Names)) end,
         fun() -> [ok = epmd_up(Cluster, Name) || Name <- Names] end),
    [ok = registered_again(Cluster, Name) || Name <- Names],
    {epmd, Names};
%% By seconds, hours, days or years; and back. Programs notice within a second.
inflict(clocks, Cluster) ->
    Names = lists:usort(some(cluster_ct:members(Cluster)) ++ one_of([leaders(Cluster), []])),
    Jumps = [{Name, one_of([-1, 1]) * rand:uniform(one_of([10, 3600, 86400, 100000000]))} || Name <- Names],
    held({clocks, Jumps},
         fun() ->
             [ok = cluster_ct:set_clock(Cluster, Name, Seconds) || {Name, Seconds} <- Jumps],
             timer:sleep(1000)
         end,
         fun() ->
             [ok = cluster_ct:set_clock(Cluster, Name, 0) || {Name, _} <- Jumps],
             timer:sleep(1000)
         end);
%% Nothing is written, as when a disk hangs.
inflict(slow_wal, Cluster) ->
    Names = some(cluster_ct:members(Cluster)),
    held({slow_wal, Names}, fun() -> suspend_wal(Cluster, Names) end, fun() -> resume_wal(Cluster, Names) end);
inflict(slow_wal_then_kill, Cluster) ->
    Names = some(cluster_ct:members(Cluster)),
    ok = suspend_wal(Cluster, Names),
    timer:sleep(rand:uniform(500)),
    ok = restart_servers(Cluster, one_of([Names, []])),
    timer:sleep(rand:uniform(1500)),
    {slow_wal, kill(Cluster, Names)};
%% A rakv node goes on by itself; a BEAM node, whose WAL has crashed, is started again by an operator.
inflict(full_disk, Cluster) ->
    Disks = [{Name, one_of([0, 4096, 100000, 4000000])} || Name <- some(cluster_ct:members(Cluster))],
    Processes = [{Name, cluster_ct:os_pid(Cluster, Name)} || {Name, _} <- Disks],
    held({full_disk, Disks}, fun() -> [ok = cluster_ct:fill_disk(Cluster, Name, Left) || {Name, Left} <- Disks] end,
         fun() -> [ok = cluster_ct:make_room(Cluster, Name) || {Name, _} <- Disks] end),
    [ok = after_full_disk(Cluster, Name, cluster_ct:kind(Cluster, Name), OsPid) || {Name, OsPid} <- Processes],
    {full_disk, Disks};
inflict(restart_servers, Cluster) ->
    Names = some(cluster_ct:members(Cluster)),
    ok = restart_servers(Cluster, Names),
    {restart_servers, Names};
inflict(transfer, Cluster) ->
    Name = one_of(cluster_ct:members(Cluster)),
    {transfer, Name, [cluster_ct:call(Cluster, ra, transfer_leadership, [cluster_ct:server(Cluster, Leader),
                                                                         cluster_ct:server(Cluster, Name)])
                      || Leader <- leaders(Cluster)]};
inflict(snapshots, Cluster) ->
    [_ = cluster_ct:call(Cluster, ra_kv, take_snapshot, [Server]) || Server <- cluster_ct:servers(Cluster)],
    snapshots;
%% An operator moves a member from one program to the other, in place.
inflict(take_over, Cluster) ->
    Name = one_of(cluster_ct:members(Cluster)),
    {take_over, Name, take_over(Cluster, Name)};
%% All of them, one after the other, and back again.
inflict(rolling_take_over, Cluster) ->
    {rolling_take_over, [begin
                             Kind = take_over(Cluster, Name),
                             ok = cluster_ct:wait_caught_up(Cluster, Name),
                             {Name, Kind}
                         end || _ <- [there, back], Name <- cluster_ct:members(Cluster)]};
%% Something happens to links, or clocks, while something happens to processes.
inflict(together, Cluster) ->
    Links = [isolate, isolate_leader, halves, one_way, flap, delay, loss, cut, clocks],
    Processes = [kill, kill_leader, restart_servers, transfer, snapshots, take_over, replace],
    {together, cluster_ct:parallel(fun({Fault, Seed}) -> _ = rand:seed(exsss, Seed), inflict(Fault, Cluster) end,
                                   [{one_of(Some), rand:uniform(1 bsl 50)} || Some <- [Links, Processes]])};
%% A member leaves, its server is deleted, and a new one of its name joins.
inflict(replace, Cluster) ->
    Name = one_of(cluster_ct:members(Cluster)),
    Server = cluster_ct:server(Cluster, Name),
    Rest = [_ | _] = lists:delete(Server, cluster_ct:servers(Cluster)),
    ok = removed(Cluster, Server, Rest),
    timer:sleep(rand:uniform(500)),
    ok = added(Cluster, Server, Rest),
    {replace, Name}.

%% ---------------------------------------------------------------------------------------------------------------

held(What, Do, Undo) -> held(What, Do, Undo, ?HELD_MS).

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

lose(Cluster, Pairs, Percent) ->
    [ok = cluster_links:lose(cluster_ct:links(Cluster), cluster_ct:node_of(Cluster, A), cluster_ct:node_of(Cluster, B), Percent)
     || {A, B} <- Pairs],
    ok.

cut_all(Cluster, Name) ->
    [ok = cut(Cluster, Name, Other) || Other <- cluster_ct:members(Cluster), Other =/= Name],
    ok.

epmd_down(Cluster, Name) -> cluster_links:epmd_down(cluster_ct:links(Cluster), cluster_ct:node_of(Cluster, Name)).

epmd_up(Cluster, Name) -> cluster_links:epmd_up(cluster_ct:links(Cluster), cluster_ct:node_of(Cluster, Name)).

%% It can be found, and finds the others.
registered_again(Cluster, Name) ->
    [Alive, _Host] = string:split(atom_to_list(cluster_ct:node_of(Cluster, Name)), "@"),
    rakv_ct:wait_until(fun() -> {ok, _} = cluster_links:own_port(cluster_ct:links(Cluster), Alive), true end),
    ok = cut_all(Cluster, Name),
    [rakv_ct:wait_until(fun() -> cluster_ct:rpc(Cluster, From, net_kernel, connect_node, [cluster_ct:node_of(Cluster, To)]) end)
     || Other <- cluster_ct:members(Cluster), Other =/= Name, {From, To} <- [{Name, Other}, {Other, Name}]],
    ok.

after_full_disk(Cluster, Name, beam, _OsPid) ->
    ok = cluster_ct:stop(Cluster, Name),
    cluster_ct:restart(Cluster, Name);
after_full_disk(Cluster, Name, rakv, OsPid) ->
    {OsPid, true} = {cluster_ct:os_pid(Cluster, Name), filelib:is_dir("/proc/" ++ OsPid)},
    ok.

%% Gives what it is now.
take_over(Cluster, Name) ->
    Kind = case cluster_ct:kind(Cluster, Name) of beam -> rakv; rakv -> beam end,
    ok = cluster_ct:stop(Cluster, Name),
    ok = cluster_ct:become(Cluster, Name, Kind),
    ok = cluster_ct:start_server(Cluster, Name),
    Kind.

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
