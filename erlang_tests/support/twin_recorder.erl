%% SPDX-License-Identifier: Apache-2.0
%% Writes down what a BEAM member does in each script of the twin tests, for tests/simulation/beam_replay_test.cc:
%%
%%   make beam-scripts
%%
%% Each file is read as file:consult/1 does: {script, Name, Options}, then {step, Step, Outcome} for each step. Members,
%% pids, references and times have the names that twin_run gives them. No rakv member takes part.
-module(twin_recorder).

-export([main/1, record/2]).

-define(RANDOM_SEQUENCES, 12).
-define(TIMEOUT_MS, 600000).

main([Dir, DataDir]) ->
    Script = start(script),
    Beam = start(beam),
    ok = filelib:ensure_path(DataDir),
    {ok, _} = peer:call(Beam, ra, start, [[{data_dir, DataDir}]], ?TIMEOUT_MS),
    Node = peer:call(Beam, erlang, node, []),
    pong = peer:call(Script, net_adm, ping, [Node]),
    ok = filelib:ensure_path(Dir),
    [ok = file:write_file(filename:join(Dir, Name), Text)
     || {Name, Text} <- peer:call(Script, ?MODULE, record, [Node, ?RANDOM_SEQUENCES], ?TIMEOUT_MS)],
    [peer:stop(Peer) || Peer <- [Script, Beam]],
    halt(0).

start(Name) ->
    Paths = lists:append([["-pa", Path] || Path <- code:get_path(), filename:basename(Path) =/= "ebin"]),
    {ok, Peer, _} = peer:start(#{name => atom_to_list(Name) ++ "-" ++ os:getpid(), host => host(), connection => standard_io,
                                 args => ["-kernel", "prevent_overlapping_partitions", "false",
                                          "-kernel", "logger_level", "none" | Paths]}),
    Peer.

host() ->
    {ok, Host} = inet:gethostname(),
    hd(string:split(Host, ".")).

%% On a node of its own, whose members are the scripted ones.
record(Node, Sequences) ->
    {aten_sink, Node} ! {'$gen_cast', {hb, node()}},
    %% until its failure detector, which looks each second, has noticed
    receive after 2500 -> ok end,
    Scripts = [{Name, Options, twin_run:record(Name, Options, fun next/2, Steps, Node)}
               || {Name, Options, Steps} <- twin_scripts:all()],
    Random = [begin
                  Name = list_to_atom("random_" ++ integer_to_list(Seed)),
                  {Name, #{}, twin_random:record(Name, Seed, Node)}
              end || Seed <- lists:seq(1, Sequences)],
    [{atom_to_list(Name) ++ ".script", text(Name, Options, Steps)} || {Name, Options, Steps} <- Scripts ++ Random].

next([], _) -> stop;
next([Step | Rest], _) -> {Step, Rest}.

text(Name, Options, Steps) ->
    unicode:characters_to_binary(
      ["%% Written by `make beam-scripts` from erlang_tests/support/twin_*.erl.\n",
       io_lib:format("{script,~0p,~0p}.~n", [Name, Options]),
       [io_lib:format("{step,~0p,~n ~0p}.~n", [Step, lasting(Outcome)]) || {Step, Outcome} <- Steps]]).

%% Without the stack of a member that crashed, which has paths in it.
lasting(#{replies := Replies} = Outcome) ->
    Outcome#{replies := [case Reply of
                             {Number, {down, {Error, _}}} when Error =/= shutdown -> {Number, {down, '$crash'}};
                             _ -> Reply
                         end || Reply <- Replies]};
lasting(Outcome) -> Outcome.
