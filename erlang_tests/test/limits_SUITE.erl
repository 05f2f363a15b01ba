%% SPDX-License-Identifier: Apache-2.0
%% What the system allows the process: file descriptors (ulimit -n).
-module(limits_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(LIMIT, 128).
-define(STRANGERS, 300).
-define(KEYS, 200).
-define(TIMEOUT_MS, 30000).

all() -> [too_few_descriptors, strangers_take_no_descriptor_that_is_needed].

suite() -> [{timetrap, {minutes, 6}}].

%% The program with the limit in $RAKV_TEST_NOFILE.
init_per_suite(Config) ->
    {ok, Program} = rakv:program(),
    Wrapper = filename:join(?config(priv_dir, Config), "limited"),
    ok = file:write_file(Wrapper, ["#!/bin/sh\nulimit -n ${RAKV_TEST_NOFILE:-1024}\nexec ", Program, " \"$@\"\n"]),
    ok = file:change_mode(Wrapper, 8#755),
    [{binary_before, os:getenv("RAKV_BINARY")}, {limited, Wrapper} | Config].

end_per_suite(_Config) -> ok.

init_per_testcase(_Case, Config) ->
    true = os:putenv("RAKV_BINARY", ?config(limited, Config)),
    rakv_ct:init(Config).

end_per_testcase(_Case, Config) ->
    case ?config(binary_before, Config) of
        false -> os:unsetenv("RAKV_BINARY");
        Before -> os:putenv("RAKV_BINARY", Before)
    end,
    rakv_ct:finish(Config).

too_few_descriptors(Config) ->
    {1, _, Complaints} = rakv_ct:run(Config, ["start", "--sname", "few", "--cookie", "few", "--data-dir",
                                              rakv_ct:data_dir(Config, few)],
                                     #{env => [{"RAKV_TEST_NOFILE", "32"}]}),
    ?assertMatch({match, _}, re:run(Complaints, "the limit on open files \\(ulimit -n\\) is 32; a node needs at least 96")).

%% Connections that never say anything, more than there are descriptors: a client that is connected puts and gets, a new
%% one connects, the node never has more than the limit, and when they are gone it has its descriptors back.
strangers_take_no_descriptor_that_is_needed(Config) ->
    Node = rakv_ct:start_rakv(Config, r, #{bootstrap => kv, env => [{"RAKV_TEST_NOFILE", integer_to_list(?LIMIT)}]}),
    {ok, OsPid} = rakv:os_pid(Node),
    Server = {kv, Node},
    First = rakv_ct:start_beam(Config, first, #{otp => 25}),
    ok = put_and_get(First, Server, 1),
    {ok, #{port := Port}} = rakv:info(Node),
    Strangers = [Socket || _ <- lists:seq(1, ?STRANGERS), {ok, Socket} <- [gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}])]],
    ?assert(length(Strangers) > ?LIMIT),
    ok = put_and_get(First, Server, 2),
    Second = rakv_ct:start_beam(Config, second, #{otp => 25, modules => [plain_kv_client]}),
    rakv_ct:wait_until(fun() -> rakv_ct:call(Second, net_kernel, connect_node, [Node]) end),
    ok = put_and_get(Second, Server, 3),
    ?assert(descriptors(OsPid) =< ?LIMIT),
    [ok = gen_tcp:close(Socket) || Socket <- Strangers],
    rakv_ct:wait_until(fun() -> descriptors(OsPid) < ?LIMIT div 2 end),
    put_and_get(First, Server, 4).

put_and_get(Beam, Server, Round) ->
    [begin
         Key = <<"key_", (integer_to_binary(Number))/binary>>,
         {ok, _} = rakv_ct:call(Beam, plain_kv_client, put, [Server, Key, {Number, Round}, ?TIMEOUT_MS]),
         {ok, _, {Number, Round}} = rakv_ct:call(Beam, plain_kv_client, get, [Server, Key, ?TIMEOUT_MS])
     end || Number <- lists:seq(1, ?KEYS)],
    ok.

descriptors(OsPid) ->
    {ok, Names} = file:list_dir("/proc/" ++ integer_to_list(OsPid) ++ "/fd"),
    length(Names).
