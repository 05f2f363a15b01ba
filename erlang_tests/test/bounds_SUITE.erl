%% SPDX-License-Identifier: Apache-2.0
%% Every bound on what peers and clients can make a node hold: one flood for each row of the table in docs/memory.md,
%% against a node with the smallest memory budget. During each the process has no more memory than the budget, another
%% client's put works, and afterwards the memory comes back: the account is what it was before, and the process no larger
%% than before by more than an eighth of the budget.
%%
%% Peers that flood are made by hand (raw_peer), because no BEAM leaves a message unfinished.
-module(bounds_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(MB, (1024 * 1024)).
-define(BUDGET_BYTES, (64 * ?MB)).
-define(TIMEOUT_MS, 30000).
%% Longer than any remote call waits.
-define(GONE_MS, 90000).

all() ->
    [unfinished_frames, unfinished_fragments, unfetched_answers, unfetched_values,
     calls_without_a_leader, queries_without_a_leader, remote_calls_without_a_leader, queries_for_an_index, queries_of_funs,
     low_priority_commands, monitors, notifications].

suite() -> [{timetrap, {minutes, 5}}].

init_per_testcase(Case, Config0) ->
    Config = rakv_ct:init(Config0),
    start(Case, [{tc, Case} | Config]).

end_per_testcase(_Case, Config) -> rakv_ct:finish(Config).

start(Case, Config) when Case =:= calls_without_a_leader; Case =:= queries_without_a_leader;
                         Case =:= remote_calls_without_a_leader ->
    Node = rakv_ct:start_rakv(Config, r, #{bootstrap => kv, args => budget()}),
    Other = rakv_ct:start_rakv(Config, other, #{args => budget()}),
    Admin = rakv_ct:start_beam(Config, admin),
    %% a second cluster on the node, of two members: without the other one there is no leader
    {ok, [_, _], []} = rakv_ct:call(Admin, ra_kv, start_cluster,
                                    [default, alone, #{members => [{alone, Node}, {alone, Other}]}]),
    ok = rakv:kill_node(Other, #{restart => false}),
    {ok, Node} = rakv:restart_node(Node),
    All = with_client(Node, Config),
    {timeout, _} = rakv_ct:call(Admin, ra_kv, put, [{alone, Node}, <<"key">>, 1, 500]),
    [{admin, Admin} | All];
start(_, Config) ->
    Node = rakv_ct:start_rakv(Config, r, #{bootstrap => kv, args => budget()}),
    with_client(Node, Config).

with_client(Node, Config) ->
    Client = rakv_ct:start_beam(Config, client, #{otp => 25, modules => [plain_kv_client]}),
    {ok, #{port := Port}} = rakv:info(Node),
    {ok, OsPid} = rakv:os_pid(Node),
    All = [{node, Node}, {client, Client}, {port, Port}, {os_pid, OsPid} | Config],
    ok = put_and_get(All),
    All.

budget() -> ["--memory-budget", "64MB"].

%% ---------------------------------------------------------------------------------------------------------------
%% What peers do not finish, and what they do not fetch.

%% Each says that a frame of 40 MB comes, and stops after 12 MB.
unfinished_frames(Config) ->
    flood(Config, fun() ->
        each_peer(Config, 40, fun(Peer) ->
            _ = raw_peer:send(Peer, [<<(40 * ?MB):32, 131, 68, 0>>, binary:copy(<<0>>, 12 * ?MB)])
        end)
    end).

%% 64 messages of 8 fragments each, of which the last one never comes; the fragments take turns.
unfinished_fragments(Config) ->
    Piece = binary:copy(<<0>>, 64 * 1024),
    flood(Config, fun() ->
        each_peer(Config, 20, fun(Peer) ->
            [ok = raw_peer:send(Peer, raw_peer:first_fragment(Peer, Sequence, 9, Piece)) || Sequence <- lists:seq(1, 64)],
            [ok = raw_peer:send(Peer, raw_peer:later_fragment(Sequence, Left, Piece))
             || Left <- lists:seq(8, 2, -1), Sequence <- lists:seq(1, 64)]
        end)
    end).

%% Asks for overviews, and reads no answer.
unfetched_answers(Config) ->
    flood(Config, fun() ->
        each_peer(Config, 20, fun(Peer) ->
            [ok = raw_peer:send(Peer, [raw_peer:call(Peer, Number, {local_call, {state_query, overview}})
                                       || Number <- lists:seq(Batch * 100, Batch * 100 + 99)])
             || Batch <- lists:seq(1, 200)]
        end)
    end).

%% Reads a value of 1 MB from a segment many times, and fetches none.
unfetched_values(Config) ->
    Node = ?config(node, Config),
    Server = {kv, Node},
    Value = binary:copy(<<7>>, ?MB),
    [#{index := Index} | _] =
        [begin
             {ok, Put} = rakv_ct:call(?config(client, Config), plain_kv_client, put, [Server, <<Key>>, Value, ?TIMEOUT_MS]),
             Put
         end || Key <- lists:seq(1, 30)],
    Segments = filename:join(rakv_ct:system_dir(Config, r), "*/*.segment"),
    rakv_ct:wait_until(fun() -> filelib:wildcard(Segments) =/= [] end),
    flood(Config, fun() ->
        Peers = each_peer(Config, 20, fun(Peer) ->
            [ok = raw_peer:send(Peer, remote_call(Peer, Number, ra_kv, read_entry, [Server, Index, [Server], ?TIMEOUT_MS]))
             || Number <- lists:seq(1, 40)]
        end),
        %% another client gets it all the same, after those that asked before
        {ok, _, Value} = rakv_ct:call(?config(client, Config), plain_kv_client, get, [Server, <<1>>, ?TIMEOUT_MS]),
        Peers
    end).

%% ---------------------------------------------------------------------------------------------------------------
%% What waits for a leader, an index, or a caller's node.

%% Puts of 1 MB to a member that knows no leader. A client of ra is told so in words, at once.
calls_without_a_leader(Config) ->
    Server = {alone, ?config(node, Config)},
    Value = binary:copy(<<7>>, ?MB),
    Put = {put, <<"key">>, Value, #{size => ?MB, hash => 1}},
    flood(Config, fun() ->
        each_peer(Config, 20, fun(Peer) ->
            [ok = raw_peer:send(Peer, raw_peer:call(Peer, alone, Number, command(Put))) || Number <- lists:seq(1, 40)]
        end)
    end, fun() ->
        Answers = [rakv_ct:call(?config(admin, Config), ra_kv, put, [Server, <<"key">>, Value, ?TIMEOUT_MS]),
                   rakv_ct:call(?config(client, Config), plain_kv_client, put, [Server, <<"key">>, Value, ?TIMEOUT_MS])],
        cluster_ct:say("a put when there is no room: ~0p", [Answers]),
        [?assertEqual({error, system_limit}, Answer) || Answer <- Answers]
    end).

queries_without_a_leader(Config) ->
    Query = binary:copy(<<7>>, 100_000),
    flood(Config, fun() ->
        each_peer(Config, 20, fun(Peer) ->
            [ok = raw_peer:send(Peer, raw_peer:call(Peer, alone, Number, {leader_call, {Kind, Query}}))
             || Number <- lists:seq(1, 200), Kind <- [consistent_query, state_query]]
        end)
    end).

%% ra:members/2 of a cluster without a leader, which takes as long as the caller likes.
remote_calls_without_a_leader(Config) ->
    Server = {alone, ?config(node, Config)},
    flood(Config, fun() ->
        each_peer(Config, 20, fun(Peer) ->
            [ok = raw_peer:send(Peer, [remote_call(Peer, Number, ra, members, [Server, 3_600_000])
                                       || Number <- lists:seq(Batch * 100, Batch * 100 + 99)])
             || Batch <- lists:seq(1, 50)],
            ok = raw_peer:sync(Peer)
        end)
    end).

queries_for_an_index(Config) ->
    Query = binary:copy(<<7>>, 100_000),
    Request = {local_query, Query, #{condition => {applied, {1_000_000, 1}}}},
    flood(Config, fun() ->
        each_peer(Config, 20, fun(Peer) ->
            [ok = raw_peer:send(Peer, raw_peer:call(Peer, Number, Request)) || Number <- lists:seq(1, 400)]
        end)
    end).

%% The caller's node has to evaluate a query that is not known here; these fetch the request for that, and never answer.
queries_of_funs(Config) ->
    flood(Config, fun() ->
        each_peer(Config, 20, fun(Peer) ->
            [begin
                 ok = raw_peer:send(Peer, [raw_peer:call(Peer, Number, {local_query, {no_such, function, []}})
                                           || Number <- lists:seq(Batch * 100, Batch * 100 + 99)]),
                 ok = raw_peer:drain(Peer)
             end || Batch <- lists:seq(1, 200)],
            ok = raw_peer:sync(Peer)
        end)
    end).

%% They wait in memory until nothing else is to do.
low_priority_commands(Config) ->
    Put = {put, <<"key">>, binary:copy(<<7>>, 300_000), #{size => 300_000, hash => 1}},
    flood(Config, fun() ->
        each_peer(Config, 20, fun(Peer) ->
            [ok = raw_peer:send(Peer, raw_peer:cast(Peer, {command, low, {'$usr', Put, noreply}})) || _ <- lists:seq(1, 150)]
        end)
    end).

monitors(Config) ->
    flood(Config, fun() ->
        each_peer(Config, 20, fun(Peer) ->
            [begin
                 ok = raw_peer:send(Peer, [raw_peer:message(Peer, {19, {pid, 1}, kv, {reference, Number}})
                                           || Number <- lists:seq(Batch * 1000, Batch * 1000 + 999)]),
                 ok = raw_peer:drain(Peer)
             end || Batch <- lists:seq(1, 50)],
            ok = raw_peer:sync(Peer)
        end)
    end).

%% Pipelined puts whose notifications of 100 kB each are for one peer, which fetches none.
notifications(Config) ->
    {ok, Slow} = raw_peer:connect(?config(port, Config), rakv_ct:cookie(Config), "slow"),
    Put = {put, <<"key">>, 1, #{size => 1, hash => 1}},
    Mode = {notify, 1 bsl 800_000, raw_peer:pid(Slow, 1)}, % a number of 100 kB
    flood(Config, fun() ->
        [Slow | each_peer(Config, 20, fun(Peer) ->
            [ok = raw_peer:send(Peer, raw_peer:cast(Peer, {command, normal, {'$usr', Put, Mode}})) || _ <- lists:seq(1, 200)]
        end)]
    end).

command(Command) -> {leader_call, {command, normal, {'$usr', Command, await_consensus}}}.

%% ---------------------------------------------------------------------------------------------------------------
%% A flood, and what must hold.

%% Flood gives the peers that it came from. They stay connected until all has been looked at.
flood(Config, Flood) -> flood(Config, Flood, fun() -> ok end).

flood(Config, Flood, Check) ->
    Before = resident(Config),
    Used = used(Config),
    ok = file:write_file(proc(Config, "clear_refs"), "5"), % the peak begins anew
    Peers = Flood(),
    ok = put_and_get(Config),
    Peak = peak(Config),
    Accounts = accounts(Config),
    cluster_ct:say("~ts: ~b MB resident before, at most ~b MB meanwhile; most in the accounts, in kB: ~0p",
                   [?config(tc, Config), mb(Before), mb(Peak),
                    [{Kind, Most div 1024} || {Kind, _, _, Most} <- Accounts, Most > 0]]),
    _ = Check(),
    [raw_peer:close(Peer) || Peer <- Peers],
    rakv_ct:wait_until(fun() -> used(Config) =< Used + ?MB orelse {used, accounts(Config)} end, ?GONE_MS),
    rakv_ct:wait_until(fun() ->
        After = resident(Config),
        After =< Before + margin() orelse {before_mb, mb(Before), after_mb, mb(After)}
    end),
    ok = put_and_get(Config),
    cluster_ct:say("~ts: ~b MB resident afterwards", [?config(tc, Config), mb(resident(Config))]),
    ?assert(Peak =< bound(), {peak_mb, mb(Peak)}).

%% Runs Fun for each of so many peers at once, and gives the peers.
each_peer(Config, Count, Fun) ->
    Owner = self(),
    Workers = [spawn_monitor(fun() ->
                   {ok, #{socket := Socket} = Peer} =
                       raw_peer:connect(?config(port, Config), rakv_ct:cookie(Config), "flood" ++ integer_to_list(Number)),
                   %% a node that takes no more, or has closed, ends the flood
                   _ = try Fun(Peer) catch error:{badmatch, {error, _}} -> stopped end,
                   ok = gen_tcp:controlling_process(Socket, Owner),
                   exit({peer, Peer})
               end) || Number <- lists:seq(1, Count)],
    [receive
         {'DOWN', Monitor, process, Pid, {peer, Peer}} -> Peer;
         {'DOWN', Monitor, process, Pid, Reason} -> ct:fail(Reason)
     end || {Pid, Monitor} <- Workers].

remote_call(Peer, Number, Module, Function, Arguments) ->
    raw_peer:message(Peer, {29, {reference, Number}, {pid, 1}, {pid, 1}, {erpc, execute_call, 4}, [monitor]},
                     [{reference, Number}, Module, Function, Arguments]).

put_and_get(Config) ->
    Key = integer_to_binary(erlang:unique_integer([positive])),
    Server = {kv, ?config(node, Config)},
    rakv_ct:wait_until(fun() ->
        case rakv_ct:call(?config(client, Config), plain_kv_client, put, [Server, Key, Key, ?TIMEOUT_MS]) of
            {ok, _} -> true;
            Other -> Other
        end
    end),
    {ok, _, Key} = rakv_ct:call(?config(client, Config), plain_kv_client, get, [Server, Key, ?TIMEOUT_MS]),
    ok.

%% What the node says that it holds: [{Kind, Used, Limit, Most}], the sum first. A node that has no account says nothing.
accounts(Config) ->
    try rakv_ct:call(?config(client, Config), erpc, call, [?config(node, Config), rakv, memory, []])
    catch _:_ -> []
    end.

used(Config) ->
    case accounts(Config) of
        [{sum, Used, _, _} | _] -> Used;
        [] -> 0
    end.

resident(Config) -> status_bytes(Config, "VmRSS").
peak(Config) -> status_bytes(Config, "VmHWM").

status_bytes(Config, Field) ->
    {ok, Status} = file:read_file(proc(Config, "status")),
    {match, [KiloBytes]} = re:run(Status, Field ++ ":\\s+(\\d+) kB", [{capture, all_but_first, binary}]),
    binary_to_integer(KiloBytes) * 1024.

proc(Config, File) -> filename:join(["/proc", integer_to_list(?config(os_pid, Config)), File]).

bound() -> list_to_integer(os:getenv("RAKV_BUDGET_PEAK_MB", "64")) * ?MB.

%% What the allocator may keep (docs/memory.md), and the tables that have grown.
margin() -> ?BUDGET_BYTES div 8 + list_to_integer(os:getenv("RAKV_BUDGET_MARGIN_MB", "4")) * ?MB.

mb(Bytes) -> Bytes div ?MB.
