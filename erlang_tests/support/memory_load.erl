%% SPDX-License-Identifier: Apache-2.0
%% Puts and gets of large values by a few processes at once, on a client's node. Values say their key and their round.
-module(memory_load).

-export([put/4, get/4, pipeline/4]).

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

%% Pipelines a put of every key, all at once, while the member's WAL hangs, until the first is rejected; gives the keys of
%% those that were applied and of those that were rejected. Each must be answered, once, and what was applied is got again.
pipeline({_, Node} = Id, Keys, Bytes, Round) ->
    ok = erpc:call(Node, sys, suspend, [ra_log_wal]),
    Value = value(0, Bytes, Round), % one for all: making them would take longer than sending them
    Meta = #{size => erlang:external_size(Value), hash => erlang:phash2(Value)},
    _ = [gen_statem:cast(Id, {command, normal, {'$usr', {put, key(Key), Value, Meta}, {notify, Key, self()}}})
         || Key <- lists:seq(1, Keys)],
    First = receive {ra_event, _, {rejected, _}} = Rejection -> Rejection after ?TIMEOUT_MS -> error(nothing_rejected) end,
    ok = erpc:call(Node, sys, resume, [ra_log_wal]),
    self() ! First,
    {Applied, Rejected} = answers(Keys, [], []),
    _ = [{ok, _, Value} = plain_kv_client:get(Id, key(Key), ?TIMEOUT_MS) || Key <- Applied],
    receive {ra_event, _, Event} -> error({answered_twice, Event}) after 0 -> {Applied, Rejected} end.

answers(0, Applied, Rejected) -> {Applied, Rejected};
answers(Left, Applied, Rejected) ->
    receive
        {ra_event, _, {applied, Replies}} ->
            Keys = [Key || {Key, {ok, _}} <- Replies],
            answers(Left - length(Keys), Keys ++ Applied, Rejected);
        {ra_event, _, {rejected, {not_leader, undefined, Key}}} ->
            answers(Left - 1, Applied, [Key | Rejected])
    after ?TIMEOUT_MS -> error({no_answer_to, Left})
    end.

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
