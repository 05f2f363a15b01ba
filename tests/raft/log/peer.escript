#!/usr/bin/env escript
%%! -noinput
%% SPDX-License-Identifier: Apache-2.0
%% What the tests of raft/log ask of an Erlang: to write files for us to read, and to read ours.
%% Prints one line: the answer as a term, or {error, What}.
-mode(compile).

main([Command | Arguments]) ->
    Answer = try run(Command, Arguments)
             catch Class:Reason:Stack -> {error, {Class, Reason, Stack}}
             end,
    io:format("~0p~n", [Answer]),
    %% No orderly stop of anything that was started: the files are left as a kill would leave them.
    erlang:halt(0, [{flush, true}]).

%% Rows of a DETS file that must open without a repair.
run("dets_rows", [File]) ->
    {ok, t} = dets:open_file(t, [{file, File}, {repair, false}, {access, read}]),
    Rows = lists:sort(dets:match_object(t, '_')),
    %% By key too: that uses the slots.
    true = lists:all(fun(Row) -> dets:lookup(t, element(1, Row)) =:= [Row] end, Rows),
    ok = dets:close(t),
    {ok, length(Rows), Rows};
%% A file of ours must bear being worked on: its free lists are believed then.
run("dets_churn", [File]) ->
    {ok, t} = dets:open_file(t, [{file, File}, {repair, false}]),
    Before = dets:info(t, size),
    Keys = [<<"churn", (integer_to_binary(I))/binary>> || I <- lists:seq(1, 2000)],
    [ok = dets:insert(t, {Key, I, binary:copy(<<0>>, I rem 300)})
     || {I, Key} <- lists:enumerate(Keys)],
    [ok = dets:delete(t, Key) || {I, Key} <- lists:enumerate(Keys), I rem 20 =/= 0],
    ok = dets:close(t),
    {ok, t} = dets:open_file(t, [{file, File}, {repair, false}]),
    After = dets:info(t, size),
    ok = dets:close(t),
    {ok, Before, After};
run("dets_make", [File, Count, How]) ->
    {ok, t} = dets:open_file(t, [{file, File}, {auto_save, infinity}]),
    [ok = dets:insert(t, {<<"UID", (integer_to_binary(I))/binary>>, I, {kv, 'a@host'}, I * 7})
     || I <- lists:seq(1, list_to_integer(Count))],
    case How of
        "clean" -> ok = dets:close(t);
        "dirty" -> dets:match_object(t, '_'), ok  % writes what was cached, and no more
    end;
run("dets_names", [File]) ->
    {ok, t} = dets:open_file(t, [{file, File}]),
    ok = dets:insert(t, [{kv, <<"KVAAAA">>}, {'k v2', <<"KVBBBB">>}]),
    ok = dets:close(t);
run("dets_undefined", [File]) ->
    {ok, t} = dets:open_file(t, [{file, File}]),
    ok = dets:insert(t, {<<"KVAAAA">>, undefined, undefined, undefined}),
    ok = dets:close(t);
run("consult", [File]) ->
    {ok, [Map]} = file:consult(File),
    {ok, lists:sort(maps:to_list(Map))};
%% ra's own readers on ours.
run("wal2list", [File]) ->
    {ok, [{Index, Term, Data} || {Index, Term, Data} <- lists:reverse(ra_log_wal:wal2list(File)),
                                 not is_mark(Data)]};
run("segment", [File]) ->
    {ok, [{Index, Term} || {Index, Term, Offset} <- ra_log_segment:dump_index(File),
                           Offset > 0],
     [binary_to_term(Data) || {_, _, Data} <- ra_log_segment:dump(File)]};
run("snapshot", [Directory]) ->
    {ok, ra_log_snapshot:validate(Directory), ra_log_snapshot:read_meta(Directory),
     ra_snapshot:indexes(Directory)};
%% A real ra writes: a cluster of one, puts, a snapshot, entries after it, a file rolled over.
run("ra_write", [Directory]) ->
    start_ra(Directory),
    Id = {kv, node()},
    {ok, [Id], []} = ra_kv:start_cluster(default, kv, #{members => [Id]}),
    [put_one(Id, I) || I <- lists:seq(1, 120)],
    ok = ra_log_wal:force_roll_over(ra_log_wal),
    [put_one(Id, I rem 40) || I <- lists:seq(121, 180)],
    ok = ra_kv:take_snapshot(Id),
    wait_for_snapshot(Id),
    [put_one(Id, I) || I <- lists:seq(181, 200)],
    {ok, Overview, _} = ra:member_overview(Id),
    #{last_index := Last} = maps:get(log, Overview),
    {ok, ra_directory:uid_of(default, kv), Last, maps:get(current_term, Overview)};
%% A real ra starts from what we left.
run("ra_read", [Directory]) ->
    start_ra(Directory),
    Id = {kv, node()},
    ok = wait(fun() -> element(1, ra:members(Id, 500)) =:= ok end, 100),
    {ok, Overview, _} = ra:member_overview(Id),
    Values = [begin
                  {ok, _, Value} = ra_kv:get(Id, key(I), 5000),
                  true = Value =:= value(I),
                  I
              end || I <- lists:seq(41, 120) ++ lists:seq(181, 200)],
    put_one(Id, 201),
    {ok, maps:get(current_term, Overview), length(Values)}.

key(I) -> <<"key", (integer_to_binary(I))/binary>>.
value(I) -> #{number => I, text => binary:copy(<<"v">>, I)}.
put_one(Id, I) -> {ok, _} = ra_kv:put(Id, key(I), value(I), 5000).

start_ra(Directory) ->
    logger:remove_handler(default),
    {ok, _} = application:ensure_all_started(sasl),
    ok = application:set_env(ra, data_dir, Directory),
    {ok, _} = ra:start_in(Directory),
    case ra_directory:uid_of(default, kv) of
        undefined -> ok;
        _ -> ok = ra:restart_server(default, {kv, node()})
    end.

wait_for_snapshot(Id) ->
    ok = wait(fun() ->
                      {ok, #{log := Log}, _} = ra:member_overview(Id),
                      maps:get(snapshot_index, Log, -1) > 0
              end, 300).

wait(_, 0) -> timeout;
wait(Condition, Left) ->
    case Condition() of
        true -> ok;
        false -> timer:sleep(20), wait(Condition, Left - 1)
    end.

is_mark({Kind, <<_:48/binary, _/binary>>}) -> lists:member(Kind, [start, batch, final]);
is_mark(_) -> false.
