%% SPDX-License-Identifier: Apache-2.0
%% Plays the other members of two like clusters: one whose real member is on a BEAM, one whose real member is on rakv.
%% Both real members get the same steps; after each step what they sent and where they stand is compared.
%%
%% Runs on a node of its own, visible and without ra, where the scripted members a and b are registered. It sends one
%% failure detector's beat to each real node and no more: a node of whom one beat is known counts as up until its link
%% is lost. Election timers and ticks of the real members are set so long that nothing happens by itself; only a BEAM
%% member that was started again has a short one, until it hears a leader: the step after a restart is a leader's.
%%
%% A step, in which '$me', '$a' and '$b' stand for the members, '$pid' for the process that runs the script, '$uid' for
%% the real member's uid, and '$token' in an answer for the token of the pre-vote answered:
%%
%%   {cast, Message}            a cast to the real member
%%   {info, Message}            a bare message to it
%%   {call, Request}            a call; its answer counts for the step in which it comes
%%   {ask, Request}             a call that must be answered before the step ends
%%   {await, Peer, Tag}         the real member calls Peer with this record
%%   {answer, Peer, Reply}      the reply to the newest awaited call of Peer that it fits
%%   {answer, Peer, Tag, Reply}   the same to a call of that record
%%   {await_role, Role}         until the real member is in this state
%%   {await_message, Peer, Tag} until Peer got a cast of this record (again)
%%   await_alive                until it answers: a BEAM member that crashed is started again
%%   {await_snapshot, Index}    until its snapshot is there
%%   {stop, Peer}, {start, Peer}   a scripted member dies, with reason killed; comes back
%%   restart                    ra:restart_server after ra:stop_server
%%   read                       every live index is read by ra_kv:read_entry
%%   {differs, Why, Step}       the outcomes must differ: Why is a row of docs/divergence.md
%%   {may_differ, Why, Step}    the outcomes may differ, from one run to the next
-module(twin_run).

-export([script/4, random/5, record/5, warm_up/1, patch/1]).

-define(DEADLINE_MS, 30000).

-type side() :: beam | rakv.
-type step() :: tuple() | atom().
-type result() :: #{steps := non_neg_integer(),
                    explained := [{atom(), step()}],
                    differences := [{step(), Beam :: term(), Rakv :: term()}],
                    log := iodata()}.

%% One beat to each node, and until their detectors have it.
-spec warm_up([{side(), node()}]) -> ok.
warm_up(Nodes) ->
    [{aten_sink, Node} ! {'$gen_cast', {hb, node()}} || {_, Node} <- Nodes],
    warm_up(Nodes, deadline()).

%% A member whose leader's node counts as down does not wait for a rewind.
warm_up(Nodes, Deadline) ->
    Steps = [{cast, {append_entries_rpc, 1, '$a', 0, 5, 1, []}}, {ask, ping}],
    #{differences := Differences, log := Log} = script(warm_up, #{}, Steps, Nodes),
    Waits = re:run(iolist_to_binary(Log), "follower", [{capture, none}]) =:= nomatch,
    case {Differences, Waits} of
        {[], true} -> ok;
        _ -> false = past(Deadline), receive after 100 -> warm_up(Nodes, Deadline) end
    end.

%% Election timers of a BEAM member come from its broadcast time, which can't be configured in ra 3.1.10.
-spec patch(atom()) -> ok.
patch(Name) ->
    _ = sys:replace_state(Name, fun({StateName, Data}) ->
        Conf = element(2, Data),
        100 = element(5, Conf),
        {StateName, setelement(2, Data, setelement(5, Conf, 100000000))}
    end),
    ok.

%% Runs a list of steps; stops at the first difference that is not explained.
-spec script(atom(), map(), [step()], [{side(), node()}]) -> result().
script(Name, Options, Steps, Nodes) ->
    run(Name, Options, fun([], _) -> stop;
                          ([Step | Rest], _) -> {Step, Rest}
                       end, Steps, Nodes).

%% Runs steps that Next makes up out of where the BEAM member stands: Next(State, View) -> {Step, State} | stop.
-spec random(atom(), map(), fun((State, map()) -> {step(), State} | stop), State, [{side(), node()}]) -> result().
random(Name, Options, Next, State, Nodes) ->
    run(Name, Options, Next, State, Nodes).

