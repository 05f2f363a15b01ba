%% SPDX-License-Identifier: Apache-2.0
%% Every setting of `rakv start` does what its help says, by its option and by its name in the file of --config; a test
%% here fails if it does nothing. What is wrong in a file is one line each with line and column, and exit code 2.
-module(settings_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() -> [{group, by_option}, {group, by_file}, every_option_is_tested, command_line_goes_before_the_file, alternatives_go_before_the_file,
          cookies_in_a_file, cookie_others_can_read_is_noticed, file_faults, option_faults, package_reads_config,
          cookie_is_not_shown, cookie_files_of_others, cookie_from_standard_input, client_cookie_is_not_shown,
          files_are_the_owners].

groups() ->
    Settings = [sname, name, cookie, 'cookie-file', 'data-dir', 'memory-budget', bootstrap, connect, 'listen-address', 'listen-port',
                'net-ticktime', 'log-level', 'exit-with-parent', 'test-hooks'],
    [{by_option, [], Settings}, {by_file, [], Settings}].

suite() -> [{timetrap, {minutes, 3}}].

init_per_group(How, Config) -> [{how, How} | Config].

end_per_group(_How, _Config) -> ok.

init_per_testcase(_Case, Config) -> rakv_ct:init(Config).

end_per_testcase(_Case, Config) -> rakv_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------
%% One case for each setting.

sname(Config) ->
    Alive = alive(Config),
    {_, Node, _} = ready(start(Config, [{sname, Alive}])),
    ?assertEqual(Alive ++ "@" ++ host(), Node).

name(Config) ->
    {_, Node, _} = ready(start(Config, [{name, alive(Config) ++ "@127.0.0.1"}])),
    ?assertEqual(alive(Config) ++ "@127.0.0.1", Node).

cookie(Config) ->
    {_, Node, _} = ready(start(Config, [{cookie, "an#other,[one]"}], [cookie])),
    ?assertMatch({1, <<>>, _}, status(Config, Node, "wrong")),
    ?assertEqual(no_server, status(Config, Node, "an#other,[one]")).

'cookie-file'(Config) ->
    File = filename:join(?config(rakv_dir, Config), "a cookie"),
    ok = file:write_file(File, "of a file\n"),
    ok = file:change_mode(File, 8#600),
    {_, Node, _} = ready(start(Config, [{'cookie-file', File}], [cookie])),
    ?assertEqual(no_server, status(Config, Node, "of a file")).

'data-dir'(Config) ->
    Dir = filename:join(?config(rakv_dir, Config), "else where"),
    {_, Node, _} = ready(start(Config, [{'data-dir', Dir}])),
    ?assert(filelib:is_dir(filename:join(Dir, Node))).

%% A WAL file has an eighth of the budget: with the default of 2 GB there would be no segment yet.
'memory-budget'(Config) ->
    {_, Node, _} = ready(start(Config, [{'memory-budget', "64MB"}, {bootstrap, "kv"}])),
    Value = filename:join(?config(rakv_dir, Config), "value"),
    ok = file:write_file(Value, binary:copy(<<"v">>, 5_000_000)),
    [{0, _, <<>>} = client(Config, ["put", "--server", Node, "--timeout", "60", "--value-file", Value, integer_to_list(N)])
     || N <- lists:seq(1, 4)],
    rakv_ct:wait_until(fun() -> filelib:wildcard(filename:join([data(Config), Node, "*", "*.segment"])) =/= [] end).

bootstrap(Config) ->
    {_, Node, _} = ready(start(Config, [{bootstrap, "orders"}])),
    {0, _, <<>>} = client(Config, ["put", "--server", Node, "--cluster", "orders", "k", "v"]).

connect(Config) ->
    Beams = [rakv_ct:start_beam(Config, Name) || Name <- ["c1", "c2"]],
    _ = ready(start(Config, [{connect, [atom_to_list(rakv_ct:node_of(Beam)) || Beam <- Beams]}])),
    [rakv_ct:wait_until(fun() -> lists:any(fun(N) -> lists:prefix(alive(Config), atom_to_list(N)) end, rakv_ct:call(Beam, erlang, nodes, [])) end)
     || Beam <- Beams].

'listen-address'(Config) ->
    {_, _, Port} = ready(start(Config, [{'listen-address', "127.0.0.2"}])),
    ?assertMatch({ok, _}, gen_tcp:connect({127, 0, 0, 2}, Port, [])),
    ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, [])),
    %% without it: everywhere, or where the name says
    {_, _, Everywhere} = ready(start(Config, [{sname, alive(Config) ++ "2"}], [sname])),
    [?assertMatch({ok, _}, gen_tcp:connect({127, 0, 0, N}, Everywhere, [])) || N <- [1, 2]],
    [begin
         {_, _, Loopback} = ready(start(Config, [{name, alive(Config) ++ N ++ "@" ++ Host}], [sname])),
         ?assertMatch({ok, _}, gen_tcp:connect({127, 0, 0, 1}, Loopback, [])),
         %% Not 127.0.0.2: the first node may have the same port there.
         ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 3}, Loopback, []))
     end || {N, Host} <- [{"3", "127.0.0.1"}, {"4", "localhost"}]].

