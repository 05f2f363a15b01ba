%% SPDX-License-Identifier: Apache-2.0
%% Starts and stops rakv nodes: native programs that join this Erlang cluster and are members of its ra clusters.
%%
%%   ok = application:start(rakv),
%%   {ok, Node} = rakv:start_node(#{name => rakv1, data_dir => "/var/lib/rakv", bootstrap => "kv"}),
%%   {ok, _, _} = ra:members({kv, Node}).
%%
%% A node is supervised: when its program dies it is started again, with the same data. It ends in order when it is
%% stopped, when the application is, and when this BEAM goes away.
-module(rakv).

-export([start_node/1, stop_node/1, restart_node/1, kill_node/1, kill_node/2, await_ready/2, nodes/0, info/1, os_pid/1,
         program/0, format_error/1]).
-export_type([options/0, start_error/0]).

-type options() ::
        #{%% rakv1 is named with this host's short name, as by `erl -sname`; rakv1@host.domain as by `erl -name`.
          name := atom() | string(),
          %% Default: that of cookie_file or of the configuration file, else this node's own. Without any of these and
          %% on a BEAM that is not distributed, the program reads the user's cookie file as erl does. It is handed to
          %% the program in a way that nobody else can see.
          cookie => atom() | string(),
          %% A file with the cookie, which only its owner can read.
          cookie_file => file:filename(),
          %% Where the data of all nodes lie, each below its own name. Default: that of the configuration file, else
          %% "data".
          data_dir => file:filename(),
          %% A cluster of which the node begins as the only member, when it isn't a member yet.
          bootstrap => string() | atom(),
          %% A configuration file of the program (TOML; see `rakv start --help`). The other options here go before it.
          config => file:filename(),
          %% Further arguments of `rakv start`, and variables of its environment.
          args => [string()],
          env => [{string(), string()}],
          %% Default: see program/0.
          program => file:filename(),
          %% How long it may take until it serves (30 s) and until it has stopped in order (15 s), before it is killed.
          ready_timeout_ms => pos_integer(),
          stop_timeout_ms => pos_integer(),
          %% {N, S}: given up when it died more than N times in S seconds. Default: {5, 60}.
          restart_intensity => {non_neg_integer(), pos_integer()}}.

-type start_error() :: {already_started, node()}
                     | {no_program, [file:filename()]}
                     | {cannot_execute, file:filename(), term()}
                     | {bad_option, atom(), term()}
                     | {not_started, rakv_node:exit_report()}
                     | not_running.

