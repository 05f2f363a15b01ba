%% SPDX-License-Identifier: Apache-2.0
%% One driver, two members: the same calls against a BEAM member of ra_kv and against a rakv member, in turns, from one
%% client node. Values are 256 bytes. Prints each figure of both, the ratio, and what the member's process spent of a processor
%% for one operation: on a small machine the client is what limits the rates. Run by scripts/bench_kv.sh. Forms the clusters
%% of scripts/bench_mixed.sh, too.
-module(kv_bench).
-export([member/1, member_again/1, node/1, form/2, run/2, put_latency/2, put_rate/3, pipelined/3, get_rate/3]).

-define(VALUE, <<0:2048>>).
-define(ROUNDS, 5).

%% On the BEAM member's node: ra with its defaults.
member(Dir) ->
    {ok, _} = ra:start_in(Dir),
    {ok, [_], []} = ra_kv:start_cluster(default, kv, #{members => [{kv, node()}]}),
    io:format("ready~n").

%% The same member again, after an end of its node.
member_again(Dir) ->
    {ok, _} = ra:start_in(Dir),
    ok = restart_server(100),
    {pong, _} = ra:ping({kv, node()}, 600_000), % when it has recovered
    ok = lead({kv, node()}, erlang:monotonic_time(millisecond) + 60_000),
    io:format("ready~n").

%% ra's names may not be open yet: {error, {'EXIT', {badarg, _}}}.
restart_server(Attempts) ->
    case ra:restart_server(default, {kv, node()}) of
        ok -> ok;
        {error, _} when Attempts > 1 -> receive after 100 -> restart_server(Attempts - 1) end
    end.

%% On a BEAM node that is to have members.
node(Dir) ->
    {ok, _} = ra:start_in(Dir),
    io:format("ready~n").

%% A cluster on these nodes, led by the first.
form(Name, [Leader | _] = Nodes) ->
    {ok, _, []} = ra_kv:start_cluster(default, Name, #{members => [{Name, Node} || Node <- Nodes]}),
    ok = lead({Name, Leader}, erlang:monotonic_time(millisecond) + 30_000).

lead(Id, Deadline) ->
    case ra:ping(Id, 5000) of
        {pong, leader} -> ok;
        {pong, _} ->
            true = erlang:monotonic_time(millisecond) < Deadline,
            case ra:members(Id) of
                {ok, _, Leader} -> _ = ra:transfer_leadership(Leader, Id);
                _ -> nobody_leads
            end,
            receive after 100 -> lead(Id, Deadline) end
    end.

run({Beam, BeamPid}, {Rakv, RakvPid}) ->
    [pong = net_adm:ping(Node) || Node <- [Beam, Rakv]],
    Members = [{BeamPid, {kv, Beam}}, {RakvPid, {kv, Rakv}}],
    [warm_up(Id) || {_, Id} <- Members],
    Figures = [{"put, one caller: median latency (us)", lower, 2_000, fun put_latency/2},
               {"put/s, 64 callers", higher, 40_000, fun(Id, N) -> put_rate(Id, 64, N) end},
               {"put/s, pipelined (512 in flight)", higher, 100_000, fun(Id, N) -> pipelined(Id, 512, N) end},
               {"get/s, one caller", higher, 5_000, fun(Id, N) -> get_rate(Id, 1, N) end},
               {"get/s, 64 callers", higher, 40_000, fun(Id, N) -> get_rate(Id, 64, N) end}],
    io:format("~-38s ~10s ~10s ~6s   ~s~n",
              ["figure (median of 5)", "beam", "rakv", "ratio", "member's CPU us/op: beam, rakv, ratio"]),
    [report(Figure, Members) || Figure <- Figures],
    ok.

%% The members take turns, so that a drift of the machine meets both.
report({Name, Better, Count, Fun}, Members) ->
    Rounds = [[measure(Fun, Count, Member) || Member <- Members] || _ <- lists:seq(1, ?ROUNDS)],
    Median = fun(Position, Element) -> median([element(Element, lists:nth(Position, Round)) || Round <- Rounds]) end,
    [Beam, Rakv] = [Median(Position, 1) || Position <- [1, 2]],
    [BeamCpu, RakvCpu] = [Median(Position, 2) || Position <- [1, 2]],
    Ratio = case Better of
                higher -> Rakv / Beam;
                lower -> Beam / Rakv
            end,
    io:format("~-38s ~10w ~10w ~6.2f   ~.1f, ~.1f, ~.2f~n",
              [Name, round(Beam), round(Rakv), Ratio, BeamCpu, RakvCpu, BeamCpu / max(RakvCpu, 0.01)]).

measure(Fun, Count, {OsPid, Id}) ->
    Before = cpu_us(OsPid),
    Figure = Fun(Id, Count),
    {Figure, (cpu_us(OsPid) - Before) / Count}.

%% Processor time of a process so far, user and system; /proc counts in hundredths of a second.
cpu_us(OsPid) ->
    {ok, Stat} = file:read_file("/proc/" ++ OsPid ++ "/stat"),
    [_, Rest] = string:split(Stat, ") ", trailing),
    Fields = string:lexemes(Rest, " "),
    10_000 * (binary_to_integer(lists:nth(12, Fields)) + binary_to_integer(lists:nth(13, Fields))).

warm_up(Id) ->
    [{ok, _} = ra_kv:put(Id, key(N), ?VALUE, 5000) || N <- lists:seq(1, 2000)].

key(N) -> <<"key_", (integer_to_binary(N rem 2000))/binary>>.

put_latency(Id, Count) ->
    median([begin
                {Time, {ok, _}} = timer:tc(fun() -> ra_kv:put(Id, key(N), ?VALUE, 5000) end),
                Time
            end || N <- lists:seq(1, Count)]).

put_rate(Id, Callers, Total) ->
    rate(Callers, Total, fun(N) -> {ok, _} = ra_kv:put(Id, key(N), ?VALUE, 5000) end).

get_rate(Id, Callers, Total) ->
    rate(Callers, Total, fun(N) -> {ok, _, ?VALUE} = ra_kv:get(Id, key(N + 1), 5000) end).

rate(Callers, Total, Fun) ->
    Each = Total div Callers,
    Started = erlang:monotonic_time(microsecond),
    Workers = [spawn_monitor(fun() -> [Fun(Caller * Each + N) || N <- lists:seq(1, Each)] end)
               || Caller <- lists:seq(1, Callers)],
    [receive {'DOWN', Monitor, process, Pid, normal} -> ok end || {Pid, Monitor} <- Workers],
    Callers * Each * 1_000_000 / (erlang:monotonic_time(microsecond) - Started).

%% ra:pipeline_command/4 with a window, as ra_bench does it.
pipelined(Id, Window, Total) ->
    Meta = #{size => erlang:external_size(?VALUE), hash => erlang:phash2(?VALUE)},
    Send = fun(N) -> ok = ra:pipeline_command(Id, {put, key(N), ?VALUE, Meta}, N, normal) end,
    Started = erlang:monotonic_time(microsecond),
    [Send(N) || N <- lists:seq(1, Window)],
    ok = pipeline(Send, Window + 1, Total, 0),
    Total * 1_000_000 / (erlang:monotonic_time(microsecond) - Started).

pipeline(_Send, _Next, Total, Total) -> ok;
pipeline(Send, Next, Total, Done) ->
    receive
        {ra_event, _, {applied, Applied}} ->
            Count = length(Applied),
            More = min(Count, Total - Next + 1),
            [Send(N) || N <- lists:seq(Next, Next + More - 1)],
            pipeline(Send, Next + More, Total, Done + Count)
    after 10_000 ->
            {error, {stuck, Done}}
    end.

median(Values) ->
    lists:nth((length(Values) + 1) div 2, lists:sort(Values)).
