%% SPDX-License-Identifier: Apache-2.0
%% How long small calls take while a value of 100 MB travels to a member and back, with a BEAM member and with a rakv member:
%% the client VM's and the kernel's own part of it shows in the BEAM's figures. Run by scripts/bench_large.sh.
-module(large_bench).
-export([run/3, caller/1, stop_caller/1]).

-define(BYTES, 100_000_000).

%% `Other` is a second client node that only makes small calls.
run(Members, Other, Rounds) ->
    [pong = net_adm:ping(Node) || Node <- [Other | [Node || {_, {_, Node}} <- Members]]],
    Value = binary:copy(<<"0123456789">>, ?BYTES div 10),
    [{ok, _} = ra_kv:put(Id, <<"large">>, <<"small">>, 5000) || {_, Id} <- Members],
    Measured = [{Round, Name, round_of(Id, Value, Other)} || Round <- lists:seq(1, Rounds), {Name, Id} <- Members],
    io:format("~-6s ~-6s ~9s ~9s   longest small call (ms), same client / other client~n~34s put~17s get~17s rest~n",
              ["round", "member", "put ms", "get ms", "", "", ""]),
    [io:format("~-6w ~-6s ~9w ~9w   ~8.1f / ~-8.1f~8.1f / ~-8.1f~8.1f / ~-8.1f~n", [Round, Name, PutMs, GetMs | Longest])
     || {Round, Name, {PutMs, GetMs, Longest}} <- Measured],
    [begin
         Of = [Row || {_, N, Row} <- Measured, N =:= Name],
         Median = fun(Fun) -> lists:nth((length(Of) + 1) div 2, lists:sort(lists:map(Fun, Of))) end,
         io:format("~-6s ~-6s ~9w ~9w   ~8.1f / ~-8.1f~8.1f / ~-8.1f~8.1f / ~-8.1f~n",
                   ["median", Name, Median(fun(R) -> element(1, R) end), Median(fun(R) -> element(2, R) end)
                    | [Median(fun({_, _, L}) -> lists:nth(K, L) end) || K <- lists:seq(1, 6)]])
     end || {Name, _} <- Members],
    ok.

round_of({_, Node} = Id, Value, Other) ->
    {{PutUs, {ok, _}}, Put} = with_callers(Node, Other, fun() -> timer:tc(ra_kv, put, [Id, <<"large">>, Value, 120000]) end),
    {{GetUs, {ok, _, Got}}, Get} = with_callers(Node, Other, fun() -> timer:tc(ra_kv, get, [Id, <<"large">>, 120000]) end),
    {_, Rest} = with_callers(Node, Other, fun() -> receive after 300 -> ok end end),
    Got = Value,
    erlang:garbage_collect(),
    receive after 500 -> ok end,
    {PutUs div 1000, GetUs div 1000, Put ++ Get ++ Rest}.

with_callers(Node, Other, Fun) ->
    Pids = [spawn_caller(node(), Node), spawn_caller(Other, Node)],
    receive after 50 -> ok end,
    Result = Fun(),
    receive after 20 -> ok end,
    {Result, [stop_caller(Pid) / 1000 || Pid <- Pids]}.

spawn_caller(Where, Node) -> spawn_opt(Where, ?MODULE, caller, [Node], [{priority, high}]).

caller(Node) -> call_on(Node, 0).

call_on(Node, Longest) ->
    receive
        {stop, From, Tag} -> From ! {Tag, Longest}
    after 1 ->
        Start = erlang:monotonic_time(microsecond),
        yes = gen_server:call({net_kernel, Node}, {is_auth, node()}, 30000),
        call_on(Node, max(Longest, erlang:monotonic_time(microsecond) - Start))
    end.

stop_caller(Pid) ->
    Tag = make_ref(),
    Pid ! {stop, self(), Tag},
    receive {Tag, Longest} -> Longest end.
