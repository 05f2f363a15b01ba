%% SPDX-License-Identifier: Apache-2.0
%% The nodes that ra_kv_harness starts, BEAM and rakv, and the links between them.
%%
%% Every node has an epmd of its own (cluster_links), so that runs side by side may use the harness's fixed names, and
%% every connection between two nodes passes a relay. A node is a process here that owns the program's port: the end of
%% the one is the end of the other, also when this VM dies.
%%
%% The harness heals a partition only when it next draws one, and gives up on a get after 30 s. So a block ends by itself
%% after ?BLOCK_MS.
-module(harness_nodes).

-export([start_link/1, start/2, stop/1, stop_all/0, block/2, allow/2, started/0]).

-type config() :: #{rakv := all | odd | one | none,   % which of the nodes ra_test_N are rakv
                    dir := file:filename(),           % data and output of all nodes
                    stand_ins := file:filename()}.    % where inet_tcp_proxy_dist.beam lies
-type ended() :: {node(), Status :: integer()}.
-export_type([config/0]).

-define(BLOCK_MS, 10000).
-define(START_MS, 60000).
-define(STOP_MS, 20000).
-define(MAX_LINE, 16384).

%% Makes the caller's VM ready to become the node that runs the harness.
-spec start_link(config()) -> ok.
start_link(Config) ->
    Starter = self(),
    Keeper = spawn_link(fun() ->
        Links = cluster_links:start_link(),
        ok = harness_epmd:use(Links),
        Starter ! {self(), ready},
        keep(#{config => Config, links => Links, nodes => #{}, ended => [], started => [], timers => #{}})
    end),
    receive {Keeper, ready} -> ok end,
    true = register(?MODULE, Keeper),
    ok.

%% Starts a node and waits until it serves; what it runs depends on the number in its name.
-spec start(node(), [string()]) -> {ok, pid(), node()} | {error, term()}.
start(Node, Args) ->
    {Config, Port} = ask({start, Node}),
    Kind = kind(Node, Config),
    Caller = self(),
    Program = spawn(fun() -> run(Caller, Node, open(Kind, Node, Args, Port, Config), Config) end),
    Monitor = monitor(process, Program),
    Started = try serves(Kind, Node, Program, Monitor)
              catch throw:Reason -> {error, Reason}
              end,
    demonitor(Monitor, [flush]),
    case Started of
        ok ->
            ok = ask({started, Node, Kind, Program}),
            ok = load_stand_ins(Kind, Node, Config),
            {ok, Program, Node};
        {error, _} = Error ->
            ok = stop(Program),
            Error
    end.

%% Ends a node for good and waits until it is gone.
-spec stop(pid()) -> ok.
stop(Program) ->
    ok = ask({stopping, Program}),
    Monitor = monitor(process, Program),
    Program ! stop,
    receive {'DOWN', Monitor, process, Program, _} -> ok end.

%% Ends all nodes that still run. Gives those that ended without having been told to.
-spec stop_all() -> [ended()].
stop_all() ->
    {Programs, Ended} = ask(all),
    ok = lists:foreach(fun stop/1, Programs),
    Ended.

%% The nodes started so far, in order.
-spec started() -> [{node(), beam | rakv}].
started() ->
    ask(started).

%% From now on nothing passes between two nodes, silently, until allow/2 or for ?BLOCK_MS.
-spec block(node(), node()) -> ok.
block(A, B) -> ask({block, A, B}).

-spec allow(node(), node()) -> ok.
allow(A, B) -> ask({allow, A, B}).

%% ---------------------------------------------------------------------------------------------------------------
%% The keeper.

ask(Request) ->
    Monitor = monitor(process, ?MODULE),
    ?MODULE ! {ask, {self(), Monitor}, Request},
    receive
        {Monitor, Answer} -> demonitor(Monitor, [flush]), Answer;
        {'DOWN', Monitor, process, _, Reason} -> error({harness_nodes, Reason})
    end.

keep(State) ->
    receive
        {ask, {Caller, Tag}, Request} ->
            {Answer, Next} = answer(Request, State),
            Caller ! {Tag, Answer},
            keep(Next);
        {timeout, Timer, {A, B}} ->
            keep(expired(Timer, A, B, State));
        {'DOWN', _, process, Program, Reason} ->
            keep(ended(Program, Reason, State))
    end.

answer({start, Node}, #{config := Config, links := Links} = State) ->
    {{Config, cluster_links:port(Links, Node)}, State};
answer({started, Node, Kind, Program}, #{nodes := Nodes, started := Started} = State) ->
    _ = monitor(process, Program),
    {ok, State#{nodes := Nodes#{Program => Node}, started := [{Node, Kind} | Started]}};
answer({stopping, Program}, #{nodes := Nodes} = State) ->
    {ok, State#{nodes := maps:remove(Program, Nodes)}};
answer(all, #{nodes := Nodes, ended := Ended} = State) ->
    {{maps:keys(Nodes), Ended}, State};
answer(started, #{started := Started} = State) ->
    {lists:reverse(Started), State};
answer({block, A, B}, #{links := Links, timers := Timers} = State) ->
    ok = cluster_links:block(Links, A, B),
    Timer = erlang:start_timer(?BLOCK_MS, self(), {A, B}),
    {ok, State#{timers := Timers#{{A, B} => Timer}}};
answer({allow, A, B}, #{links := Links, timers := Timers} = State) ->
    ok = cluster_links:allow(Links, A, B),
    {ok, State#{timers := maps:remove({A, B}, Timers)}}.

%% A timer that is not the latest of its link has been overtaken by allow/2 or another block/2.
expired(Timer, A, B, #{links := Links, timers := Timers} = State) ->
    case Timers of
        #{{A, B} := Timer} ->
            ok = cluster_links:allow(Links, A, B),
            State#{timers := maps:remove({A, B}, Timers)};
        _ ->
            State
    end.

ended(Program, Reason, #{nodes := Nodes, ended := Ended} = State) ->
    case maps:take(Program, Nodes) of
        {Node, Left} -> State#{nodes := Left, ended := [{Node, Reason} | Ended]};
        error -> State
    end.

%% ---------------------------------------------------------------------------------------------------------------
%% One node's program.

kind(Node, #{rakv := Which}) ->
    Number = list_to_integer(lists:nth(3, string:lexemes(atom_to_list(Node), "_@"))),
    IsRakv = case Which of
                 all -> true;
                 odd -> Number rem 2 =:= 1;
                 one -> Number =:= 1;
                 none -> false
             end,
    case IsRakv of true -> rakv; false -> beam end.

open(Kind, Node, Args, EpmdPort, #{dir := Dir}) ->
    {Program, Arguments} = command(Kind, Node, Args, Dir),
    open_port({spawn_executable, Program},
              [{args, Arguments}, {env, [{"ERL_EPMD_PORT", integer_to_list(EpmdPort)}, {"ERL_CRASH_DUMP_SECONDS", "0"}]},
               {line, ?MAX_LINE}, binary, exit_status, stderr_to_stdout, use_stdio, hide]).

command(rakv, Node, _Args, Dir) ->
    {os:getenv("RAKV_BINARY"),
     ["start", "--sname", atom_to_list(Node), "--cookie", atom_to_list(erlang:get_cookie()), "--data-dir", Dir,
      "--test-hooks", "--exit-with-parent"]};
command(beam, Node, Args, _Dir) ->
    Watch = "spawn(fun Watch() -> case io:get_line([]) of eof -> halt(0); _ -> Watch() end end).",
    {os:find_executable("erl"),
     ["-sname", atom_to_list(Node), "-setcookie", atom_to_list(erlang:get_cookie()), "-start_epmd", "false",
      "-kernel", "prevent_overlapping_partitions", "false", "-noshell", "-eval", Watch | Args]}.

run(Caller, Node, Port, #{dir := Dir}) ->
    {ok, Output} = file:open(filename:join(Dir, atom_to_list(Node) ++ ".out"), [append, raw]),
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    run_on(#{port => Port, output => Output, os_pid => OsPid, caller => Caller}).

run_on(#{port := Port, output := Output, os_pid := OsPid, caller := Caller} = State) ->
    receive
        {Port, {data, {Flag, Line}}} ->
            ok = file:write(Output, case Flag of eol -> [Line, $\n]; noeol -> Line end),
            [Caller ! {ready, self()} || <<"ready ", _/binary>> <- [Line]],
            run_on(State);
        {Port, {exit_status, Status}} ->
            exit({status, Status});
        stop ->
            _ = os:cmd("kill -TERM " ++ integer_to_list(OsPid)),
            _ = erlang:send_after(?STOP_MS, self(), kill),
            run_on(State);
        kill ->
            _ = os:cmd("kill -KILL " ++ integer_to_list(OsPid)),
            run_on(State)
    end.

%% rakv says when it serves. A BEAM node answers before it has finished booting, so it is asked how far it is.
serves(rakv, _Node, Program, Monitor) ->
    receive
        {ready, Program} -> ok;
        {'DOWN', Monitor, process, Program, Reason} -> throw({ended, Reason})
    after ?START_MS ->
        throw(not_ready)
    end;
serves(beam, Node, Program, Monitor) ->
    booted(Node, Program, Monitor, erlang:monotonic_time(millisecond) + ?START_MS).

booted(Node, Program, Monitor, Deadline) ->
    case rpc:call(Node, init, get_status, [], 2000) of
        {started, _} ->
            ok;
        Other ->
            receive
                {'DOWN', Monitor, process, Program, Reason} -> throw({ended, Reason})
            after 50 ->
                erlang:monotonic_time(millisecond) < Deadline orelse throw({not_started, Other}),
                booted(Node, Program, Monitor, Deadline)
            end
    end.

load_stand_ins(rakv, _Node, _Config) ->
    ok;
load_stand_ins(beam, Node, #{stand_ins := StandIns}) ->
    File = filename:join(StandIns, "inet_tcp_proxy_dist.beam"),
    {ok, Code} = file:read_file(File),
    {module, inet_tcp_proxy_dist} = erpc:call(Node, code, load_binary, [inet_tcp_proxy_dist, File, Code]),
    erpc:call(Node, application, set_env, [rakv_harness, controller, node()]).
