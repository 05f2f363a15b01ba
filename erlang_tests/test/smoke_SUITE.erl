%% SPDX-License-Identifier: Apache-2.0
%% The frame of the suites itself: BEAM nodes of both OTPs, real ra, and the helpers. No rakv node is started here, so
%% what fails here is the frame's fault.
-module(smoke_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [versions, ra_kv_on_one_beam, ra_kv_on_three_beams, otp25_is_a_client, killed_member_comes_back,
     names_and_cookies_differ, conditions, malformed_bytes_are_noticed].

suite() -> [{timetrap, {minutes, 3}}].

init_per_testcase(_Case, Config) -> rakv_ct:init(Config).

end_per_testcase(malformed_bytes_are_noticed, Config) ->
    {fail, {malformed_messages, [_]}} = rakv_ct:finish(Config),
    ok;
end_per_testcase(_Case, Config) -> rakv_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------

versions(Config) ->
    New = rakv_ct:start_beam(Config, new),
    Old = rakv_ct:start_beam(Config, old, #{otp => 25}),
    ?assertEqual("29", rakv_ct:call(New, erlang, system_info, [otp_release])),
    ?assertEqual("25", rakv_ct:call(Old, erlang, system_info, [otp_release])),
    ok = rakv_ct:call(New, application, load, [ra]),
    ?assertEqual({ok, "3.1.10"}, rakv_ct:call(New, application, get_key, [ra, vsn])),
    ?assertEqual(non_existing, rakv_ct:call(Old, code, which, [ra])),
    ?assertEqual(pong, rakv_ct:call(New, net_adm, ping, [rakv_ct:node_of(Old)])),
    ?assertEqual([rakv_ct:node_of(Old)], rakv_ct:call(New, erlang, nodes, [])).

ra_kv_on_one_beam(Config) ->
    Beam = started(Config, member),
    Id = {kv, rakv_ct:node_of(Beam)},
    {ok, [Id], []} = rakv_ct:call(Beam, ra_kv, start_cluster, [default, kv, #{members => [Id]}]),
    {ok, #{index := Index}} = rakv_ct:call(Beam, ra_kv, put, [Id, <<"key">>, {some, "value"}, 10000]),
    ?assertMatch({ok, #{index := Index}, {some, "value"}}, rakv_ct:call(Beam, ra_kv, get, [Id, <<"key">>, 10000])),
    ?assertEqual({error, not_found}, rakv_ct:call(Beam, ra_kv, get, [Id, <<"other">>, 10000])).

ra_kv_on_three_beams(Config) ->
    {[A, B, C], Ids} = cluster(Config),
    {ok, _} = rakv_ct:call(A, ra_kv, put, [hd(Ids), <<"key">>, 1, 10000]),
    [?assertMatch({ok, _, 1}, rakv_ct:call(Beam, ra_kv, get, [{kv, rakv_ct:node_of(Beam)}, <<"key">>, 10000]))
     || Beam <- [A, B, C]].

otp25_is_a_client(Config) ->
    {_, [Id | _] = Ids} = cluster(Config),
    Old = rakv_ct:start_beam(Config, client, #{otp => 25}),
    {ok, #{leader := Leader}} = rakv_ct:call(Old, plain_kv_client, put, [Id, <<"key">>, [1, 2], 10000]),
    ?assert(lists:member(Leader, Ids)),
    [?assertMatch({ok, _, [1, 2]}, rakv_ct:call(Old, plain_kv_client, get, [Any, <<"key">>, 10000])) || Any <- Ids],
    {ok, Members, Leader} = rakv_ct:call(Old, plain_kv_client, members, [Id, 10000]),
    ?assertEqual(lists:sort(Ids), lists:sort(Members)),
    {ok, _} = rakv_ct:call(Old, plain_kv_client, delete, [Id, <<"key">>, 10000]),
    ?assertEqual({error, {not_found, Leader}}, rakv_ct:call(Old, plain_kv_client, delete, [Id, <<"key">>, 10000])),
    ?assertEqual({error, not_found}, rakv_ct:call(Old, plain_kv_client, get, [Id, <<"key">>, 10000])),
    ?assertEqual({error, noproc}, rakv_ct:call(Old, plain_kv_client, members, [setelement(1, Id, nobody), 10000])).

killed_member_comes_back(Config) ->
    {[A, B, _C], [_, IdB, IdC]} = cluster(Config),
    {ok, _} = rakv_ct:call(A, ra_kv, put, [IdB, <<"key">>, before, 10000]),
    ok = rakv_ct:kill_beam(Config, A),
    {ok, _} = rakv_ct:wait_for(fun() ->
        case rakv_ct:call(B, ra_kv, put, [[IdB, IdC], <<"key">>, during, 5000]) of
            {ok, _} = Ok -> {ok, Ok};
            Other -> Other
        end
    end, 60000),
    Again = started(Config, a),
    IdA = {kv, rakv_ct:node_of(Again)},
    ok = rakv_ct:call(Again, ra, restart_server, [default, IdA]),
    rakv_ct:wait_until(fun() ->
        {ok, _, during} = rakv_ct:call(Again, ra_kv, get, [IdA, <<"key">>, 5000]),
        true
    end).

names_and_cookies_differ(Config) ->
    Other = rakv_ct:init(Config),
    ?assertNotEqual(rakv_ct:node_name(Config, a), rakv_ct:node_name(Other, a)),
    ?assertNotEqual(rakv_ct:cookie(Config), rakv_ct:cookie(Other)),
    Beam = rakv_ct:start_beam(Config, a),
    Stranger = rakv_ct:start_beam(Other, a),
    ?assertEqual(pang, rakv_ct:call(Beam, net_adm, ping, [rakv_ct:node_of(Stranger)])),
    ok = rakv_ct:finish(Other).

conditions(_Config) ->
    Counter = counters:new(1, []),
    ok = rakv_ct:wait_until(fun() ->
        counters:add(Counter, 1, 1),
        case counters:get(Counter, 1) of
            1 -> false;
            2 -> error(not_yet);
            3 -> true
        end
    end),
    ?assertEqual(3, counters:get(Counter, 1)),
    ?assertEqual(7, rakv_ct:wait_for(fun() -> {ok, 7} end, 1000)),
    ?assertExit({test_case_failed, _}, rakv_ct:wait_until(fun() -> false end, 50)).

%% The line is what a BEAM logs when it got a control message that no node sends; finish/1 must see it.
malformed_bytes_are_noticed(Config) ->
    Beam = rakv_ct:start_beam(Config, a),
    [] = rakv_ct:complaints(Beam),
    ok = rakv_ct:call(Beam, logger, error, ["Invalid distribution message: ~p", [[131, 104, 0]]]),
    rakv_ct:wait_until(fun() -> length(rakv_ct:complaints(Beam)) =:= 1 end).

%% ---------------------------------------------------------------------------------------------------------------

started(Config, Name) ->
    Beam = rakv_ct:start_beam(Config, Name),
    ok = rakv_ct:start_ra(Config, Beam),
    Beam.

cluster(Config) ->
    Beams = [started(Config, Name) || Name <- [a, b, c]],
    Ids = [{kv, rakv_ct:node_of(Beam)} || Beam <- Beams],
    {ok, Started, []} = rakv_ct:call(hd(Beams), ra_kv, start_cluster, [default, kv, #{members => Ids}]),
    ?assertEqual(lists:sort(Ids), lists:sort(Started)),
    {Beams, Ids}.
