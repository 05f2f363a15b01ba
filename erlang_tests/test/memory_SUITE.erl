%% SPDX-License-Identifier: Apache-2.0
%% A rakv member that is given many times as many values as its memory budget: put, overwritten, read, compacted, and
%% found again after a kill and after a stop, the process never has more memory resident than the budget. The benchmark
%% `make bench-memory` is the same at full size.
-module(memory_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(BUDGET_BYTES, (64 * 1024 * 1024)).
-define(VALUE_BYTES, (64 * 1024)).
-define(BURST_VALUE_BYTES, (1024 * 1024)).
%% So that an own snapshot is taken at all: more than min_snapshot_interval.
-define(KEYS, 3000).

all() -> [values_many_times_the_budget, more_at_once_than_may_wait, too_small_a_budget].

suite() -> [{timetrap, {minutes, 5}}].

init_per_testcase(_Case, Config) -> rakv_ct:init(Config).
end_per_testcase(_Case, Config) -> rakv_ct:finish(Config).

values_many_times_the_budget(Config) ->
    Options = #{bootstrap => "kv", args => ["--memory-budget", "64MB"]},
    Node = rakv_ct:start_rakv(Config, n1, Options),
    Client = rakv_ct:start_beam(Config, client, #{otp => 25, modules => [plain_kv_client, memory_load]}),
    Put = fun(Round) -> load(Client, Node, put, Round) end,
    Get = fun(Round) -> load(Client, Node, get, Round) end,
    Puts = measured(Node, fun() -> Put(1) end),
    Overwrites = measured(Node, fun() -> Put(2) end),
    ok = rakv:kill_node(Node),
    ok = rakv:await_ready(Node, 60000),
    Killed = measured(Node, fun() -> Get(2) end),
    Snapshot = measured(Node, fun() ->
        ok = rakv_ct:call(Client, gen_statem, call, [{kv, Node}, {aux_command, take_snapshot}, 10000]),
        rakv_ct:wait_until(fun() ->
            filelib:wildcard(filename:join([rakv_ct:system_dir(Config, n1), "*", "snapshots", "*", "snapshot.dat"])) =/= []
        end),
        Put(3)
    end),
    {ok, Node} = rakv:restart_node(Node),
    Stopped = measured(Node, fun() -> Get(3) end),
    Peaks = #{puts => Puts, overwrites => Overwrites, killed => Killed, snapshot => Snapshot, stopped => Stopped},
    cluster_ct:say("~b MB of values three times in a budget of ~b MB: peaks in MB ~0p",
                   [?KEYS * ?VALUE_BYTES div 1_000_000, ?BUDGET_BYTES div 1_000_000,
                    maps:map(fun(_, Bytes) -> Bytes div 1_000_000 end, Peaks)]),
    [?assert(Bytes =< bound(), Phase) || {Phase, Bytes} <- maps:to_list(Peaks)].

%% Ten times the budget in one burst, while the disk hangs: what can't be written in time is refused, not kept.
more_at_once_than_may_wait(Config) ->
    Node = rakv_ct:start_rakv(Config, n1, #{bootstrap => "kv", args => ["--memory-budget", "64MB", "--test-hooks"]}),
    Client = rakv_ct:start_beam(Config, client, #{otp => 25, modules => [plain_kv_client, memory_load]}),
    Keys = 10 * ?BUDGET_BYTES div ?BURST_VALUE_BYTES,
    Peak = measured(Node, fun() ->
        {Applied, Rejected} = rakv_ct:call(Client, memory_load, pipeline, [{kv, Node}, Keys, ?BURST_VALUE_BYTES, 1], 120_000),
        cluster_ct:say("~b MB at once: ~b puts done, ~b refused",
                       [10 * ?BUDGET_BYTES div 1_000_000, length(Applied), length(Rejected)]),
        ?assertNotEqual([], Applied),
        ?assertNotEqual([], Rejected)
    end),
    ?assert(Peak =< bound(), Peak).

too_small_a_budget(Config) ->
    {2, <<>>, Line} = rakv_ct:run(Config, ["start", "--sname", "n", "--memory-budget", "10MB"]),
    ?assertMatch({match, _}, re:run(Line, "needs at least 64MB")),
    {2, <<>>, _} = rakv_ct:run(Config, ["start", "--sname", "n", "--memory-budget", "much"]).

%% ---------------------------------------------------------------------------------------------------------------

bound() -> list_to_integer(os:getenv("RAKV_BUDGET_PEAK_MB", "64")) * 1024 * 1024.

%% Runs and gives the most memory that the node's process had meanwhile.
measured(Node, Fun) ->
    {ok, Pid} = rakv:os_pid(Node),
    _ = Fun(),
    {ok, Status} = file:read_file("/proc/" ++ integer_to_list(Pid) ++ "/status"),
    {match, [KiloBytes]} = re:run(Status, "VmHWM:\\s+(\\d+) kB", [{capture, all_but_first, list}]),
    list_to_integer(KiloBytes) * 1024.

load(Client, Node, What, Round) ->
    ok = rakv_ct:call(Client, memory_load, What, [{kv, Node}, ?KEYS, ?VALUE_BYTES, Round], 120_000).
