%% SPDX-License-Identifier: Apache-2.0
%% What the cluster suites run on the client's node: filling a cluster with keys, and comparing its members.
-module(cluster_client).

-export([fill/3, fill/4, write_for/2, pipeline/3, compare/1, contents/1]).

-type server_id() :: {atom(), node()}.

-define(CALL_MS, 30000).
%% Reads through one member at the same time.
-define(READERS, 8).

-spec fill([server_id()], string(), pos_integer()) -> ok.
fill(Servers, Prefix, Count) ->
    fill(Servers, Prefix, Count, 100).

%% Puts `Count` keys with values of that many random bytes, through all servers in turn, several at once.
-spec fill([server_id()], string(), pos_integer(), non_neg_integer()) -> ok.
fill(Servers, Prefix, Count, Bytes) ->
    Writers = min(16, Count),
    Refused = lists:append(parallel(fun(Writer) ->
        [Failed || Number <- lists:seq(Writer, Count, Writers),
                   Failed <- [put(lists:nth(Number rem length(Servers) + 1, Servers), Prefix, Number, Bytes)],
                   Failed =/= ok]
    end, lists:seq(1, Writers))),
    case Refused of
        [] -> ok;
        _ -> {refused, length(Refused), hd(Refused)}
    end.

put(Server, Prefix, Number, Bytes) ->
    Key = list_to_binary(Prefix ++ integer_to_list(Number)),
    case ra_kv:put(Server, Key, {Number, rand:bytes(Bytes)}, ?CALL_MS) of
        {ok, _} -> ok;
        Other -> {Key, Server, Other}
    end.

%% Puts for so long, one after the other; gives the number of puts.
-spec write_for(server_id(), pos_integer()) -> {ok, pos_integer()}.
write_for(Server, Ms) ->
    write_until(Server, erlang:monotonic_time(millisecond) + Ms, 0).

write_until(Server, Deadline, Count) ->
    case erlang:monotonic_time(millisecond) < Deadline of
        true ->
            {ok, _} = ra_kv:put(Server, <<"written">>, Count, ?CALL_MS),
            write_until(Server, Deadline, Count + 1);
        false ->
            {ok, Count}
    end.

%% Sends puts without waiting, and gives the correlations as they are acknowledged.
-spec pipeline(server_id(), string(), pos_integer()) -> {ok, [integer()]} | {error, term()}.
pipeline(Server, Prefix, Count) ->
    [begin
         Value = {pipelined, Number},
         Put = {put, list_to_binary(Prefix ++ integer_to_list(Number)), Value,
                #{size => erlang:external_size(Value), hash => erlang:phash2(Value)}},
         ok = ra:pipeline_command(Server, Put, Number, normal)
     end || Number <- lists:seq(1, Count)],
    acknowledged(Count, []).

acknowledged(0, Done) ->
    {ok, Done};
acknowledged(Left, Done) ->
    receive
        {ra_event, _, {applied, Replies}} ->
            acknowledged(Left - length(Replies), Done ++ [Correlation || {Correlation, {ok, _}} <- Replies]);
        {ra_event, _, {rejected, _} = Rejected} ->
            {error, Rejected}
    after ?CALL_MS ->
        {error, {missing, Left}}
    end.

%% Compares what every member has with what the first has.
-spec compare([server_id()]) -> {same, Keys :: non_neg_integer()} | {different, [term()]}.
compare([First | Others]) ->
    Contents = #{keys := Keys} = contents(First),
    case lists:append([differences(First, Contents, Other, contents(Other)) || Other <- Others]) of
        [] -> {same, map_size(Keys)};
        Found -> {different, Found}
    end.

differences(First, #{keys := A, live_indexes := LiveA}, Other, #{keys := B, live_indexes := LiveB}) ->
    Keys = [{Key, {First, maps:get(Key, A, none)}, {Other, maps:get(Key, B, none)}}
            || Key <- maps:keys(maps:merge(A, B)), maps:get(Key, A, none) =/= maps:get(Key, B, none)],
    lists:sublist(Keys, 5) ++ [{live_indexes, {First, LiveA -- LiveB}, {Other, LiveB -- LiveA}} || LiveA =/= LiveB].

%% A member's keys with index, hash and a digest of what it reads there; its live indexes. Every value is checked against
%% its hash.
-spec contents(server_id()) -> #{keys := map(), live_indexes := [non_neg_integer()]}.
contents(Server) ->
    {ok, {_, {ra_kv, State}}, _} = ra:local_query(Server, {ra_lib, id, []}, ?CALL_MS),
    #{machine := #{num_keys := Count, live_indexes := Live}} = ra_kv:member_overview(Server),
    {Count, Count} = {map_size(State), Count},
    Keys = maps:to_list(State),
    Parts = [[Pair || {Number, Pair} <- lists:enumerate(Keys), Number rem ?READERS =:= Part]
             || Part <- lists:seq(0, ?READERS - 1)],
    Read = lists:append(parallel(fun(Part) -> [{Key, read(Server, Where)} || {Key, Where} <- Part] end, Parts)),
    #{keys => maps:from_list(Read), live_indexes => lists:sort(Live)}.

read(Server, [Index | Hash]) ->
    case ra_kv:read_entry(Server, Index, [], ?CALL_MS) of
        {ok, Meta, Value} ->
            Hash = erlang:phash2(Value),
            {Index, Hash, Meta, erlang:md5(term_to_binary(Value, [deterministic]))};
        Other ->
            {unreadable, Index, Other}
    end.

parallel(Fun, List) ->
    Running = [spawn_monitor(fun() -> exit({done, Fun(One)}) end) || One <- List],
    [receive
         {'DOWN', Monitor, process, Pid, {done, Result}} -> Result;
         {'DOWN', Monitor, process, Pid, Reason} -> error({in_parallel, Reason})
     end || {Pid, Monitor} <- Running].
