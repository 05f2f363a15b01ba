%% SPDX-License-Identifier: Apache-2.0
%% Clients that put and get all the time and write down what they saw: the histories for linearizability. Runs on a client's
%% node.
%%
%% Most use ra's own ra_kv. Some of their gets are calls of ra_kv:get/3 on another node by erpc, which rakv nodes answer with
%% a client of theirs. One client runs the program, for each operation anew.
-module(nemesis_load).

-export([start/1, stop/1, meter/1, await_put/3]).

-define(CLIENTS, 8).
-define(KEYS, 5).
%% How long callers wait: some give up early.
-define(CALL_MS, [500, 2000, 5000]).
%% Beyond which an answer is late, whatever the caller said.
-define(ERPC_MORE_MS, 1000).
%% Between two operations of a client, at most.
-define(PAUSE_MS, 10).

-type options() :: #{servers := [ra:server_id()],
                     %% Nodes that answer ra_kv:get/3.
                     nodes := [node()],
                     %% The program, and the arguments that each of its commands gets.
                     program := file:filename(), args := [string()]}.
-type way() :: ra_kv | erpc | program.
-type history() :: [{way(), Key :: binary(), linearizability:operation()}].

%% What the puts that were acknowledged since the last look say; times in microseconds of this node's clock.
-type meter() :: #{at := integer(), puts := non_neg_integer(), silence_ms := non_neg_integer(), terms := non_neg_integer(),
                   clock_off_s := non_neg_integer()}.

%% Numbers that clients keep: when the last put that was acknowledged had been called, and when it was acknowledged; the
%% longest time between two; how many; the highest term, and that of the last look; how far the leader's clock was off.
-define(LAST_CALL, 1).
-define(LAST_ANSWER, 2).
-define(SILENCE, 3).
-define(PUTS, 4).
-define(TERM, 5).
-define(TERM_BEFORE, 6).
-define(CLOCK_OFF, 7).

