%% SPDX-License-Identifier: Apache-2.0
%% Writers and readers of one cluster, for failover_SUITE, which runs them on a client's node.
%%
%% A writer counts: the values of its keys are its sequence numbers, so a later write is a greater value. After a write
%% whose outcome is unknown it takes fresh keys, because such a write may still be done at any later time. Readers read
%% any key through any member: never less than was acknowledged, or read by anybody, before they asked.
-module(failover_load).

-export([start/2, stop/1, kill/2, acknowledged/1, first_after_kill/1, check/1]).

-type server_id() :: {atom(), node()}.
-opaque load() :: #{pid := pid(), table := ets:table(), counters := atomics:atomics_ref(), servers := [server_id()],
                  base := non_neg_integer()}.
-type report() :: #{acknowledged := non_neg_integer(), unknown := non_neg_integer(), reads := non_neg_integer(),
                    keys := non_neg_integer(), lost := [term()], older := [term()]}.
-export_type([load/0, report/0]).

-define(CALL_MS, 5000).
-define(CHECK_MS, 30000).
%% A writer's keys, until an outcome is unknown.
-define(KEYS, 20).
%% Counters: of acknowledged writes, unknown outcomes, reads; when the kill was, and the first write after it.
-define(ACKNOWLEDGED, 1).
-define(UNKNOWN, 2).
-define(READS, 3).
-define(KILLED_AT, 4).
-define(FIRST_AT, 5).
-define(NEVER, 0).