'listen-port'(Config) ->
    {ok, Socket} = gen_tcp:listen(0, [{reuseaddr, true}]),
    {ok, Free} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    {_, _, Port} = ready(start(Config, [{'listen-port', Free}])),
    ?assertEqual(Free, Port).

%% With the default of 60 s it would take 45 s at least.
'net-ticktime'(Config) ->
    Beam = rakv_ct:start_beam(Config, "quiet"),
    Node = atom_to_list(rakv_ct:node_of(Beam)),
    {Program, _, _} = ready(start(Config, [{'net-ticktime', 4}, {connect, [Node]}])),
    rakv_ct:wait_until(fun() -> [] =/= rakv_ct:call(Beam, erlang, nodes, []) end),
    OsPid = maps:get(os_pid, Beam),
    "" = os:cmd("kill -STOP " ++ OsPid),
    said(Program, "connection to " ++ Node ++ " lost"),
    "" = os:cmd("kill -CONT " ++ OsPid).

'log-level'(Config) ->
    {Quiet, _, _} = ready(start(Config, [{'log-level', "error"}])),
    ?assertMatch({0, []}, stopped(Quiet)),
    {Normal, _, _} = ready(start(Config, [{'log-level', "info"}])),
    {0, Lines} = stopped(Normal),
    ?assertMatch([_ | _], [L || L <- Lines, binary:match(L, <<"[info]">>) =/= nomatch]).

'exit-with-parent'(Config) ->
    [begin
         Given = [{sname, alive(Config) ++ Suffix}, {'data-dir', data(Config)}, {cookie, "cookie"} | More],
         Program = case ?config(how, Config) of
                       by_option -> start_with(Config, Given, "</dev/null");
                       by_file -> start_with(Config, [{config, file(Config, Given)}], "</dev/null")
                   end,
         _ = ready(Program),
         case More of
             [_] -> receive {Program, {exit_status, 0}} -> ok after 30000 -> ct:fail(still_there) end;
             [] -> {0, _} = stopped(Program)
         end
     end || {Suffix, More} <- [{"1", [{'exit-with-parent', true}]}, {"2", []}]].

'test-hooks'(Config) ->
    Beam = rakv_ct:start_beam(Config, "asks"),
    Throw = fun(Node) -> rakv_ct:call(Beam, rpc, call, [list_to_atom(Node), erlang, throw, [x]]) end,
    {_, With, _} = ready(start(Config, [{'test-hooks', true}])),
    ?assertEqual(x, Throw(With)),
    {_, Without, _} = ready(start(Config, [{sname, alive(Config) ++ "2"}], [sname])),
    ?assertMatch({badrpc, _}, Throw(Without)).

%% ---------------------------------------------------------------------------------------------------------------

%% The help names no option that has no case here or in the suites of the other commands.
every_option_is_tested(Config) ->
    {_, _, Settings} = hd(groups()),
    Client = ["server", "cluster", "cookie", "cookie-file", "timeout"],
    [begin
         {0, Help, <<>>} = rakv_ct:run(Config, [Command, "--help"]),
         {match, Options} = re:run(Help, "^ +(?:-.,)?--([a-z-]+)", [global, multiline, {capture, [1], list}]),
         ?assertEqual({Command, lists:sort(["help" | Tested])}, {Command, lists:sort(lists:append(Options))})
     end || {Command, Tested} <- [{"start", ["config" | [atom_to_list(S) || S <- Settings]]},
                                  {"put", ["value-file", "term" | Client]}, {"get", ["output", "term" | Client]},
                                  {"delete", ["term" | Client]}, {"status", ["json" | Client]},
                                  {"check", ["json"]}, {"takeover", ["check", "json"]}, {"repair", ["dry-run", "json"]},
                                  {"release", []}, {"version", []}]].

