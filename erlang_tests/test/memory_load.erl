%% Puts and gets of large values by a few processes at once, on a client's node. Values say their key and their round.
-module(memory_load).

-export([put/4, get/4]).

-define(PROCESSES, 8).
-define(TIMEOUT_MS, 30000).

%% Puts every key.
put(Id, Keys, Bytes, Round) ->
    each(Keys, fun(Key) -> {ok, _} = plain_kv_client:put(Id, key(Key), value(Key, Bytes, Round), ?TIMEOUT_MS) end).

%% Gets every key, whose value must be that of the round.
get(Id, Keys, Bytes, Round) ->
    each(Keys, fun(Key) ->
        Value = value(Key, Bytes, Round),
        {ok, _, Value} = plain_kv_client:get(Id, key(Key), ?TIMEOUT_MS)
    end).

each(Keys, Fun) ->
    Workers = [spawn_monitor(fun() -> [Fun(Key) || Key <- lists:seq(First, Keys, ?PROCESSES)] end)
               || First <- lists:seq(1, ?PROCESSES)],
    case [Reason || {Pid, Monitor} <- Workers,
                    Reason <- [receive {'DOWN', Monitor, process, Pid, Ended} -> Ended end], Reason =/= normal] of
        [] -> ok;
        [Reason | _] -> {error, Reason}
    end.

key(Number) -> <<"key_", (integer_to_binary(Number))/binary>>.

value(Key, Bytes, Round) -> binary:copy(<<Key:64, Round:64>>, Bytes div 16).