%% Starts a node and waits until it serves. On an error nothing is left running; format_error/1 has it in words.
-spec start_node(options()) -> {ok, node()} | {error, start_error() | term()}.
start_node(Options) ->
    case rakv_options:settings(Options) of
        {ok, #{node := Node, ready_timeout_ms := ReadyMs} = Settings} ->
            case rakv_sup:start_node(Node, Settings) of
                {ok, _} -> started(Node, ReadyMs);
                {error, {already_started, _}} -> {error, {already_started, Node}};
                {error, Reason} -> {error, start_reason(Reason)}
            end;
        {error, _} = Error ->
            Error
    end.

%% Stops a node in order, and for good.
-spec stop_node(node()) -> ok | {error, not_running}.
stop_node(Node) ->
    case rakv_sup:stop_node(Node) of
        ok -> ok;
        {error, not_found} -> {error, not_running}
    end.

%% Stops a node in order and starts it with the same options.
-spec restart_node(node()) -> {ok, node()} | {error, start_error() | term()}.
restart_node(Node) ->
    with_node(Node, fun(Server) ->
        Options = rakv_node:options(Server),
        _ = stop_node(Node),
        start_node(Options())
    end).

%% kill -9, as a crash would be; its supervisor starts it again.
-spec kill_node(node()) -> ok | {error, not_running}.
kill_node(Node) ->
    kill_node(Node, #{restart => true}).

%% With `restart => false` it stays dead, until start_node/1. Returns when the program is gone.
-spec kill_node(node(), #{restart => boolean()}) -> ok | {error, not_running}.
kill_node(Node, How) ->
    Restart = maps:get(restart, How, true),
    with_node(Node, fun(Server) ->
        ok = rakv_node:kill(Server, Restart, 30000),
        Restart orelse rakv_sup:stop_node(Node),
        ok
    end).

%% Waits until a node that was started serves (again).
-spec await_ready(node(), pos_integer()) -> ok | {error, timeout | not_running | rakv_node:exit_report()}.
await_ready(Node, TimeoutMs) ->
    await_until(Node, erlang:monotonic_time(millisecond) + TimeoutMs).

%% The nodes that are supervised here.
-spec nodes() -> [node()].
nodes() ->
    rakv_sup:nodes().

%% Operating system's process, port and last log lines of a node.
-spec info(node()) -> {ok, rakv_node:info()} | {error, not_running}.
info(Node) ->
    with_node(Node, fun(Server) -> {ok, rakv_node:info(Server)} end).

-spec os_pid(node()) -> {ok, pos_integer() | undefined} | {error, not_running}.
os_pid(Node) ->
    with_node(Node, fun(Server) -> {ok, maps:get(os_pid, rakv_node:info(Server))} end).

%% The program: $RAKV_BINARY, or the application's `binary`, or priv/rakv, whichever is given first.
-spec program() -> {ok, file:filename()} | {error, {no_program, [file:filename()]}}.
program() ->
    Candidates = [Path || Path <- [os:getenv("RAKV_BINARY"),
                                   application:get_env(rakv, binary, false),
                                   in_priv()],
                          Path =/= false, Path =/= ""],
    case Candidates of
        [First | _] ->
            case filelib:is_regular(First) of
                true -> {ok, filename:absname(First)};
                false -> {error, {no_program, [First]}}
            end;
        [] ->
            {error, {no_program, []}}
    end.

%% What went wrong and what to do, for people.
-spec format_error(term()) -> string().
format_error({already_started, Node}) ->
    text("~ts is running already: stop it first, or take another name", [Node]);
format_error({no_program, Looked}) ->
    text("there is no rakv program~ts: build it (make build) and name it in RAKV_BINARY or in the environment of the "
         "application rakv ({binary, Path})", [[[" at ", Path] || Path <- Looked]]);
format_error({cannot_execute, Program, Reason}) ->
    text("~ts can't be executed (~p): is it the program, for this machine, and executable?", [Program, Reason]);
format_error({bad_option, Key, Value}) ->
    text("option ~p can't be ~p: see the type rakv:options()", [Key, Value]);
format_error({not_started, #{node := Node, exit_status := Status, last_log := Lines}}) ->
    text("~ts did not start: ~ts~ts", [Node, status_text(Status), [["\n  ", Line] || Line <- Lines]]);
format_error(not_running) ->
    "no such node is running here";
format_error(timeout) ->
    "the node did not become ready in time; it goes on starting";
format_error(Other) ->
    text("~tp", [Other]).

%% ---------------------------------------------------------------------------------------------------------------

text(Format, Args) ->
    unicode:characters_to_list(io_lib:format(Format, Args)).

status_text(ready_timeout) -> "it was not ready in time and was killed. It said:";
status_text({wrong_node, Name}) -> text("it came up as ~ts. It said:", [Name]);
status_text(Status) when Status > 128 -> text("signal ~b ended it. It said:", [Status - 128]);
status_text(Status) -> text("it ended with status ~b. It said:", [Status]).

started(Node, ReadyMs) ->
    %% the node itself watches the time; the margin is for its answer
    case await_ready(Node, ReadyMs + 5000) of
        ok ->
            {ok, Node};
        {error, Why} ->
            _ = rakv_sup:stop_node(Node),
            {error, {not_started, report(Node, Why)}}
    end.

report(_Node, #{exit_status := _} = Report) -> Report;
report(Node, _) -> #{node => Node, exit_status => ready_timeout, last_log => []}.

%% The supervisors' wrappings of what rakv_node:init/1 answered.
start_reason({Reason, Child}) when element(1, Child) =:= child -> start_reason(Reason);
start_reason({shutdown, {failed_to_start_child, node, Reason}}) -> start_reason(Reason);
start_reason({shutdown, Reason}) -> start_reason(Reason);
start_reason(Reason) -> Reason.

with_node(Node, Fun) ->
    Server = rakv_node:registered_name(Node),
    try Fun(Server)
    catch
        %% rakv_exited: its program has just ended, and it with it
        exit:{Reason, {gen_server, call, [Server | _]}}
          when Reason =:= noproc; element(1, Reason) =:= shutdown; element(1, Reason) =:= rakv_exited ->
            {error, not_running}
    end.

await_until(Node, Deadline) ->
    Left = max(1, Deadline - erlang:monotonic_time(millisecond)),
    try rakv_node:await_ready(rakv_node:registered_name(Node), Left)
    catch
        exit:{timeout, _} -> {error, timeout};
        exit:_ when Left > 1 -> between_lives(Node, Deadline);
        exit:_ -> {error, timeout}
    end.

%% No process answers now: its supervisor is about to start the next one, or has given up.
between_lives(Node, Deadline) ->
    case lists:member(Node, rakv_sup:nodes()) of
        true ->
            receive after 20 -> await_until(Node, Deadline) end;
        false ->
            {error, not_running}
    end.

in_priv() ->
    case code:priv_dir(rakv) of
        {error, bad_name} -> false;
        Priv ->
            Path = filename:join(Priv, "rakv"),
            filelib:is_regular(Path) andalso Path
    end.
