%% SPDX-License-Identifier: Apache-2.0
%% The package by itself: a shell script stands in for the program.
-module(rakv_shim_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [ready, arguments, few_arguments, cookie_by_input, cookie_of_this_node, long_name, log_is_forwarded, long_lines, levels, ordered_stop, ordered_stop_with_a_status,
     deaf_program_is_killed, end_of_the_beam_ends_the_program, crash_restarts, restart_is_told_why,
     kill_of_what_has_just_ended, kill_for_good,
     restart_in_order, given_up_after_too_many_deaths, others_survive_a_given_up_node, refused_start, not_ready_in_time,
     comes_up_as_another, no_program, program_not_executable, bad_options, started_twice, not_running,
     nodes_of_the_environment, cookie_is_in_no_report, every_error_has_words].

suite() -> [{timetrap, {seconds, 60}}].

init_per_testcase(Case, Config) ->
    Dir = filename:join(?config(priv_dir, Config), Case),
    ok = filelib:ensure_path(Dir),
    os:unsetenv("RAKV_BINARY"),
    ok = application:set_env(rakv, binary, fake()),
    {ok, _} = application:ensure_all_started(rakv),
    ok = logger:add_handler(collect, ?MODULE, #{config => #{to => self()}}),
    ok = logger:update_primary_config(#{level => debug}),
    [{dir, Dir}, {name, atom_to_list(Case)} | Config].

end_per_testcase(_Case, Config) ->
    _ = application:stop(rakv),
    _ = logger:remove_handler(collect),
    application:unset_env(rakv, nodes),
    application:unset_env(rakv, binary),
    [?assertNot(alive(Pid), Pid) || Pid <- pids(Config)],
    ok.

%% ---------------------------------------------------------------------------------------------------------------

ready(Config) ->
    {ok, Node} = rakv:start_node(options(Config)),
    ?assertEqual(list_to_atom(?config(name, Config) ++ "@" ++ short_host()), Node),
    ?assertEqual([Node], rakv:nodes()),
    ?assertEqual(ok, rakv:await_ready(Node, 1000)),
    {ok, #{ready := true, port := 4711, os_pid := OsPid}} = rakv:info(Node),
    ?assertEqual([OsPid], pids(Config)),
    ?assertEqual({ok, OsPid}, rakv:os_pid(Node)),
    ?assert(alive(OsPid)).

arguments(Config) ->
    Dir = ?config(dir, Config),
    {ok, _} = rakv:start_node((options(Config))#{cookie => secret, data_dir => Dir, bootstrap => kv, config => "a b.toml",
                                                 args => ["--test-hooks"]}),
    ?assertEqual(["start", "--sname", "arguments", "--cookie-file", "-", "--data-dir", Dir, "--bootstrap", "kv",
                  "--config", "a b.toml", "--exit-with-parent", "--test-hooks"], lines(Config, "args")),
    ?assertEqual(["secret"], lines(Config, "cookies")).

%% What is not said here is left to the configuration file.
few_arguments(Config) ->
    {ok, Node} = rakv:start_node(maps:remove(cookie, options(Config))),
    ?assertEqual(["start", "--sname", "few_arguments", "--exit-with-parent"], lines(Config, "args")),
    ok = rakv:stop_node(Node),
    {ok, _} = rakv:start_node((maps:remove(cookie, options(Config)))#{cookie_file => "/some where/cookie"}),
    ?assertEqual(["start", "--sname", "few_arguments", "--cookie-file", "/some where/cookie", "--exit-with-parent"],
                 lines(Config, "args")).

%% Every life of the program is given the cookie, whatever is in it, and neither arguments nor environment show it.
cookie_by_input(Config) ->
    Cookie = "VERY #SECRET, [\"it's\"] 1 \\ -x",
    {ok, Node} = rakv:start_node((options(Config))#{cookie => Cookie}),
    {ok, OsPid} = rakv:os_pid(Node),
    [begin
         {ok, Shown} = file:read_file(filename:join(["/proc", integer_to_list(OsPid), File])),
         ?assertEqual(nomatch, binary:match(Shown, <<"SECRET">>))
     end || File <- ["cmdline", "environ"]],
    ok = rakv:kill_node(Node),
    ok = rakv:await_ready(Node, 10000),
    ?assertEqual([Cookie, Cookie], lines(Config, "cookies")).

%% A distributed BEAM gives its own cookie, unless the configuration file says what it is.
cookie_of_this_node(Config) ->
    {ok, Peer, _} = peer:start(#{name => peer:random_name(), connection => standard_io,
                                 args => ["-setcookie", "ofthisnode", "-pa" | code:get_path()]}),
    try
        ok = peer:call(Peer, application, set_env, [rakv, binary, fake()]),
        {ok, _} = peer:call(Peer, application, ensure_all_started, [rakv]),
        [begin
             File = filename:join(?config(dir, Config), "config.toml"),
             ok = file:write_file(File, Text),
             {ok, Node} = peer:call(Peer, rakv, start_node, [(maps:remove(cookie, options(Config)))#{config => File}], 30000),
             ?assertEqual({Text, Given}, {Text, lists:member("--cookie-file", lines(Config, "args"))}),
             ok = peer:call(Peer, rakv, stop_node, [Node], 30000)
         end || {Text, Given} <- [{"", true}, {"log-level = 'debug'\n# cookie = 'x'\n", true}, {"cookie = 'x'\n", false},
                                  {"sname = 'x'\n  \"cookie-file\"= 'x'\n", false}]],
        ?assertEqual(["ofthisnode", "ofthisnode"], lines(Config, "cookies"))
    after
        peer:stop(Peer)
    end.

long_name(Config) ->
    {ok, 'x@host.example.org'} = rakv:start_node((options(Config))#{name => "x@host.example.org"}),
    ?assertMatch(["start", "--name", "x@host.example.org" | _], lines(Config, "args")).

log_is_forwarded(Config) ->
    {ok, Node} = rakv:start_node(options(Config)),
    #{level := warning, meta := Meta} = logged("wal: slow disk: 12 ms"),
    ?assertMatch(#{domain := [rakv], rakv_node := Node}, Meta),
    ?assertMatch(#{level := notice}, logged("no level here")).

long_lines(Config) ->
    {ok, Node} = rakv:start_node(options(Config, [{"FAKE_LONG", "1"}])),
    {ok, #{last_log := Lines}} = rakv:info(Node),
    ?assertEqual(40000, iolist_size([Line || <<"x", _/binary>> = Line <- Lines])).

levels(_Config) ->
    [?assertEqual(Expected, rakv_log_line:parse(Line))
     || {Line, Expected} <- [{<<"2026-01-31T12:00:00.123Z info raft: x y">>, {info, <<"raft: x y">>}},
                             {<<"[2026-01-31 12:00:00.123] [warning] x">>, {warning, <<"x">>}},
                             {<<"[12:00:00] [name] [critical] x">>, {critical, <<"x">>}},
                             {<<"error: x">>, {error, <<"x">>}},
                             {<<"trace x">>, {debug, <<"x">>}},
                             {<<"warn  x">>, {warning, <<"x">>}},
                             {<<"there has been no error here">>, {notice, <<"there has been no error here">>}},
                             {<<"info">>, {notice, <<"info">>}},
                             {<<>>, {notice, <<>>}}]].

ordered_stop(Config) ->
    {ok, Node} = rakv:start_node(options(Config)),
    {ok, OsPid} = rakv:os_pid(Node),
    ok = rakv:stop_node(Node),
    ?assertNot(alive(OsPid)),
    ?assertEqual(["term"], lines(Config, "ended")),
    ?assertMatch(#{level := info}, logged("node: stopped")),
    ?assertEqual([], rakv:nodes()),
    ?assertEqual({error, not_running}, rakv:stop_node(Node)).

ordered_stop_with_a_status(Config) ->
    {ok, Node} = rakv:start_node(options(Config, [{"FAKE_STATUS", "9"}])),
    ok = rakv:stop_node(Node),
    ?assertMatch(#{level := warning},
                 logged(atom_to_list(Node) ++ " ended with status 9 while it was being stopped")).

deaf_program_is_killed(Config) ->
    {ok, Node} = rakv:start_node((options(Config, [{"FAKE_MODE", "deaf"}]))#{stop_timeout_ms => 100}),
    {ok, OsPid} = rakv:os_pid(Node),
    ok = rakv:stop_node(Node),
    ?assertNot(alive(OsPid)),
    ?assertEqual([], lines(Config, "ended")).

%% The owner of the port dies without a word, as it does when the whole BEAM is killed.
end_of_the_beam_ends_the_program(Config) ->
    {ok, Node} = rakv:start_node((options(Config))#{restart_intensity => {0, 1}}),
    {ok, OsPid} = rakv:os_pid(Node),
    exit(whereis(rakv_node:registered_name(Node)), kill),
    wait_until(fun() -> not alive(OsPid) end),
    ?assertEqual(["eof"], lines(Config, "ended")).

crash_restarts(Config) ->
    {ok, Node} = rakv:start_node(options(Config)),
    {ok, First} = rakv:os_pid(Node),
    ok = rakv:kill_node(Node),
    ?assertNot(alive(First)),
    ok = rakv:await_ready(Node, 10000),
    {ok, Second} = rakv:os_pid(Node),
    ?assertNotEqual(First, Second),
    ?assertEqual([First, Second], pids(Config)).

restart_is_told_why(Config) ->
    {ok, Node} = rakv:start_node(options(Config)),
    ok = rakv:kill_node(Node),
    #{report := Fields} = child_terminated_report(),
    {rakv_exited, Exit} = proplists:get_value(reason, Fields),
    ?assertMatch(#{node := Node, exit_status := 137, last_log := [_ | _]}, Exit).

%% The program has ended by itself, and its owner has that message before the request.
kill_of_what_has_just_ended(Config) ->
    {ok, Node} = rakv:start_node(options(Config)),
    {ok, OsPid} = rakv:os_pid(Node),
    Server = whereis(rakv_node:registered_name(Node)),
    ok = sys:suspend(Server),
    _ = os:cmd("kill -KILL " ++ integer_to_list(OsPid)),
    wait_until(fun() -> waits(Server, fun({_, {exit_status, _}}) -> true; (_) -> false end) end),
    {Killer, Monitor} = spawn_monitor(fun() -> exit({killed, rakv:kill_node(Node)}) end),
    wait_until(fun() -> waits(Server, fun(Message) -> element(1, Message) =:= '$gen_call' end) end),
    ok = sys:resume(Server),
    receive {'DOWN', Monitor, process, Killer, Reason} -> ?assertEqual({killed, {error, not_running}}, Reason) end,
    ok = rakv:await_ready(Node, 10000).

waits(Server, Is) ->
    {messages, Messages} = process_info(Server, messages),
    lists:any(Is, Messages).

kill_for_good(Config) ->
    {ok, Node} = rakv:start_node(options(Config)),
    {ok, OsPid} = rakv:os_pid(Node),
    ok = rakv:kill_node(Node, #{restart => false}),
    ?assertNot(alive(OsPid)),
    ?assertEqual([], rakv:nodes()),
    ?assertEqual({error, not_running}, rakv:await_ready(Node, 1000)),
    {ok, Node} = rakv:start_node(options(Config)).

restart_in_order(Config) ->
    {ok, Node} = rakv:start_node(options(Config)),
    {ok, First} = rakv:os_pid(Node),
    {ok, Node} = rakv:restart_node(Node),
    ?assertNot(alive(First)),
    ?assertEqual(["term"], lines(Config, "ended")),
    ?assertMatch({ok, Second} when Second =/= First, rakv:os_pid(Node)).

given_up_after_too_many_deaths(Config) ->
    {ok, Node} = rakv:start_node((options(Config, [{"FAKE_MODE", "once"}]))#{restart_intensity => {2, 60}}),
    ok = rakv:kill_node(Node),
    ?assertEqual({error, not_running}, rakv:await_ready(Node, 20000)),
    %% once by hand, then as often as the intensity allows
    ?assertEqual(3, length(pids(Config))),
    ?assertMatch(#{level := critical}, logged("wal: bad disk")).

others_survive_a_given_up_node(Config) ->
    {ok, Other} = rakv:start_node((options(Config))#{name => other}),
    {ok, OtherPid} = rakv:os_pid(Other),
    given_up_after_too_many_deaths(lists:keystore(dir, 1, Config, {dir, sub_dir(Config)})),
    ?assertEqual({ok, OtherPid}, rakv:os_pid(Other)).

refused_start(Config) ->
    {error, {not_started, Report} = Error} = rakv:start_node(options(Config, [{"FAKE_MODE", "refuse"}])),
    ?assertMatch(#{exit_status := 3, last_log := [_]}, Report),
    ?assertMatch({match, _}, re:run(rakv:format_error(Error), "status 3.*\n.*directory is in use")),
    ?assertEqual([], rakv:nodes()),
    ?assertEqual(1, length(pids(Config))).

not_ready_in_time(Config) ->
    Options = (options(Config, [{"FAKE_MODE", "silent"}]))#{ready_timeout_ms => 300},
    {error, {not_started, Report} = Error} = rakv:start_node(Options),
    ?assertMatch(#{exit_status := ready_timeout}, Report),
    ?assertMatch({match, _}, re:run(rakv:format_error(Error), "not ready in time")),
    ?assertEqual([], rakv:nodes()).

comes_up_as_another(Config) ->
    {error, {not_started, Report} = Error} = rakv:start_node(options(Config, [{"FAKE_MODE", "other_name"}])),
    ?assertMatch(#{exit_status := {wrong_node, <<"somebody@else">>}}, Report),
    ?assertMatch({match, _}, re:run(rakv:format_error(Error), "came up as somebody@else")),
    ?assertEqual([], rakv:nodes()).

no_program(Config) ->
    application:set_env(rakv, binary, "/there/is/none"),
    ?assertEqual({error, {no_program, ["/there/is/none"]}}, rakv:start_node(options(Config))),
    %% the environment comes first
    os:putenv("RAKV_BINARY", fake()),
    ?assertEqual({ok, fake()}, rakv:program()),
    os:unsetenv("RAKV_BINARY").

program_not_executable(Config) ->
    Path = filename:join(?config(dir, Config), "text"),
    ok = file:write_file(Path, "hello"),
    {error, {cannot_execute, Path, eacces} = Error} = rakv:start_node((options(Config))#{program => Path}),
    ?assertMatch({match, _}, re:run(rakv:format_error(Error), "executable")),
    ?assertEqual([], rakv:nodes()).

bad_options(Config) ->
    Good = options(Config),
    [?assertEqual({error, {bad_option, Key, Value}}, rakv:start_node(Good#{Key => Given}))
     || {Key, Given, Value} <- [{name, "a@b@c", "a@b@c"}, {name, "@host", "@host"}, {name, "", ""}, {cookie, 7, 7},
                                {nmae, x, unknown}, {ready_timeout_ms, 0, 0}, {stop_timeout_ms, infinity, infinity},
                                {restart_intensity, 5, 5}, {env, [x], [x]}, {args, [x, 1], 1},
                                {data_dir, 1, 1}]],
    ?assertEqual({error, {bad_option, name, missing}}, rakv:start_node(maps:remove(name, Good))),
    ?assertEqual([], rakv:nodes()).

started_twice(Config) ->
    {ok, Node} = rakv:start_node(options(Config)),
    ?assertEqual({error, {already_started, Node}}, rakv:start_node(options(Config))),
    ?assertEqual(1, length(pids(Config))).

not_running(_Config) ->
    [?assertEqual({error, not_running}, Call())
     || Call <- [fun() -> rakv:info('a@b') end, fun() -> rakv:os_pid('a@b') end, fun() -> rakv:kill_node('a@b') end,
                 fun() -> rakv:restart_node('a@b') end, fun() -> rakv:await_ready('a@b', 100) end]].

nodes_of_the_environment(Config) ->
    ok = application:stop(rakv),
    ok = application:set_env(rakv, nodes, [options(Config)]),
    ok = application:start(rakv),
    ?assertMatch([_], rakv:nodes()),
    ok = application:stop(rakv),
    ?assertEqual(["term"], lines(Config, "ended")),
    %% one that can't start: neither does the application, and nothing is left
    ok = application:set_env(rakv, nodes, [options(Config), (options(Config, [{"FAKE_MODE", "refuse"}]))#{name => b}]),
    {error, {{#{name := b}, {not_started, _}}, {rakv_app, start, _}}} = application:start(rakv),
    ok = application:set_env(rakv, nodes, []),
    {ok, _} = application:ensure_all_started(rakv).

cookie_is_in_no_report(Config) ->
    {ok, Node} = rakv:start_node((options(Config))#{cookie => 'VERYSECRET'}),
    ok = rakv:kill_node(Node),
    ok = rakv:await_ready(Node, 10000),
    exit(whereis(rakv_node:registered_name(Node)), {shutdown, x}),
    ok = rakv:await_ready(Node, 10000),
    rakv_node:registered_name(Node) ! {'EXIT', port, x},
    ok = rakv:stop_node(Node),
    Everything = io_lib:format("~p", [drain([])]),
    ?assertNotEqual(nomatch, string:find(Everything, "rakv_exited")),
    ?assertEqual(nomatch, string:find(Everything, "VERYSECRET")).

every_error_has_words(_Config) ->
    Report = #{node => 'a@b', exit_status => 139, last_log => [<<"x">>]},
    [?assertMatch({match, _}, re:run(rakv:format_error(Error), Words), Error)
     || {Error, Words} <- [{{already_started, 'a@b'}, "stop it first"}, {{no_program, []}, "make build"},
                           {{no_program, ["/x"]}, "at /x"}, {{bad_option, name, 1}, "rakv:options"},
                           {{not_started, Report}, "signal 11"}, {not_running, "no such node"},
                           {timeout, "in time"}, {something, "something"}]].

%% ---------------------------------------------------------------------------------------------------------------

options(Config) -> options(Config, []).

options(Config, Env) ->
    #{name => ?config(name, Config), cookie => test, env => [{"FAKE_DIR", ?config(dir, Config)} | Env]}.

fake() ->
    Suite = proplists:get_value(source, ?MODULE:module_info(compile)),
    Beside = filename:join(filename:dirname(code:which(?MODULE)), "fake_rakv.sh"),
    case filelib:is_regular(Beside) of
        true -> Beside;
        false -> filename:join(filename:dirname(Suite), "fake_rakv.sh")
    end.

sub_dir(Config) ->
    Dir = filename:join(?config(dir, Config), "sub"),
    ok = filelib:ensure_path(Dir),
    Dir.

short_host() ->
    {ok, Host} = inet:gethostname(),
    hd(string:split(Host, ".")).

lines(Config, File) ->
    case file:read_file(filename:join(?config(dir, Config), File)) of
        {ok, Content} -> string:lexemes(binary_to_list(Content), "\n");
        {error, enoent} -> []
    end.

pids(Config) -> [list_to_integer(Line) || Line <- lines(Config, "pids")].

%% A process that has ended but wasn't waited for yet is not alive.
alive(OsPid) ->
    case file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/stat") of
        {ok, Stat} ->
            [_, After] = string:split(Stat, <<") ">>, trailing),
            binary:first(After) =/= $Z;
        {error, _} ->
            false
    end.

wait_until(Fun) -> wait_until(Fun, erlang:monotonic_time(millisecond) + 10000).

wait_until(Fun, Deadline) ->
    case Fun() of
        true -> ok;
        false ->
            ?assert(erlang:monotonic_time(millisecond) < Deadline),
            receive after 10 -> wait_until(Fun, Deadline) end
    end.

%% A logger handler that sends what it gets to the test case.
log(Event, #{config := #{to := Pid}}) ->
    Pid ! {log, Event},
    ok.

%% The event with that text.
logged(Text) ->
    receive
        {log, #{msg := {string, String}} = Event} -> matching(Event, String, Text);
        {log, #{msg := {report, _}}} -> logged(Text);
        {log, #{msg := {Format, Args}} = Event} -> matching(Event, io_lib:format(Format, Args), Text)
    after 10000 -> error({not_logged, Text})
    end.

matching(Event, Logged, Text) ->
    case unicode:characters_to_list(Logged) of
        Text -> Event;
        _ -> logged(Text)
    end.

%% What the supervisor says about a child that died.
child_terminated_report() ->
    receive
        {log, #{msg := {report, #{label := {supervisor, child_terminated}} = Report}}} -> Report;
        {log, _} -> child_terminated_report()
    after 10000 -> error(not_reported)
    end.

drain(Events) ->
    receive
        {log, Event} -> drain([Event | Events])
    after 0 -> Events
    end.
