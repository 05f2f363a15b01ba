%% SPDX-License-Identifier: Apache-2.0
%% The rebar3 package with the real program: what a project that depends on it relies on.
-module(package_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [serves_both_otps, killed_node_comes_back_with_its_data, restarted_in_order, ends_with_its_owner,
     wrong_cookie_is_refused, second_node_of_a_name_says_why, log_has_levels].

suite() -> [{timetrap, {minutes, 3}}].

init_per_testcase(_Case, Config) -> rakv_ct:init(Config).

end_per_testcase(_Case, Config) -> rakv_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------

serves_both_otps(Config) ->
    Node = rakv_ct:start_rakv(Config, r, #{bootstrap => kv}),
    Id = {kv, Node},
    New = rakv_ct:start_beam(Config, new),
    Old = rakv_ct:start_beam(Config, old, #{otp => 25}),
    [?assertEqual(pong, rakv_ct:call(Beam, net_adm, ping, [Node])) || Beam <- [New, Old]],
    {ok, _} = rakv_ct:call(New, ra_kv, put, [Id, <<"new">>, {1, [2.5, "x"]}, 10000]),
    {ok, _} = rakv_ct:call(Old, plain_kv_client, put, [Id, <<"old">>, #{a => 1}, 10000]),
    ?assertMatch({ok, _, #{a := 1}}, rakv_ct:call(New, ra_kv, get, [Id, <<"old">>, 10000])),
    ?assertMatch({ok, _, {1, [2.5, "x"]}}, rakv_ct:call(Old, plain_kv_client, get, [Id, <<"new">>, 10000])),
    ?assertMatch({ok, [Id], Id}, rakv_ct:call(Old, plain_kv_client, members, [Id, 10000])).

killed_node_comes_back_with_its_data(Config) ->
    {Beam, Node, Id} = one_node(Config),
    {ok, _} = rakv_ct:call(Beam, plain_kv_client, put, [Id, <<"key">>, <<"kept">>, 10000]),
    {ok, Before} = rakv:os_pid(Node),
    ok = rakv:kill_node(Node),
    ok = rakv:await_ready(Node, 60000),
    ?assertNotEqual({ok, Before}, rakv:os_pid(Node)),
    has(Beam, Id, <<"key">>, <<"kept">>).

restarted_in_order(Config) ->
    {Beam, Node, Id} = one_node(Config),
    {ok, _} = rakv_ct:call(Beam, plain_kv_client, put, [Id, <<"key">>, <<"kept">>, 10000]),
    {ok, Node} = rakv:restart_node(Node),
    has(Beam, Id, <<"key">>, <<"kept">>).

%% The BEAM that started it is gone without a word: its end of the pipe closes, and the program ends by itself.
ends_with_its_owner(Config) ->
    Node = rakv_ct:start_rakv(Config, r, #{bootstrap => kv, restart_intensity => {0, 1}}),
    {ok, OsPid} = rakv:os_pid(Node),
    exit(whereis(rakv_node:registered_name(Node)), kill),
    rakv_ct:wait_until(fun() -> not filelib:is_dir("/proc/" ++ integer_to_list(OsPid)) end),
    ?assertEqual([], rakv:nodes()),
    Again = rakv_ct:start_rakv(Config, r, #{bootstrap => kv}),
    ?assertEqual(Node, Again).

wrong_cookie_is_refused(Config) ->
    Node = rakv_ct:start_rakv(Config, r),
    Stranger = rakv_ct:start_beam(Config, stranger, #{args => ["-setcookie", "another"]}),
    Friend = rakv_ct:start_beam(Config, friend),
    ?assertEqual(pang, rakv_ct:call(Stranger, net_adm, ping, [Node])),
    ?assertEqual(pong, rakv_ct:call(Friend, net_adm, ping, [Node])).

second_node_of_a_name_says_why(Config) ->
    Beam = rakv_ct:start_beam(Config, taken),
    [Alive, _] = string:split(atom_to_list(rakv_ct:node_of(Beam)), "@"),
    {error, Reason} = rakv:start_node(#{name => Alive, cookie => rakv_ct:cookie(Config),
                                        data_dir => rakv_ct:data_dir(Config, taken)}),
    Text = rakv:format_error(Reason),
    ct:log("~ts", [Text]),
    ?assertMatch({not_started, #{exit_status := Status}} when is_integer(Status) andalso Status > 0, Reason),
    ?assertNotEqual(nomatch, string:find(Text, Alive)),
    ?assertEqual([], rakv:nodes()).

log_has_levels(Config) ->
    Node = rakv_ct:start_rakv(Config, r, #{bootstrap => kv}),
    {ok, #{last_log := Lines}} = rakv:info(Node),
    ?assertNotEqual([], Lines),
    [?assertMatch({info, _}, rakv_log_line:parse(Line), Line) || Line <- Lines].

%% ---------------------------------------------------------------------------------------------------------------

one_node(Config) ->
    Node = rakv_ct:start_rakv(Config, r, #{bootstrap => kv}),
    {rakv_ct:start_beam(Config, client, #{otp => 25}), Node, {kv, Node}}.

%% The node may still be electing itself.
has(Beam, Id, Key, Value) ->
    rakv_ct:wait_until(fun() ->
        {ok, _, Value} = rakv_ct:call(Beam, plain_kv_client, get, [Id, Key, 5000]),
        true
    end).