%% Through servers drawn at random.
-spec start(options()) -> pid().
start(Options) ->
    Asker = self(),
    Keeper = spawn(fun() ->
        Meter = atomics:new(7, []),
        ok = atomics:put(Meter, ?LAST_ANSWER, now_us()),
        Clients = [spawn_monitor(fun() -> client(Options#{way => Way, number => Number, meter => Meter}, 1, []) end)
                   || {Number, Way} <- lists:enumerate([program | lists:duplicate(?CLIENTS, ra_kv)])],
        Asker ! {self(), started},
        keep(Clients, Meter)
    end),
    receive {Keeper, started} -> Keeper end.

%% The clients end when they have their answers.
-spec stop(pid()) -> history().
stop(Keeper) -> ask(Keeper, stop, infinity).

%% And begins anew.
-spec meter(pid()) -> meter().
meter(Keeper) ->
    Meter = ask(Keeper, meter, 5000),
    Now = now_us(),
    Term = atomics:get(Meter, ?TERM),
    #{at => Now, puts => atomics:exchange(Meter, ?PUTS, 0),
      silence_ms => max(atomics:exchange(Meter, ?SILENCE, 0), Now - atomics:exchange(Meter, ?LAST_ANSWER, Now)) div 1000,
      terms => Term - atomics:exchange(Meter, ?TERM_BEFORE, Term), clock_off_s => atomics:exchange(Meter, ?CLOCK_OFF, 0)}.

%% Until a put that was called at this time or later has been acknowledged: after how many milliseconds it was; or `none`
%% in that time.
-spec await_put(pid(), integer(), pos_integer()) -> non_neg_integer() | none.
await_put(Keeper, Since, Ms) -> await_last_call(ask(Keeper, meter, 5000), Since, Ms).

await_last_call(Meter, Since, Ms) ->
    Now = now_us(),
    case atomics:get(Meter, ?LAST_CALL) of
        Called when Called >= Since -> (Now - Since) div 1000;
        _ when Now - Since > Ms * 1000 -> none;
        _ -> timer:sleep(10), await_last_call(Meter, Since, Ms)
    end.

ask(Keeper, Question, Ms) ->
    Monitor = monitor(process, Keeper),
    Keeper ! {self(), Monitor, Question},
    receive
        {Monitor, Answer} -> demonitor(Monitor, [flush]), Answer;
        {'DOWN', Monitor, process, Keeper, Reason} -> error({load, Reason})
    after Ms -> error({load, no_answer})
    end.

keep(Clients, Meter) ->
    receive
        {From, Monitor, meter} ->
            From ! {Monitor, Meter},
            keep(Clients, Meter);
        {From, Monitor, stop} ->
            [Pid ! stop || {Pid, _} <- Clients],
            From ! {Monitor, lists:append([receive {'DOWN', Ended, process, Pid, {history, History}} -> History;
                                                   {'DOWN', Ended, process, Pid, Reason} -> exit({client, Reason})
                                           end || {Pid, Ended} <- Clients])};
        {'DOWN', _, process, _, Reason} ->
            exit({client, Reason})
    end.

%% ---------------------------------------------------------------------------------------------------------------

client(#{number := Number, way := Way, meter := Meter} = Client, Turn, History) ->
    receive stop -> exit({history, History})
    after rand:uniform(?PAUSE_MS) ->
        Key = <<"key-", (integer_to_binary(rand:uniform(?KEYS)))/binary>>,
        Seen = case rand:uniform(2) of
                   1 -> written(Way, Key, {Number, Turn}, Meter, fun(Value) -> put(Client, Key, Value, one_of(?CALL_MS)) end);
                   2 -> read(one_of([Way, Way, case Way of ra_kv -> erpc; program -> program end]), Key, Client)
               end,
        client(Client, Turn + 1, Seen ++ History)
    end.

written(Way, Key, Value, Meter, Put) ->
    Call = now_us(),
    Answer = answer(fun() -> Put(Value) end),
    Return = now_us(),
    case Answer of
        {ok, Meta} ->
            ok = note(Meter, Call, Return, Meta),
            [{Way, Key, {Call, Return, {write, Value}}}];
        %% It says that it changed nothing: whoever reads the value will read what nobody wrote.
        not_written ->
            [];
        _ ->
            [{Way, Key, {Call, infinity, {write, Value}}}]
    end.

read(Way, Key, Client) ->
    Call = now_us(),
    Answer = answer(fun() -> get(Way, Client, Key, one_of(?CALL_MS)) end),
    Return = now_us(),
    case Answer of
        {ok, #{index := _}, Value} -> [{Way, Key, {Call, Return, {read, Value}}}];
        {error, not_found} -> [{Way, Key, {Call, Return, {read, undefined}}}];
        {error, {not_found, _}} -> [{Way, Key, {Call, Return, {read, undefined}}}];
        _ -> []
    end.

%% Clients race for these numbers; that one misses a moment of another's does no harm.
note(Meter, Call, Return, Meta) ->
    ok = atomics:put(Meter, ?LAST_CALL, max(Call, atomics:get(Meter, ?LAST_CALL))),
    Gap = Return - atomics:exchange(Meter, ?LAST_ANSWER, Return),
    ok = atomics:put(Meter, ?SILENCE, max(Gap, atomics:get(Meter, ?SILENCE))),
    ok = atomics:add(Meter, ?PUTS, 1),
    ok = atomics:put(Meter, ?TERM, max(maps:get(term, Meta), atomics:get(Meter, ?TERM))),
    atomics:put(Meter, ?CLOCK_OFF, max(clock_off_s(Call, Return, Meta), atomics:get(Meter, ?CLOCK_OFF))).

%% How far the leader's time is from any between the call and the return.
clock_off_s(Call, Return, #{system_time := Stamp}) ->
    Offset = erlang:time_offset(microsecond),
    max(0, max(Call + Offset - Stamp * 1000, Stamp * 1000 - (Return + Offset))) div 1000000;
clock_off_s(_Call, _Return, _Meta) ->
    0.

put(#{way := ra_kv, servers := Servers}, Key, Value, Ms) ->
    ra_kv:put(one_of(Servers), Key, Value, Ms);
put(#{way := program} = Client, Key, Value, Ms) ->
    case program(Client, "put", Ms, [text(Key), text(Value)]) of
        {0, Output} ->
            {match, [Term]} = re:run(Output, "term ([0-9]+)", [{capture, all_but_first, list}]),
            {ok, #{term => list_to_integer(Term)}};
        {1, _} -> not_written;
        Other -> Other
    end.

get(ra_kv, #{servers := Servers}, Key, Ms) ->
    ra_kv:get(one_of(Servers), Key, Ms);
get(erpc, #{servers := Servers, nodes := Nodes}, Key, Ms) ->
    erpc:call(one_of(Nodes), ra_kv, get, [one_of(Servers), Key, Ms], Ms + ?ERPC_MORE_MS);
get(program, Client, Key, Ms) ->
    case program(Client, "get", Ms, [text(Key)]) of
        {0, Output} ->
            {ok, Tokens, _} = erl_scan:string(binary_to_list(Output) ++ "."),
            {ok, Value} = erl_parse:parse_term(Tokens),
            {ok, #{index => unknown}, Value};
        {3, _} -> {error, not_found};
        Other -> Other
    end.

%% {exit status, what it said}. Two servers are named, as a user would who wants to get through.
program(#{program := Program, args := Args, servers := Servers}, Command, Ms, Operands) ->
    Named = lists:join(",", lists:usort([atom_to_list(Node) || {_, Node} <- [one_of(Servers), one_of(Servers)]])),
    Options = ["--server", lists:append(Named), "--term", "--timeout", integer_to_list(max(1, Ms div 1000)) | Args],
    Port = open_port({spawn_executable, Program},
                     [{args, [Command | Options] ++ ["--" | Operands]}, binary, exit_status, stderr_to_stdout, hide]),
    output(Port, []).

output(Port, Said) ->
    receive
        {Port, {data, Data}} -> output(Port, [Said | Data]);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(Said)}
    end.

text(Term) -> lists:flatten(io_lib:format("~0p", [Term])).

answer(Fun) ->
    try Fun() catch Class:Reason -> {Class, Reason} end.

one_of(List) -> lists:nth(rand:uniform(length(List)), List).

now_us() -> erlang:monotonic_time(microsecond).
