%% SPDX-License-Identifier: Apache-2.0
%% What a rakv node acknowledged is there after kill -9: rounds of load, a kill at a random moment, a restart, and a
%% comparison of every key.
%%
%%   RAKV_KILL_ROUNDS   rounds of kill_under_load (default 20)
%%   RAKV_SEED          repeats a run's choices
-module(durability_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [kill_under_load, kill_right_after_start, deleted_stays_deleted, a_lost_write_is_seen].

suite() -> [{timetrap, {minutes, 30}}].

init_per_suite(Config) ->
    Seed = case os:getenv("RAKV_SEED") of
               false -> erlang:phash2({node(), os:getpid(), erlang:system_time()});
               Text -> list_to_integer(Text)
           end,
    say("RAKV_SEED=~b", [Seed]),
    [{seed, Seed} | Config].

end_per_suite(_Config) -> ok.

init_per_testcase(_Case, Config) ->
    _ = rand:seed(exsss, {seed(Config), 1, 2}),
    rakv_ct:init(Config).

end_per_testcase(_Case, Config) -> rakv_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------

%% Two clusters on one node. In every fourth round the node is killed once more while it starts.
kill_under_load(Config) ->
    Rounds = list_to_integer(os:getenv("RAKV_KILL_ROUNDS", "20")),
    Client = client(Config),
    Rakv = start(Config),
    Servers = [start_cluster(Client, Rakv, Name) || Name <- [first, second]],
    Load = load(Client, Servers, #{writers => 4, keys => 100, seed => seed(Config)}),
    Start = erlang:monotonic_time(millisecond),
    Total = rounds(1, Rounds, Client, Rakv, Load, #{}),
    Seconds = (erlang:monotonic_time(millisecond) - Start) div 1000,
    say("~b rounds of kill -9 in ~b s: ~b writes acknowledged, ~b of unknown outcome, ~b reads compared, ~b snapshots, "
        "~b roll-overs, ~b lost",
        [Rounds, Seconds, maps:get(acknowledged, Total), maps:get(unknown, Total), maps:get(checked, Total),
         maps:get(snapshots, Total), maps:get(roll_overs, Total), length(maps:get(lost, Total))]),
    ?assert(maps:get(acknowledged, Total) > Rounds).

rounds(Round, Rounds, _Client, _Rakv, _Load, Total) when Round > Rounds ->
    Total;
rounds(Round, Rounds, Client, Rakv, Load, Total) ->
    ok = rakv_ct:call(Client, durability_load, resume, [Load]),
    %% the first kill is within 300 ms of the clusters' start
    let_pass(case Round of 1 -> rand:uniform(150); _ -> rand:uniform(500) end),
    ok = rakv:kill_node(Rakv),
    case rand:uniform(4) of
        1 ->
            let_pass(rand:uniform(60)),
            _ = rakv:kill_node(Rakv); % may be between two lives
        _ ->
            ok
    end,
    ok = rakv:await_ready(Rakv, 30000),
    ok = rakv_ct:call(Client, durability_load, pause, [Load]),
    Report = rakv_ct:call(Client, durability_load, check, [Load], 120000),
    case Report of
        #{lost := []} -> ok;
        #{lost := Lost} -> ct:fail({lost, Round, length(Lost), lists:sublist(Lost, 20)})
    end,
    ct:log("round ~b: ~p", [Round, Report]),
    Checked = maps:get(checked, Total, 0) + maps:get(checked, Report),
    rounds(Round + 1, Rounds, Client, Rakv, Load, Report#{checked := Checked}).

%% One acknowledged write on a cluster of a moment ago.
kill_right_after_start(Config) ->
    Client = client(Config),
    Rakv = start(Config),
    Servers = [begin
         Name = list_to_atom("cluster" ++ integer_to_list(Number)),
         Server = start_cluster(Client, Rakv, Name),
         {ok, _} = rakv_ct:call(Client, ra_kv, put, [Server, <<"number">>, Number, 10000]),
         let_pass(rand:uniform(5) - 1),
         ok = rakv:kill_node(Rakv),
         ok = rakv:await_ready(Rakv, 30000),
         ?assertEqual({ok, Number}, read(Client, Server, <<"number">>)),
         Server
     end || Number <- lists:seq(1, 8)],
    [?assertEqual({ok, Number}, read(Client, Server, <<"number">>))
     || {Number, Server} <- lists:enumerate(Servers)].

%% A server whose deletion was acknowledged does not come back, its neighbours do.
deleted_stays_deleted(Config) ->
    Client = client(Config),
    Rakv = start(Config),
    [Kept, Gone] = [start_cluster(Client, Rakv, Name) || Name <- [kept, gone]],
    [{ok, _} = rakv_ct:call(Client, ra_kv, put, [Server, <<"key">>, Server, 10000]) || Server <- [Kept, Gone]],
    ok = rakv_ct:call(Client, ra, force_delete_server, [default, Gone]),
    ok = rakv:kill_node(Rakv),
    ok = rakv:await_ready(Rakv, 30000),
    ?assertEqual({ok, Kept}, read(Client, Kept, <<"key">>)),
    ?assertEqual({error, noproc}, rakv_ct:call(Client, ra, members, [Gone, 5000])),
    ?assertEqual({error, name_not_registered}, rakv_ct:call(Client, ra, restart_server, [default, Gone])),
    %% the name is free for a new cluster, which begins empty
    Gone = start_cluster(Client, Rakv, gone),
    ?assertEqual({error, not_found}, rakv_ct:call(Client, ra_kv, get, [Gone, <<"key">>, 10000])).

%% The comparison itself: a write that goes missing behind the writers' backs is reported, and so is a wrong value.
a_lost_write_is_seen(Config) ->
    Client = client(Config),
    Rakv = start(Config),
    Server = start_cluster(Client, Rakv, cluster),
    Load = load(Client, [Server], #{writers => 1, keys => 2, seed => seed(Config)}),
    Keys = rakv_ct:wait_for(fun() ->
        ok = rakv_ct:call(Client, durability_load, resume, [Load]),
        let_pass(20),
        ok = rakv_ct:call(Client, durability_load, pause, [Load]),
        #{lost := []} = rakv_ct:call(Client, durability_load, check, [Load]),
        Found = [Key || Key <- [<<"key-1-1">>, <<"key-1-2">>], {ok, _} <- [read(Client, Server, Key)]],
        case length(Found) of
            2 -> {ok, Found};
            _ -> not_yet
        end
    end, 30000),
    [Deleted, Changed] = Keys,
    {ok, _} = rakv_ct:call(Client, ra_kv, delete, [Server, Deleted, 10000]),
    {ok, _} = rakv_ct:call(Client, ra_kv, put, [Server, Changed, {1, 0, <<"another">>}, 10000]),
    #{lost := Lost} = rakv_ct:call(Client, durability_load, check, [Load]),
    ?assertEqual(lists:sort(Keys), lists:sort([element(2, One) || One <- Lost])).

%% ---------------------------------------------------------------------------------------------------------------

client(Config) ->
    Client = rakv_ct:start_beam(Config, client, #{modules => [durability_load]}),
    ok = rakv_ct:start_ra(Config, Client),
    Client.

%% However often it is killed, it is started again.
start(Config) ->
    rakv_ct:start_rakv(Config, r1, #{restart_intensity => {1000, 1}}).

start_cluster(Client, Rakv, Name) ->
    Server = {Name, Rakv},
    {ok, [Server], []} = rakv_ct:call(Client, ra_kv, start_cluster, [default, Name, #{members => [Server]}]),
    Server.

load(Client, Servers, Options) ->
    rakv_ct:call(Client, durability_load, start, [Servers, Options]).

%% Reads as soon as the member can be read.
read(Client, Server, Key) ->
    rakv_ct:wait_for(fun() ->
        case rakv_ct:call(Client, ra_kv, get, [Server, Key, 5000]) of
            {ok, _, Value} -> {ok, {ok, Value}};
            {error, not_found} -> {ok, not_found};
            Other -> Other
        end
    end, 30000).

%% Load goes on for a random time; nothing is waited for.
let_pass(Ms) ->
    receive after Ms -> ok end.

seed(Config) -> proplists:get_value(seed, Config).

say(Format, Args) ->
    ct:log(Format, Args),
    io:format(user, "~n" ++ Format ++ "~n", Args).
