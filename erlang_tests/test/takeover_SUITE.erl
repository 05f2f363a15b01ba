%% SPDX-License-Identifier: Apache-2.0
%% A node's directory goes from a BEAM with ra to rakv and back: what one has written, the other reads, with equal values,
%% terms and indexes; under traffic nothing that was acknowledged is lost; and while a directory is rakv's, no BEAM starts
%% on it.
%%
%%   RAKV_SEED   repeats a run's choices
-module(takeover_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(WAIT_MS, 60000).
%% After this long a compaction of a few segments is over.
-define(KILL_WITHIN_MS, 10).

all() ->
    [rakvs_directory_under_ra, ras_directory_under_rakv, rakvs_compacted_directory_under_ra,
     ras_compacted_directory_under_rakv, killed_while_compacting, back_and_forth_under_traffic, a_name_that_ra_forgot, no_beam_on_rakvs_directory,
     not_every_server_is_taken].

suite() -> [{timetrap, {minutes, 5}}].

init_per_testcase(_Case, Config) ->
    Seed = case os:getenv("RAKV_SEED") of
               false -> erlang:phash2({node(), os:getpid(), erlang:system_time()});
               Text -> list_to_integer(Text)
           end,
    cluster_ct:say("RAKV_SEED=~b", [Seed]),
    _ = rand:seed(exsss, {Seed, 1, 2}),
    cluster_ct:init([{seed, Seed} | Config]).

end_per_testcase(_Case, Config) -> cluster_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------
%% One directory under both, its peers being down: nothing can come from them.

rakvs_directory_under_ra(Config) ->
    Cluster = cluster_ct:start(Config, [rakv, beam, beam]),
    Before = alone_after_history(Cluster, n1),
    ok = cluster_ct:stop(Cluster, n1),
    ras_readers_accept(Cluster, n1),
    ok = cluster_ct:become(Cluster, n1, beam),
    ok = cluster_ct:start_server(Cluster, n1),
    has_kept(Cluster, n1, Before),
    together_again(Cluster, [n2, n3]).

ras_directory_under_rakv(Config) ->
    Cluster = cluster_ct:start(Config, [beam, beam, rakv]),
    Before = alone_after_history(Cluster, n1),
    ok = cluster_ct:stop(Cluster, n1),
    ok = cluster_ct:become(Cluster, n1, rakv),
    has_kept(Cluster, n1, Before),
    together_again(Cluster, [n2, n3]).

%% Overwritten entries, an installed snapshot with sparse live entries, compactions; then the other nodes are stopped.
%% Gives the member's contents.
alone_after_history(Cluster, Name) ->
    ok = overwrites_and_installation(Cluster, Name),
    [begin
         ok = cluster_ct:fill(Cluster, "k", 40 * Round),
         ok = roll_over(Cluster, Name),
         ok = cluster_ct:fill(Cluster, "more", 40),
         ok = cluster_ct:take_snapshot(Cluster, Name)
     end || Round <- [3, 2, 1]],
    ok = roll_over(Cluster, Name),
    alone(Cluster, Name).

overwrites_and_installation(Cluster, Name) ->
    Others = cluster_ct:members(Cluster) -- [Name],
    ok = cluster_ct:fill(Cluster, "k", 150),
    ok = overwritten_entries(Cluster, Name, Others),
    installed_snapshot(Cluster, Name, Others).

%% The member's contents, its peers being stopped.
alone(Cluster, Name) ->
    Others = cluster_ct:members(Cluster) -- [Name],
    ok = cluster_ct:fill(Cluster, "last", 30),
    ok = cluster_ct:same_everywhere(Cluster),
    %% a member that starts alone knows as committed what it had stored as applied
    [ok, ok] = cluster_ct:parallel(fun(Other) -> cluster_ct:stop(Cluster, Other) end, Others),
    Contents = contents(Cluster, Name),
    #{last_applied := Applied, log := Log} = cluster_ct:overview(Cluster, Name),
    Contents#{last_applied => Applied, snapshot_index => maps:get(snapshot_index, Log)}.

%% Entries that a leader without followers has written, and that its successor's replace.
overwritten_entries(Cluster, Name, Others) ->
    ok = cluster_ct:lead(Cluster, Name),
    _ = cluster_ct:parallel(fun(Other) -> ok = cluster_ct:stop(Cluster, Other) end, Others),
    #{log := #{last_index := Before}} = cluster_ct:overview(Cluster, Name),
    [ok = cluster_ct:call(Cluster, ra, pipeline_command, [cluster_ct:server(Cluster, Name), put_command(Number)])
     || Number <- lists:seq(1, 20)],
    rakv_ct:wait_until(fun() ->
        #{log := #{last_written_index_term := {Written, _}}} = cluster_ct:overview(Cluster, Name),
        Written >= Before + 20
    end),
    ok = cluster_ct:kill(Cluster, Name),
    [ok = cluster_ct:restart(Cluster, Other) || Other <- Others],
    [Other | _] = Others,
    rakv_ct:wait_until(fun() -> {ok, _} = cluster_ct:put(Cluster, Other, <<"after">>, 1), true end, ?WAIT_MS),
    ok = cluster_ct:restart(Cluster, Name),
    ok = cluster_ct:wait_caught_up(Cluster, Name),
    ?assertEqual({error, not_found}, cluster_ct:get(Cluster, Name, <<"never 20">>)),
    ok.

put_command(Number) ->
    Value = {never, Number},
    {put, <<"never ", (integer_to_binary(Number))/binary>>, Value,
     #{size => erlang:external_size(Value), hash => erlang:phash2(Value)}}.

installed_snapshot(Cluster, Name, [Other | _] = Others) ->
    ok = cluster_ct:stop(Cluster, Name),
    Servers = [cluster_ct:server(Cluster, Running) || Running <- Others],
    [ok = cluster_ct:call(Cluster, cluster_client, fill, [Servers, Prefix, Count])
     || {Prefix, Count} <- [{"sparse", 120}, {"k", 70}, {"sparse", 60}]],
    [ok = cluster_ct:take_snapshot(Cluster, Running) || Running <- Others],
    #{log := #{snapshot_index := Snapshot}} = cluster_ct:overview(Cluster, Other),
    ok = cluster_ct:restart(Cluster, Name),
    ok = cluster_ct:wait_caught_up(Cluster, Name),
    #{log := #{snapshot_index := Installed}} = cluster_ct:overview(Cluster, Name),
    ?assert(Installed >= Snapshot),
    ok.

roll_over(Cluster, Name) ->
    cluster_ct:rpc(Cluster, Name, ra_log_wal, force_roll_over, [ra_log_wal]).

contents(Cluster, Name) ->
    cluster_ct:call(Cluster, cluster_client, contents, [cluster_ct:server(Cluster, Name)]).

%% Keys, values, their hashes, indexes and terms, live indexes and the snapshot are as before.
has_kept(Cluster, Name, #{keys := Keys, last_applied := Applied, snapshot_index := Snapshot} = Before) ->
    rakv_ct:wait_until(fun() ->
        #{last_applied := Now} = cluster_ct:overview(Cluster, Name),
        Now >= Applied orelse {applied, Now, before, Applied}
    end),
    #{log := #{snapshot_index := SnapshotNow}} = cluster_ct:overview(Cluster, Name),
    ?assertEqual(Snapshot, SnapshotNow),
    Now = contents(Cluster, Name),
    ?assertEqual(maps:get(live_indexes, Before), maps:get(live_indexes, Now)),
    ?assertEqual([], maps:to_list(Keys) -- maps:to_list(maps:get(keys, Now))),
    ?assertEqual(map_size(Keys), map_size(maps:get(keys, Now))),
    cluster_ct:say("~b keys with equal values, terms and indexes, ~b live indexes, snapshot at ~b",
                   [map_size(Keys), length(maps:get(live_indexes, Now)), Snapshot]).

%% ---------------------------------------------------------------------------------------------------------------
%% What compactions of either kind leave on disk, and that the other kind compacts it further.

rakvs_compacted_directory_under_ra(Config) ->
    Cluster = cluster_ct:start(Config, [rakv, beam, beam]),
    ok = overwrites_and_installation(Cluster, n1),
    ok = compacted(Cluster, n1),
    ?assertMatch(#{links := 0}, segments(Cluster, n1)),
    Before = alone(Cluster, n1),
    ok = cluster_ct:stop(Cluster, n1),
    ras_readers_accept(Cluster, n1),
    ok = cluster_ct:become(Cluster, n1, beam),
    ras_readers_read_all(Cluster, n1),
    ok = cluster_ct:start_server(Cluster, n1),
    has_kept(Cluster, n1, Before),
    together_again(Cluster, [n2, n3]),
    ok = compacted_further(Cluster, n1).

%% With the symbolic links that ra leaves for a minute, and with what a kill -9 in the middle of the next compaction would
%% leave: the names of the segments that are being merged, and a part of the merged segment.
ras_compacted_directory_under_rakv(Config) ->
    %% ra fills up the newest segment before it begins another one
    Cluster = cluster_ct:start(Config, [beam, beam, rakv], #{ra => [{segment_max_entries, 64}]}),
    ok = overwrites_and_installation(Cluster, n1),
    ok = compacted(Cluster, n1),
    #{links := Links} = segments(Cluster, n1),
    ?assert(Links > 0),
    ok = sparse_segments(Cluster, n1, 3),
    Before = alone(Cluster, n1),
    ok = cluster_ct:stop(Cluster, n1),
    ok = interrupted_compaction(Cluster, n1),
    ok = cluster_ct:become(Cluster, n1, rakv),
    has_kept(Cluster, n1, Before),
    ?assertEqual([], files_of(Cluster, n1, "*.compact*")),
    together_again(Cluster, [n2, n3]),
    ok = compacted_further(Cluster, n1),
    %% and it can go back, with all that
    Again = alone(Cluster, n1),
    ok = cluster_ct:stop(Cluster, n1),
    ok = cluster_ct:become(Cluster, n1, beam),
    ras_readers_read_all(Cluster, n1),
    ok = cluster_ct:start_server(Cluster, n1),
    has_kept(Cluster, n1, Again),
    together_again(Cluster, [n2, n3]).

%% kill -9 at a random moment of a major compaction; then the other kind of member goes on, and has lost nothing.
killed_while_compacting(Config) ->
    Cluster = cluster_ct:start(Config, [beam, beam, rakv], #{ra => [{segment_max_entries, 64}]}),
    ok = overwrites_and_installation(Cluster, n1),
    lists:foreach(fun(Next) ->
        ok = sparse_segments(Cluster, n1, 6),
        %% a member that was killed and starts alone knows as committed what its snapshot has
        Contents = #{last_applied := Applied} = alone(Cluster, n1),
        ok = cluster_ct:take_snapshot(Cluster, n1),
        Before = Contents#{snapshot_index := Applied, live_indexes := maps:get(live_indexes, contents(Cluster, n1))},
        Files = files_of(Cluster, n1, "*.segment"),
        ok = cluster_ct:call(Cluster, ra, trigger_compaction, [cluster_ct:server(Cluster, n1)]),
        receive after rand:uniform(?KILL_WITHIN_MS) -> ok end,
        ok = cluster_ct:kill(Cluster, n1),
        cluster_ct:say("killed with ~b of ~b segments left, under way: ~0p",
                       [length(files_of(Cluster, n1, "*.segment")), length(Files),
                        [filename:basename(File) || File <- files_of(Cluster, n1, "*.compact*")]]),
        ok = cluster_ct:become(Cluster, n1, Next),
        [ok = cluster_ct:start_server(Cluster, n1) || Next =:= beam],
        has_kept(Cluster, n1, Before),
        together_again(Cluster, [n2, n3])
    end, [rakv, beam, rakv, beam, rakv, beam]).

%% A minor compaction by a snapshot, and a major one that is asked for. Each is seen in the files.
compacted(Cluster, Name) ->
    ok = rolled_over(Cluster, Name),
    [begin
         ok = cluster_ct:fill(Cluster, "gone", 200),
         ok = rolled_over(Cluster, Name)
     end || _ <- [1, 2]],
    ok = sparse_segments(Cluster, Name, 5),
    Sparse = segments(Cluster, Name),
    ok = cluster_ct:take_snapshot(Cluster, Name),
    #{files := MinorFiles} = Minor = fewer_segments(Cluster, Name, Sparse),
    Counted = merged(Cluster, Name),
    ok = cluster_ct:call(Cluster, ra, trigger_compaction, [cluster_ct:server(Cluster, Name)]),
    rakv_ct:wait_until(fun() -> merged(Cluster, Name) > Counted end, ?WAIT_MS),
    Major = #{files := MajorFiles} = fewer_segments(Cluster, Name, Minor),
    cluster_ct:say("~ts, a ~p: segments before compaction ~0p, after a minor one ~0p, after a major one ~0p",
                   [cluster_ct:node_of(Cluster, Name), cluster_ct:kind(Cluster, Name), Sparse, Minor, Major]),
    ?assert(MajorFiles < MinorFiles),
    ok.

%% The other kind of member merges what this one has left.
compacted_further(Cluster, Name) ->
    [ok = cluster_ct:fill(Cluster, Prefix, Count) || {Prefix, Count} <- [{"sparse", 100}, {"gone", 150}]],
    ok = sparse_segments(Cluster, Name, 5),
    Before = segments(Cluster, Name),
    ok = cluster_ct:take_snapshot(Cluster, Name),
    Counted = merged(Cluster, Name),
    ok = cluster_ct:call(Cluster, ra, trigger_compaction, [cluster_ct:server(Cluster, Name)]),
    rakv_ct:wait_until(fun() -> merged(Cluster, Name) > Counted end, ?WAIT_MS),
    After = fewer_segments(Cluster, Name, Before),
    cluster_ct:say("~ts, now a ~p: segments ~0p, after a major compaction ~0p",
                   [cluster_ct:node_of(Cluster, Name), cluster_ct:kind(Cluster, Name), Before, After]),
    cluster_ct:same_everywhere(Cluster).

%% Segments of which less than half stays live: each round overwrites most of the one before.
sparse_segments(Cluster, Name, Rounds) ->
    [begin
         ok = cluster_ct:fill(Cluster, "k", 20 * Round),
         ok = cluster_ct:fill(Cluster, "more", 60),
         ok = rolled_over(Cluster, Name)
     end || Round <- lists:seq(Rounds, 1, -1)],
    ok.

%% Everything is in segments.
rolled_over(Cluster, Name) ->
    ok = cluster_ct:wait_caught_up(Cluster, Name),
    Before = lists:max(wals(Cluster, Name)),
    ok = roll_over(Cluster, Name),
    rakv_ct:wait_until(fun() ->
        case wals(Cluster, Name) of
            [Wal] when Wal > Before -> true;
            Wals -> {Before, Wals}
        end
    end, ?WAIT_MS).

wals(#{config := Config}, Name) -> filelib:wildcard(filename:join(rakv_ct:system_dir(Config, Name), "*.wal")).

fewer_segments(Cluster, Name, #{files := Files, bytes := Bytes}) ->
    rakv_ct:wait_for(fun() ->
        case segments(Cluster, Name) of
            #{files := FilesNow, bytes := BytesNow} = Now when FilesNow < Files, BytesNow < Bytes -> {ok, Now};
            Now -> Now
        end
    end, ?WAIT_MS).

%% How many, their bytes, and the symbolic links among them.
segments(Cluster, Name) ->
    {Links, Files} = lists:partition(fun(File) -> element(1, file:read_link(File)) =:= ok end,
                                     files_of(Cluster, Name, "*.segment")),
    #{files => length(Files), bytes => lists:sum([filelib:file_size(File) || File <- Files]), links => length(Links)}.

%% Of the only server.
files_of(#{config := Config}, Name, Pattern) ->
    lists:sort(filelib:wildcard(filename:join([rakv_ct:system_dir(Config, Name), "*", Pattern]))).

%% Segments that major compactions have merged others into; counted when they are on disk.
merged(Cluster, Name) ->
    Server = cluster_ct:server(Cluster, Name),
    #{Server := #{major_compaction_segments_written := Count}} = cluster_ct:rpc(Cluster, Name, ra_counters, overview, []),
    Count.

%% As ra writes them: the list of names is complete, the merged file is not.
interrupted_compaction(Cluster, Name) ->
    Regular = [File || File <- files_of(Cluster, Name, "*.segment"), element(1, file:read_link(File)) =:= error],
    [First | _] = Group = lists:droplast(Regular),
    ?assert(length(Group) > 1),
    Base = filename:rootname(First),
    {ok, Content} = file:read_file(First),
    ok = file:write_file(Base ++ ".compaction_group",
                         term_to_binary([list_to_binary(filename:basename(File)) || File <- Group])),
    file:write_file(Base ++ ".compacting", binary:part(Content, 0, byte_size(Content) div 2)).

together_again(Cluster, Stopped) ->
    [ok = cluster_ct:restart(Cluster, Name) || Name <- Stopped],
    ok = cluster_ct:fill(Cluster, "again", 10),
    ok = cluster_ct:same_everywhere(Cluster).

%% ---------------------------------------------------------------------------------------------------------------
%% ra's own offline readers, on the files of a rakv node that is stopped.

ras_readers_accept(#{config := Config} = Cluster, Name) ->
    Dir = rakv_ct:system_dir(Config, Name),
    Wals = filelib:wildcard(filename:join(Dir, "*.wal")),
    Records = lists:append([ra_log_wal:wal2list(Wal) || Wal <- Wals]),
    ?assertNotEqual([], Records),
    [?assertMatch({Index, Term, _} when is_integer(Index) andalso is_integer(Term), Record) || Record <- Records],
    Rows = fun(File) ->
        {ok, Table} = dets:open_file(make_ref(), [{file, filename:join(Dir, File)}, {repair, false}, {access, read}]),
        Found = dets:match_object(Table, '_'),
        ok = dets:close(Table),
        Found
    end,
    [{kv, UId}] = Rows("names.dets.rakv"),
    [{UId, Term, _, Applied}] = Rows("meta.dets"),
    ?assert(Term > 0 andalso Applied > 0),
    Server = filename:join(Dir, binary_to_list(UId)),
    Segments = filelib:wildcard(filename:join(Server, "*.segment")),
    Entries = lists:append([segment(Segment) || Segment <- Segments]),
    [Snapshot] = filelib:wildcard(filename:join([Server, "snapshots", "*"])),
    ok = ra_log_snapshot:validate(Snapshot),
    {ok, #{index := Index, term := _, cluster := Members, machine_version := 0}} =
        ra_log_snapshot:read_meta(Snapshot),
    ?assertEqual(3, map_size(Members)),
    {ok, Live} = ra_snapshot:indexes(Snapshot),
    %% what is live is in a segment or in the WAL
    Present = [I || {I, _} <- Entries] ++ [I || {I, _, _} <- Records],
    ?assertEqual([], lists:usort(ra_seq:expand(Live)) -- lists:usort(Present)),
    cluster_ct:say("~ts: ra has read ~b WAL files with ~b records, ~b segments with ~b entries, a snapshot at ~b with ~b "
                   "live indexes", [cluster_ct:node_of(Cluster, Name), length(Wals), length(Records), length(Segments),
                                    length(Entries), Index, length(ra_seq:expand(Live))]).

%% Every entry of every segment, of which ra verifies the checksums, and every live index among them.
ras_readers_read_all(Cluster, Name) ->
    Read = [{Index, read_by_ra(File, Index)} || File <- files_of(Cluster, Name, "*.segment"), Index <- indexes(File)],
    [Snapshot] = files_of(Cluster, Name, "snapshots/*"),
    {ok, Live} = ra_snapshot:indexes(Snapshot),
    ?assertEqual([], ra_seq:expand(Live) -- [Index || {Index, _} <- Read]),
    [?assertMatch({'$usr', _, {put, _, _, _}, _}, binary_to_term(Entry))
     || {Index, Entry} <- Read, lists:member(Index, ra_seq:expand(Live))],
    cluster_ct:say("~ts: ra has read ~b entries of ~b segments, among them ~b live ones",
                   [cluster_ct:node_of(Cluster, Name), length(Read), length(files_of(Cluster, Name, "*.segment")),
                    length(ra_seq:expand(Live))]).

%% Of a segment that ra may have written: an index that goes back has replaced those from there on.
indexes(File) ->
    lists:foldl(fun({Index, _, Offset}, Before) when Offset > 0 -> [Other || Other <- Before, Other < Index] ++ [Index];
                   (_Unused, Before) -> Before
                end, [], ra_log_segment:dump_index(File)).

read_by_ra(File, Index) ->
    {ok, Segment} = ra_log_segment:open(File, #{mode => read}),
    [Entry] = ra_log_segment:fold(Segment, Index, Index, fun(Bytes) -> Bytes end,
                                  fun({_, _, Bytes}, Read) -> [Bytes | Read] end, []),
    ok = ra_log_segment:close(Segment),
    Entry.

%% The index and term of every entry; info and index agree.
segment(File) ->
    #{ref := {_, {First, Last}}, num_entries := Count, file_type := regular} = ra_log_segment:info(File),
    Index = [{I, Term} || {I, Term, Offset} <- ra_log_segment:dump_index(File), Offset > 0],
    ?assertEqual(Count, length(Index)),
    Indexes = [I || {I, _} <- Index],
    ?assertEqual({First, Last}, {hd(Indexes), lists:last(Indexes)}),
    ?assertEqual(lists:usort(Indexes), Indexes),
    Index.

%% ---------------------------------------------------------------------------------------------------------------
%% Under traffic.

%% BEAM -> rakv -> BEAM, three rounds and rakv once more: one node of three, with three clusters. Each change happens after an
%% orderly stop or after kill -9, by chance, while the node leads one of them.
back_and_forth_under_traffic(Config) ->
    Names = [kv, orders, users],
    Cluster = cluster_ct:start(Config, [beam, beam, beam], #{modules => [durability_load]}),
    [ok = cluster_ct:form(Cluster, Name, [n1, n2, n3]) || Name <- Names -- [kv]],
    Clusters = [Cluster#{name := Name} || Name <- Names],
    Load = cluster_ct:call(Cluster, durability_load, start,
                           [[cluster_ct:server(C, n2) || C <- Clusters],
                            #{writers => 2, keys => 60, seed => ?config(seed, Config)}]),
    ok = cluster_ct:call(Cluster, durability_load, resume, [Load]),
    Ways = [change(Clusters, Kind) || Kind <- lists:append(lists:duplicate(3, [rakv, beam])) ++ [rakv]],
    ok = cluster_ct:call(Cluster, durability_load, pause, [Load]),
    #{acknowledged := Acknowledged, unknown := Unknown, checked := Checked, lost := Lost} =
        cluster_ct:call(Cluster, durability_load, check, [Load]),
    ok = cluster_ct:call(Cluster, durability_load, stop, [Load]),
    [ok = cluster_ct:same_everywhere(C) || C <- Clusters],
    cluster_ct:say("~p: ~b writes acknowledged in 3 clusters, ~b of unknown outcome, ~b keys compared, ~b lost",
                   [Ways, Acknowledged, Unknown, Checked, length(Lost)]),
    ?assertEqual([], Lost),
    ?assert(Acknowledged > 300).

change([Cluster | _] = Clusters, Kind) ->
    ok = cluster_ct:lead(lists:nth(rand:uniform(length(Clusters)), Clusters), n1),
    End = lists:nth(rand:uniform(2), [stop, kill]),
    ok = cluster_ct:End(Cluster, n1),
    ok = cluster_ct:become(Cluster, n1, Kind),
    [ok = cluster_ct:start_server(C, n1) || C <- Clusters],
    [ok = cluster_ct:wait_caught_up(C, n1) || C <- Clusters],
    {End, Kind}.

%% ---------------------------------------------------------------------------------------------------------------

%% ra registers a new server's name on disk up to a second late; killed before, it forgets the server and throws its log
%% away (docs/protocol/disk.md 7.1, H3). Under rakv the server goes on.
a_name_that_ra_forgot(Config) ->
    Cluster = cluster_ct:start_nodes(Config, [beam], #{}),
    Names = rakv_ct:system_dir(Config, n1) ++ "/names.dets",
    ok = cluster_ct:form(Cluster, kv),
    [{ok, _} = cluster_ct:put(Cluster, n1, <<Number>>, Number) || Number <- lists:seq(1, 5)],
    %% as it is when the kill comes before ra's auto-save
    ok = cluster_ct:kill(Cluster, n1),
    {ok, Table} = dets:open_file(make_ref(), [{file, Names}]),
    ok = dets:delete_all_objects(Table),
    ok = dets:close(Table),
    ok = cluster_ct:become(Cluster, n1, rakv),
    [?assertMatch({ok, _, Number}, cluster_ct:get(Cluster, n1, <<Number>>)) || Number <- lists:seq(1, 5)].

%% ra does not start on a directory that is rakv's, and changes nothing of it; a release gives it back.
no_beam_on_rakvs_directory(Config) ->
    Cluster = cluster_ct:start_nodes(Config, [rakv], #{}),
    ok = cluster_ct:form(Cluster, kv),
    {ok, _} = cluster_ct:put(Cluster, n1, <<"key">>, value),
    ok = cluster_ct:stop(Cluster, n1),
    Dir = rakv_ct:system_dir(Config, n1),
    Before = files(Dir),
    Beam = rakv_ct:start_beam(Config, n1),
    Refused = try rakv_ct:call(Beam, ra, start, [[{data_dir, rakv_ct:data_dir(Config, n1)}]])
              catch Class:Reason -> {Class, Reason}
              end,
    ct:log("ra: ~p", [Refused]),
    ?assertNotMatch({ok, _}, rakv_ct:call(Beam, ra_system, start_default, [])),
    ?assertEqual(undefined, rakv_ct:call(Beam, erlang, whereis, [ra_log_wal])),
    ok = rakv_ct:stop_beam(Config, Beam),
    ?assertEqual(Before, files(Dir)),
    %% rakv goes on
    ok = cluster_ct:start_again(Cluster, n1),
    ?assertMatch({ok, _, value}, cluster_ct:get(Cluster, n1, <<"key">>)),
    %% no release under a node that runs, of either kind
    {1, <<>>, InUse} = rakv_ct:run(Config, ["release", Dir]),
    ?assertMatch({match, _}, re:run(InUse, "^rakv: error: .*in use.*stop that one first\n$")),
    ok = cluster_ct:stop(Cluster, n1),
    ok = cluster_ct:become(Cluster, n1, beam),
    {1, <<>>, UsedByBeam} = rakv_ct:run(Config, ["release", Dir]),
    ?assertMatch({match, _}, re:run(UsedByBeam, "^rakv: error: .*in use by process [0-9]+ \\(.+\\)")),
    {1, <<>>, NotStarted} = start_program(Config, n1),
    ?assertMatch({match, _}, re:run(NotStarted, "in use by process [0-9]+")),
    ok = cluster_ct:start_server(Cluster, n1),
    rakv_ct:wait_until(fun() -> element(3, cluster_ct:get(Cluster, n1, <<"key">>)) =:= value end).

files(Dir) ->
    [{File, file:read_file(File)} || File <- filelib:wildcard(filename:join(Dir, "**")), filelib:is_regular(File)].

%% A server of another machine: rakv says so and leaves the directory to the BEAM.
not_every_server_is_taken(Config) ->
    Beam = rakv_ct:start_beam(Config, n1, #{modules => [other_machine]}),
    ok = rakv_ct:start_ra(Config, Beam),
    Node = rakv_ct:node_of(Beam),
    {ok, _, []} = rakv_ct:call(Beam, ra_kv, start_cluster, [default, kv, #{members => [{kv, Node}]}]),
    {ok, _, []} = rakv_ct:call(Beam, ra, start_cluster, [default, other, {module, other_machine, #{}}, [{other, Node}]]),
    ok = rakv_ct:kill_beam(Config, Beam),
    Dir = rakv_ct:system_dir(Config, n1),
    Before = files(Dir),
    {1, <<>>, Refused} = start_program(Config, n1),
    ?assertMatch({match, _}, re:run(Refused, "server other .*runs the machine {module, ra_kv, _} only")),
    %% of an unreadable one nobody knows the machine
    [{UId, _}] = [{Path, Config1} || {Path, {ok, Config1}} <- Before, filename:basename(Path) =:= "config",
                                     binary:match(Config1, <<"other_machine">>) =/= nomatch],
    ok = file:write_file(UId, "#{"),
    {1, <<>>, Unreadable} = start_program(Config, n1),
    ?assertMatch({match, _}, re:run(Unreadable, "server other .*config")),
    ok = file:write_file(UId, proplists:get_value(UId, [{Path, Content} || {Path, {ok, Content}} <- Before])),
    ?assertEqual(Before, [File || {Path, _} = File <- files(Dir), filename:basename(Path) =/= "rakv.lock"]).

start_program(Config, Name) ->
    [Alive, _] = string:split(atom_to_list(rakv_ct:node_name(Config, Name)), "@"),
    rakv_ct:run(Config, ["start", "--sname", Alive, "--cookie", rakv_ct:cookie(Config), "--data-dir",
                         rakv_ct:data_dir(Config, Name)]).