%% `base` numbers the first keys; with another one, no key is of an earlier load. Default: 0.
-spec start([server_id()], #{writers := pos_integer(), readers := pos_integer(), base => non_neg_integer()}) -> load().
start(Servers, #{writers := Writers, readers := Readers} = Options) ->
    Base = maps:get(base, Options, 0),
    Caller = self(),
    Counters = atomics:new(5, []),
    Pid = spawn(fun() ->
        Table = ets:new(?MODULE, [public, {read_concurrency, true}, {write_concurrency, true}]),
        Load = #{pid => self(), table => Table, counters => Counters, servers => Servers, base => Base},
        Workers = [spawn_link(fun() -> write(Load, hd(Servers), Number, Base, 1) end) || Number <- lists:seq(1, Writers)]
            ++ [spawn_link(fun() -> read(Load, Writers) end) || _ <- lists:seq(1, Readers)],
        Caller ! {self(), Load},
        receive
            {stop, From} ->
                _ = [Worker ! {stop, self()} || Worker <- Workers],
                _ = [receive {Worker, stopped} -> ok end || Worker <- Workers],
                From ! {self(), stopped},
                receive never -> ok end % the table is read by check/1
        end
    end),
    receive {Pid, Load} -> Load end.

%% Returns when no call is under way; a writer or reader that ended by itself is an error.
-spec stop(load()) -> ok.
stop(#{pid := Pid}) ->
    Monitor = monitor(process, Pid),
    Pid ! {stop, self()},
    receive
        {Pid, stopped} -> true = demonitor(Monitor, [flush]), ok;
        {'DOWN', Monitor, process, Pid, Reason} -> error({load_ended, Reason})
    end.

%% kill -9; first_after_kill/1 counts from here.
-spec kill(load(), string()) -> ok.
kill(#{counters := Counters}, OsPid) ->
    ok = atomics:put(Counters, ?KILLED_AT, ?NEVER),
    ok = atomics:put(Counters, ?FIRST_AT, ?NEVER),
    "" = os:cmd("kill -KILL " ++ OsPid),
    atomics:put(Counters, ?KILLED_AT, now_us()).

-spec acknowledged(load()) -> non_neg_integer().
acknowledged(#{counters := Counters}) -> atomics:get(Counters, ?ACKNOWLEDGED).

%% Milliseconds from the kill until a write that began after it was acknowledged.
-spec first_after_kill(load()) -> {ok, float()} | none_yet.
first_after_kill(#{counters := Counters}) ->
    case atomics:get(Counters, ?FIRST_AT) of
        ?NEVER -> none_yet;
        At -> {ok, (At - atomics:get(Counters, ?KILLED_AT)) / 1000}
    end.

%% After stop/1: reads every key that was ever written, and tells what is not as promised.
-spec check(load()) -> report().
check(#{table := Table, counters := Counters, servers := Servers}) ->
    Written = [{Key, Known, Unknown} || {{written, Key}, Known, Unknown} <- ets:tab2list(Table)],
    Lost = [{Key, {acknowledged, Known}, {unknown, Unknown}, {found, Found}}
            || {Key, Known, Unknown} <- Written,
               Found <- [found(Key, Servers, now_us() + ?CHECK_MS * 1000)],
               not lists:member(Found, [Known, Unknown])],
    #{acknowledged => atomics:get(Counters, ?ACKNOWLEDGED), unknown => atomics:get(Counters, ?UNKNOWN),
      reads => atomics:get(Counters, ?READS), keys => length(Written), lost => Lost,
      older => [Older || {{older, _}, Older} <- ets:tab2list(Table)]}.

found(Key, [Server | _] = Servers, Deadline) ->
    case ra_kv:get(Server, Key, ?CALL_MS) of
        {ok, _, {Sequence, _}} -> Sequence;
        {error, not_found} -> none;
        Other ->
            case now_us() < Deadline of
                true -> receive after 5 -> found(Key, tl(Servers) ++ [Server], Deadline) end;
                false -> {unreadable, Other}
            end
    end.

%% ---------------------------------------------------------------------------------------------------------------

%% `Base` is the first of the keys in use.
write(#{table := Table, counters := Counters} = Load, Server, Number, Base, Sequence) ->
    stopped(),
    Key = {Number, Base + Sequence rem ?KEYS},
    Known = known(Table, Key),
    Begin = now_us(),
    case ra_kv:put(Server, name(Key), {Sequence, <<0:800>>}, ?CALL_MS) of
        {ok, #{leader := Leader}} ->
            true = ets:insert(Table, {{written, name(Key)}, Sequence, none}),
            ok = atomics:add(Counters, ?ACKNOWLEDGED, 1),
            ok = first(Counters, Begin),
            write(Load, Leader, Number, Base, Sequence + 1);
        _ ->
            true = ets:insert(Table, {{written, name(Key)}, Known, Sequence}),
            ok = atomics:add(Counters, ?UNKNOWN, 1),
            receive after 5 -> ok end, % nobody is there: not too many attempts
            write(Load, any(Load), Number, Base + ?KEYS, Sequence + 1)
    end.

first(Counters, Begin) ->
    case atomics:get(Counters, ?KILLED_AT) of
        ?NEVER -> ok;
        At when Begin < At -> ok;
        _ ->
            _ = atomics:compare_exchange(Counters, ?FIRST_AT, ?NEVER, now_us()),
            ok
    end.

read(#{table := Table, counters := Counters, base := Base} = Load, Writers) ->
    stopped(),
    Name = name({rand:uniform(Writers), Base + rand:uniform(?KEYS) - 1}),
    Before = [{acknowledged, known(Table, Name)}, {read, ets:lookup_element(Table, {read, Name}, 2, none)}],
    case ra_kv:get(any(Load), Name, ?CALL_MS) of
        {ok, _, {Sequence, _}} ->
            ok = atomics:add(Counters, ?READS, 1),
            ok = seen(Table, Name, Sequence, Before),
            raise(Table, Name, Sequence);
        {error, not_found} ->
            seen(Table, Name, -1, Before);
        _ ->
            receive after 5 -> ok end
    end,
    read(Load, Writers).

seen(Table, Name, Sequence, Before) ->
    case [Older || {_, Least} = Older <- Before, is_integer(Least), Sequence < Least] of
        [] -> ok;
        Found -> ets:insert(Table, {{older, make_ref()}, {Name, {seen, Sequence}, {after_that, Found}}}), ok
    end.

%% Keeps the greatest; of two readers at once the one that is late tries again.
raise(Table, Name, Sequence) ->
    case ets:lookup_element(Table, {read, Name}, 2, none) of
        none ->
            ets:insert_new(Table, {{read, Name}, Sequence}) orelse raise(Table, Name, Sequence);
        Known when Known < Sequence ->
            1 =:= ets:select_replace(Table, [{{{read, Name}, Known}, [], [{{{{read, Name}}, Sequence}}]}])
                orelse raise(Table, Name, Sequence);
        _ ->
            true
    end.

known(Table, {_, _} = Key) -> known(Table, name(Key));
known(Table, Name) -> ets:lookup_element(Table, {written, Name}, 2, none).

any(#{servers := Servers}) -> lists:nth(rand:uniform(length(Servers)), Servers).

name({Number, Key}) -> <<(integer_to_binary(Number))/binary, $-, (integer_to_binary(Key))/binary>>.

stopped() ->
    receive {stop, Pid} -> Pid ! {self(), stopped}, exit(normal)
    after 0 -> ok
    end.

now_us() -> erlang:monotonic_time(microsecond).
