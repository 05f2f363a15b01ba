%% SPDX-License-Identifier: Apache-2.0
%% A rakv member whose disk is full, in a cluster with BEAM members: the others go on, nothing acknowledged is lost, and
%% when there is room again the member goes on, too, in the same process.
%%
%% The disk is one of small_disk.
-module(disk_full_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(DISK_BYTES, 64 * 1024 * 1024).
-define(VALUE_BYTES, 16 * 1024).
-define(WAIT_MS, 90000).

all() -> [full_follower, full_leader, full_until_the_last_byte, few_bytes_alone, full_leader_of_five_rrrrr,
          full_leader_of_five_bbrbr].

suite() -> [{timetrap, {minutes, 6}}].

init_per_testcase(Case, Config0) ->
    Config = cluster_ct:init(Config0),
    Dir = rakv_ct:system_dir(Config, case Case of few_bytes_alone -> n1; _ -> n3 end),
    ok = small_disk:mount(Dir, ?DISK_BYTES),
    [{small_disk, Dir} | Config].

end_per_testcase(_Case, Config) ->
    Finished = cluster_ct:finish(Config),
    ok = small_disk:unmount(?config(small_disk, Config)),
    Finished.

%% The member takes no entries below the low-water mark; the majority does.
full_follower(Config) ->
    Cluster = cluster_ct:start(Config, [beam, beam, rakv]),
    ok = cluster_ct:lead(Cluster, n1),
    Process = cluster_ct:os_pid(Cluster, n3),
    Before = put_acknowledged(Cluster, "before-", 50),
    ok = fill_up(Config, ?DISK_BYTES div 32),
    Full = put_until(Cluster, "full-", fun() -> behind(Cluster, n3, 20) end),
    ok = make_room(Config),
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    After = put_acknowledged(Cluster, "after-", 50),
    all_there(Cluster, Process, Before ++ Full ++ After).

%% A full leader hands over, and leads again when it is asked to once there is room.
full_leader(Config) ->
    Cluster = cluster_ct:start(Config, [beam, beam, rakv]),
    ok = cluster_ct:lead(Cluster, n3),
    Process = cluster_ct:os_pid(Cluster, n3),
    Before = put_acknowledged(Cluster, "before-", 50),
    ok = fill_up(Config, ?DISK_BYTES div 32),
    Full = put_until(Cluster, "full-", fun() -> cluster_ct:leader(Cluster) =/= n3 end),
    More = put_acknowledged(Cluster, "more-", 50),
    ok = make_room(Config),
    ok = cluster_ct:wait_caught_up(Cluster, n3),
    ok = cluster_ct:lead(Cluster, n3),
    After = put_acknowledged(Cluster, "after-", 50),
    all_there(Cluster, Process, Before ++ Full ++ More ++ After).

%% Not a byte is left at once, under load, first for the follower, then for the leader; there is an election meanwhile.
full_until_the_last_byte(Config) ->
    Cluster = cluster_ct:start(Config, [beam, beam, rakv]),
    Process = cluster_ct:os_pid(Cluster, n3),
    Rounds = [begin
        ok = cluster_ct:lead(Cluster, Leader),
        ok = fill_up(Config, 0),
        Prefix = atom_to_list(Leader) ++ "-",
        Full = put_until(Cluster, Prefix ++ "full-", fun() ->
            cluster_ct:leader(Cluster) =/= n3 andalso behind(Cluster, n3, 20)
        end),
        [Next] = [n1, n2] -- [cluster_ct:leader(Cluster)],
        ok = cluster_ct:lead(Cluster, Next),
        More = put_acknowledged(Cluster, Prefix ++ "more-", 50),
        ok = make_room(Config),
        ok = cluster_ct:wait_caught_up(Cluster, n3),
        Full ++ More
    end || Leader <- [n1, n3]],
    all_there(Cluster, Process, lists:append(Rounds)).

%% A cluster of one, to which nobody can help: every put is refused in words, none runs into its caller's time, and reads
%% go on.
few_bytes_alone(Config) ->
    Cluster = cluster_ct:start(Config, [rakv]),
    Before = put_acknowledged(Cluster, "before-", 20),
    [begin
         ok = fill_up(Config, Left),
         rakv_ct:wait_until(fun() -> refused(cluster_ct:put(Cluster, n1, <<"first">>, value(<<"first">>))) end, ?WAIT_MS),
         Answers = [cluster_ct:put(Cluster, n1, <<"refused">>, value(<<"refused">>)) || _ <- lists:seq(1, 20)],
         ?assertEqual([], [Answer || Answer <- Answers, not refused(Answer)]),
         [?assertMatch({ok, _, _}, cluster_ct:get(Cluster, n1, Key)) || Key <- Before],
         ok = make_room(Config),
         _ = put_acknowledged(Cluster, "after-", 20)
     end || Left <- [0, 4096, 100_000]],
    ok.

refused(Answer) -> Answer =:= {error, wal_down}.

%% The leader of five is full and the first of the others, to whom it would hand over, is dead: another one takes over.
full_leader_of_five_rrrrr(Config) -> full_leader_of_five(Config, [rakv, rakv, rakv, rakv, rakv]).
full_leader_of_five_bbrbr(Config) -> full_leader_of_five(Config, [beam, beam, rakv, beam, rakv]).

full_leader_of_five(Config, Kinds) ->
    Cluster = cluster_ct:start(Config, Kinds),
    ok = cluster_ct:lead(Cluster, n3),
    Process = cluster_ct:os_pid(Cluster, n3),
    Before = put_acknowledged(Cluster, "before-", 50),
    ok = cluster_ct:kill(Cluster, n1),
    Alive = Cluster#{members => [n2, n3, n4, n5]},
    Dead = put_acknowledged(Alive, "dead-", 20),
    ok = fill_up(Config, 0),
    Full = erlang:monotonic_time(millisecond),
    {Keys, Gap, Taken} = put_until_led_by_others(Alive, Full),
    cluster_ct:say("~s: a write through another leader ~b ms after the disk was full; ~b ms without an acknowledged write",
                   [[hd(atom_to_list(Kind)) || Kind <- Kinds], Taken, Gap]),
    ok = make_room(Config),
    ok = cluster_ct:wait_caught_up(Alive, n3),
    After = put_acknowledged(Alive, "after-", 20),
    all_there(Alive, Process, Before ++ Dead ++ Keys ++ After).

%% The keys that were acknowledged, the longest time between two of them, and how long it all took.
put_until_led_by_others(Cluster, Full) -> put_until_led_by_others(Cluster, Full, 1, Full, 0, []).

put_until_led_by_others(Cluster, Full, Number, Last, Gap0, Keys) ->
    Key = list_to_binary("full-" ++ integer_to_list(Number)),
    Members = cluster_ct:members(Cluster),
    Server = cluster_ct:server(Cluster, lists:nth(Number rem length(Members) + 1, Members)),
    %% Short, so that one whose leader gave up its place before it could answer does not hide the time.
    Answer = cluster_ct:call(Cluster, ra_kv, put, [Server, Key, value(Key), 300]),
    Now = erlang:monotonic_time(millisecond),
    ?assert(Now - Full < ?WAIT_MS),
    FullLeader = cluster_ct:server(Cluster, n3),
    case Answer of
        {ok, #{leader := FullLeader}} ->
            put_until_led_by_others(Cluster, Full, Number + 1, Now, max(Gap0, Now - Last), [Key | Keys]);
        {ok, _} -> {[Key | Keys], max(Gap0, Now - Last), Now - Full};
        _ -> put_until_led_by_others(Cluster, Full, Number + 1, Last, Gap0, Keys)
    end.

%% ---------------------------------------------------------------------------------------------------------------
%% Writes that are acknowledged.

%% Keys of so many puts; each is tried through the members in turn until it is acknowledged.
put_acknowledged(Cluster, Prefix, Count) ->
    [put_one(Cluster, Prefix, Number) || Number <- lists:seq(1, Count)].

%% Puts until Done() says so; the keys.
put_until(Cluster, Prefix, Done) ->
    put_until(Cluster, Prefix, Done, 1, erlang:monotonic_time(millisecond) + ?WAIT_MS).

put_until(Cluster, Prefix, Done, Number, Deadline) ->
    ?assert(erlang:monotonic_time(millisecond) < Deadline),
    Key = put_one(Cluster, Prefix, Number),
    case Number rem 10 =:= 0 andalso Done() of
        true -> [Key];
        _ -> [Key | put_until(Cluster, Prefix, Done, Number + 1, Deadline)]
    end.

put_one(Cluster, Prefix, Number) ->
    Key = list_to_binary(Prefix ++ integer_to_list(Number)),
    Value = value(Key),
    Members = cluster_ct:members(Cluster),
    rakv_ct:wait_until(fun() ->
        lists:any(fun(Member) ->
            case cluster_ct:put(Cluster, Member, Key, Value) of
                {ok, _} -> true;
                _ -> false
            end
        end, Members)
    end, ?WAIT_MS),
    Key.

value(Key) ->
    Piece = crypto:hash(sha256, Key),
    binary:copy(Piece, ?VALUE_BYTES div byte_size(Piece)).

behind(Cluster, Name, Entries) ->
    #{log := #{last_index := There}} = cluster_ct:overview(Cluster, cluster_ct:leader(Cluster)),
    #{log := #{last_index := Here}} = cluster_ct:overview(Cluster, Name),
    There - Here >= Entries.

%% Everything acknowledged reads back through every member, and the member is the process that it was.
all_there(Cluster, Process, Keys) ->
    ?assertEqual(Process, cluster_ct:os_pid(Cluster, n3)),
    ?assert(filelib:is_dir("/proc/" ++ Process)),
    [begin
        {ok, _, Value} = cluster_ct:get(Cluster, Member, Key),
        ?assertEqual(value(Key), Value, Key)
    end || Member <- cluster_ct:members(Cluster), Key <- Keys],
    ok = cluster_ct:same_everywhere(Cluster),
    cluster_ct:say("full disk: ~b acknowledged writes, all there", [length(Keys)]).

%% ---------------------------------------------------------------------------------------------------------------
%% The disk.

fill_up(Config, Left) -> small_disk:fill_up(?config(small_disk, Config), Left).

make_room(Config) -> small_disk:make_room(?config(small_disk, Config)).
