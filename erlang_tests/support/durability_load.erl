%% SPDX-License-Identifier: Apache-2.0
%% Load on ra_kv clusters that remembers what was promised: for durability_SUITE, which runs it on a client node.
%%
%% Every writer has keys of its own, so the writes of a key are in an order that the writer knows. Per key it keeps the
%% state that was acknowledged last (or seen by a read), and the attempts after it whose outcome is unknown. What a read
%% gives must be one of these; a delete that is answered "not found" must be possible, too.
-module(durability_load).

-export([start/2, stop/1, resume/1, pause/1, check/1]).

-type server_id() :: {atom(), node()}.
-type options() :: #{writers := pos_integer(), %% for each cluster
                     keys := pos_integer(),    %% of each writer
                     seed := integer()}.
-type report() :: #{acknowledged := non_neg_integer(), unknown := non_neg_integer(), checked := non_neg_integer(),
                    snapshots := non_neg_integer(), roll_overs := non_neg_integer(), lost := [term()]}.
-export_type([options/0, report/0]).

-define(CALL_MS, 5000).
-define(READ_MS, 60000).

%% A process that stands for the load; writing begins with resume/1.
-spec start([server_id()], options()) -> pid().
start(Servers, Options) ->
    Caller = self(),
    Load = spawn(fun() ->
        Workers = [spawn_link(fun() -> writer(Server, Number, Options) end)
                   || Server <- Servers, Number <- lists:seq(1, maps:get(writers, Options))]
            ++ [spawn_link(fun() -> maintainer(Servers, Options) end)],
        Caller ! {self(), started},
        load(Workers)
    end),
    receive {Load, started} -> Load end.

-spec stop(pid()) -> ok.
stop(Load) ->
    exit(Load, kill),
    ok.

%% Writers write, and snapshots are taken and the WAL is rolled over now and then, until pause/1.
-spec resume(pid()) -> ok.
resume(Load) -> ask(Load, resume), ok.

%% Returns when no call is under way.
-spec pause(pid()) -> ok.
pause(Load) -> ask(Load, pause), ok.

