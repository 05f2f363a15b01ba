%% SPDX-License-Identifier: Apache-2.0
%% Gets of keys that are always there, while others put them and take snapshots without a pause. Runs on a client's node.
-module(gets_load).

-export([run/4]).

-define(KEYS, 64).
-define(WRITERS, 4).
-define(TIMEOUT_MS, 30000).

%% Counts of what `Gets` gets by so many processes were answered, and of what went on meanwhile.
-spec run(ra:server_id(), [ra:server_id()], pos_integer(), pos_integer()) -> map().
run(Leader, Servers, Gets, Getters) ->
    [{ok, _} = ra_kv:put(Leader, key(Key), {Key, 0}, ?TIMEOUT_MS) || Key <- lists:seq(1, ?KEYS)],
    Counters = atomics:new(3, []),
    Started = erlang:monotonic_time(millisecond),
    Others = [spawn_monitor(fun() -> write(Leader, Counters, 1) end) || _ <- lists:seq(1, ?WRITERS)]
        ++ [spawn_monitor(fun() -> snapshots(Server, Counters) end) || Server <- Servers],
    Readers = [spawn_monitor(fun() -> read(Leader, Counters, Gets, #{}) end) || _ <- lists:seq(1, Getters)],
    Counts = [receive {'DOWN', Monitor, process, Pid, {counted, Map}} -> Map;
                      {'DOWN', Monitor, process, Pid, Reason} -> error({reader, Reason})
              end || {Pid, Monitor} <- Readers],
    [receive {'DOWN', Monitor, process, Pid, Reason} -> error({ended_too_soon, Reason})
     after 0 -> exit(Pid, kill)
     end || {Pid, Monitor} <- Others],
    Sum = fun(What) -> lists:sum([maps:get(What, Map, 0) || Map <- Counts]) end,
    #{ok => Sum(ok), not_found => Sum(not_found), without_value => Sum(without_value),
      other => lists:append([maps:get(other, Map, []) || Map <- Counts]),
      puts => atomics:get(Counters, 2), snapshots => atomics:get(Counters, 3),
      ms => erlang:monotonic_time(millisecond) - Started}.

read(Leader, Counters, Gets, Counts) ->
    case atomics:add_get(Counters, 1, 1) > Gets of
        true -> exit({counted, Counts});
        false -> read(Leader, Counters, Gets, count(get_one(Leader), Counts))
    end.

get_one(Leader) ->
    Key = rand:uniform(?KEYS),
    case ra_kv:get(Leader, key(Key), ?TIMEOUT_MS) of
        {ok, #{index := _}, {Key, _}} -> ok;
        {error, not_found} -> not_found;
        {error, {not_found, _}} -> not_found;
        {ok, {Entries, _Cache}} when map_size(Entries) =:= 0 -> without_value;
        Other -> {other, Other}
    end.

count({other, Answer}, Counts) -> Counts#{other => [Answer | maps:get(other, Counts, [])]};
count(What, Counts) -> Counts#{What => maps:get(What, Counts, 0) + 1}.

write(Leader, Counters, Round) ->
    Key = rand:uniform(?KEYS),
    {ok, _} = ra_kv:put(Leader, key(Key), {Key, Round}, ?TIMEOUT_MS),
    ok = atomics:add(Counters, 2, 1),
    write(Leader, Counters, Round + 1).

%% A member's answer comes before its snapshot is written.
snapshots(Server, Counters) ->
    _ = ra_kv:take_snapshot(Server),
    ok = atomics:add(Counters, 3, 1),
    snapshots(Server, Counters).

key(Number) -> <<"key_", (integer_to_binary(Number))/binary>>.
