%% SPDX-License-Identifier: Apache-2.0
%% What the suites have in common: BEAM nodes of OTP 29 and OTP 25, rakv nodes, and waiting for conditions.
%%
%%   init_per_testcase(_, Config) -> rakv_ct:init(Config).
%%   end_per_testcase(_, Config) -> rakv_ct:finish(Config).
%%
%%   Beam = rakv_ct:start_beam(Config, member),                    % an OTP 29 node
%%   Old = rakv_ct:start_beam(Config, client, #{otp => 25}),
%%   Rakv = rakv_ct:start_rakv(Config, r1, #{bootstrap => kv}),    % its node name
%%   pong = rakv_ct:call(Beam, net_adm, ping, [Rakv]).
%%
%% The BEAM that runs the suites is not distributed: it steers others over their standard input and output, so that
%% it neither disturbs nor repairs a network that a test cuts. Every node of a test case has a name that no other run
%% has, and all of them share a cookie of that test case. finish/1 stops whatever was started, by its own process, and
%% fails the test case when a BEAM complained about what rakv sent it.
%%
%% Read from the environment:
%%   RAKV_BINARY   the program (the rebar3 package `rakv` finds it)
%%   RAKV_OTP25    an OTP 25's erl; default: /usr/bin/erl
%%   RAKV_SLOWNESS how many times longer conditions are waited for (default 1), for programs that sanitizers slow down
-module(rakv_ct).

-include_lib("common_test/include/ct.hrl").

-export([init/1, finish/1]).
-export([start_beam/2, start_beam/3, start_ra/2, start_ra/3, stop_beam/2, kill_beam/2, sync_names/1, call/4, call/5, node_of/1]).
-export([start_rakv/2, start_rakv/3, node_name/2, data_dir/2, system_dir/2, cookie/1]).
-export([run/2, run/3, collect/2]).
-export([wait_until/1, wait_until/2, wait_for/2, sources/0]).
-export([beam_log/2, complaints/1]).
-export_type([beam/0]).

-type config() :: [{atom(), term()}].
-opaque beam() :: #{node := node(), peer := pid(), log := file:filename(), os_pid := string(), otp := 25 | 29}.
-type beam_options() :: #{otp => 25 | 29,
                          %% Sources to compile with that OTP and put on the node's code path; default for OTP 25:
                          %% plain_kv_client, the client that needs no ra.
                          modules => [module()],
                          %% Further arguments of erl.
                          args => [string()],
                          env => [{string(), string()}]}.

-define(CALL_TIMEOUT_MS, 60000).
-define(WAIT_MS, 30000).
%% Longer than the nodes take to end in order.
-define(STOP_MS, 20000).

%% ---------------------------------------------------------------------------------------------------------------
%% A test case's frame.

%% Prepares a test case: a cookie, a folder, a keeper of what it starts.
-spec init(config()) -> config().
init(Config) ->
    {ok, _} = application:ensure_all_started(rakv),
    Run = os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive])),
    Dir = filename:join(?config(priv_dir, Config), "case-" ++ Run),
    ok = filelib:ensure_path(Dir),
    Keeper = spawn(fun() -> keep([]) end),
    ct:log("run ~ts, files in ~ts", [Run, Dir]),
    [{rakv_run, Run}, {rakv_dir, Dir}, {rakv_keeper, Keeper}, {rakv_cookie, "cookie-" ++ Run} | Config].

%% Stops all that the test case started. Fails when a BEAM logged that something it received was malformed. The data of
%% a case that passed is removed: a run of all suites would need gigabytes.
-spec finish(config()) -> ok | {fail, term()}.
finish(Config) ->
    Beams = kept(Config),
    [rakv:stop_node(Node) || Node <- rakv:nodes()],
    [stop(Beam) || Beam <- Beams],
    exit(?config(rakv_keeper, Config), kill),
    case [{maps:get(node, Beam), Lines} || Beam <- Beams, Lines <- [complaints(Beam)], Lines =/= []] of
        [] -> remove_data(Config, proplists:get_value(tc_status, Config));
        Found -> {fail, {malformed_messages, Found}}
    end.

%% What is mounted there stays.
remove_data(Config, ok) -> _ = file:del_dir_r(filename:join(?config(rakv_dir, Config), "data")), ok;
remove_data(_Config, _Failed) -> ok.