%% Reads every key, as soon as it can be read, and compares. Counts are those since the start; lost are those of now.
-spec check(pid()) -> report().
check(Load) ->
    lists:foldl(fun(Report, Sum) ->
        maps:merge_with(fun(lost, A, B) -> A ++ B; (_, A, B) -> A + B end, Report, Sum)
    end, #{}, ask(Load, check)).

ask(Load, What) ->
    Monitor = monitor(process, Load),
    Load ! {ask, self(), Monitor, What},
    receive
        {Monitor, Answers} -> demonitor(Monitor, [flush]), Answers;
        {'DOWN', Monitor, process, Load, Reason} -> error({load_died, Reason})
    end.

load(Workers) ->
    receive
        {ask, From, Tag, What} ->
            [Worker ! {What, self()} || Worker <- Workers],
            From ! {Tag, [receive {Worker, Answer} -> Answer end || Worker <- Workers]},
            load(Workers)
    end.

%% ---------------------------------------------------------------------------------------------------------------

writer({Name, _} = Server, Number, #{keys := Keys, seed := Seed}) ->
    _ = rand:seed(exsss, {Seed, erlang:phash2(Name), Number}),
    paused(#{server => Server,
             number => Number,
             keys => Keys,
             sequence => 0,
             %% Key => {known state, unknown later ones}; a state is `absent` or {value, Value}
             states => #{},
             lost => [],
             acknowledged => 0,
             unknown => 0}).

paused(State) ->
    receive
        {resume, Load} -> Load ! {self(), ok}, write(State);
        {pause, Load} -> Load ! {self(), ok}, paused(State);
        {check, Load} ->
            {Report, Checked} = check_all(State),
            Load ! {self(), Report},
            paused(Checked)
    end.

write(State) ->
    receive
        {pause, Load} -> Load ! {self(), ok}, paused(State);
        {resume, Load} -> Load ! {self(), ok}, write(State)
    after 0 ->
        write(attempt(State))
    end.

attempt(#{server := Server, number := Number, keys := Keys, sequence := Sequence} = State) ->
    Key = key(Number, rand:uniform(Keys)),
    case rand:uniform(10) of
        1 ->
            Result = ra_kv:delete(Server, Key, ?CALL_MS),
            outcome(Key, absent, Result, State);
        _ ->
            Value = {Number, Sequence, rand:bytes(value_size(rand:uniform(100)))},
            Result = ra_kv:put(Server, Key, Value, ?CALL_MS),
            outcome(Key, {value, Value}, Result, State#{sequence := Sequence + 1})
    end.

key(Number, Key) -> <<"key-", (integer_to_binary(Number))/binary, $-, (integer_to_binary(Key))/binary>>.

value_size(N) when N =< 80 -> rand:uniform(200);
value_size(N) when N =< 97 -> rand:uniform(5000);
value_size(_) -> rand:uniform(100000).

outcome(Key, New, {ok, _}, State) ->
    acknowledge(Key, New, State);
outcome(Key, absent, {error, {not_found, _}}, #{states := States, lost := Lost} = State) ->
    {Known, Unknown} = maps:get(Key, States, {absent, []}),
    case lists:member(absent, [Known | Unknown]) of
        true -> acknowledge(Key, absent, State);
        false -> acknowledge(Key, absent, State#{lost := [{Key, Known, delete_found_nothing} | Lost]})
    end;
outcome(Key, New, _, #{states := States, unknown := Count} = State) ->
    {Known, Unknown} = maps:get(Key, States, {absent, []}),
    receive after 2 -> ok end, % nobody is there: not too many attempts
    State#{states := States#{Key => {Known, lists:usort([New | Unknown])}}, unknown := Count + 1}.

acknowledge(Key, New, #{states := States, acknowledged := Count} = State) ->
    State#{states := States#{Key => {New, []}}, acknowledged := Count + 1}.

check_all(#{server := Server, states := States, lost := Lost} = State) ->
    Deadline = erlang:monotonic_time(millisecond) + ?READ_MS,
    {Seen, Missing} = maps:fold(fun(Key, {Known, Unknown}, {SeenNow, MissingNow}) ->
        Found = read(Server, Key, Deadline),
        Next = SeenNow#{Key => {Found, []}},
        case lists:member(Found, [Known | Unknown]) of
            true -> {Next, MissingNow};
            false -> {Next, [{Server, Key, {expected, short(Known)}, {found, short(Found)}} | MissingNow]}
        end
    end, {#{}, Lost}, States),
    {#{acknowledged => maps:get(acknowledged, State), unknown => maps:get(unknown, State),
       checked => map_size(States), lost => Missing},
     State#{states := Seen, lost := []}}.

%% A read is repeated until the member answers with what it has.
read(Server, Key, Deadline) ->
    case ra_kv:get(Server, Key, ?CALL_MS) of
        {ok, _, Value} -> {value, Value};
        {error, not_found} -> absent;
        Other ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> receive after 5 -> read(Server, Key, Deadline) end;
                false -> {unreadable, Other}
            end
    end.

short({value, {Number, Sequence, Bytes}}) -> {value, {Number, Sequence, byte_size(Bytes)}};
short(Other) -> Other.

%% ---------------------------------------------------------------------------------------------------------------

%% Takes snapshots and rolls the WAL over at random moments.
maintainer(Servers, #{seed := Seed}) ->
    _ = rand:seed(exsss, {Seed, 0, 0}),
    maintainer(Servers, 0, 0, infinity).

maintainer(Servers, Snapshots, RollOvers, WaitMs) ->
    receive
        {resume, Load} -> Load ! {self(), ok}, maintainer(Servers, Snapshots, RollOvers, rand:uniform(100));
        {pause, Load} -> Load ! {self(), ok}, maintainer(Servers, Snapshots, RollOvers, infinity);
        {check, Load} ->
            Load ! {self(), #{snapshots => Snapshots, roll_overs => RollOvers}},
            maintainer(Servers, Snapshots, RollOvers, WaitMs)
    after WaitMs ->
        {_, Node} = Server = lists:nth(rand:uniform(length(Servers)), Servers),
        case rand:uniform(2) of
            1 ->
                Taken = try ra_kv:take_snapshot(Server) of ok -> 1; _ -> 0 catch exit:_ -> 0 end,
                maintainer(Servers, Snapshots + Taken, RollOvers, rand:uniform(100));
            2 ->
                Rolled = case rpc:call(Node, ra_log_wal, force_roll_over, [ra_log_wal], ?CALL_MS) of ok -> 1; _ -> 0 end,
                maintainer(Servers, Snapshots, RollOvers + Rolled, rand:uniform(100))
        end
    end.
