%% SPDX-License-Identifier: Apache-2.0
%% One rakv node, and a peer that does not behave: raw TCP sockets, a handshake written by hand, and frames that no BEAM
%% sends. After each test case the same process must still serve a real ra client, and must not have grown.
%%
%% Mutations are drawn from a seed that is logged; RAKV_SEED=n draws the same again. What is not mutated here are the
%% messages between members: who knows the cookie and is a member is trusted not to lie.
-module(hostile_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(MUTATIONS, 100000).
-define(MUTATORS, 4).
%% Resident memory may grow by so much in one test case; RAKV_GROWTH_MB is for sanitizers, which keep freed memory back.
-define(GROWTH_MAX_BYTES, (list_to_integer(os:getenv("RAKV_GROWTH_MB", "100")) * 1_000_000)).
-define(FLAGS, 16#2d07df5fbd).
-define(RECV_MS, 20000).

all() ->
    [wrong_cookies, silent_connections, giant_handshake_length, truncated_handshakes, mutated_handshakes,
     giant_frame_length, mutated_frames, deep_nesting, million_atoms, unfinished_fragments, atom_cache_references,
     garbage_spawn_requests, compressed_terms, duplicate_map_keys, garbage_modes].

suite() -> [{timetrap, {minutes, 3}}].

init_per_suite(Config0) ->
    Config = rakv_ct:init(Config0),
    Beam = rakv_ct:start_beam(Config, b),
    Rakv = rakv_ct:start_rakv(Config, r, #{bootstrap => kv, args => ["--log-level", "error"]}),
    {ok, #{port := Port}} = rakv:info(Rakv),
    {ok, OsPid} = rakv:os_pid(Rakv),
    All = [{beam, Beam}, {rakv, Rakv}, {port, Port}, {os_pid, OsPid} | Config],
    serves(All),
    All.

end_per_suite(Config) -> rakv_ct:finish(Config).

init_per_testcase(Case, Config) ->
    Seed = case os:getenv("RAKV_SEED") of
        false -> erlang:unique_integer([positive]) bxor erlang:system_time(microsecond);
        Text -> list_to_integer(Text)
    end,
    ct:log("~ts: RAKV_SEED=~b", [Case, Seed]),
    [{seed, Seed}, {resident, resident(Config)}, {start, erlang:monotonic_time(millisecond)} | Config].

end_per_testcase(Case, Config) ->
    Rakv = ?config(rakv, Config),
    try
        {ok, OsPid} = rakv:os_pid(Rakv),
        ?assertEqual(?config(os_pid, Config), OsPid),
        serves(Config),
        Before = ?config(resident, Config),
        After = resident(Config),
        ct:pal("~ts: ~b ms, resident ~b kB before, ~b kB after",
               [Case, erlang:monotonic_time(millisecond) - ?config(start, Config), Before div 1024, After div 1024]),
        ?assert(After - Before < ?GROWTH_MAX_BYTES)
    of
        _ -> ok
    catch
        Class:Reason -> {fail, {Class, Reason}}
    end.

%% ---------------------------------------------------------------------------------------------------------------
%% Before the handshake is done.

wrong_cookies(Config) ->
    [begin
         Wrong = [{rakv_cookie, "wrong" ++ integer_to_list(N)} | lists:keydelete(rakv_cookie, 1, Config)],
         ?assertEqual({error, closed}, shake(Wrong, "stranger", 7))
     end || N <- lists:seq(1, 100)].

%% More than the node keeps open. One that speaks is let in meanwhile, and the silent ones are closed in the end.
silent_connections(Config) ->
    Silent = [dial(Config) || _ <- lists:seq(1, 500)],
    {ok, Speaks} = shake(Config, "speaks", 7),
    ?assertEqual(alive, probe(Speaks, "speaks")),
    ok = gen_tcp:close(Speaks),
    [?assertMatch({error, _}, gen_tcp:recv(Socket, 0, ?RECV_MS)) || Socket <- Silent],
    [gen_tcp:close(Socket) || Socket <- Silent].

%% The longest that two bytes can say, and next to nothing of it.
giant_handshake_length(Config) ->
    Sockets = [begin
                   Socket = dial(Config),
                   ok = gen_tcp:send(Socket, <<16#ffff:16, $N, 0:64>>),
                   Socket
               end || _ <- lists:seq(1, 100)],
    [?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, ?RECV_MS)) || Socket <- Sockets],
    [gen_tcp:close(Socket) || Socket <- Sockets].

%% Every beginning of a handshake, and then nothing more.
truncated_handshakes(Config) ->
    Name = framed16(name_message("short")),
    [begin
         Socket = dial(Config),
         ok = gen_tcp:send(Socket, binary:part(Name, 0, Bytes)),
         ok = gen_tcp:shutdown(Socket, write),
         ?assertEqual(closed, drain(Socket))
     end || Bytes <- lists:seq(0, byte_size(Name) - 1)],
    [begin
         {Socket, Challenge} = challenged(Config, "short", 7),
         Reply = framed16(reply_message(Config, Challenge)),
         ok = gen_tcp:send(Socket, binary:part(Reply, 0, Bytes)),
         ok = gen_tcp:shutdown(Socket, write),
         ?assertEqual(closed, drain(Socket))
     end || Bytes <- lists:seq(0, 22)].

mutated_handshakes(Config) ->
    Counts = in_parallel(Config, fun(Number) ->
        lists:foldl(fun(Round, Count) ->
            Outcome = case Round rem 4 of
                0 -> mutated_reply(Config, "mutant" ++ integer_to_list(Number));
                _ -> mutated_name(Config)
            end,
            count(Outcome, Count)
        end, #{}, lists:seq(1, ?MUTATIONS div ?MUTATORS))
    end),
    ct:pal("~b handshakes: ~p", [?MUTATIONS, Counts]),
    ?assertEqual(?MUTATIONS, lists:sum(maps:values(Counts))).

mutated_name(Config) ->
    Socket = dial(Config),
    _ = gen_tcp:send(Socket, mutate(framed16(name_message("mutant")))),
    _ = gen_tcp:shutdown(Socket, write),
    drain(Socket).

mutated_reply(Config, Alive) ->
    {Socket, Challenge} = challenged(Config, Alive, 7),
    _ = gen_tcp:send(Socket, mutate(framed16(reply_message(Config, Challenge)))),
    _ = gen_tcp:shutdown(Socket, write),
    drain(Socket).

%% ---------------------------------------------------------------------------------------------------------------
%% After a correct handshake.

giant_frame_length(Config) ->
    %% more than the node takes: closed at once
    {ok, Greedy} = shake(Config, "greedy", 7),
    ok = inet:setopts(Greedy, [{packet, raw}]),
    ok = gen_tcp:send(Greedy, <<16#ffffffff:32, 131, 68, 0>>),
    ?assertEqual(closed, drain(Greedy)),
    %% and so much that it might be meant: nothing is set aside for it
    Patient = [begin
                   {ok, Socket} = shake(Config, "patient" ++ integer_to_list(N), 7),
                   ok = inet:setopts(Socket, [{packet, raw}]),
                   ok = gen_tcp:send(Socket, <<400_000_000:32, 131, 68, 0>>),
                   Socket
               end || N <- lists:seq(1, 20)],
    serves(Config),
    ?assert(resident(Config) - ?config(resident, Config) < ?GROWTH_MAX_BYTES),
    [gen_tcp:close(Socket) || Socket <- Patient].

%% A frame is mutated, then the node is asked for something: it answers, or it has closed the connection.
mutated_frames(Config) ->
    Counts = in_parallel(Config, fun(Number) ->
        Alive = "mutant" ++ integer_to_list(Number),
        Frames = list_to_tuple(valid_frames(Alive)),
        {ok, Socket} = shake(Config, Alive, 7),
        {Last, Count} = lists:foldl(fun(_, {Open, Count}) ->
            Frame = element(rand:uniform(tuple_size(Frames)), Frames),
            case gen_tcp:send(Open, mutate(Frame)) of
                ok -> Outcome = probe(Open, Alive);
                {error, _} -> Outcome = closed
            end,
            Next = case Outcome of
                alive -> Open;
                closed -> gen_tcp:close(Open), {ok, New} = shake(Config, Alive, 7), New
            end,
            {Next, count(Outcome, Count)}
        end, {Socket, #{}}, lists:seq(1, ?MUTATIONS div ?MUTATORS)),
        ok = gen_tcp:close(Last),
        Count
    end),
    ct:pal("~b frames: ~p", [?MUTATIONS, Counts]),
    ?assertEqual(?MUTATIONS, lists:sum(maps:values(Counts))),
    %% both happen often, or nothing was tried
    #{alive := Survived, closed := Closed} = Counts,
    ?assert(Survived > 100),
    ?assert(Closed > 100).

deep_nesting(Config) ->
    [begin
         Lists = {raw, nested(Depth)},
         Outcomes = [after_frame(Config, call_frame("deep", Request))
                     || Request <- [Lists, command(put_command(Lists, <<"value">>)), command(put_command(<<"deep">>, Lists)),
                                    {leader_call, {consistent_aux, {get, Lists}}}]],
         ct:pal("lists ~b deep, as request, key, value, and key to get: ~p", [Depth, Outcomes])
     end || Depth <- [1000, 9000, 100_000, 1_000_000]].

%% In names to send to, and in terms.
million_atoms(Config) ->
    {ok, Socket} = shake(Config, "atoms", 7),
    From = pid("atoms", 1),
    ok = inet:setopts(Socket, [{packet, raw}]),
    [begin
         Batch = [framed32(frame({6, From, '', {raw, small_atom(Hundred * 100 + N)}}, hello)) || N <- lists:seq(1, 100)],
         ok = gen_tcp:send(Socket, Batch)
     end || Hundred <- lists:seq(0, 9999)],
    ok = inet:setopts(Socket, [{packet, 4}]),
    ?assertEqual(alive, probe(Socket, "atoms")),
    ok = gen_tcp:close(Socket),
    Atoms = iolist_to_binary([<<108, 1_000_000:32>>, [small_atom(N) || N <- lists:seq(1, 1_000_000)], 106]),
    Outcomes = [after_frame(Config, Frame)
                || Frame <- [call_frame("atoms", {raw, Atoms}), call_frame("atoms", {leader_call, {raw, Atoms}}),
                             call_frame("atoms", {leader_call, {consistent_aux, {get, {raw, Atoms}}}}),
                             frame({6, From, '', net_kernel}, {'$gen_cast', {raw, Atoms}})]],
    ct:pal("lists of a million atoms: ~p", [Outcomes]).

unfinished_fragments(Config) ->
    {ok, Socket} = shake(Config, "fragments", 7),
    Part = binary:copy(<<109>>, 100),
    Start = fun(Sequence) ->
        [<<131, 69, Sequence:64, 1000:64, 0>>, enc({6, pid("fragments", 1), '', kv}), Part]
    end,
    [ok = gen_tcp:send(Socket, Start(Sequence)) || Sequence <- lists:seq(1, 10000)],
    ?assertEqual(alive, probe(Socket, "fragments")),
    %% more than the node keeps
    _ = [gen_tcp:send(Socket, Start(Sequence)) || Sequence <- lists:seq(10001, 40000)],
    ?assertEqual(closed, probe(Socket, "fragments")),
    ok = gen_tcp:close(Socket),
    %% out of order, unknown, begun twice, and a last one without a first
    Whole = fun(Frames) -> [after_frame(Config, iolist_to_binary(Frame)) || Frame <- Frames] end,
    ?assertEqual([closed, closed],
                 Whole([<<131, 70, 77:64, 5:64, "rest">>, <<131, 69, 1:64, 0:64, 0, "rest">>])).

%% The table they refer to was never agreed on.
atom_cache_references(Config) ->
    [?assertEqual({Header, closed}, {Header, after_frame(Config, <<131, 68, Header/binary>>)})
     || Header <- [<<1, 0, 0, 104, 2, 82, 0, 97, 1>>, <<2, 16#88, 0, 0, 3, "abc", 1, 2, "de", 104, 1, 97, 6>>, <<255>>,
                   <<0, 104, 4, 97, 6, 82, 0, 82, 1, 82, 2>>]].

garbage_spawn_requests(Config) ->
    Ref = ref("spawns", 5),
    From = pid("spawns", 1),
    Garbage = [{}, [], 7, <<"binary">>, {raw, <<108, 0, 0, 0, 1, 97, 1, 97, 2>>}, {raw, <<108, 255, 255, 255, 255, 97>>},
               {raw, <<107, 255, 255, 1>>}, {raw, <<>>}, {raw, <<80, 0, 0, 0, 9>>}, {erlang, node}, {erlang, node, -1},
               {erlang, node, 1 bsl 70}, {"erlang", node, 0}, {erpc, execute_call, 4}, {erpc, execute_cast, 3}],
    Frames = [frame({29, Ref, From, From, {erpc, execute_call, 4}, [monitor]}, Args) || Args <- Garbage]
        ++ [frame({29, Ref, From, From, Function, [monitor]}, []) || Function <- Garbage]
        ++ [frame({29, Ref, From, From, {erlang, node, 0}, Options}, []) || Options <- Garbage]
        ++ [frame({29, Ref, From, From, {erpc, execute_call, 4}, []}, [Ref, M, F, A])
            || M <- [erlang, ra_server_sup_sup, 7], F <- [node, is_process_alive, {}], A <- Garbage]
        ++ [frame({29, A, B, C, {erlang, node, 0}, [monitor, link]}, [])
            || {A, B, C} <- [{From, From, From}, {Ref, Ref, From}, {Ref, 7, 7}, {{}, From, From}]],
    Counts = lists:foldl(fun(Frame, Count) -> count(after_frame(Config, Frame), Count) end, #{}, Frames),
    ct:pal("~b spawn requests: ~p", [length(Frames), Counts]).

%% A compressed term has no place within another one, and what it would become is never made.
compressed_terms(Config) ->
    Small = compressed(term_bytes(lists:duplicate(1000, abc)), fun(Size) -> Size end),
    Zeros = binary:copy(<<0>>, 200_000_000),
    Bomb = compressed(<<109, (byte_size(Zeros)):32, Zeros/binary>>, fun(Size) -> Size end),
    Liar = compressed(term_bytes(abc), fun(_) -> 16#ffffffff end),
    ct:pal("a bomb of ~b bytes", [byte_size(Bomb)]),
    Outcomes = [after_frame(Config, call_frame("zip", Request))
                || Term <- [Small, Bomb, Liar],
                   Request <- [{raw, Term}, command(put_command(<<"zip">>, {raw, Term})), command(put_command({raw, Term}, 1))]],
    ct:pal("~p", [Outcomes]),
    ?assertMatch({error, not_found}, ra_kv(Config, get, [<<"zip">>])),
    %% a binary that only looks like one is a value like others
    {ok, _} = ra_kv(Config, put, [<<"looks">>, <<131, Bomb/binary>>]),
    ?assertMatch({ok, _, <<131, 80, _/binary>>}, ra_kv(Config, get, [<<"looks">>])),
    {ok, _} = ra_kv(Config, delete, [<<"looks">>]).

duplicate_map_keys(Config) ->
    Twice = {raw, <<116, 2:32, 97, 1, 97, 2, 97, 1, 97, 3>>},
    Outcomes = [after_frame(Config, call_frame("twice", Request))
                || Request <- [command(put_command(Twice, 1)), command(put_command(<<"twice">>, Twice)), Twice,
                               {leader_call, {consistent_aux, {get, Twice}}}]],
    ct:pal("~p", [Outcomes]),
    ?assertMatch({error, not_found}, ra_kv(Config, get, [<<"twice">>])).

garbage_modes(Config) ->
    Garbage = [nothing, 7, {}, [], "text", {notify}, {notify, 1}, {notify, a, b}, {notify, 1, pid("modes", 1), 3},
               {await_consensus, x}, {after_log_append, []}, #{}, {raw, <<116, 1:32, 97, 1, 97, 2>>},
               pid("modes", 1), ref("modes", 1), 1 bsl 200, {await_consensus, #{reply_from => nowhere}},
               {await_consensus, #{reply_from => {member, 7}}}, {notify, 1 bsl 80, pid("modes", 1)}],
    Key = put_command(<<"mode">>, 1),
    Requests = [{leader_call, {command, normal, {'$usr', Key, Mode}}} || Mode <- Garbage]
        ++ [{leader_call, {command, Priority, {'$usr', Key, await_consensus}}} || Priority <- Garbage]
        ++ [{leader_call, {command, normal, {Kind, Key, await_consensus}}} || Kind <- Garbage]
        ++ [{leader_call, {command, normal, {Kind, Member, await_consensus}}}
            || Kind <- ['$ra_join', '$ra_leave', '$ra_cluster_change'],
               %% two atoms are a member's id: joining one that is nowhere takes the majority away, in ra too
               Member <- Garbage -- [{await_consensus, x}]]
        ++ [{leader_call, {command, normal, {'$usr', Command, await_consensus}}} || Command <- Garbage]
        ++ [{Call, Body} || Call <- [leader_call, local_call, leader_cast, state_query, local_query, consistent_query],
                            Body <- Garbage]
        ++ [{leader_call, {Kind, Body}} || Kind <- [state_query, consistent_aux, aux_command, transfer_leadership],
                                           Body <- Garbage]
        ++ Garbage,
    Calls = [call_frame("modes", Request) || Request <- Requests],
    Casts = [frame({6, pid("modes", 1), '', kv}, Message)
             || Mode <- Garbage,
                Message <- [{'$gen_cast', {command, low, {'$usr', Key, Mode}}}, {'$gen_cast', Mode}, Mode,
                            {'$gen_call', Mode, {leader_call, {command, normal, {'$usr', Key, await_consensus}}}}]],
    Counts = lists:foldl(fun(Frame, Count) -> count(after_frame(Config, Frame), Count) end, #{}, Calls ++ Casts),
    ct:pal("~b messages: ~p", [length(Calls) + length(Casts), Counts]),
    #{alive := _} = Counts.

%% ---------------------------------------------------------------------------------------------------------------
%% The peer that behaves.

serves(Config) ->
    Key = integer_to_binary(erlang:unique_integer([positive])),
    rakv_ct:wait_until(fun() ->
        {ok, _} = ra_kv(Config, put, [Key, {value, Key}]),
        {ok, _, {value, Key}} = ra_kv(Config, get, [Key]),
        true
    end).

ra_kv(Config, Function, Args) ->
    rakv_ct:call(?config(beam, Config), ra_kv, Function, [{kv, ?config(rakv, Config)} | Args] ++ [10000]).

resident(Config) ->
    {ok, Status} = file:read_file(filename:join(["/proc", integer_to_list(?config(os_pid, Config)), "status"])),
    {match, [KiloBytes]} = re:run(Status, "VmRSS:\\s+(\\d+) kB", [{capture, all_but_first, binary}]),
    binary_to_integer(KiloBytes) * 1024.

%% ---------------------------------------------------------------------------------------------------------------
%% Sockets and the handshake.

%% From several addresses, so that ports do not run out.
dial(Config) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, ?config(port, Config),
                                   [binary, {active, false}, {nodelay, true}, {linger, {true, 0}},
                                    {ip, {127, 0, 0, 1 + rand:uniform(50)}}]),
    Socket.

%% Sends our name, and gives the node's challenge.
challenged(Config, Alive, Creation) ->
    Socket = dial(Config),
    ok = gen_tcp:send(Socket, framed16(name_message(Alive, Creation))),
    ok = inet:setopts(Socket, [{packet, 2}]),
    case gen_tcp:recv(Socket, 0, ?RECV_MS) of
        {ok, <<"salive">>} -> ok = gen_tcp:send(Socket, <<"strue">>);
        {ok, <<"sok">>} -> ok
    end,
    {ok, <<$N, _Flags:64, Challenge:32, _/binary>>} = gen_tcp:recv(Socket, 0, ?RECV_MS),
    ok = inet:setopts(Socket, [{packet, raw}]),
    {Socket, Challenge}.

shake(Config, Alive, Creation) ->
    {Socket, Challenge} = challenged(Config, Alive, Creation),
    ok = inet:setopts(Socket, [{packet, 2}]),
    ok = gen_tcp:send(Socket, reply_message(Config, Challenge)),
    case gen_tcp:recv(Socket, 0, ?RECV_MS) of
        {ok, <<$a, Digest:16/binary>>} ->
            Digest = digest(Config, 4711),
            ok = inet:setopts(Socket, [{packet, 4}]),
            {ok, Socket};
        {error, Reason} ->
            ok = gen_tcp:close(Socket),
            {error, Reason}
    end.

name_message(Alive) -> name_message(Alive, 7).

name_message(Alive, Creation) ->
    Name = node_of(Alive),
    <<$N, ?FLAGS:64, Creation:32, (byte_size(Name)):16, Name/binary>>.

reply_message(Config, Challenge) ->
    <<$r, 4711:32, (digest(Config, Challenge))/binary>>.

digest(Config, Challenge) ->
    crypto:hash(md5, [rakv_ct:cookie(Config), integer_to_list(Challenge)]).

node_of(Alive) -> iolist_to_binary([Alive, "@hostile"]).

framed16(Message) -> <<(byte_size(Message)):16, Message/binary>>.

framed32(Frame) -> <<(byte_size(Frame)):32, Frame/binary>>.

%% Reads until the node closes.
drain(Socket) ->
    case gen_tcp:recv(Socket, 0, ?RECV_MS) of
        {ok, _} -> drain(Socket);
        {error, timeout} -> gen_tcp:close(Socket), ct:fail("the node neither answers nor closes");
        {error, _} -> gen_tcp:close(Socket), closed
    end.

%% Monitors a name that is not there: the node says noproc, unless it has closed the connection.
probe(Socket, Alive) ->
    Number = rand:uniform(1 bsl 32) - 1,
    {raw, Ref} = Mark = ref(Alive, Number),
    case gen_tcp:send(Socket, frame({19, pid(Alive, 1), nobody_is_here, Mark})) of
        ok -> await_probe(Socket, Ref);
        {error, _} -> closed
    end.

await_probe(Socket, Ref) ->
    case gen_tcp:recv(Socket, 0, ?RECV_MS) of
        {ok, Frame} ->
            %% The reference's last word is random; how the node writes the rest is its own choice.
            case binary:match(Frame, binary:part(Ref, byte_size(Ref), -4)) of
                nomatch -> await_probe(Socket, Ref);
                _ -> alive
            end;
        {error, timeout} ->
            ct:fail("the node neither answers nor closes");
        {error, _} ->
            closed
    end.

%% What becomes of a connection after one frame.
after_frame(Config, Frame) ->
    {ok, Socket} = shake(Config, "once", 7),
    Outcome = case gen_tcp:send(Socket, Frame) of
        ok -> probe(Socket, "once");
        {error, _} -> closed
    end,
    ok = gen_tcp:close(Socket),
    Outcome.

%% Runs it in some processes, each with its own seed, and adds up the counts they give.
in_parallel(Config, Fun) ->
    Workers = [spawn_monitor(fun() ->
                   _ = rand:seed(exsss, ?config(seed, Config) + Number),
                   exit({counts, Fun(Number)})
               end) || Number <- lists:seq(1, ?MUTATORS)],
    lists:foldl(fun({Pid, Monitor}, Sum) ->
        receive
            {'DOWN', Monitor, process, Pid, {counts, Counts}} ->
                maps:merge_with(fun(_, A, B) -> A + B end, Sum, Counts);
            {'DOWN', Monitor, process, Pid, Reason} ->
                ct:fail(Reason)
        end
    end, #{}, Workers).

count(Outcome, Counts) ->
    maps:update_with(Outcome, fun(N) -> N + 1 end, 1, Counts).

%% ---------------------------------------------------------------------------------------------------------------
%% Frames and terms.

frame(Control) -> iolist_to_binary([131, 68, 0, enc(Control)]).

frame(Control, Payload) -> iolist_to_binary([131, 68, 0, enc(Control), enc(Payload)]).

call_frame(Alive, Request) ->
    From = {pid(Alive, 1), ref(Alive, rand:uniform(1000))},
    frame({6, pid(Alive, 1), '', kv}, {'$gen_call', From, Request}).

command(Command) ->
    {leader_call, {command, normal, {'$usr', Command, await_consensus}}}.

put_command(Key, Value) ->
    {put, Key, Value, #{size => 10, hash => 1}}.

%% What a peer sends that behaves: mutations begin with these.
valid_frames(Alive) ->
    Pid = pid(Alive, 1),
    Theirs = pid(Alive, 2),
    Ref = ref(Alive, 3),
    Alias = {raw, iolist_to_binary([<<108, 1:32>>, enc(alias), enc(Ref)])},
    Call = fun(Name, Tag, Request) -> frame({6, Pid, '', Name}, {'$gen_call', {Pid, Tag}, Request}) end,
    First = iolist_to_binary([<<131, 69, 9:64, 1:64, 0>>, enc({6, Pid, '', kv}), enc({'$gen_cast', hello})]),
    [Call(net_kernel, Alias, {is_auth, 'x@hostile'}),
     Call(kv, Alias, command(put_command(<<"mutant">>, #{a => [1, 2.5, "text"], <<"b">> => {c, 1 bsl 70}}))),
     Call(kv, {raw, iolist_to_binary([<<108, 1:32>>, enc(Alias), 106])}, command({delete, <<"mutant">>})),
     Call(kv, Ref, {leader_call, {consistent_aux, {get, <<"mutant">>}}}),
     Call(kv, Ref, {leader_call, {state_query, members}}),
     Call(kv, Ref, {leader_call, {state_query, overview}}),
     frame({6, Pid, '', kv}, {'$gen_cast', {command, low, {'$usr', put_command(<<"low">>, 1), {notify, 1, Pid}}}}),
     frame({6, Pid, '', aten_sink}, {'$gen_cast', {hb, 'x@hostile'}}),
     frame({6, Pid, '', global_name_server}, {'$gen_cast', {init_connect, {5, 1}, 'x@hostile', {locker, no_longer, []}}}),
     frame({22, Pid, Theirs}, hello),
     frame({19, Pid, kv, Ref}), frame({20, Pid, kv, Ref}), frame({19, Pid, Theirs, Ref}),
     frame({1, Pid, Theirs}), frame({35, 77, Pid, Theirs}), frame({36, 77, Pid, Theirs}),
     frame({24, Pid, Theirs}, normal), frame({26, Pid, Theirs}, {reason, [1]}), frame({28, kv, Pid, Ref}, noproc),
     frame({31, Ref, Pid, 3, Theirs}), frame({33, Pid, Ref}, {Ref, ok}), frame({37, 4, Pid, Ref}, {Ref, ok}),
     frame({7, Pid, Theirs}),
     frame({29, Ref, Pid, Pid, {erpc, execute_call, 4}, [monitor]}, [Ref, erlang, node, []]),
     frame({29, Ref, Pid, Pid, {erpc, execute_cast, 3}, []}, [erlang, nodes, []]),
     frame({29, Ref, Pid, Pid, {no_such, function, 2}, [monitor, link]}, [1, "ab"]),
     First].

%% Terms of this node whose pids and references are the hostile node's.
enc({raw, Bytes}) -> Bytes;
enc(Tuple) when is_tuple(Tuple), tuple_size(Tuple) < 256 ->
    [<<104, (tuple_size(Tuple))>>, [enc(Element) || Element <- tuple_to_list(Tuple)]];
enc([_ | _] = List) ->
    case io_lib:char_list(List) of
        true -> term_bytes(List);
        false -> [<<108, (length(List)):32>>, [enc(Element) || Element <- List], 106]
    end;
enc(Map) when is_map(Map) ->
    [<<116, (map_size(Map)):32>>, [[enc(Key), enc(Value)] || {Key, Value} <- maps:to_list(Map)]];
enc(Term) ->
    term_bytes(Term).

term_bytes(Term) ->
    <<131, Bytes/binary>> = term_to_binary(Term),
    Bytes.

node_atom(Alive) ->
    Name = node_of(Alive),
    <<119, (byte_size(Name)), Name/binary>>.

pid(Alive, Number) ->
    {raw, <<88, (node_atom(Alive))/binary, Number:32, 0:32, 7:32>>}.

ref(Alive, Number) ->
    {raw, <<90, 3:16, (node_atom(Alive))/binary, 7:32, 1:32, 2:32, Number:32>>}.

small_atom(Number) ->
    Name = <<"atom", (integer_to_binary(Number))/binary>>,
    <<119, (byte_size(Name)), Name/binary>>.

nested(Depth) ->
    iolist_to_binary([binary:copy(<<108, 1:32>>, Depth), 106, binary:copy(<<106>>, Depth)]).

compressed(Bytes, Announced) ->
    <<80, (Announced(byte_size(Bytes))):32, (zlib:compress(Bytes))/binary>>.

%% ---------------------------------------------------------------------------------------------------------------
%% Mutations.

mutate(Bytes) ->
    lists:foldl(fun(_, Mutated) -> mutate_once(Mutated) end, Bytes, lists:seq(1, rand:uniform(3))).

mutate_once(<<>>) ->
    <<(rand:uniform(256) - 1)>>;
mutate_once(Bytes) ->
    At = rand:uniform(byte_size(Bytes)) - 1,
    <<Front:At/binary, Byte, Rest/binary>> = Bytes,
    case rand:uniform(7) of
        1 -> <<Front/binary, (Byte bxor (1 bsl (rand:uniform(8) - 1))), Rest/binary>>;
        2 -> <<Front/binary, (rand:uniform(256) - 1), Rest/binary>>;
        3 -> <<Front/binary, (interesting()), Rest/binary>>;
        4 -> <<Front/binary, Rest/binary>>;
        5 -> <<Front/binary, Byte, (rand:bytes(rand:uniform(8)))/binary, Rest/binary>>;
        6 -> <<Front/binary, Byte>>;
        7 ->
            Copied = binary:part(Bytes, At, min(rand:uniform(32), byte_size(Bytes) - At)),
            <<Front/binary, Copied/binary, Byte, Rest/binary>>
    end.

%% Tags of terms, operations, and lengths that overflow.
interesting() ->
    Bytes = {0, 1, 2, 4, 6, 19, 22, 29, 33, 37, 70, 77, 80, 82, 88, 90, 97, 98, 104, 105, 106, 107, 108, 109, 110, 111, 112,
             113, 115, 116, 118, 119, 120, 127, 128, 131, 254, 255},
    element(rand:uniform(tuple_size(Bytes)), Bytes).