command_line_goes_before_the_file(Config) ->
    Other = filename:join(?config(rakv_dir, Config), "not this"),
    File = file(Config, [{'data-dir', Other}, {'log-level', "debug"}, {cookie, "not this"}, {bootstrap, "not_this"},
                         {sname, "not_this"}, {'listen-address', "127.0.0.2"}, {connect, ["not_this@h"]}]),
    {_, Node, Port} = ready(start(Config, [{config, File}, {'data-dir', data(Config)}, {cookie, rakv_ct:cookie(Config)}, {bootstrap, "kv"},
                                           {'listen-address', "127.0.0.1"}], [cookie], by_option)),
    ?assertEqual(alive(Config) ++ "@" ++ host(), Node),
    ?assertNot(filelib:is_dir(Other)),
    ?assertMatch({ok, _}, gen_tcp:connect({127, 0, 0, 1}, Port, [])),
    {0, _, <<>>} = client(Config, ["put", "--server", Node, "k", "v"]).

%% --name instead of the file's sname, --cookie instead of its cookie-file.
alternatives_go_before_the_file(Config) ->
    File = file(Config, [{sname, "not_this"}, {'cookie-file', "/not/this"}]),
    Long = alive(Config) ++ "@127.0.0.1",
    {_, Node, _} = ready(start(Config, [{config, File}, {name, Long}, {cookie, rakv_ct:cookie(Config)}], [sname, cookie], by_option)),
    ?assertEqual(Long, Node).

cookies_in_a_file(Config) ->
    [begin
         File = file(Config, []),
         ok = file:write_file(File, ["cookie = ", Toml, " # a comment\n"]),
         {Program, Node, _} = ready(start(Config, [{config, File}], [cookie], by_option)),
         ?assertEqual({Toml, no_server}, {Toml, status(Config, Node, Cookie)}),
         {0, _} = stopped(Program)
     end || {Toml, Cookie} <- [{"\"a#b\"", "a#b"}, {"'a,b'", "a,b"}, {"'[a, \"b\"]'", "[a, \"b\"]"}, {"\"a'b\\\"c\\\\\"", "a'b\"c\\"},
                               {"'12345'", "12345"}, {"'1e5'", "1e5"}, {"'true'", "true"}, {"' x '", " x "}, {"'{a = 1}'", "{a = 1}"},
                               {"\"\\u00e9\"", "é"}]].

