%% SPDX-License-Identifier: Apache-2.0
%% Members that join and leave clusters of both kinds, members that come back with nothing, many clusters on the same
%% nodes, and values of 10 MB. cluster_ct:same_everywhere/1 compares the members after each.
-module(mixed_membership_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CALL_MS, 10000).
-define(CLUSTERS, 20).
-define(LARGE_BYTES, 10_000_000).

all() ->
    [joins_by_entries, joins_by_snapshot, grows_from_one_and_shrinks, leader_is_removed, removed_leader_answers_once_more,
     removed_leader_sends_callers_on, promotable_is_promoted,
     non_voter_stays_one, refused_changes, wiped_member, twenty_clusters, large_values, cluster_is_deleted].

suite() -> [{timetrap, {minutes, 4}}].

init_per_testcase(_Case, Config) -> cluster_ct:init(Config).
end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------
%% Joining and leaving.

%% A member of each kind joins, led by each kind.
joins_by_entries(Config) ->
    Cluster = cluster_ct:start(Config, [beam, rakv]),
    ok = cluster_ct:fill(Cluster, "key-", 300),
    join_each_kind(Cluster).

%% What the new member needs is in no log any more, but for the live indexes; writing goes on.
joins_by_snapshot(Config) ->
    Cluster = cluster_ct:start(Config, [beam, rakv]),
    [begin
         [ok = cluster_ct:fill(Cluster, "key-", 300) || _ <- [1, 2]],
         [ok = cluster_ct:take_snapshot(Cluster, Name) || Name <- cluster_ct:members(Cluster)]
     end || _ <- [1, 2]],
    ok = cluster_ct:fill(Cluster, "later-", 30),
    Grown = join_each_kind(Cluster),
    [?assertMatch(#{log := #{snapshot_index := Index}} when is_integer(Index), cluster_ct:overview(Grown, Name))
     || Name <- cluster_ct:members(Grown)].

join_each_kind(Cluster) ->
    lists:foldl(fun({Leader, Name, Kind}, Before) ->
        ct:log("~p, a ~p, joins ~p", [Name, Kind, Leader]),
        ok = cluster_ct:lead(Before, Leader),
        After = join(Before, Leader, Name, Kind),
        ok = cluster_ct:fill(After, "joined-", 50),
        ok = cluster_ct:same_everywhere(After),
        After
    end, Cluster, [{n1, n3, rakv}, {n2, n4, beam}, {n2, n5, rakv}, {n1, n6, beam}]).

%% From one member to four and back to one, which is none of the first.
grows_from_one_and_shrinks(Config) ->
    One = cluster_ct:start(Config, [beam]),
    ok = cluster_ct:fill(One, "key-", 50),
    Two = join(One, n1, n2, rakv),
    Three = join(Two, n1, n3, rakv),
    Four = join(Three, n1, n4, beam),
    ok = cluster_ct:fill(Four, "four-", 50),
    ok = cluster_ct:same_everywhere(Four),
    Last = lists:foldl(fun(Name, Cluster) -> leave(Cluster, Name) end, Four, [n4, n1, n2]),
    ok = cluster_ct:fill(Last, "one-", 50),
    ?assertEqual([n3], cluster_ct:members(Last)),
    ok = cluster_ct:same_everywhere(Last).

%% A leader of either kind is removed: another takes over, and what was removed is gone.
leader_is_removed(Config) ->
    Nobody = cluster_ct:start_nodes(Config, [], #{}),
    [begin
         Names = [list_to_atom(Prefix ++ integer_to_list(Number)) || Number <- [1, 2, 3]],
         Members = Nobody#{members := Names, name := list_to_atom(Prefix)},
         _ = [ok = cluster_ct:start_member(Members, Name, Kind) || {Name, Kind} <- lists:zip(Names, Kinds)],
         ok = cluster_ct:form(Members, list_to_atom(Prefix)),
         Leader = hd(Names),
         ok = cluster_ct:lead(Members, Leader),
         ok = cluster_ct:fill(Members, "key-", 50),
         Rest = leave(Members, Leader),
         _ = cluster_ct:leader(Rest),
         ok = cluster_ct:fill(Rest, "rest-", 50),
         ok = cluster_ct:same_everywhere(Rest)
     end || {Prefix, Kinds} <- [{"b", [beam, beam, rakv]}, {"r", [rakv, beam, rakv]}]],
    ok.

%% ra_kv:remove_member/3 asks the leader that it has just removed to wait for the removal: a rakv leader is still there,
%% however quick the others are. Its successor leads at once.
removed_leader_answers_once_more(Config) ->
    Cluster = #{members := Names} = cluster_ct:start(Config, [rakv, rakv, rakv]),
    [begin
         Leader = cluster_ct:leader(Cluster),
         [Other, _] = lists:delete(Leader, Names),
         rakv_ct:wait_until(fun() -> maps:get(cluster_change_permitted, cluster_ct:overview(Cluster, Leader)) end),
         ?assertEqual(ok, cluster_ct:call(Cluster, ra_kv, remove_member,
                                          [default, cluster_ct:server(Cluster, Leader), cluster_ct:server(Cluster, Other)])),
         Rest = without(Cluster, Leader),
         ok = cluster_ct:fill(Rest, "rest-", 5),
         ok = add(Rest, cluster_ct:leader(Rest), Leader)
     end || _ <- lists:seq(1, 20)],
    ok = cluster_ct:same_everywhere(Cluster).

%% Nobody asks it once more: for a moment it redirects to its successor, and then it is gone by itself.
removed_leader_sends_callers_on(Config) ->
    Cluster = cluster_ct:start(Config, [rakv, rakv, rakv]),
    Leader = cluster_ct:server(Cluster, cluster_ct:leader(Cluster)),
    rakv_ct:wait_until(fun() ->
        maps:get(cluster_change_permitted, cluster_ct:overview(Cluster, cluster_ct:leader(Cluster)))
    end),
    {ok, _, Leader} = cluster_ct:call(Cluster, ra, remove_member, [Leader, Leader]),
    Answers = puts_until_gone(Cluster, Leader, []),
    ?assertMatch([_ | _], [Successor || {ok, #{leader := Successor}} <- Answers, Successor =/= Leader]),
    ?assertEqual([], [Answer || {error, Answer} <- Answers, not lists:member(Answer, [noproc, normal])]).

puts_until_gone(Cluster, Server, Answers) ->
    case cluster_ct:call(Cluster, ra_kv, put, [Server, <<"k">>, length(Answers), ?CALL_MS]) of
        {error, noproc} -> Answers;
        Answer -> puts_until_gone(Cluster, Server, [Answer | Answers])
    end.

%% A promotable member is a voter as soon as it has what there was when it joined.
promotable_is_promoted(Config) ->
    Cluster = cluster_ct:start(Config, [beam, rakv]),
    ok = cluster_ct:fill(Cluster, "key-", 300),
    lists:foldl(fun({Leader, Name, Kind}, Before) ->
        ok = cluster_ct:lead(Before, Leader),
        After = join_as(promotable, Before, Leader, Name, Kind),
        rakv_ct:wait_until(fun() -> membership(After, Name) =:= {voter, voter} orelse membership(After, Name) end),
        ok = cluster_ct:same_everywhere(After),
        ok = cluster_ct:lead(After, Name),
        After
    end, Cluster, [{n1, n3, rakv}, {n2, n4, beam}, {n2, n5, rakv}]),
    ok.

%% It gets everything, and takes no part in elections: the two voters need each other.
non_voter_stays_one(Config) ->
    Nobody = cluster_ct:start_nodes(Config, [], #{}),
    [begin
         Names = [Voter, _] = [list_to_atom(Prefix ++ integer_to_list(Number)) || Number <- [1, 2]],
         Voters = Nobody#{members := Names, name := list_to_atom(Prefix)},
         [ok = cluster_ct:start_member(Voters, Name, Its) || {Name, Its} <- lists:zip(Names, [beam, rakv])],
         ok = cluster_ct:form(Voters, list_to_atom(Prefix)),
         Guest = list_to_atom(Prefix ++ "3"),
         All = join_as(non_voter, Voters, Voter, Guest, Kind),
         ok = cluster_ct:fill(All, "key-", 50),
         ok = cluster_ct:same_everywhere(All),
         ?assertEqual({non_voter, non_voter}, membership(All, Guest)),
         Leader = cluster_ct:server(All, cluster_ct:leader(All)),
         ?assertEqual({error, non_voter},
                      cluster_ct:call(All, ra, transfer_leadership, [Leader, cluster_ct:server(All, Guest)])),
         ok = cluster_ct:kill(All, Voter),
         ?assertNotMatch({ok, _}, cluster_ct:call(All, ra_kv, put, [cluster_ct:server(All, Guest), <<"k">>, 1, 1500])),
         ok = cluster_ct:restart(All, Voter),
         ok = cluster_ct:same_everywhere(All)
     end || {Prefix, Kind} <- [{"b", beam}, {"r", rakv}]],
    ok.

%% Whoever leads refuses the same.
refused_changes(Config) ->
    Cluster = cluster_ct:start(Config, [beam, beam, rakv]),
    Stranger = {kv, 'nobody@nowhere'},
    [begin
         ok = cluster_ct:lead(Cluster, Leader),
         Id = cluster_ct:server(Cluster, Leader),
         Refused = fun(Function, Args) -> cluster_ct:call(Cluster, ra, Function, [Id | Args]) end,
         rakv_ct:wait_until(fun() -> {error, already_member} =:= Refused(add_member, [cluster_ct:server(Cluster, n1)]) end),
         ?assertEqual({error, not_member}, Refused(remove_member, [Stranger])),
         ?assertEqual({error, unknown_member}, Refused(transfer_leadership, [Stranger])),
         ?assertEqual(already_leader, Refused(transfer_leadership, [Id]))
     end || Leader <- cluster_ct:one_of_each(Cluster)],
    ok = cluster_ct:same_everywhere(Cluster).

%% A member whose disk is empty can't be started, nor added while it is a member; removed and added, it gets everything.
wiped_member(Config) ->
    Cluster = cluster_ct:start(Config, [beam, beam, rakv]),
    ok = cluster_ct:fill(Cluster, "key-", 200),
    [begin
         Rest = #{members := [Leader | _]} = without(Cluster, Name),
         ok = cluster_ct:kill(Cluster, Name),
         ok = cluster_ct:wipe(Cluster, Name),
         ok = cluster_ct:start_again(Cluster, Name),
         _ = cluster_ct:leader(Rest),
         Id = cluster_ct:server(Cluster, Name),
         ?assertEqual({error, name_not_registered}, cluster_ct:call(Cluster, ra, restart_server, [default, Id])),
         ?assertError({assert, _}, cluster_ct:call(Cluster, ra_kv, add_member,
                                                   [default, Id, cluster_ct:server(Rest, Leader)])),
         ok = cluster_ct:fill(Rest, "without-", 50),
         ?assertMatch({error, noproc}, cluster_ct:state(Cluster, Name)),
         Removed = leave(Cluster, Name),
         ok = add(Removed, Leader, Name),
         ok = cluster_ct:fill(Cluster, "again-", 50),
         ok = cluster_ct:same_everywhere(Cluster)
     end || Name <- cluster_ct:one_of_each(Cluster)],
    ok.

%% ---------------------------------------------------------------------------------------------------------------

%% Many clusters on three nodes, led by all of them; one node dies and comes back.
twenty_clusters(Config) ->
    Nodes = cluster_ct:start_nodes(Config, [beam, rakv, rakv], #{}),
    Members = cluster_ct:members(Nodes),
    Clusters = [Nodes#{name := list_to_atom("kv" ++ integer_to_list(Number))} || Number <- lists:seq(1, ?CLUSTERS)],
    [ok = cluster_ct:form(Cluster, Name) || #{name := Name} = Cluster <- Clusters],
    _ = cluster_ct:parallel(fun({Number, Cluster}) ->
        ok = cluster_ct:lead(Cluster, lists:nth(Number rem length(Members) + 1, Members)),
        ok = cluster_ct:fill(Cluster, "key-", 20)
    end, lists:enumerate(Clusters)),
    _ = cluster_ct:parallel(fun cluster_ct:same_everywhere/1, Clusters),
    [begin
         ok = cluster_ct:kill(Nodes, Name),
         _ = cluster_ct:parallel(fun(Cluster) ->
             Rest = without(Cluster, Name),
             _ = cluster_ct:leader(Rest),
             ok = cluster_ct:fill(Rest, "without-", 20)
         end, Clusters),
         ok = cluster_ct:start_again(Nodes, Name),
         _ = cluster_ct:parallel(fun(Cluster) ->
             ok = cluster_ct:start_server(Cluster, Name),
             ok = cluster_ct:same_everywhere(Cluster)
         end, Clusters)
     end || Name <- cluster_ct:one_of_each(Nodes)],
    ok.

%% Values of 10 MB through each kind of leader, and to a member that was away.
large_values(Config) ->
    Cluster = cluster_ct:start(Config, [beam, rakv, beam]),
    [begin
         ok = cluster_ct:lead(Cluster, Leader),
         ok = large(Cluster, atom_to_list(Leader), 3),
         ok = cluster_ct:same_everywhere(Cluster),
         [Away | _] = cluster_ct:members(Cluster) -- [Leader],
         ok = cluster_ct:kill(Cluster, Away),
         Rest = without(Cluster, Away),
         ok = large(Rest, atom_to_list(Leader) ++ "-away-", 3),
         ok = cluster_ct:restart(Cluster, Away),
         ok = cluster_ct:same_everywhere(Cluster)
     end || Leader <- [n1, n2]],
    ok.

large(Cluster, Prefix, Count) ->
    cluster_ct:call(Cluster, cluster_client, fill, [cluster_ct:servers(Cluster), Prefix, Count, ?LARGE_BYTES]).

%% All members stop and have nothing left, whoever leads.
cluster_is_deleted(Config) ->
    Nodes = cluster_ct:start_nodes(Config, [beam, rakv, rakv], #{}),
    [begin
         Cluster = Nodes#{name := Name},
         ok = cluster_ct:form(Cluster, Name),
         ok = cluster_ct:lead(Cluster, Leader),
         ok = cluster_ct:fill(Cluster, "key-", 20),
         {ok, _} = cluster_ct:call(Cluster, ra, delete_cluster, [cluster_ct:servers(Cluster)]),
         [begin
              rakv_ct:wait_until(fun() -> {error, noproc} =:= cluster_ct:state(Cluster, Member) end),
              rakv_ct:wait_until(fun() ->
                  {error, name_not_registered} =:=
                      cluster_ct:call(Cluster, ra, restart_server, [default, cluster_ct:server(Cluster, Member)])
              end)
          end || Member <- cluster_ct:members(Cluster)]
     end || {Name, Leader} <- [{one, n1}, {two, n2}]],
    ok.

%% ---------------------------------------------------------------------------------------------------------------

without(#{members := Members} = Cluster, Name) -> Cluster#{members := lists:delete(Name, Members)}.

%% A new node joins as ra_kv:add_member/3 does it.
join(#{members := Members} = Cluster, Leader, Name, Kind) ->
    ok = cluster_ct:start_member(Cluster, Name, Kind),
    ok = add(Cluster, Leader, Name),
    Cluster#{members := Members ++ [Name]}.

add(Cluster, Leader, Name) ->
    %% a leader that has just been elected permits no change yet
    rakv_ct:wait_until(fun() -> maps:get(cluster_change_permitted, cluster_ct:overview(Cluster, cluster_ct:leader(Cluster))) end),
    cluster_ct:call(Cluster, ra_kv, add_member,
                    [default, cluster_ct:server(Cluster, Name), cluster_ct:server(Cluster, Leader)]).

leave(Cluster, Name) ->
    Rest = without(Cluster, Name),
    Gone = cluster_ct:server(Cluster, Name),
    rakv_ct:wait_until(fun() -> remove(Cluster, Name, Gone, hd(cluster_ct:servers(Rest))) end),
    ?assertMatch({error, noproc}, cluster_ct:state(Cluster, Name)),
    ?assertEqual({error, name_not_registered}, cluster_ct:call(Cluster, ra, restart_server, [default, Gone])),
    Rest.

%% A BEAM leader that removes itself may be gone before it has answered ra_kv's last question: then it is removed, and
%% what is left for us is ra_kv's last step.
remove(Cluster, Name, Gone, Other) ->
    case cluster_ct:call(Cluster, ra_kv, remove_member, [default, Gone, Other]) of
        ok -> true;
        {error, cluster_change_not_permitted} = NotYet -> NotYet;
        Answer ->
            cluster_ct:say("removing ~p: ~p", [Gone, Answer]),
            ?assertEqual(beam, cluster_ct:kind(Cluster, Name)),
            {ok, Members, _} = cluster_ct:call(Cluster, ra, members, [Other]),
            not lists:member(Gone, Members)
                andalso ok =:= cluster_ct:call(Cluster, ra, force_delete_server, [default, Gone])
    end.

%% A new node joins with a membership of its own.
join_as(Membership, #{members := Members} = Cluster, Leader, Name, Kind) ->
    ok = cluster_ct:start_member(Cluster, Name, Kind),
    Id = cluster_ct:server(Cluster, Name),
    UId = cluster_ct:call(Cluster, ra, new_uid, [<<"kv">>]),
    ok = cluster_ct:call(Cluster, ra, start_server,
                         [default, #{id => Id, uid => UId, cluster_name => maps:get(name, Cluster),
                                     membership => Membership,
                                     log_init_args => #{uid => UId, min_snapshot_interval => 0},
                                     initial_members => cluster_ct:servers(Cluster),
                                     machine => {module, ra_kv, #{}}}]),
    New = #{id => Id, membership => Membership, uid => UId},
    rakv_ct:wait_until(fun() ->
        case cluster_ct:call(Cluster, ra, add_member, [cluster_ct:server(Cluster, Leader), New]) of
            {ok, _, _} -> true;
            Other -> Other
        end
    end),
    Cluster#{members := Members ++ [Name]}.

%% What the leader says that a member is, and what it says itself.
membership(Cluster, Name) ->
    Id = cluster_ct:server(Cluster, Name),
    Leader = cluster_ct:server(Cluster, cluster_ct:leader(Cluster)),
    {ok, #{Id := #{voter_status := Status}}, _} = cluster_ct:call(Cluster, ra, members_info, [Leader]),
    #{membership := Own} = cluster_ct:overview(Cluster, Name),
    {maps:get(membership, Status, voter), Own}.
