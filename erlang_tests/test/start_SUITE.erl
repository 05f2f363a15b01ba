%% SPDX-License-Identifier: Apache-2.0
%% How the program itself starts and ends: an ordered stop, and one clear line with exit status 1 for what can't work.
-module(start_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% The largest size of a WAL file, and a value of which a few fill it.
-define(WAL_BYTES, 256_000_000).
-define(VALUE_BYTES, 50_000_000).
%% For a whole WAL file to be written, on a slow and busy machine.
-define(WRITTEN_MS, 90_000).

all() -> [sigterm_stops_in_order, sigterm_while_segments_are_written, same_data_twice, name_taken, data_dir_is_no_folder].

suite() -> [{timetrap, {minutes, 2}}].

init_per_testcase(_Case, Config) -> rakv_ct:init(Config).

end_per_testcase(_Case, Config) -> rakv_ct:finish(Config).

sigterm_stops_in_order(Config) ->
    Port = start(Config, r, rakv_ct:data_dir(Config, r)),
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    ok = ready(Port),
    "" = os:cmd("kill -TERM " ++ integer_to_list(OsPid)),
    {0, Lines} = ended(Port, []),
    ?assertMatch([_], [Line || Line <- Lines, re:run(Line, "has stopped") =/= nomatch]),
    ?assertEqual([], [Line || Line <- Lines, re:run(Line, "\\[(error|critical)\\]") =/= nomatch]).

%% What runs in the background ends before what it works with: the WAL has rolled over, its values go to segments.
sigterm_while_segments_are_written(Config) ->
    Port = start(Config, r, rakv_ct:data_dir(Config, r), ["--bootstrap", "kv"]),
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    ok = ready(Port),
    {ok, Program} = rakv:program(),
    File = filename:join(?config(rakv_dir, Config), "value"),
    ok = file:write_file(File, binary:copy(<<"v">>, ?VALUE_BYTES)),
    Put = lists:join(" ", [Program, "put", "--server", atom_to_list(rakv_ct:node_name(Config, r)),
                           "--cookie", rakv_ct:cookie(Config), "--timeout", "60", "--value-file", File, "key"]),
    {Putter, Monitor} = spawn_monitor(fun() -> [os:cmd(lists:flatten(Put)) || _ <- lists:seq(-2, ?WAL_BYTES div ?VALUE_BYTES)] end),
    Segments = filename:join([rakv_ct:data_dir(Config, r), "*", "*", "*.segment"]),
    rakv_ct:wait_until(fun() -> filelib:wildcard(Segments) =/= [] end, ?WRITTEN_MS),
    "" = os:cmd("kill -TERM " ++ integer_to_list(OsPid)),
    {0, Lines} = ended(Port, []),
    receive {'DOWN', Monitor, process, Putter, normal} -> ok end,
    ?assertEqual([], [Line || Line <- Lines, re:run(Line, "\\[(error|critical)\\]") =/= nomatch]).

same_data_twice(Config) ->
    _ = rakv_ct:start_rakv(Config, r),
    refused(start(Config, r, rakv_ct:data_dir(Config, r)), "lock|in use|another|taken").

name_taken(Config) ->
    _ = rakv_ct:start_rakv(Config, r),
    Elsewhere = filename:join(?config(rakv_dir, Config), "elsewhere"),
    refused(start(Config, r, Elsewhere), "taken|already|in use").

data_dir_is_no_folder(Config) ->
    File = filename:join(?config(rakv_dir, Config), "file"),
    ok = file:write_file(File, "no folder"),
    refused(start(Config, r, File), "file").

%% ---------------------------------------------------------------------------------------------------------------

start(Config, Name, DataDir) ->
    start(Config, Name, DataDir, []).

start(Config, Name, DataDir, More) ->
    {ok, Program} = rakv:program(),
    [Alive, _] = string:split(atom_to_list(rakv_ct:node_name(Config, Name)), "@"),
    open_port({spawn_executable, Program},
              [{args, ["start", "--sname", Alive, "--cookie", rakv_ct:cookie(Config), "--data-dir", DataDir,
                       "--exit-with-parent" | More]},
               {line, 16384}, binary, exit_status, stderr_to_stdout]).

ready(Port) ->
    receive
        {Port, {data, {eol, <<"ready ", _/binary>>}}} -> ok;
        {Port, {exit_status, Status}} -> ct:fail({ended, Status})
    after 30000 -> ct:fail(not_ready)
    end.

ended(Port, Lines) ->
    receive
        {Port, {data, {_, Line}}} -> ended(Port, [Line | Lines]);
        {Port, {exit_status, Status}} -> {Status, lists:reverse(Lines)}
    after 30000 -> ct:fail({did_not_end, Lines})
    end.

%% Exit status 1, and exactly one line of why.
refused(Port, Pattern) ->
    {Status, Lines} = ended(Port, []),
    ct:log("~b: ~p", [Status, Lines]),
    ?assertEqual(1, Status),
    ?assertMatch([_], Lines),
    ?assertMatch({match, _}, re:run(hd(Lines), Pattern, [caseless])).
