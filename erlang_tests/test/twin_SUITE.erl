%% SPDX-License-Identifier: Apache-2.0
%% Twins: a BEAM member (unmodified ra) and a rakv member of two like clusters, whose other members are scripted. Both
%% get the same messages in the same order; every message they send, every answer and the state after each step must be
%% the same, but for what docs/divergence.md has. twin_scripts has the scripts, twin_run plays them, twin_random makes
%% up sequences.
%%
%%   RAKV_SEED   repeats a run's random sequences
%%   RAKV_RUNS   how many of them (default 20)
%%   RAKV_TWIN   names of scripts, with commas, to run no others
-module(twin_SUITE).

-compile([export_all, nowarn_export_all]).

all() -> [scripts, random_sequences].

suite() -> [{timetrap, {minutes, 3}}].

init_per_suite(Config0) ->
    Seed = case os:getenv("RAKV_SEED") of
               false -> erlang:phash2({node(), os:getpid(), erlang:system_time()});
               Text -> list_to_integer(Text)
           end,
    io:format(user, "~nRAKV_SEED=~b~n", [Seed]),
    Config = rakv_ct:init(Config0),
    Modules = [twin_run, twin_random | twin_scripts:modules()],
    Script = rakv_ct:start_beam(Config, script, #{modules => Modules}),
    Beam = rakv_ct:start_beam(Config, beam, #{modules => [twin_run]}),
    ok = rakv_ct:start_ra(Config, Beam),
    Rakv = rakv_ct:start_rakv(Config, native),
    Nodes = [{beam, rakv_ct:node_of(Beam)}, {rakv, Rakv}],
    [pong = rakv_ct:call(Script, net_adm, ping, [Node]) || {_, Node} <- Nodes],
    ok = rakv_ct:call(Script, twin_run, warm_up, [Nodes]),
    [{seed, Seed}, {script, Script}, {nodes, Nodes} | Config].

end_per_suite(Config) ->
    rakv_ct:finish(Config).

scripts(Config) ->
    Only = [list_to_atom(Name) || Name <- string:lexemes(os:getenv("RAKV_TWIN", ""), ",")],
    Results = [{Name, play(Name, script, [Name, Options, Steps], Config)}
               || {Name, Options, Steps} <- twin_scripts:all(), Only =:= [] orelse lists:member(Name, Only)],
    report("scripts", Results).

random_sequences(Config) ->
    Seed = proplists:get_value(seed, Config),
    Runs = list_to_integer(os:getenv("RAKV_RUNS", "20")),
    Results = [begin
                   Name = list_to_atom("random_" ++ integer_to_list(Run)),
                   {Name, play(Name, random, [Name, Seed + Run], Config)}
               end || Run <- lists:seq(0, Runs - 1)],
    report("random sequences", Results).

play(Name, Kind, Args, Config) ->
    Script = proplists:get_value(script, Config),
    Nodes = proplists:get_value(nodes, Config),
    {Module, Function} = case Kind of script -> {twin_run, script}; random -> {twin_random, run} end,
    #{log := Log} = Result = rakv_ct:call(Script, Module, Function, Args ++ [Nodes]),
    ct:log("~ts~n~ts", [Name, Log]),
    Result.

report(What, Results) ->
    Steps = lists:sum([maps:get(steps, Result) || {_, Result} <- Results]),
    Explained = [Why || {_, #{explained := List}} <- Results, {Why, _} <- List],
    Differences = [{Name, D} || {Name, #{differences := Ds}} <- Results, D <- Ds],
    io:format(user, "twins, ~ts: ~b steps, ~b differences: ~b explained (~tp), ~b unexplained~n",
              [What, Steps, length(Explained) + length(Differences), length(Explained), lists:usort(Explained),
               length(Differences)]),
    [begin
         Text = io_lib:format("~ts: ~tp~n  BEAM: ~tp~n  rakv: ~tp~n", [Name, Step, Beam, Rakv]),
         io:format(user, "~ts", [Text])
     end || {Name, {Step, Beam, Rakv}} <- Differences],
    Differences =:= [] orelse ct:fail("~b unexplained differences", [length(Differences)]),
    {comment, lists:flatten(io_lib:format("~b steps, ~b explained", [Steps, length(Explained)]))}.
