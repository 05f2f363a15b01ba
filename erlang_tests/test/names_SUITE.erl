%% SPDX-License-Identifier: Apache-2.0
%% A node's name is checked at the start as OTP 29 checks it: what `net_kernel:start/2`, which is what `erl -sname` and
%% `erl -name` call, takes in the BEAM is taken, and comes to the same full name; what it refuses is one line and exit
%% code 2. Where we are stricter the table says so.
-module(names_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() -> [short_names, long_names, not_utf8, cluster_names, name_that_was_just_given_back, name_that_stays_taken].

suite() -> [{timetrap, {minutes, 5}}].

init_per_testcase(_Case, Config0) ->
    Config = rakv_ct:init(Config0),
    {ok, Peer, _} = peer:start(#{connection => standard_io}),
    [{peer, Peer} | Config].

end_per_testcase(_Case, Config) ->
    peer:stop(?config(peer, Config)),
    rakv_ct:finish(Config).

short_names(Config) ->
    Run = ?config(rakv_run, Config),
    X = fun(N) -> lists:duplicate(N - length(Run) - 1, $x) ++ "-" ++ Run end,
    Same = [Run, Run ++ "@", Run ++ "@h", "_" ++ Run, "-" ++ Run ++ "@h", Run ++ "@h_x", Run ++ "@h:1", Run ++ "@h~", Run ++ "@ä",
            Run ++ "@localhost", Run ++ "@127", Run ++ "@::1", X(200) ++ "@h", X(253) ++ "@h", X(254) ++ "@h", X(250), X(255), X(256),
            "", "@", "@h", Run ++ ".b", Run ++ "@b@c", Run ++ "@@h", Run ++ " b", " " ++ Run, Run ++ "\t", Run ++ "\n",
            Run ++ "\n@h", ".", "..", Run ++ "@h.d", Run ++ "@h.", Run ++ "@.h", Run ++ "@..", Run ++ "@h h", Run ++ "@h\n\n",
            Run ++ "@h\001", Run ++ "@h\e[1m", Run ++ "@л", "ä", Run ++ "ä", "л", Run ++ "/b", Run ++ ":b", "'" ++ Run ++ "'",
            Run ++ "@" ++ lists:duplicate(254, $h)],
    [?assertEqual({Name, erl(Config, Name, shortnames)}, {Name, rakv(Config, "--sname", Name)}) || Name <- Same],
    %% a folder's name has no slash; nobody means the others
    [?assertMatch({Name, {ok, _}, refused}, {Name, erl(Config, Name, shortnames), rakv(Config, "--sname", Name)})
     || Name <- [Run ++ "@h/x", Run ++ "@h\d", Run ++ "@h\240", Run ++ "@h\n"]],
    refused = rakv(Config, "--sname", "undefined").

long_names(Config) ->
    Run = ?config(rakv_run, Config),
    [?assertEqual({Name, erl(Config, Name, longnames)}, {Name, rakv(Config, "--name", Name)})
     || Name <- [Run ++ "@127.0.0.1", Run ++ "@localhost", Run ++ "@h", Run ++ "@h.d", Run ++ "@1.2.3", Run ++ "@é.d", Run ++ "@a.b.",
                 Run ++ "@::1", Run ++ "@..", "", "@h.d", Run ++ "@a.b@c", Run ++ "@a .b", Run ++ ".b@h.d",
                 Run ++ "@" ++ lists:duplicate(254, $h)]].

%% An atom can't be made of these; erl ends when it is started with one.
not_utf8(Config) ->
    [?assertEqual({Name, refused}, {Name, rakv(Config, Flag, Name)})
     || {Flag, Name} <- [{"--sname", <<"a", 255>>}, {"--sname", <<"a@", 255>>}, {"--sname", <<"a@h", 195>>}, {"--name", <<"a@h.", 255>>}]].

cluster_names(Config) ->
    [?assertEqual({Name, 2, <<>>, true}, {Name, Status, Out, one_line(Error)})
     || Name <- ["", ".", "..", "undefined", "a b", "a\nb", "a\e[31m", "a/b", "\d", lists:duplicate(256, $x), <<255>>, <<"a", 195>>],
        {Status, Out, Error} <- [start(Config, ["--sname", "n-" ++ ?config(rakv_run, Config), "--bootstrap", Name])]],
    {0, <<"ready ", _/binary>>, _} = start(Config, ["--sname", "n-" ++ ?config(rakv_run, Config), "--bootstrap", "orders.2026-é@x"]).

%% epmd is asked again for a second or two.
name_that_was_just_given_back(Config) ->
    Alive = "late-" ++ ?config(rakv_run, Config),
    Socket = register_at_epmd(Alive),
    Port = open_start(Config, ["--sname", Alive]),
    %% it asked at least once, and did not give up
    rakv_ct:wait_until(fun() -> lists:any(fun({_, {0, _}}) -> true; (_) -> false end, asked(Port)) end),
    ok = gen_tcp:close(Socket),
    receive {Port, {data, Data}} -> ?assertMatch({match, _}, re:run(Data, "ready " ++ Alive)) after 30000 -> ct:fail(not_ready) end,
    receive {Port, {exit_status, 0}} -> ok after 30000 -> ct:fail(not_ended) end.

name_that_stays_taken(Config) ->
    Alive = "taken-" ++ ?config(rakv_run, Config),
    Socket = register_at_epmd(Alive),
    {1, <<>>, Error} = start(Config, ["--sname", Alive]),
    ?assertMatch({true, {match, _}}, {one_line(Error), re:run(Error, Alive ++ ".*(taken|already|in use)")}),
    ok = gen_tcp:close(Socket).

%% ---------------------------------------------------------------------------------------------------------------

%% {ok, FullName} or refused.
erl(Config, Name, Domain) ->
    Peer = ?config(peer, Config),
    try peer:call(Peer, net_kernel, start, [list_to_atom(Name), #{name_domain => Domain}]) of
        {ok, _} ->
            Full = peer:call(Peer, erlang, node, []),
            ok = peer:call(Peer, net_kernel, stop, []),
            {ok, unicode:characters_to_binary(atom_to_list(Full))};
        {error, _} -> refused
    catch
        error:system_limit -> refused;
        _:_ -> refused
    end.

rakv(Config, Flag, Name) ->
    Argument = if is_list(Name) -> unicode:characters_to_binary(Flag ++ "=" ++ Name); true -> <<(list_to_binary(Flag))/binary, "=", Name/binary>> end,
    case start(Config, [Argument]) of
        {0, <<"ready ", Ready/binary>>, _} -> {ok, hd(binary:split(Ready, <<" ">>))};
        {2, <<>>, Error} -> ?assert(one_line(Error), Error), refused
    end.

one_line(Error) -> re:run(Error, "^[^\n\\x00-\\x1f]+\n$") =/= nomatch.

%% It ends by itself when it is ready.
start(Config, Args) ->
    rakv_ct:run(Config, ["start", "--cookie", "c", "--listen-address", "127.0.0.1", "--exit-with-parent",
                         "--data-dir", filename:join(?config(rakv_dir, Config), "data") | Args]).

open_start(Config, Args) ->
    {ok, Program} = rakv:program(),
    open_port({spawn_executable, "/bin/sh"},
              [{args, ["-c", "exec \"$0\" \"$@\" </dev/null 2>/dev/null", Program, "start", "--cookie", "c", "--listen-address", "127.0.0.1",
                       "--exit-with-parent", "--data-dir", filename:join(?config(rakv_dir, Config), "data") | Args]},
               binary, exit_status]).

%% Whether a socket of the program listens already: from then on it registers.
asked(Port) ->
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    {ok, Files} = file:list_dir("/proc/" ++ integer_to_list(OsPid) ++ "/fd"),
    [{File, {0, Link}} || File <- Files, {ok, "socket:" ++ Link} <- [file:read_link("/proc/" ++ integer_to_list(OsPid) ++ "/fd/" ++ File)]].

register_at_epmd(Alive) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, list_to_integer(os:getenv("ERL_EPMD_PORT", "4369")), [binary, {active, false}]),
    Name = list_to_binary(Alive),
    Request = <<120, 1:16, 77, 0, 6:16, 5:16, (byte_size(Name)):16, Name/binary, 0:16>>,
    ok = gen_tcp:send(Socket, <<(byte_size(Request)):16, Request/binary>>),
    {ok, <<_, 0, _/binary>>} = gen_tcp:recv(Socket, 0, 10000),
    Socket.
