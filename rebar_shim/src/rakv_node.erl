%% SPDX-License-Identifier: Apache-2.0
%% One rakv node: the owner of the program's port.
%%
%% What the program is relied on for (`rakv start`):
%%   - it writes one line "ready NODE@HOST PORT" to its standard output once it serves;
%%   - it logs to standard error, one line for each event, with the level as a word among the first of the line;
%%   - with --cookie-file - it takes the cookie from the first line of its standard input;
%%   - on SIGTERM it ends in order; with --exit-with-parent it does so too when its standard input ends. The second is
%%     what makes sure that no program outlives a BEAM that died.
%%
%% A program that dies ends this process with {rakv_exited, Report}, so that its supervisor starts the node again and
%% reports why. A program that dies before it was ever ready, or was told to end, ends it with {shutdown, _}: trying
%% the same again would not help.
-module(rakv_node).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/1, await_ready/2, info/1, options/1, kill/3, registered_name/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export([format_status/1]).
-export_type([settings/0, info/0, exit_report/0]).

%% What rakv:start_node/1 makes of its options. Whatever may hold the cookie is behind a fun, because supervisors write
%% how a child is started into their reports.
-type settings() :: #{node := node(),
                      program := file:filename(),
                      args := fun(() -> [string()]),
                      env := fun(() -> [{string(), string()}]),
                      input := fun(() -> binary()),          % for the program's standard input
                      options := fun(() -> rakv:options()),
                      been_ready := atomics:atomics_ref(),   % 1 once the program has served; outlives this process
                      ready_timeout_ms := pos_integer(),
                      stop_timeout_ms := pos_integer(),
                      restart_intensity := {non_neg_integer(), pos_integer()}}.
-type info() :: #{node := node(), os_pid := pos_integer() | undefined, ready := boolean(), port := inet:port_number() | undefined,
                  last_log := [binary()]}.
%% Why a program ended: its exit status (above 128: the signal's number plus 128) and the last lines it logged.
-type exit_report() :: #{node := node(), exit_status := non_neg_integer() | ready_timeout | {wrong_node, binary()},
                         last_log := [binary()]}.

-define(MAX_LINE, 16384).
-define(KEPT_LINES, 20).

-record(state, {settings :: settings(),
                port :: port(),
                os_pid :: pos_integer() | undefined,      % undefined: it ended before it could be asked
                tcp_port :: inet:port_number() | undefined,
                ready_timer :: reference() | undefined,
                part = <<>> :: binary(),                  % of a line longer than ?MAX_LINE
                lines = [] :: [binary()],                 % newest first
                waiting = [] :: [gen_server:from()],      % for readiness
                killers = [] :: [gen_server:from()],      % for the end of the program
                restart = true :: boolean()}).            % what kill/3 asked for