%% ---------------------------------------------------------------------------------------------------------------
%% BEAM nodes.

-spec start_beam(config(), atom() | string()) -> beam().
start_beam(Config, Name) ->
    start_beam(Config, Name, #{}).

%% Starts an Erlang node, visible, without the global that cuts links by itself.
-spec start_beam(config(), atom() | string(), beam_options()) -> beam().
start_beam(Config, Name, Options) ->
    Otp = maps:get(otp, Options, 29),
    Node = node_name(Config, Name),
    [Alive, Host] = string:split(atom_to_list(Node), "@"),
    Log = filename:join(?config(rakv_dir, Config), Alive ++ ".log"),
    {Exec, Paths} = runtime(Otp, Config, Options),
    Start = #{name => Alive,
              host => Host,
              connection => standard_io,
              wait_boot => ?CALL_TIMEOUT_MS,
              shutdown => {halt, ?STOP_MS},
              env => maps:get(env, Options, []) ++ [{"ERL_LIBS", ""} || Otp =:= 25] ++ [{"ERL_CRASH_DUMP_SECONDS", "0"}],
              args => ["-setcookie", cookie(Config), "-kernel", "prevent_overlapping_partitions", "false",
                       "-kernel", "logger", logger_config(Log)]
                  ++ lists:append([["-pa", Path] || Path <- Paths]) ++ maps:get(args, Options, [])},
    {ok, Peer, Node} = peer:start(case Exec of default -> Start; _ -> Start#{exec => Exec} end),
    Beam = #{node => Node, peer => Peer, log => Log, otp => Otp, os_pid => peer:call(Peer, os, getpid, [])},
    keep(Config, Beam),
    ct:log("~ts: OTP ~ts as process ~ts", [Node, peer:call(Peer, erlang, system_info, [otp_release]),
                                           maps:get(os_pid, Beam)]),
    Beam.

%% Starts ra's default system on an OTP 29 node, with its data in the test case's folder.
-spec start_ra(config(), beam()) -> ok.
start_ra(Config, Beam) ->
    start_ra(Config, Beam, []).

%% Parameters are those of ra's application environment.
-spec start_ra(config(), beam(), [{atom(), term()}]) -> ok.
start_ra(Config, #{node := Node} = Beam, Parameters) ->
    Dir = data_dir(Config, Node),
    ok = filelib:ensure_path(Dir),
    {ok, _} = call(Beam, ra, start, [[{data_dir, Dir} | Parameters]]),
    ok.

%% Stops a node in order.
-spec stop_beam(config(), beam()) -> ok.
stop_beam(_Config, Beam) ->
    stop(Beam).

%% kill -9; start_beam/3 with the same name starts it again (and start_ra/2 with the same data). ra writes the names of
%% its servers to disk only every half second, and can't restart one whose name was lost: they are written first.
-spec kill_beam(config(), beam()) -> ok.
kill_beam(_Config, #{os_pid := OsPid, peer := Peer} = Beam) ->
    ok = sync_names(Beam),
    _ = os:cmd("kill -KILL " ++ OsPid),
    Monitor = monitor(process, Peer),
    receive
        {'DOWN', Monitor, process, Peer, _} -> ok
    after ?STOP_MS ->
        ct:fail({did_not_die, OsPid})
    end.

%% What kill_beam/2 does first, for those who kill by themselves.
-spec sync_names(beam()) -> ok.
sync_names(Beam) ->
    case lists:keymember(ra, 1, call(Beam, application, which_applications, [])) of
        true ->
            #{names := #{directory_rev := Names}} = call(Beam, ra_system, fetch, [default]),
            call(Beam, dets, sync, [Names]);
        false ->
            ok
    end.

-spec call(beam(), module(), atom(), [term()]) -> term().
call(Beam, Module, Function, Args) ->
    call(Beam, Module, Function, Args, ?CALL_TIMEOUT_MS).

%% Runs a function on that node; its exceptions are raised here.
-spec call(beam(), module(), atom(), [term()], timeout()) -> term().
call(#{peer := Peer}, Module, Function, Args, TimeoutMs) ->
    peer:call(Peer, Module, Function, Args, TimeoutMs).

-spec node_of(beam()) -> node().
node_of(#{node := Node}) -> Node.

%% Lines of the node's log that match a regular expression.
-spec beam_log(beam(), iodata()) -> [binary()].
beam_log(#{log := Log}, Pattern) ->
    case file:read_file(Log) of
        {ok, Content} ->
            [Line || Line <- binary:split(Content, <<"\n">>, [global]), re:run(Line, Pattern) =/= nomatch];
        {error, enoent} ->
            []
    end.

%% What a BEAM says when the other side does not keep to the distribution protocol.
-spec complaints(beam()) -> [binary()].
complaints(Beam) ->
    beam_log(Beam, "Invalid distribution message|got_corrupt_message|badfrag|bad_dist_ext|Got corrupted message|"
                   "Missing 'alive_seq'|bad cookie|Invalid challenge").

%% ---------------------------------------------------------------------------------------------------------------
%% rakv nodes.

-spec start_rakv(config(), atom() | string()) -> node().
start_rakv(Config, Name) ->
    start_rakv(Config, Name, #{}).

%% Starts the program through the rebar3 package and waits until it serves. Options are those of rakv:start_node/1;
%% name, cookie and folder are set here. The same name again is the same node with its data.
-spec start_rakv(config(), atom() | string(), map()) -> node().
start_rakv(Config, Name, Options) ->
    Node = node_name(Config, Name),
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    Times = #{ready_timeout_ms => 30000 * slowness(), stop_timeout_ms => 15000 * slowness()},
    case rakv:start_node(maps:merge(Times, Options#{name => Alive, cookie => cookie(Config),
                                                    data_dir => data_dir(Config, Name)})) of
        {ok, Node} ->
            {ok, OsPid} = rakv:os_pid(Node),
            ct:log("~ts: rakv as process ~b", [Node, OsPid]),
            Node;
        {error, Reason} ->
            ct:fail("~ts", [rakv:format_error(Reason)])
    end.

%% The name that a node called Name has in this test case.
-spec node_name(config(), atom() | string()) -> node().
node_name(Config, Name) ->
    {ok, Host} = inet:gethostname(),
    Text = case is_atom(Name) of true -> atom_to_list(Name); false -> Name end,
    list_to_atom(Text ++ "-" ++ ?config(rakv_run, Config) ++ "@" ++ hd(string:split(Host, "."))).

%% The folder that the data of a node lie in, whatever kind of node has the name: a rakv node is given it as --data-dir, a
%% BEAM as ra's data_dir.
-spec data_dir(config(), atom() | string()) -> file:filename().
data_dir(Config, _Name) ->
    filename:join(?config(rakv_dir, Config), "data").

%% The node's own folder in it.
-spec system_dir(config(), atom() | string()) -> file:filename().
system_dir(Config, Name) ->
    filename:join(data_dir(Config, Name), atom_to_list(node_name(Config, Name))).

-spec cookie(config()) -> string().
cookie(Config) ->
    ?config(rakv_cookie, Config).

%% ---------------------------------------------------------------------------------------------------------------
%% The program itself.

-spec run(config(), [string() | binary()]) -> {0..255, binary(), binary()}.
run(Config, Args) ->
    run(Config, Args, #{}).

%% Runs the program and gives {exit status, standard output, standard error}. How: stdin (a file), redirect (of the shell,
%% after all others), env.
-spec run(config(), [string() | binary()], map()) -> {0..255, binary(), binary()}.
run(Config, Args, How) ->
    {ok, Program} = rakv:program(),
    Errors = filename:join(?config(rakv_dir, Config), "stderr-" ++ integer_to_list(erlang:unique_integer([positive]))),
    Shell = "exec \"$0\" \"$@\" 2>\"$RAKV_STDERR\" <\"$RAKV_STDIN\" " ++ maps:get(redirect, How, ""),
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-c", Shell, Program | Args]}, binary, exit_status, hide,
                      {env, [{"RAKV_STDERR", Errors}, {"RAKV_STDIN", maps:get(stdin, How, "/dev/null")} | maps:get(env, How, [])]}]),
    {Status, Output} = collect(Port, []),
    {ok, Complaints} = file:read_file(Errors),
    {Status, Output, Complaints}.

%% Waits for the end of a program that was started with exit_status: {its status, its output}.
-spec collect(port(), iodata()) -> {0..255, binary()}.
collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output | Data]);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(Output)}
    end.

%% ---------------------------------------------------------------------------------------------------------------
%% Conditions.

-spec wait_until(fun(() -> term())) -> ok.
wait_until(Fun) ->
    wait_until(Fun, ?WAIT_MS).

%% Waits until Fun gives true. An exception in Fun counts as "not yet". Fails with what it gave last.
-spec wait_until(fun(() -> term()), pos_integer()) -> ok.
wait_until(Fun, TimeoutMs) ->
    _ = wait_for(fun() -> case Fun() of true -> {ok, true}; Other -> Other end end, TimeoutMs),
    ok.

%% Waits until Fun gives {ok, Value}, and gives Value.
-spec wait_for(fun(() -> {ok, Value} | term()), pos_integer()) -> Value.
wait_for(Fun, TimeoutMs) ->
    poll(Fun, TimeoutMs, erlang:monotonic_time(millisecond) + TimeoutMs * slowness()).

%% How many times longer things may take than with a release build.
slowness() -> list_to_integer(os:getenv("RAKV_SLOWNESS", "1")).

poll(Fun, TimeoutMs, Deadline) ->
    Result = try Fun()
             catch Class:Reason:Stack -> {Class, Reason, Stack}
             end,
    case Result of
        {ok, Value} ->
            Value;
        _ ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> receive after 20 -> poll(Fun, TimeoutMs, Deadline) end;
                false -> ct:fail({not_within_ms, TimeoutMs, last, Result})
            end
    end.

%% ---------------------------------------------------------------------------------------------------------------

stop(#{peer := Peer}) ->
    try peer:stop(Peer)
    catch exit:_ -> ok % it is gone already
    end,
    ok.

%% The keeper outlives the processes that Common Test runs parts of a test case in.
keep(Beams) ->
    receive
        {keep, Beam} -> keep([Beam | Beams]);
        {kept, From, Tag} -> From ! {Tag, Beams}, keep(Beams)
    end.

keep(Config, Beam) ->
    ?config(rakv_keeper, Config) ! {keep, Beam},
    ok.

kept(Config) ->
    Tag = make_ref(),
    ?config(rakv_keeper, Config) ! {kept, self(), Tag},
    receive {Tag, Beams} -> Beams
    after ?STOP_MS -> error(no_keeper)
    end.

logger_config(Log) ->
    lists:flatten(io_lib:format("[{handler,default,logger_std_h,#{config=>#{file=>~p},"
                                "formatter=>{logger_formatter,#{single_line=>true}}}}]", [Log])).

%% The erl to start, and the folders of code it gets.
runtime(29, Config, Options) ->
    {default, [Dir || #{modules := Modules} <- [Options], Dir <- [compiled(29, "erlc", Modules, Config)]]};
runtime(25, Config, Options) ->
    Erl = os:getenv("RAKV_OTP25", "/usr/bin/erl"),
    filelib:is_regular(Erl) orelse ct:fail("there is no erl of OTP 25 at ~ts: name one in RAKV_OTP25", [Erl]),
    Modules = maps:get(modules, Options, [plain_kv_client]),
    Erlc = filename:join(filename:dirname(Erl), "erlc"),
    {Erl, [compiled(25, Erlc, Modules, Config)]}.

%% Where this module and others that suites share have their sources.
-spec sources() -> file:filename().
sources() -> filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile))).

%% Compiles modules from beside this one with the compiler of an OTP.
compiled(Otp, Erlc, Modules, Config) ->
    Out = filename:join(?config(rakv_dir, Config), "ebin" ++ integer_to_list(Otp)),
    ok = filelib:ensure_path(Out),
    Sources = sources(),
    [begin
         Source = filename:join(Sources, atom_to_list(Module) ++ ".erl"),
         Command = "env -u ERL_LIBS " ++ Erlc ++ " -o '" ++ Out ++ "' '" ++ Source ++ "' 2>&1; echo $?",
         case string:trim(os:cmd(Command)) of
             "0" -> ok;
             Output -> ct:fail("~ts of OTP ~b: ~ts", [Source, Otp, Output])
         end
     end || Module <- Modules],
    Out.
