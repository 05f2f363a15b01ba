%% SPDX-License-Identifier: Apache-2.0
%% Clients that put and get all the time and write down what they saw: the histories for linearizability. Runs on a client's
%% node, with ra's own ra_kv.
-module(nemesis_load).

-export([start/2, stop/1, await_put/3]).

-define(CLIENTS, 8).
-define(KEYS, 5).
-define(CALL_MS, 5000).
%% Between two operations of a client.
-define(PAUSE_MS, 5).

-type history() :: [{Key :: binary(), linearizability:operation()}].

%% Keys of this prefix, through servers drawn at random.
-spec start([ra:server_id()], binary()) -> pid().
start(Servers, Prefix) ->
    Asker = self(),
    Keeper = spawn(fun() ->
        LastPut = atomics:new(1, []),
        Clients = [spawn_monitor(fun() -> client(Servers, Prefix, Number, 1, LastPut, []) end)
                   || Number <- lists:seq(1, ?CLIENTS)],
        Asker ! {self(), started},
        keep(Clients, LastPut)
    end),
    receive {Keeper, started} -> Keeper end.

%% The clients end when they have their answers.
-spec stop(pid()) -> history().
stop(Keeper) -> ask(Keeper, stop, infinity).

%% Until a put that was called at this time or later has been acknowledged: after how many milliseconds it was; or `none`
%% in that time.
-spec await_put(pid(), integer(), pos_integer()) -> non_neg_integer() | none.
await_put(Keeper, Since, Ms) ->
    Now = erlang:monotonic_time(microsecond),
    case ask(Keeper, last_put, ?CALL_MS) of
        Called when Called >= Since -> (Now - Since) div 1000;
        _ when Now - Since > Ms * 1000 -> none;
        _ -> timer:sleep(10), await_put(Keeper, Since, Ms)
    end.

ask(Keeper, Question, Ms) ->
    Monitor = monitor(process, Keeper),
    Keeper ! {self(), Monitor, Question},
    receive
        {Monitor, Answer} -> demonitor(Monitor, [flush]), Answer;
        {'DOWN', Monitor, process, Keeper, Reason} -> error({load, Reason})
    after Ms -> error({load, no_answer})
    end.

keep(Clients, LastPut) ->
    receive
        {From, Monitor, last_put} ->
            From ! {Monitor, atomics:get(LastPut, 1)},
            keep(Clients, LastPut);
        {From, Monitor, stop} ->
            [Pid ! stop || {Pid, _} <- Clients],
            From ! {Monitor, lists:append([receive {'DOWN', Ended, process, Pid, {history, History}} -> History;
                                                   {'DOWN', Ended, process, Pid, Reason} -> exit({client, Reason})
                                           end || {Pid, Ended} <- Clients])};
        {'DOWN', _, process, _, Reason} ->
            exit({client, Reason})
    end.

client(Servers, Prefix, Number, Turn, LastPut, History) ->
    receive stop -> exit({history, History})
    after ?PAUSE_MS ->
        Key = <<Prefix/binary, (integer_to_binary(rand:uniform(?KEYS)))/binary>>,
        Server = lists:nth(rand:uniform(length(Servers)), Servers),
        Call = erlang:monotonic_time(microsecond),
        Seen = case rand:uniform(2) of
                   1 -> put(Server, Key, {Number, Turn}, Call, LastPut);
                   2 -> get(Server, Key, Call)
               end,
        client(Servers, Prefix, Number, Turn + 1, LastPut, [{Key, Operation} || Operation <- Seen] ++ History)
    end.

put(Server, Key, Value, Call, LastPut) ->
    Answer = answer(fun() -> ra_kv:put(Server, Key, Value, ?CALL_MS) end),
    Return = erlang:monotonic_time(microsecond),
    case Answer of
        {ok, _} ->
            ok = atomics:put(LastPut, 1, max(Call, atomics:get(LastPut, 1))),
            [{Call, Return, {write, Value}}];
        _ ->
            [{Call, infinity, {write, Value}}]
    end.

get(Server, Key, Call) ->
    Answer = answer(fun() -> ra_kv:get(Server, Key, ?CALL_MS) end),
    Return = erlang:monotonic_time(microsecond),
    case Answer of
        {ok, #{index := _}, Value} -> [{Call, Return, {read, Value}}];
        {error, not_found} -> [{Call, Return, {read, undefined}}];
        {error, {not_found, _}} -> [{Call, Return, {read, undefined}}];
        _ -> []
    end.

answer(Fun) ->
    try Fun() catch Class:Reason -> {Class, Reason} end.