-spec start_link(settings()) -> {ok, pid()} | {error, term()}.
start_link(#{node := Node} = Settings) ->
    gen_server:start_link({local, registered_name(Node)}, ?MODULE, Settings, []).

-spec registered_name(node()) -> atom().
registered_name(Node) ->
    list_to_atom("rakv_node:" ++ atom_to_list(Node)).

%% Waits until the program serves, or says why it never will.
-spec await_ready(pid() | atom(), timeout()) -> ok | {error, exit_report()}.
await_ready(Server, Timeout) ->
    gen_server:call(Server, await_ready, Timeout).

-spec info(atom()) -> info().
info(Server) ->
    gen_server:call(Server, info).

%% What the node was started with, behind a fun.
-spec options(atom()) -> fun(() -> rakv:options()).
options(Server) ->
    gen_server:call(Server, options).

%% Sends the program a signal that it can't refuse and returns when it is gone.
-spec kill(atom(), boolean(), timeout()) -> ok.
kill(Server, Restart, Timeout) ->
    gen_server:call(Server, {kill, Restart}, Timeout).

-spec init(settings()) -> {ok, #state{}, {continue, started}} | {stop, term()}.
init(#{node := Node, program := Program, args := Args, env := Env, input := Input,
       ready_timeout_ms := ReadyMs} = Settings) ->
    process_flag(trap_exit, true),
    logger:set_process_metadata(#{domain => [rakv], rakv_node => Node}),
    Options = [{args, Args()}, {env, Env()}, {line, ?MAX_LINE}, binary, exit_status, stderr_to_stdout, use_stdio, hide],
    try open_port({spawn_executable, Program}, Options) of
        Port ->
            give(Port, Input()),
            OsPid = case erlang:port_info(Port, os_pid) of
                        {os_pid, Pid} -> Pid;
                        undefined -> undefined
                    end,
            Timer = erlang:send_after(ReadyMs, self(), ready_timeout),
            {ok, #state{settings = Settings, port = Port, os_pid = OsPid, ready_timer = Timer}, {continue, started}}
    catch
        error:Reason ->
            {stop, {shutdown, {cannot_execute, Program, Reason}}}
    end.

handle_continue(started, #state{settings = #{node := Node, program := Program}, os_pid = OsPid} = State) ->
    Verb = case been_ready(State) of
               false -> "starting";
               true -> "starting again"
           end,
    ?LOG_INFO("~ts ~ts as process ~p (~ts)", [Verb, Node, OsPid, Program]),
    {noreply, State}.

handle_call(await_ready, _From, #state{tcp_port = TcpPort} = State) when TcpPort =/= undefined ->
    {reply, ok, State};
handle_call(await_ready, From, #state{waiting = Waiting} = State) ->
    {noreply, State#state{waiting = [From | Waiting]}};
handle_call(info, _From, State) ->
    {reply, info_of(State), State};
handle_call(options, _From, #state{settings = #{options := Options}} = State) ->
    {reply, Options, State};
handle_call({kill, Restart}, From, #state{os_pid = OsPid, killers = Killers} = State) ->
    signal("KILL", OsPid),
    {noreply, State#state{killers = [From | Killers], restart = Restart}}.

handle_cast(_Message, State) ->
    {noreply, State}.

handle_info({Port, {data, {noeol, Part}}}, #state{port = Port, part = Before} = State)
  when byte_size(Before) < ?MAX_LINE ->
    {noreply, State#state{part = <<Before/binary, Part/binary>>}};
handle_info({Port, {data, {noeol, Part}}}, #state{port = Port, part = Before} = State) ->
    {noreply, forward(<<Before/binary, Part/binary>>, State#state{part = <<>>})};
handle_info({Port, {data, {eol, Rest}}}, #state{port = Port, part = Before} = State) ->
    {noreply, line(<<Before/binary, Rest/binary>>, State#state{part = <<>>})};
handle_info({Port, {exit_status, Status}}, #state{port = Port} = State) ->
    exited(Status, State);
handle_info(ready_timeout, #state{tcp_port = undefined, os_pid = OsPid} = State) ->
    signal("KILL", OsPid),
    exited(ready_timeout, State);
handle_info({wrong_node, Name}, State) ->
    exited({wrong_node, Name}, State);
handle_info({'EXIT', Port, Reason}, #state{port = Port} = State) ->
    {stop, {port_closed, Reason}, State};
handle_info(_Other, State) ->
    {noreply, State}.

%% Reports of a crash don't carry the settings.
-spec format_status(gen_server:format_status()) -> gen_server:format_status().
format_status(Status) ->
    maps:map(fun(state, #state{settings = #{node := Node}, os_pid = OsPid}) -> #{node => Node, os_pid => OsPid};
                (_, Value) -> Value
             end, Status).

%% A program that has ended already takes nothing; its exit status says more than this would.
give(_Port, <<>>) ->
    ok;
give(Port, Input) ->
    try port_command(Port, Input) of
        true -> ok
    catch
        error:badarg -> ok
    end.

%% The supervisor ends the node: SIGTERM, the deadline, SIGKILL. Its last log lines are still forwarded.
terminate({rakv_exited, #{exit_status := Status}}, _State) when is_integer(Status) ->
    ok;
terminate({shutdown, {_, #{exit_status := Status}}}, _State) when is_integer(Status) ->
    ok;
terminate(_Reason, #state{os_pid = OsPid, settings = #{stop_timeout_ms := StopMs}} = State) ->
    signal("TERM", OsPid),
    stop_loop(erlang:monotonic_time(millisecond) + StopMs, State).

%% ---------------------------------------------------------------------------------------------------------------

stop_loop(Deadline, #state{port = Port, os_pid = OsPid, settings = #{node := Node}} = State) ->
    receive
        {Port, {data, {_, Line}}} ->
            stop_loop(Deadline, forward(Line, State));
        {Port, {exit_status, 0}} ->
            ?LOG_INFO("~ts stopped in order", [Node]);
        {Port, {exit_status, Status}} ->
            ?LOG_WARNING("~ts ended with status ~b while it was being stopped", [Node, Status]);
        {'EXIT', Port, _} ->
            signal("KILL", OsPid)
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        ?LOG_ERROR("~ts did not stop in time and is killed", [Node]),
        signal("KILL", OsPid),
        receive
            {Port, {exit_status, _}} -> ok;
            {'EXIT', Port, _} -> ok
        end
    end.

%% A line of the program: the one that says it serves, or a line of its log.
line(<<"ready ", Rest/binary>> = Line, #state{tcp_port = undefined, settings = #{node := Node}} = State) ->
    Wanted = atom_to_binary(Node),
    case binary:split(string:trim(Rest), <<" ">>) of
        [Wanted, PortText] ->
            ready(binary_to_integer(PortText), State);
        [Other | _] ->
            self() ! {wrong_node, Other},
            forward(Line, State)
    end;
line(Line, State) ->
    forward(Line, State).

ready(TcpPort, #state{settings = #{node := Node, been_ready := Been}, waiting = Waiting, ready_timer = Timer} = State) ->
    _ = erlang:cancel_timer(Timer),
    ?LOG_INFO("~ts is ready on port ~b", [Node, TcpPort]),
    ok = atomics:put(Been, 1, 1),
    [gen_server:reply(From, ok) || From <- Waiting],
    State#state{tcp_port = TcpPort, waiting = [], ready_timer = undefined}.

been_ready(#state{settings = #{been_ready := Been}}) ->
    atomics:get(Been, 1) =:= 1.

%% Logs a line as the program meant it, and keeps the last ones for the report.
forward(Line, #state{lines = Lines} = State) ->
    {Level, Text} = rakv_log_line:parse(Line),
    logger:log(Level, "~ts", [Text]),
    State#state{lines = lists:sublist([Line | Lines], ?KEPT_LINES)}.

exited(Status, #state{settings = #{node := Node}, lines = Lines, waiting = Waiting, killers = Killers,
                      restart = Restart} = State) ->
    Report = #{node => Node, exit_status => Status, last_log => lists:reverse(Lines)},
    [gen_server:reply(From, ok) || From <- Killers],
    Reason = case {Restart, been_ready(State)} of
                 {false, _} -> {shutdown, {killed, Report}};
                 {true, false} -> {shutdown, {not_started, Report}};
                 {true, true} -> {rakv_exited, Report}
             end,
    %% who waits for a node that is started again hears from its next life
    [gen_server:reply(From, {error, Report}) || element(1, Reason) =:= shutdown, From <- Waiting],
    {stop, Reason, State#state{waiting = [], killers = []}}.

info_of(#state{settings = #{node := Node}, os_pid = OsPid, tcp_port = TcpPort, lines = Lines}) ->
    #{node => Node, os_pid => OsPid, ready => TcpPort =/= undefined, port => TcpPort, last_log => lists:reverse(Lines)}.

signal(_Name, undefined) ->
    ok;
signal(Name, OsPid) ->
    _ = os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(OsPid)),
    ok.