cookie_others_can_read_is_noticed(Config) ->
    File = file(Config, [{cookie, rakv_ct:cookie(Config)}]),
    [begin
         ok = file:change_mode(File, Mode),
         {Program, _, _} = ready(start(Config, [{config, File}], [cookie], by_option)),
         {0, Lines} = stopped(Program),
         ?assertEqual({Mode, Noticed}, {Mode, [] =/= [L || L <- Lines, re:run(L, "others can read it: run chmod 600") =/= nomatch]})
     end || {Mode, Noticed} <- [{8#644, true}, {8#600, false}]].

%% All of a file together; nothing is started.
file_faults(Config) ->
    File = file(Config, []),
    Start = fun(Args) -> rakv_ct:run(Config, ["start", "--data-dir", data(Config) | Args]) end,
    ok = file:write_file(File, "sname = 7\ncooky = 'x'\n  listen-port = 70000\nnet-ticktime = 'nan'\nlog-level = \"a\\nb\"\n"),
    {2, <<>>, Error} = Start(["--config", File]),
    Lines = binary:split(Error, <<"\n">>, [global, trim]),
    [?assertMatch({_, {match, _}}, {Line, re:run(Line, ["^rakv: error: ", File, ": ", Pattern])})
     || {Line, Pattern} <- lists:zip(Lines, ["line 1, column 9: sname", "line 2, column 1: there is no setting 'cooky'; is it cookie",
                                             "line 3, column 17: listen-port", "line 4, column 16: net-ticktime", "line 5, column 13: log-level"])],
    ok = file:write_file(File, "sname = 'x'\nlisten-port = = 1\n"),
    {2, <<>>, Syntax} = Start(["--config", File]),
    ?assertMatch({match, _}, re:run(Syntax, "^rakv: error: " ++ File ++ ": line 2, column [0-9]+: [^\n]+\n$")),
    [begin
         {2, <<>>, Unreadable} = Start(["--sname", "x", "--config", Bad]),
         ?assertMatch({match, _}, re:run(Unreadable, "^rakv: error: " ++ Bad ++ ": can't be read: [^\n]+\n$"))
     end || Bad <- ["/no/such/file", ?config(rakv_dir, Config), "/dev/zero", ""]],
    ?assertNot(filelib:is_dir(data(Config))).

option_faults(Config) ->
    [begin
         {Status, Out, Error} = rakv_ct:run(Config, ["start", "--data-dir", data(Config) | Args]),
         ?assertMatch({Args, 2, <<>>, {match, _}}, {Args, Status, Out, re:run(Error, "^rakv: error: [^\n]*" ++ Word ++ "[^\n]*see rakv start --help\n$")})
     end || {Word, Args} <-
                [{"--sname or --name", []}, {"--sname", ["--sname", "a b"]}, {"either --sname or --name", ["--sname", "a", "--name", "a@b.c"]},
                 {"either --cookie", ["--sname", "a", "--cookie", "c", "--cookie-file", "f"]}, {"--frob", ["--sname", "a", "--frob"]}]
                ++ [{Option, ["--sname", "a", Option ++ "=" ++ Value]}
                    || {Option, Values} <- [{"--listen-port", ["nan", "-1", "65536", "", "1e3", "0x10", "99999999999999999999", "1.0", " 1"]},
                                            {"--net-ticktime", ["nan", "inf", "0", "-1", "86401", "", "1.5", "soon", "99999999999999999999"]},
                                            {"--memory-budget", ["nan", "inf", "-64MB", "1MB", "", "64XB", "1.5GB", "99999999999999999999GB"]},
                                            {"--listen-address", ["", "nowhere", "127.0.0.1:80", "256.1.1.1"]},
                                            {"--log-level", ["", "loud", "INFO"]}, {"--connect", ["a b", "@h", "a@"]},
                                            {"--cookie", ["", lists:duplicate(256, $c)]}, {"--cookie-file", [""]}, {"--data-dir", [""]}],
                       Value <- Values]].

%% The rebar3 package's `config`.
package_reads_config(Config) ->
    File = file(Config, [{bootstrap, "from_file"}, {'log-level', "debug"}]),
    Node = rakv_ct:start_rakv(Config, packed, #{config => File}),
    {0, _, <<>>} = client(Config, ["put", "--server", atom_to_list(Node), "--cluster", "from_file", "k", "v"]),
    {ok, OsPid} = rakv:os_pid(Node),
    hidden(OsPid, rakv_ct:cookie(Config)),
    ok = rakv:stop_node(Node),
    Bad = file(Config, [{nothing, "x"}]),
    {error, Reason} = rakv:start_node(#{name => "packed2-" ++ ?config(rakv_run, Config), cookie => c, config => Bad, data_dir => data(Config)}),
    ?assertMatch({match, _}, re:run(rakv:format_error(Reason), "line 1, column 1: there is no setting 'nothing'")).

%% ---------------------------------------------------------------------------------------------------------------
%% The cookie.

cookie_is_not_shown(Config) ->
    Secret = "VERY SECRET",
    Program = start(Config, [{cookie, Secret}], [cookie], by_option),
    {os_pid, OsPid} = erlang:port_info(Program, os_pid),
    {_, Node, _} = ready(Program),
    hidden(OsPid, Secret),
    ?assertEqual(no_server, status(Config, Node, Secret)),
    {0, _} = stopped(Program).

cookie_files_of_others(Config) ->
    File = filename:join(?config(rakv_dir, Config), "cookie"),
    ok = file:write_file(File, "secret"),
    Refused = fun(Name, Words) ->
                  {1, <<>>, Error} = rakv_ct:run(Config, ["start", "--sname", alive(Config), "--data-dir", data(Config), "--cookie-file", Name]),
                  ?assertMatch({match, _}, re:run(Error, "^[^\n]+" ++ Words ++ "[^\n]*\n$")),
                  {1, <<>>, Client} = rakv_ct:run(Config, ["get", "--server", "a@b", "--cookie-file", Name, "k"]),
                  ?assertMatch({match, _}, re:run(Client, "^rakv: error: [^\n]*" ++ Words ++ "[^\n]*\n$"))
              end,
    [begin
         ok = file:change_mode(File, Mode),
         Refused(File, "must be accessible by its owner only")
     end || Mode <- [8#644, 8#640, 8#604, 8#620, 8#601, 8#777]],
    ok = file:change_mode(File, 8#600),
    ok = file:write_file(File, "se\001cret"),
    Refused(File, "one line of ASCII"),
    ok = file:write_file(File, ""),
    Refused(File, "is empty"),
    Refused("/no/such/file", "no cookie file at /no/such/file"),
    Refused(?config(rakv_dir, Config), "not a regular file").

cookie_from_standard_input(Config) ->
    Input = filename:join(?config(rakv_dir, Config), "input"),
    ok = file:write_file(Input, "of input\nvalue of input"),
    {Program, Node, _} = ready(start_with(Config, [{sname, alive(Config)}, {'data-dir', data(Config)}, {'cookie-file', "-"}, {bootstrap, "kv"}],
                                          "<'" ++ Input ++ "'")),
    {0, <<"stored", _/binary>>, <<>>} = rakv_ct:run(Config, ["put", "--server", Node, "--cookie-file", "-", "k", "v"], #{stdin => Input}),
    {2, <<>>, Error} = rakv_ct:run(Config, ["put", "--server", Node, "--cookie-file", "-", "--value-file", "-", "k"], #{stdin => Input}),
    ?assertMatch({match, _}, re:run(Error, "standard input can't give both")),
    {1, <<>>, _} = rakv_ct:run(Config, ["get", "--server", Node, "--cookie-file", "-", "k"]),
    {0, _} = stopped(Program).

client_cookie_is_not_shown(_Config) ->
    Secret = "VERY SECRET",
    {ok, Path} = rakv:program(),
    [begin
         Port = open_port({spawn_executable, Path}, [{args, ["put", "--server", "a@b", "--value-file", "-", "k" | Args]}, exit_status, binary]),
         {os_pid, OsPid} = erlang:port_info(Port, os_pid),
         rakv_ct:wait_until(fun() -> shown(OsPid, "cmdline") =/= <<>> andalso binary:match(shown(OsPid, "cmdline"), <<"***">>) =/= nomatch end),
         hidden(OsPid, Secret),
         port_close(Port),
         _ = os:cmd("kill " ++ integer_to_list(OsPid))
     end || Args <- [["--cookie", Secret], ["--cookie=" ++ Secret]]].

%% Whatever the user's umask is.
files_are_the_owners(Config) ->
    {ok, Path} = rakv:program(),
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-c", "umask 000; exec \"$0\" \"$@\"", Path, "start", "--sname", alive(Config), "--cookie", rakv_ct:cookie(Config),
                              "--data-dir", data(Config), "--exit-with-parent", "--bootstrap", "kv"]},
                      {line, 16384}, binary, exit_status, stderr_to_stdout]),
    {_, Node, _} = ready(Port),
    {0, _, <<>>} = client(Config, ["put", "--server", Node, "k", "v"]),
    {0, _} = stopped(Port),
    Open = string:lexemes(os:cmd("find '" ++ data(Config) ++ "' -perm /077"), "\n"),
    ?assertEqual([], Open).

%% ---------------------------------------------------------------------------------------------------------------

alive(Config) -> "set-" ++ ?config(rakv_run, Config).

host() -> {ok, Host} = inet:gethostname(), hd(string:split(Host, ".")).

data(Config) -> filename:join(?config(rakv_dir, Config), "data").

start(Config, Given) -> start(Config, Given, []).

start(Config, Given, Without) -> start(Config, Given, Without, ?config(how, Config)).

%% Starts the program with these settings, by option or by file, and those that every start needs.
start(Config, Given, Without, How) ->
    Needed = [S || {Name, _} = S <- [{sname, alive(Config)}, {cookie, rakv_ct:cookie(Config)}, {'data-dir', data(Config)}],
                   not lists:member(Name, Without), not lists:keymember(Name, 1, Given),
                   not (Name =:= sname andalso lists:keymember(name, 1, Given))],
    case How of
        by_file -> start_with(Config, [{config, file(Config, Given ++ Needed)}, {'exit-with-parent', true}], "");
        by_option -> start_with(Config, lists:ukeysort(1, Given ++ Needed ++ [{'exit-with-parent', true}]), "")
    end.

start_with(_Config, Settings, Redirect) ->
    {ok, Path} = rakv:program(),
    Args = lists:append([case Value of
                             true -> ["--" ++ atom_to_list(Name)];
                             [[_ | _] | _] -> ["--" ++ atom_to_list(Name) | Value];
                             _ when is_integer(Value) -> ["--" ++ atom_to_list(Name), integer_to_list(Value)];
                             _ when is_atom(Value) -> ["--" ++ atom_to_list(Name), atom_to_list(Value)];
                             _ -> ["--" ++ atom_to_list(Name), Value]
                         end || {Name, Value} <- Settings]),
    open_port({spawn_executable, "/bin/sh"},
              [{args, ["-c", "exec \"$0\" \"$@\" " ++ Redirect, Path, "start" | Args]}, {line, 16384}, binary, exit_status, stderr_to_stdout]).

file(Config, Settings) ->
    File = filename:join(?config(rakv_dir, Config), "config-" ++ integer_to_list(erlang:unique_integer([positive])) ++ ".toml"),
    ok = file:write_file(File, [io_lib:format("~s = ~ts\n", [Name, toml(Value)]) || {Name, Value} <- Settings]),
    ok = file:change_mode(File, 8#600),
    File.

toml(true) -> "true";
toml(Number) when is_integer(Number) -> integer_to_list(Number);
toml([[_ | _] | _] = List) -> ["[", lists:join(", ", [toml(Text) || Text <- List]), "]"];
toml(Text) -> io_lib:format("\"~ts\"", [Text]).

%% {Program, its node, its port}.
ready(Program) ->
    receive
        {Program, {data, {eol, <<"ready ", Line/binary>>}}} ->
            [Node, Port] = string:lexemes(unicode:characters_to_list(Line), " "),
            {Program, Node, list_to_integer(Port)};
        {Program, {data, {_, Line}}} ->
            self() ! {said, Program, Line},
            ready(Program);
        {Program, {exit_status, Status}} -> ct:fail({ended, Status, lines(Program)})
    after 60000 -> ct:fail(not_ready)
    end.

said(Program, Text) ->
    receive
        {Program, {data, {_, Line}}} ->
            case binary:match(Line, list_to_binary(Text)) of
                nomatch -> said(Program, Text);
                _ -> ok
            end
    after 30000 -> ct:fail({not_said, Text})
    end.

%% SIGTERM, its exit status, and all that it has said.
stopped(Program) ->
    {os_pid, OsPid} = erlang:port_info(Program, os_pid),
    _ = os:cmd("kill -TERM " ++ integer_to_list(OsPid)),
    receive
        {Program, {exit_status, Status}} -> {Status, lines(Program)}
    after 60000 -> ct:fail(did_not_end)
    end.

lines(Program) ->
    receive
        {said, Program, Line} -> [Line | lines(Program)];
        {Program, {data, {_, Line}}} -> [Line | lines(Program)]
    after 0 -> []
    end.

client(Config, [Command | Args]) -> rakv_ct:run(Config, [Command, "--cookie", rakv_ct:cookie(Config) | Args]).

%% A client with this cookie is let in: then it hears that there is no server.
status(Config, Node, Cookie) ->
    case rakv_ct:run(Config, ["status", "--server", Node, "--cookie=" ++ unicode:characters_to_list(Cookie), "--cluster", "nothing", "--timeout", "20"]) of
        {1, <<>>, Error} = Result ->
            case re:run(Error, "no server 'nothing'") of
                {match, _} -> no_server;
                nomatch -> Result
            end;
        Result -> Result
    end.

shown(OsPid, File) ->
    case file:read_file(filename:join(["/proc", integer_to_list(OsPid), File])) of
        {ok, Bytes} -> Bytes;
        {error, _} -> <<>>
    end.

hidden(OsPid, Secret) ->
    [begin
         Bytes = shown(OsPid, File),
         ?assertNotEqual(<<>>, Bytes),
         ?assertEqual(nomatch, binary:match(Bytes, list_to_binary(Secret)))
     end || File <- ["cmdline", "environ"]].