%% What a BEAM member alone does: each step with its outcome. Next as for random/5.
-spec record(atom(), map(), fun((State, map()) -> {step(), State} | stop), State, node()) -> [{step(), map()}].
record(Name, Options, Next, State, Node) ->
    apart(fun() ->
              process_flag(trap_exit, true),
              {Side, Steps} = record_steps(Next, State, #{}, start_side(Name, Options, beam, Node), []),
              stop_side(Side),
              Steps
          end).

record_steps(Next, State0, View, Side0, Done) ->
    case Next(State0, View) of
        stop -> {Side0, lists:reverse(Done)};
        {Step0, State} ->
            Step = case Step0 of
                       {differs, _, Inner} -> Inner;
                       {may_differ, _, Inner} -> Inner;
                       _ -> Step0
                   end,
            {Outcome, Side} = perform(Step, Side0),
            record_steps(Next, State, maps:get(state, Outcome, #{}), Side, [{Step, Outcome} | Done])
    end.

run(Name, Options, Next, State, Nodes) ->
    apart(fun() -> run_here(Name, Options, Next, State, Nodes) end).

%% In a process of its own, whose mailbox nobody else reads.
apart(Fun) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> Self ! {self(), Fun()} end),
    receive
        {Pid, Result} -> demonitor(Monitor, [flush]), Result;
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.

run_here(Name, Options, Next, State, Nodes) ->
    process_flag(trap_exit, true),
    Start = erlang:monotonic_time(millisecond),
    Sides = [start_side(Name, Options, Side, Node) || {Side, Node} <- Nodes],
    Acc = #{steps => 0, explained => [], differences => [], log => [], view => #{}},
    {SidesEnd, Result} = loop(Next, State, Sides, Acc),
    [stop_side(Side) || Side <- SidesEnd],
    maps:with([steps, explained, differences, log], Result#{log := [maps:get(log, Result), io_lib:format("~b ms~n", [erlang:monotonic_time(millisecond) - Start])]}).

loop(Next, State0, Sides0, Acc0) ->
    case Next(State0, maps:get(view, Acc0)) of
        stop ->
            leftovers(Sides0, Acc0);
        {Step, State} ->
            {Sides, Acc} = step(Step, Sides0, Acc0),
            case Acc of
                #{differences := []} -> loop(Next, State, Sides, Acc);
                _ -> {Sides, Acc}
            end
    end.

step({differs, Why, Step}, Sides, Acc) -> step(Step, {must, Why}, Sides, Acc);
step({may_differ, Why, Step}, Sides, Acc) -> step(Step, {may, Why}, Sides, Acc);
step(Step, Sides, Acc) -> step(Step, same, Sides, Acc).

step(Step, Expected, Sides0, #{steps := Count, explained := Explained, differences := Differences, log := Log} = Acc) ->
    {[Beam, Rakv] = Outcomes, Sides} = lists:unzip([perform(Step, Side) || Side <- Sides0]),
    Late = lists:any(fun(Outcome) -> is_map_key(late, Outcome) end, Outcomes),
    Text = [io_lib:format("~p~n  -> ~p~n", [Step, Beam]) | [io_lib:format("  rakv -> ~p~n", [Rakv]) || Rakv =/= Beam]],
    Next = Acc#{steps := Count + 1, log := [Log, Text], view := maps:get(state, hd(Outcomes), #{})},
    case {Expected, Beam =:= Rakv} of
        {_, true} when Late -> {Sides, Next#{differences := [{Step, did_not_happen, did_not_happen} | Differences]}};
        {same, true} -> {Sides, Next};
        {{may, _}, true} -> {Sides, Next};
        {{_, Why}, false} -> {Sides, Next#{explained := [{Why, Step} | Explained]}};
        {same, false} -> {Sides, Next#{differences := [{Step, only(Beam, Rakv), only(Rakv, Beam)} | Differences]}};
        {{must, Why}, true} ->
            {Sides, Next#{differences := [{Step, {no_longer_differs, Why}, Beam} | Differences]}}
    end.

%% What of one outcome the other does not have.
only(A, B) when is_map(A), is_map(B) ->
    #{Key => only(Value, maps:get(Key, B, '$none')) || Key := Value <- A, maps:get(Key, B, '$none') =/= Value};
only(A, _) -> A.

%% Calls of the real members that no step awaited: as many of each kind on both sides.
leftovers(Sides0, Acc) ->
    Deadline = deadline(),
    {Sides, Kinds} = same_leftovers(Sides0, Deadline),
    case Kinds of
        [Same, Same] -> {Sides, Acc};
        [Beam, Rakv] -> {Sides, Acc#{differences := [{calls_at_the_end, Beam, Rakv} | maps:get(differences, Acc)]}}
    end.

same_leftovers(Sides0, Deadline) ->
    Sides = [drain(Side) || Side <- Sides0],
    Kinds = [lists:sort([{Peer, element(1, Record)} || {Peer, _, Record} <- maps:get(unclaimed, Side)]) || Side <- Sides],
    case lists:usort(Kinds) of
        [_] -> {Sides, Kinds};
        _ ->
            case past(Deadline) of
                true -> {Sides, Kinds};
                false -> pause(), same_leftovers(Sides, Deadline)
            end
    end.

%% ---------------------------------------------------------------------------------------------------------------
%% One side.

start_side(Name, Options, Side, Node) ->
    Base = atom_to_list(Name) ++ "_" ++ atom_to_list(Side),
    Me = {list_to_atom(Base), Node},
    Peers = [a, b, c],
    Ids = #{Peer => {list_to_atom(Base ++ "_" ++ atom_to_list(Peer)), node()} || Peer <- [a, b, c]},
    UId = list_to_binary(string:uppercase("TWIN_" ++ [C || C <- Base, C =/= $_] ++ "UID")),
    State0 = #{side => Side, me => Me, ids => Ids, uid => UId, relays => #{}, calls => #{}, call_count => 0,
               messages => [], replies => [], events => [], unclaimed => [], claimed => []},
    State = start_probe(lists:foldl(fun start_peer/2, State0, Peers)),
    Initial = [Me | [maps:get(Peer, Ids) || Peer <- maps:get(initial, Options, [a, b])]],
    Config = maps:merge(#{id => Me, uid => UId, cluster_name => element(1, Me), initial_members => Initial,
                          machine => {module, ra_kv, #{}}, broadcast_time => 100000000, tick_timeout => 3600000,
                          log_init_args => #{uid => UId, min_snapshot_interval => 0}},
                        maps:get(config, Options, #{})),
    {ok, _} = rpc:call(Node, ra_server_sup_sup, start_server_rpc, [default, UId, Config]),
    slow_down(State).

slow_down(#{side := beam, me := {Name, Node}} = State) ->
    ok = rpc:call(Node, ?MODULE, patch, [Name]),
    State;
slow_down(State) -> State.

stop_side(#{me := {Name, Node}, relays := Relays, probe := {_, Probe}}) ->
    exit(Probe, kill),
    stop_server(Name, Node),
    ok = rpc:call(Node, ra_server_sup_sup, delete_server_rpc, [default, Name]),
    [exit(Relay, kill) || Relay <- maps:values(Relays)],
    ok.

stop_server(Name, Node) ->
    case rpc:call(Node, ra_server_sup_sup, prepare_server_stop_rpc, [default, Name]) of
        {ok, undefined, _} -> ok;
        {ok, Pid, Sup} -> gen_server:call({Sup, Node}, {terminate_child, Pid}), ok
    end.

start_peer(Peer, #{ids := Ids, relays := Relays, side := Side} = State) ->
    {Name, _} = maps:get(Peer, Ids),
    Driver = self(),
    Relay = spawn(fun() -> true = register(Name, self()), Driver ! {started, self()}, relay(Driver, Side, Peer) end),
    receive {started, Relay} -> ok end,
    State#{relays := Relays#{Peer => Relay}}.

%% Gets the answers to settle's questions.
start_probe(#{me := {Base, _}, side := Side, relays := Relays} = State) ->
    Name = list_to_atom(atom_to_list(Base) ++ "_probe"),
    Driver = self(),
    Pid = spawn(fun() -> true = register(Name, self()), Driver ! {started, self()}, probe_relay(Driver, Side) end),
    receive {started, Pid} -> ok end,
    State#{probe => {{Name, node()}, Pid}, relays := Relays}.

probe_relay(Driver, Side) ->
    receive {'$gen_cast', {info_reply, _, _, _, _}} -> Driver ! {probe, Side} end,
    probe_relay(Driver, Side).

relay(Driver, Side, Peer) ->
    receive
        {sync, Tag} -> Driver ! Tag;
        Message -> Driver ! {peer, Side, Peer, Message}
    end,
    relay(Driver, Side, Peer).

%% Does one step; gives what came of it.
perform(Step, State0) ->
    State1 = act(Step, State0),
    {View, State2} = settle(State1),
    #{messages := Messages, replies := Replies, events := Events} = State2,
    Outcome0 = #{state => View,
                 messages => [{Peer, [M || {P, M} <- lists:reverse(Messages), P =:= Peer]} || Peer <- [a, b, c],
                              lists:keymember(Peer, 1, Messages)],
                 replies => lists:sort(Replies),
                 events => lists:reverse(Events)},
    Outcome = maps:filter(fun(_, Value) -> Value =/= [] end, maps:merge(Outcome0, maps:with([late], State2))),
    {plain(Outcome, State2), maps:remove(late, State2#{messages := [], replies := [], events := []})}.

act({cast, Message}, State) -> send({'$gen_cast', terms(Message, State)}, State);
act({info, Message}, State) -> send(terms(Message, State), State);
act({call, Request}, State) -> call(Request, State);
act({ask, Request}, State0) ->
    #{call_count := Number} = State = call(Request, State0),
    wait(fun(#{replies := Replies}) -> lists:keymember(Number, 1, Replies) end, State);
act({await, Peer, Tag}, State0) ->
    Is = fun({P, _, Record}) -> P =:= Peer andalso element(1, Record) =:= Tag end,
    State = wait(fun(#{unclaimed := Calls}) -> lists:any(Is, Calls) end, State0),
    #{unclaimed := Unclaimed, claimed := Claimed, messages := Messages} = State,
    case lists:search(Is, Unclaimed) of
        {value, {_, _, Record} = Call} ->
            State#{unclaimed := lists:delete(Call, Unclaimed), claimed := Claimed ++ [Call],
                   messages := [{Peer, {call, Record}} | Messages]};
        false ->
            State#{messages := [{Peer, {no_such_call, Tag}} | Messages]}
    end;
act({answer, Peer, Reply}, State) -> act({answer, Peer, call_of(Reply), Reply}, State);
act({answer, Peer, Tag, Reply}, #{claimed := Claimed, side := Side} = State) ->
    Is = fun({P, _, Record}) -> P =:= Peer andalso element(1, Record) =:= Tag end,
    {value, {_, {Pid, _} = From, Record} = Call} = lists:search(Is, lists:reverse(Claimed)),
    Token = case Record of {pre_vote_rpc, _, _, _, T, _, _, _} -> T; _ -> undefined end,
    %% The BEAM's calls are made by a process of their own, which passes the answer on and ends.
    Monitor = case Side of beam -> monitor(process, Pid); rakv -> none end,
    gen_statem:reply(From, replace(terms(Reply, State), '$token', Token)),
    case Monitor of
        none -> ok;
        _ -> receive {'DOWN', Monitor, process, _, _} -> ok end
    end,
    State#{claimed := lists:delete(Call, Claimed)};
act({await_role, Role}, State) ->
    wait(fun(#{me := Me}) -> role(Me) =:= {pong, Role} end, State);
act({await_message, Peer, Tag}, State) ->
    wait(fun(#{messages := Messages}) ->
             lists:any(fun({P, M}) -> P =:= Peer andalso kind(M) =:= Tag end, Messages)
         end, State);
act(await_alive, State) ->
    wait(fun(#{me := Me}) -> role(Me) =/= gone end, State);
act({await_snapshot, Index}, State) ->
    wait(fun(#{me := Me}) ->
             {ok, #{log := #{snapshot_index := Snapshot}}, _} = gen_statem:call(Me, {state_query, overview}, 5000),
             Snapshot =:= Index
         end, State);
act({stop, Peer}, #{relays := Relays} = State) ->
    Relay = maps:get(Peer, Relays),
    Monitor = monitor(process, Relay),
    exit(Relay, kill),
    receive {'DOWN', Monitor, process, _, _} -> ok end,
    State#{relays := maps:remove(Peer, Relays)};
act({start, Peer}, State) -> start_peer(Peer, State);
act(restart, #{me := {Name, Node} = Me} = State) ->
    stop_server(Name, Node),
    {ok, _} = rpc:call(Node, ra_server_sup_sup, restart_server_rpc, [default, Me, #{}]),
    slow_down(State);
act(read, #{me := {Name, Node} = Me, replies := Replies} = State) ->
    {ok, #{machine := #{live_indexes := Live}}, _} = gen_statem:call(Me, {local_call, {state_query, overview}}, 5000),
    Read = [{Index, rpc:call(Node, ra_kv, read_entry, [{Name, Node}, Index, [], 5000])} || Index <- lists:sort(Live)],
    State#{replies := [{read, Read} | Replies]}.

call_of({pre_vote_result, _, _, _}) -> pre_vote_rpc;
call_of({request_vote_result, _, _}) -> request_vote_rpc;
call_of({install_snapshot_result, _, _, _}) -> install_snapshot_rpc.

role(Me) ->
    try gen_statem:call(Me, ping, 5000)
    catch exit:_ -> gone
    end.

send(Message, #{me := Me} = State) ->
    Me ! Message,
    State.

call(Request, #{me := Me, calls := Calls, call_count := Count} = State) ->
    Ref = erlang:monitor(process, Me, [{alias, demonitor}]),
    Me ! {'$gen_call', {self(), [alias | Ref]}, terms(Request, State)},
    State#{calls := Calls#{Ref => Count + 1}, call_count := Count + 1}.

%% Until the condition holds of what has come, or the deadline is past, which is a difference from what the script wants.
wait(Condition, State) -> wait(Condition, State, deadline()).
wait(Condition, State0, Deadline) ->
    State = drain(State0),
    case {Condition(State), past(Deadline)} of
        {true, _} -> State;
        {false, true} -> State#{late => true};
        {false, false} -> pause(), wait(Condition, State, Deadline)
    end.

deadline() -> erlang:monotonic_time(millisecond) + ?DEADLINE_MS.
past(Deadline) -> erlang:monotonic_time(millisecond) > Deadline.
pause() -> receive after 3 -> ok end.

%% Everything that the steps so far cause has come: messages of one process to one node stay in order, so what was sent
%% before the answer to the last question here is here. Clients' queries won't do as questions: a rakv member answers
%% them while it waits for its term to be durable. Those of members wait along.
settle(State) -> settle(State, deadline()).
settle(#{me := Me, relays := Relays} = State, Deadline) ->
    case probe(State, Deadline) of
        gone ->
            {#{role => gone}, drain(State)};
        Role ->
            Answer = try gen_statem:call(Me, {state_query, overview}, 5000)
                     catch exit:_ -> gone
                     end,
            case Answer of
                {ok, Overview, _} ->
                    case is_durable(Role, Overview) andalso probe(State, Deadline) =:= Role orelse past(Deadline) of
                        true ->
                            [begin Tag = make_ref(), Relay ! {sync, Tag}, receive Tag -> ok end end
                             || Relay <- maps:values(Relays)],
                            {view(Role, Overview), drain(State)};
                        false ->
                            pause(),
                            settle(State, Deadline)
                    end;
                gone ->
                    settle(State, Deadline)
            end
    end.

%% An old question that a member answers in its present state, and that changes nothing there.
probe(#{me := Me, probe := {Id, _}} = State, Deadline) ->
    Role = case role(Me) of {pong, R} -> R; gone -> gone end,
    Ref = make_ref(),
    case Role of
        gone -> gone;
        await_condition ->
            Me ! {'$gen_call', {self(), Ref}, {pre_vote_rpc, 1, 0, 0, token, Id, 0, 0}},
            probed(Ref, Role, State, Deadline);
        _ ->
            Me ! {'$gen_cast', {info_rpc, Id, 0, []}},
            probed(probe, Role, State, Deadline)
    end.

probed(Tag, Role, #{side := Side, me := Me} = State, Deadline) ->
    receive
        {probe, Side} when Tag =:= probe -> role_after(Role, State, Deadline);
        {Tag, _} when is_reference(Tag) -> role_after(Role, State, Deadline)
    after 5 ->
        case past(Deadline) of
            true -> Role;
            false ->
                case role(Me) of
                    %% an answer that is still to come must not count for the next probe
                    {pong, Now} when Now =:= Role; Tag =:= probe, Now =/= await_condition ->
                        probed(Tag, Now, State, Deadline);
                    _ -> probe(State, Deadline)
                end
        end
    end.

%% A rakv member also answers while it stores a term; its next role comes after that, and so does the answer to the probe.
role_after(Role, #{me := Me} = State, Deadline) ->
    case role(Me) of
        {pong, Role} -> Role;
        _ ->
            case past(Deadline) of
                true -> Role;
                false -> probe(State, Deadline)
            end
    end.

is_durable(receive_snapshot, _) -> true;
is_durable(_, #{log := #{last_index := Last, last_written_index_term := {Written, _}}}) -> Last =:= Written.

%% Takes in what has come for this side.
drain(#{side := Side, me := Me, calls := Calls, messages := Messages, replies := Replies, events := Events,
        unclaimed := Unclaimed} = State) ->
    receive
        {peer, Side, Peer, {'$gen_call', From, Record}} ->
            drain(State#{unclaimed := Unclaimed ++ [{Peer, From, Record}]});
        {peer, Side, Peer, {'$gen_cast', Message}} ->
            drain(State#{messages := [{Peer, Message} | Messages]});
        {peer, Side, Peer, Message} ->
            drain(State#{messages := [{Peer, {plain, Message}} | Messages]});
        {[alias | Ref], Reply} when is_map_key(Ref, Calls) ->
            demonitor(Ref, [flush]),
            drain(State#{replies := [{maps:get(Ref, Calls), Reply} | Replies], calls := maps:remove(Ref, Calls)});
        {'DOWN', Ref, process, _, Reason} when is_map_key(Ref, Calls) ->
            drain(State#{replies := [{maps:get(Ref, Calls), {down, Reason}} | Replies], calls := maps:remove(Ref, Calls)});
        {ra_event, Me, Body} ->
            drain(State#{events := [Body | Events]})
    after 0 -> State
    end.

kind({{_, _}, Record}) when is_tuple(Record) -> element(1, Record);
kind(Record) when is_tuple(Record) -> element(1, Record);
kind(Other) -> Other.

%% ---------------------------------------------------------------------------------------------------------------
%% Where a member stands, as far as another member or a client can tell.

view(Role, #{id := Me, current_term := Term, voted_for := Vote, leader_id := Leader, commit_index := Commit,
             last_applied := Applied, cluster := Cluster, machine := #{num_keys := Keys, live_indexes := Live},
             cluster_change_permitted := Permitted, cluster_index_term := At, membership := Membership,
             query_index := Query, log := Log}) ->
    #{last_index := Last, last_term := LastTerm, last_written_index_term := Written, snapshot_index := Snapshot,
      snapshot_term := SnapshotTerm} = Log,
    Leads = Role =:= leader orelse Role =:= terminating_leader,
    Base = #{role => Role, term => Term, voted_for => Vote, leader => Leader, applied => Applied, keys => Keys,
             live => lists:sort(Live), membership => Membership, snapshot => {Snapshot, SnapshotTerm},
             %% A follower keeps the leader's commit index as it was sent; what counts is what it has of it.
             commit => max(Applied, min(Commit, Last))},
    WithLog = case Role of
                  receive_snapshot -> Base; % the live entries are kept apart, or not
                  _ -> Base#{last => {Last, LastTerm}, written => Written, cluster_at => At,
                             cluster => [{Id, maps:get(voter_status, Peer, none)} || {Id, Peer} <- lists:sort(maps:to_list(Cluster))]}
              end,
    case Leads of
        true -> WithLog#{permitted => Permitted, query_index => Query,
                         peers => [{Id, maps:with([next_index, match_index, commit_index_sent, query_index],
                                                  Peer#{status => status(Peer)})}
                                   || {Id, Peer} <- lists:sort(maps:to_list(Cluster)), Id =/= Me]};
        false -> WithLog
    end.

status(#{status := {Status, _, _}}) -> Status;
status(#{status := {Status, _}}) -> Status;
status(#{status := Status}) -> Status;
status(_) -> none.

%% ---------------------------------------------------------------------------------------------------------------
%% Terms of scripts and terms of nodes.

terms(Term, #{ids := Ids, me := Me, uid := UId}) ->
    Names = #{'$me' => Me, '$a' => maps:get(a, Ids), '$b' => maps:get(b, Ids), '$c' => maps:get(c, Ids),
              '$pid' => self(), '$uid' => UId},
    terms1(Term, Names).

%% The bytes of a snapshot file, or a part of them.
terms1({'$snapshot', Meta, Keys, Part, Parts}, Names) ->
    part(snapshot_file(terms1(Meta, Names), Keys), Part, Parts);
terms1({'$corrupt', Meta, Keys}, Names) ->
    <<Head:20/binary, Byte, Tail/binary>> = snapshot_file(terms1(Meta, Names), Keys),
    <<Head/binary, (Byte bxor 1), Tail/binary>>;
terms1(Atom, Names) when is_atom(Atom) -> maps:get(Atom, Names, Atom);
terms1(Tuple, Names) when is_tuple(Tuple) -> list_to_tuple([terms1(E, Names) || E <- tuple_to_list(Tuple)]);
terms1([H | T], Names) -> [terms1(H, Names) | terms1(T, Names)];
terms1(Map, Names) when is_map(Map) -> #{terms1(K, Names) => terms1(V, Names) || K := V <- Map};
terms1(Other, _) -> Other.

snapshot_file(Meta, Keys) ->
    MetaBinary = term_to_binary(Meta),
    State = term_to_binary({ra_kv, #{Key => [Index | erlang:phash2(Value)] || {Key, Index, Value} <- Keys}}),
    Body = <<(byte_size(MetaBinary)):32, MetaBinary/binary, State/binary>>,
    <<"RASN", 1, (erlang:crc32(Body)):32, Body/binary>>.

part(Binary, Part, Parts) ->
    Size = byte_size(Binary) div Parts + 1,
    From = (Part - 1) * Size,
    binary:part(Binary, From, min(Size, byte_size(Binary) - From)).

replace(Old, Old, New) -> New;
replace(Tuple, Old, New) when is_tuple(Tuple) -> list_to_tuple([replace(E, Old, New) || E <- tuple_to_list(Tuple)]);
replace(Other, _, _) -> Other.

plain(Term, #{ids := #{a := A, b := B, c := C}, me := Me, uid := UId}) ->
    plain1(Term, #{A => '$a', B => '$b', C => '$c', Me => '$me', UId => '$uid'}).

plain1(Term, Names) when is_map_key(Term, Names) -> maps:get(Term, Names);
%% A snapshot file: the same state has more than one encoding.
plain1(<<"RASN", 1, _:32, Length:32, Meta:Length/binary, State/binary>>, Names) ->
    {'$snapshot_file', plain1(binary_to_term(Meta), Names), binary_to_term(State)};
plain1(Pid, _) when is_pid(Pid) -> '$pid';
plain1(Ref, _) when is_reference(Ref) -> '$ref';
plain1(Tuple, Names) when is_tuple(Tuple) -> list_to_tuple([plain1(E, Names) || E <- tuple_to_list(Tuple)]);
plain1([H | T], Names) -> [plain1(H, Names) | plain1(T, Names)];
%% A peer in a cluster change: the sender's counters of the moment, which mean nothing to others.
plain1(#{next_index := _, status := _} = Peer, Names) -> plain1(maps:with([voter_status], Peer), Names);
plain1(Map, Names) when is_map(Map) ->
    #{plain1(K, Names) => case lists:member(K, [ts, system_time]) of
                              true when V > 1000000 -> '$time'; % not a script's own
                              _ -> plain1(V, Names)
                          end || K := V <- Map};
plain1(Other, _) -> Other.
