%% SPDX-License-Identifier: Apache-2.0
%% The program's commands on the directory of a node that does not run, as an operator runs them: release, takeover,
%% check, repair.
-module(store_cli_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(COMMANDS, [["release"], ["takeover", "--check"], ["check"], ["repair"], ["repair", "--dry-run"]]).

all() ->
    [no_systems_directory, node_that_runs, usage, output_is_closed,
     check_of_a_sound_directory, check_of_damage, takeover_of_a_beams_directory, takeover_refused, release_twice,
     repair_of_damage, repair_that_is_not_possible].

suite() -> [{timetrap, {minutes, 3}}].

init_per_testcase(_Case, Config) -> rakv_ct:init(Config).

end_per_testcase(_Case, Config) -> rakv_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------
%% What can't work.

no_systems_directory(Config) ->
    Base = filename:join(?config(rakv_dir, Config), "elsewhere"),
    Empty = filename:join(Base, "empty"),
    ok = filelib:ensure_path(Empty),
    File = filename:join(Base, "file"),
    ok = file:write_file(File, "no folder"),
    Loop = filename:join(Base, "loop"),
    ok = file:make_symlink("loop", Loop),
    ok = filelib:ensure_path(filename:join([Base, "system", "n@host"])),
    ok = file:write_file(filename:join([Base, "system", "n@host", "meta.dets"]), ""),
    [failed(1, Pattern, rakv_ct:run(Config, Command ++ [Dir]))
     || Command <- ?COMMANDS,
        {Dir, Pattern} <- [{filename:join(Base, "missing"), "missing: can't read directory: No such file"},
                           {File, "file: can't read directory: Not a directory"},
                           {Loop, "loop: can't read directory: Too many levels"},
                           {Empty, "empty: is not a ra system's directory"},
                           {filename:join(Base, "system"), "is not a ra system's directory.*system/n@host is one"}]].

node_that_runs(Config) ->
    Rakv = rakv_ct:start_rakv(Config, r, #{bootstrap => kv}),
    Beam = rakv_ct:start_beam(Config, b),
    ok = rakv_ct:start_ra(Config, Beam),
    [begin
         failed(1, "in use by process [0-9]+ \\(rakv.*\\); stop that one first",
                rakv_ct:run(Config, Command ++ [rakv_ct:system_dir(Config, r)])),
         failed(1, "in use by process [0-9]+ \\(.+\\); stop that one first",
                rakv_ct:run(Config, Command ++ [rakv_ct:system_dir(Config, b)]))
     end || Command <- ?COMMANDS],
    %% neither did them any harm
    ?assertMatch({ok, _}, rakv_ct:call(Beam, ra_kv, put, [{kv, Rakv}, <<"key">>, 1, 5000])).

usage(Config) ->
    [begin
         failed(2, "DIR is required.*see rakv " ++ Name ++ " --help", rakv_ct:run(Config, Command)),
         failed(2, "see rakv", rakv_ct:run(Config, Command ++ ["a", "b"])),
         {0, Help, <<>>} = rakv_ct:run(Config, [Name, "--help"]),
         ?assertMatch({match, _}, re:run(Help, "Exit codes: 0 .*Examples:\n  rakv " ++ Name, [dotall]))
     end || [Name | _] = Command <- ?COMMANDS],
    failed(2, "--check is required", rakv_ct:run(Config, ["takeover", "/tmp"])).

output_is_closed(Config) ->
    Dir = stopped_rakv(Config),
    failed(5, "standard output", rakv_ct:run(Config, ["check", Dir], #{redirect => ">/dev/full"})).

%% ---------------------------------------------------------------------------------------------------------------
%% What does.

check_of_a_sound_directory(Config) ->
    Dir = stopped_rakv(Config),
    Before = files(Dir),
    %% whoever only reads there does not count as a node
    {ok, Backup} = file:open(filename:join(Dir, "meta.dets"), [read, raw]),
    {0, Text, <<>>} = rakv_ct:run(Config, ["check", Dir]),
    ok = file:close(Backup),
    [?assertMatch({match, _}, re:run(Text, Pattern, [multiline]))
     || Pattern <- ["^" ++ Dir ++ ": owner rakv, 1 WAL files, 1 servers$",
                    "^server kv \\(UId KV[A-Z0-9]{12}\\): term 1, voted for .+, log up to 11 \\(term 1\\), 0 segments; "
                    "read 12 entries, [0-9]+ bytes$",
                    "^sound$"]],
    {0, Json, <<>>} = rakv_ct:run(Config, ["check", "--json", Dir ++ "/"]),
    Node = atom_to_binary(rakv_ct:node_name(Config, r)),
    ?assertMatch(#{<<"directory">> := _, <<"owner">> := <<"rakv">>, <<"ok">> := true, <<"wal_files">> := 1,
                   <<"servers">> := [#{<<"name">> := <<"kv">>, <<"uid">> := _, <<"term">> := 1, <<"voted_for">> := Node,
                                       <<"last_applied">> := _, <<"snapshot_index">> := null, <<"live_entries">> := 0,
                                       <<"first_index">> := _, <<"last_index">> := 11, <<"last_term">> := 1,
                                       <<"segments">> := 0, <<"entries_read">> := 12, <<"bytes_read">> := _}],
                   <<"findings">> := _, <<"changes">> := _}, json:decode(Json)),
    ?assertEqual(Before, files(Dir)).

check_of_damage(Config) ->
    Dir = stopped_rakv(Config),
    ok = file:delete(filename:join(Dir, "meta.dets")),
    Before = files(Dir),
    {6, Text, <<>>} = rakv_ct:run(Config, ["check", Dir]),
    ?assertMatch({match, _}, re:run(Text, "^damage: server kv .*meta.dets knew of term 0 only", [multiline])),
    ?assertMatch({match, _}, re:run(Text, "^damaged$", [multiline])),
    {6, Json, <<>>} = rakv_ct:run(Config, ["check", "--json", Dir]),
    #{<<"ok">> := false, <<"findings">> := Findings} = json:decode(Json),
    ?assertMatch([_], [F || #{<<"severity">> := <<"damage">>} = F <- Findings]),
    ?assertEqual(Before, files(Dir)),
    %% a BEAM would not notice
    failed(1, "can't be released: server kv may have forgotten", rakv_ct:run(Config, ["release", Dir])).

takeover_of_a_beams_directory(Config) ->
    {Beam, Id, Dir} = beam_with_kv(Config),
    {ok, _} = rakv_ct:call(Beam, ra_kv, put, [Id, <<"key">>, 1, 5000]),
    ok = rakv_ct:kill_beam(Config, Beam),
    Before = files(Dir),
    {0, Text, <<>>} = rakv_ct:run(Config, ["takeover", "--check", Dir]),
    ?assertMatch({match, _}, re:run(Text, "owner beam, 1 WAL files, 1 servers")),
    ?assertMatch({match, _}, re:run(Text, "^yes: rakv can take it over$", [multiline])),
    {0, Json, <<>>} = rakv_ct:run(Config, ["takeover", "--check", "--json", Dir]),
    ?assertMatch(#{<<"ok">> := true, <<"owner">> := <<"beam">>}, json:decode(Json)),
    ?assertEqual(Before, files(Dir)),
    _ = rakv_ct:start_rakv(Config, b),
    ok = rakv:stop_node(rakv_ct:node_name(Config, b)),
    {6, Again, <<>>} = rakv_ct:run(Config, ["takeover", "--check", Dir]),
    ?assertMatch({match, _}, re:run(Again, "^obstacle: .*is rakv's already", [multiline])).

%% Another machine, and a directory that was renamed for another node.
takeover_refused(Config) ->
    {Beam, _, Dir} = beam_with_kv(Config),
    Other = {other, rakv_ct:node_of(Beam)},
    {ok, _, []} = rakv_ct:call(Beam, ra, start_cluster, [default, other, {module, other_machine, #{}}, [Other]]),
    ok = rakv_ct:kill_beam(Config, Beam),
    {6, Text, <<>>} = rakv_ct:run(Config, ["takeover", "--check", Dir]),
    ?assertMatch({match, _}, re:run(Text, "^obstacle: server other \\(UId .+\\): this node runs the machine", [multiline])),
    ?assertMatch({match, _}, re:run(Text, "^no: ", [multiline])),
    Renamed = filename:join(filename:dirname(Dir), "somebody@else"),
    ok = file:rename(Dir, Renamed),
    {6, Json, <<>>} = rakv_ct:run(Config, ["takeover", "--check", "--json", Renamed]),
    #{<<"findings">> := Findings} = json:decode(Json),
    Obstacles = [T || #{<<"severity">> := <<"obstacle">>, <<"text">> := T} <- Findings],
    ?assertMatch([_, _], Obstacles),
    [?assertMatch({match, _}, re:run(T, "belongs to the node .*, not somebody@else")) || T <- Obstacles].

release_twice(Config) ->
    Dir = stopped_rakv(Config),
    {0, Text, <<>>} = rakv_ct:run(Config, ["release", Dir]),
    ?assertMatch({match, _}, re:run(Text, ": released, a BEAM can start on it; servers: kv\n")),
    {0, Again, <<>>} = rakv_ct:run(Config, ["release", Dir]),
    ?assertMatch({match, _}, re:run(Again, ": is a BEAM's already; nothing was to be done\n$")),
    {0, Check, <<>>} = rakv_ct:run(Config, ["check", Dir]),
    ?assertMatch({match, _}, re:run(Check, "owner beam, 0 WAL files, 1 servers")).

repair_of_damage(Config) ->
    Dir = stopped_rakv(Config),
    Names = filename:join(Dir, "names.dets.rakv"),
    {ok, <<Head:20/binary, _:8/binary, Rest/binary>>} = file:read_file(Names),
    Damaged = <<Head/binary, "DAMAGED!", Rest/binary>>,
    ok = file:write_file(Names, Damaged),
    {6, _, <<>>} = rakv_ct:run(Config, ["check", Dir]),
    Before = files(Dir),
    {0, Dry, <<>>} = rakv_ct:run(Config, ["repair", "--dry-run", Dir]),
    ?assertMatch({match, _}, re:run(Dry, "^would set aside .*names.dets.rakv: .*\n(.*\n)*it would start\n$")),
    {0, DryJson, <<>>} = rakv_ct:run(Config, ["repair", "--dry-run", "--json", Dir]),
    ?assertMatch(#{<<"dry_run">> := true, <<"ok">> := true, <<"left">> := [], <<"notices">> := [_ | _],
                   <<"set_aside">> := [#{<<"path">> := _, <<"why">> := _}]}, json:decode(DryJson)),
    ?assertEqual(Before, files(Dir)),
    {0, Done, <<>>} = rakv_ct:run(Config, ["repair", Dir]),
    ?assertMatch({match, _}, re:run(Done, "^set aside .*names.dets.rakv: .*\n(.*\n)*it can start\n$")),
    ?assertEqual({ok, Damaged}, file:read_file(Names ++ ".bad")),
    {0, _, <<>>} = rakv_ct:run(Config, ["check", Dir]),
    Rakv = rakv_ct:start_rakv(Config, r),
    ?assertEqual({0, <<"value">>, <<>>},
                 rakv_ct:run(Config, ["get", "--server", atom_to_list(Rakv), "--cookie", rakv_ct:cookie(Config), "10"])).

repair_that_is_not_possible(Config) ->
    Dir = stopped_rakv(Config),
    [File] = filelib:wildcard(filename:join([Dir, "*", "config"])),
    ok = file:write_file(File, "#{"),
    {6, Text, <<>>} = rakv_ct:run(Config, ["repair", Dir]),
    ?assertMatch({match, _}, re:run(Text, "^damage: the server with UId .*config.*\nnot all could be repaired\n$", [multiline])).

%% ---------------------------------------------------------------------------------------------------------------

%% The directory of a node with a cluster kv and ten keys, stopped in order.
stopped_rakv(Config) ->
    Rakv = rakv_ct:start_rakv(Config, r, #{bootstrap => kv}),
    [{0, _, <<>>} = rakv_ct:run(Config, ["put", "--server", atom_to_list(Rakv), "--cookie", rakv_ct:cookie(Config),
                                         integer_to_list(Number), "value"]) || Number <- lists:seq(1, 10)],
    ok = rakv:stop_node(Rakv),
    rakv_ct:system_dir(Config, r).

beam_with_kv(Config) ->
    Beam = rakv_ct:start_beam(Config, b, #{modules => [other_machine]}),
    ok = rakv_ct:start_ra(Config, Beam),
    Id = {kv, rakv_ct:node_of(Beam)},
    {ok, [Id], []} = rakv_ct:call(Beam, ra_kv, start_cluster, [default, kv, #{members => [Id]}]),
    {Beam, Id, rakv_ct:system_dir(Config, b)}.

files(Dir) ->
    [{File, file:read_file(File)} || File <- filelib:wildcard(filename:join(Dir, "**")), filelib:is_regular(File)].

%% It failed with one line that says what was wrong.
failed(Code, Pattern, {Status, Output, Error}) ->
    ?assertMatch({_, {match, _}}, {Error, re:run(Error, "^rakv: error: [^\n]+\n$")}),
    ?assertMatch({_, {match, _}}, {Error, re:run(Error, Pattern)}),
    ?assertEqual({Code, <<>>, Error}, {Status, Output, Error}).
