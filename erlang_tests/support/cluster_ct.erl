%% SPDX-License-Identifier: Apache-2.0
%% Clusters of BEAM and rakv members for the suites: start, kill, pause, wipe, partition, and compare.
%%
%%   init_per_testcase(_, Config) -> cluster_ct:init(Config).
%%   end_per_testcase(_, Config) -> cluster_ct:finish(Config).
%%
%%   Cluster = cluster_ct:start(Config, [beam, beam, rakv]),   % members n1, n2, n3; a client on OTP 29
%%   ok = cluster_ct:lead(Cluster, n3),
%%   {ok, _} = cluster_ct:put(Cluster, n1, <<"key">>, value),
%%   ok = cluster_ct:kill(Cluster, n3),
%%   ok = cluster_ct:restart(Cluster, n3),
%%   ok = cluster_ct:same_everywhere(Cluster).
%%
%% Members are named n1, n2, ... in the order of their kinds. What runs under a name is kept beside the test case, so a
%% cluster stays the same term while its nodes come and go.
-module(cluster_ct).

-include_lib("common_test/include/ct.hrl").

-export([init/1, finish/1, finish/2]).
-export([start/2, start/3, start_nodes/3, form/2, form/3, start_member/3, old_client/1]).
-export([members/1, kinds/1, kind/2, server/2, servers/1, node_of/2, one_of_each/1, call/4, call/5, os_pid/2, rpc/5]).
-export([kill/2, before_kill/2, after_kill/2, stop/2, restart/2, start_again/2, start_server/2, become/3, pause/2, resume/2,
         wipe/2]).
-export([links/1, block/3, block_one_way/3, allow/3, isolate/2, heal/2, set_clock/3, fill_disk/3, make_room/2]).
-export([put/4, get/3, fill/3, take_snapshot/2, leader/1, lead/2, overview/2, state/2, wait_caught_up/2]).
-export([same_everywhere/1, same_everywhere/2, parallel/2, say/2]).
-export_type([cluster/0, kind/0]).

-type kind() :: beam | rakv.
-type cluster() :: #{config := [{atom(), term()}], name := atom(), members := [atom()], client := rakv_ct:beam(),
                     options := options()}.
-type options() :: #{%% Every connection goes through a proxy, so that it can be blocked. Default: false.
                     links => boolean(),
                     %% Members' wall clocks can be set. Default: false.
                     clocks => boolean(),
                     %% Each member has a disk of its own, with so many bytes.
                     disk_bytes => pos_integer(),
                     %% Seconds of silence after which a node counts as gone. Default: 60.
                     ticktime => pos_integer(),
                     %% Parameters of ra's application on BEAM members.
                     ra => [{atom(), term()}],
                     %% Further arguments of rakv nodes.
                     rakv_args => [string()],
                     %% Modules beside cluster_client for the client's node.
                     modules => [module()]}.

-define(CALL_MS, 10000).
%% Longer than elections, back-offs of snapshots and waiting for lost entries take together.
-define(WAIT_MS, 90000).

%% ---------------------------------------------------------------------------------------------------------------
%% A test case's frame.

-spec init([{atom(), term()}]) -> [{atom(), term()}].
init(Config0) ->
    Config = rakv_ct:init(Config0),
    Keeper = ?config(rakv_keeper, Config),
    Starter = self(),
    Holder = spawn(fun() ->
        Monitor = monitor(process, Keeper),
        Table = ets:new(?MODULE, [public]),
        Links = cluster_links:start_link(),
        Starter ! {self(), Table, Links},
        receive {'DOWN', Monitor, process, Keeper, _} -> exit(shutdown) end
    end),
    receive {Holder, Table, Links} -> [{cluster_table, Table}, {cluster_links, Links} | Config] end.

%% Stops everything, also what is paused. Fails when a BEAM member's server crashed, or was sent malformed messages.
-spec finish([{atom(), term()}]) -> ok | {fail, term()}.
finish(Config) ->
    finish(Config, "State machine .* terminating|leader_saw_").

%% The same with what of a BEAM member's log is a failure, for a case that makes servers crash.
-spec finish([{atom(), term()}], string()) -> ok | {fail, term()}.
finish(Config, Failures) ->
    Table = ?config(cluster_table, Config),
    [_ = signal("CONT", OsPid) || {{paused, _}, OsPid} <- ets:tab2list(Table)],
    Crashes = [{Name, Line} || {{beam, Name}, Beam} <- ets:tab2list(Table),
                               Line <- rakv_ct:beam_log(Beam, Failures)],
    Disks = [Dir || {{disk, _}, Dir} <- ets:tab2list(Table)],
    Clocks = [OsPid || {{clock, OsPid}} <- ets:tab2list(Table)],
    proplists:get_value(tc_status, Config) =:= ok orelse [keep_data(Dir) || Dir <- Disks],
    Finished = rakv_ct:finish(Config),
    [ok = small_disk:unmount(Dir) || Dir <- Disks],
    [ok = fake_clock:clean(OsPid) || OsPid <- Clocks],
    case {Finished, Crashes} of
        {ok, []} -> ok;
        {ok, _} -> {fail, {crashed_servers, Crashes}};
        {Failed, _} -> Failed
    end.

%% Of a case that failed; the disk goes.
keep_data(Dir) -> os:cmd("cp -a '" ++ Dir ++ "' '" ++ Dir ++ ".kept'").

%% ---------------------------------------------------------------------------------------------------------------
%% Nodes and clusters.

-spec start([{atom(), term()}], [kind()]) -> cluster().
start(Config, Kinds) ->
    start(Config, Kinds, #{}).

%% Starts a node of each kind and a client, and forms the cluster `kv` with ra_kv:start_cluster/3 from the client.
-spec start([{atom(), term()}], [kind()], options()) -> cluster().
start(Config, Kinds, Options) ->
    Cluster = start_nodes(Config, Kinds, Options),
    ok = form(Cluster, kv),
    Cluster.

%% The nodes alone.
-spec start_nodes([{atom(), term()}], [kind()], options()) -> cluster().
start_nodes(Config, Kinds, Options) ->
    Members = [list_to_atom("n" ++ integer_to_list(Number)) || Number <- lists:seq(1, length(Kinds))],
    Cluster = #{config => Config, name => kv, members => Members, options => Options},
    [Client | _] = parallel(fun({client, _}) -> client(Cluster);
                               ({Name, Kind}) -> start_member(Cluster, Name, Kind)
                            end, [{client, beam} | lists:zip(Members, Kinds)]),
    Cluster#{client => Client}.

%% Starts a node that is no member (yet).
-spec start_member(cluster(), atom(), kind()) -> ok.
start_member(Cluster, Name, Kind) ->
    true = ets:insert(table(Cluster), {{kind, Name}, Kind}),
    ok = mount_disk(Cluster, Name),
    start_node(Cluster, Name, Kind).

mount_disk(#{config := Config, options := #{disk_bytes := Bytes}} = Cluster, Name) ->
    Dir = rakv_ct:system_dir(Config, Name),
    ok = small_disk:mount(Dir, Bytes),
    true = ets:insert(table(Cluster), {{disk, Name}, Dir}),
    ok;
mount_disk(_Cluster, _Name) ->
    ok.

start_node(#{config := Config, options := Options} = Cluster, Name, beam) ->
    Args = case Options of
               #{ticktime := Seconds} -> ["-kernel", "net_ticktime", integer_to_list(Seconds)];
               _ -> []
           end,
    Beam = rakv_ct:start_beam(Config, Name, #{env => epmd(Cluster, Name) ++ clock(Cluster, Name),
                                              args => epmd_args(Cluster) ++ Args}),
    ok = rakv_ct:start_ra(Config, Beam, maps:get(ra, Options, [])),
    true = ets:insert(table(Cluster), [{{beam, Name}, Beam}, {{clock, maps:get(os_pid, Beam)}}]),
    ok;
start_node(#{config := Config, options := Options} = Cluster, Name, rakv) ->
    Args = case Options of
               #{ticktime := Seconds} -> ["--net-ticktime", integer_to_list(Seconds)];
               _ -> []
           end,
    Node = rakv_ct:start_rakv(Config, Name, #{env => epmd(Cluster, Name) ++ clock(Cluster, Name),
                                              args => Args ++ maps:get(rakv_args, Options, []), restart_intensity => {0, 1}}),
    {ok, OsPid} = rakv:os_pid(Node),
    true = ets:insert(table(Cluster), [{{rakv, Name}, OsPid}, {{clock, integer_to_list(OsPid)}}]),
    ok.

client(#{config := Config, options := Options} = Cluster) ->
    Modules = [cluster_client | maps:get(modules, Options, [])],
    Client = rakv_ct:start_beam(Config, client, #{modules => Modules, env => epmd(Cluster, client),
                                                  args => epmd_args(Cluster)}),
    ok = rakv_ct:start_ra(Config, Client),
    Client.

%% A client on OTP 25, with plain_kv_client.
-spec old_client(cluster()) -> rakv_ct:beam().
old_client(#{config := Config} = Cluster) ->
    rakv_ct:start_beam(Config, old_client, #{otp => 25, env => epmd(Cluster, old_client), args => epmd_args(Cluster)}).

epmd(#{config := Config, options := #{links := true}}, Name) ->
    Port = cluster_links:port(?config(cluster_links, Config), rakv_ct:node_name(Config, Name)),
    [{"ERL_EPMD_PORT", integer_to_list(Port)}];
epmd(_Cluster, _Name) ->
    [].

clock(#{options := #{clocks := true}} = Cluster, Name) -> fake_clock:env(clock_file(Cluster, Name));
clock(_Cluster, _Name) -> [].

clock_file(#{config := Config}, Name) -> filename:join(?config(rakv_dir, Config), atom_to_list(Name) ++ ".clock").

epmd_args(#{options := #{links := true}}) -> ["-start_epmd", "false"];
epmd_args(_Cluster) -> [].

-spec form(cluster(), atom()) -> ok.
form(#{members := Members} = Cluster, Name) ->
    form(Cluster, Name, Members).

%% Forms a cluster of that name on some of the nodes.
-spec form(cluster(), atom(), [atom()]) -> ok.
form(Cluster, Name, Members) ->
    Ids = [{Name, node_of(Cluster, Member)} || Member <- Members],
    {ok, Started, []} = call(Cluster, ra_kv, start_cluster, [default, Name, #{members => Ids}]),
    true = lists:sort(Started) =:= lists:sort(Ids),
    ok.

-spec members(cluster()) -> [atom()].
members(#{members := Members}) -> Members.

-spec kinds(cluster()) -> [{atom(), kind()}].
kinds(#{members := Members} = Cluster) -> [{Name, kind(Cluster, Name)} || Name <- Members].

-spec kind(cluster(), atom()) -> kind().
kind(Cluster, Name) -> ets:lookup_element(table(Cluster), {kind, Name}, 2).

%% A member of each kind that there is.
-spec one_of_each(cluster()) -> [atom()].
one_of_each(Cluster) ->
    maps:values(maps:from_list([{Kind, Name} || {Name, Kind} <- kinds(Cluster)])).

-spec node_of(cluster(), atom()) -> node().
node_of(#{config := Config}, Name) -> rakv_ct:node_name(Config, Name).

-spec server(cluster(), atom()) -> {atom(), node()}.
server(#{name := ClusterName} = Cluster, Name) -> {ClusterName, node_of(Cluster, Name)}.

-spec servers(cluster()) -> [{atom(), node()}].
servers(#{members := Members} = Cluster) -> [server(Cluster, Name) || Name <- Members].

%% Runs a function on the client's node.
-spec call(cluster(), module(), atom(), [term()]) -> term().
call(Cluster, Module, Function, Args) ->
    call(Cluster, Module, Function, Args, 120000).

-spec call(cluster(), module(), atom(), [term()], timeout()) -> term().
call(#{client := Client}, Module, Function, Args, TimeoutMs) ->
    rakv_ct:call(Client, Module, Function, Args, TimeoutMs).

%% Calls a function of a member's node from the client.
-spec rpc(cluster(), atom(), module(), atom(), [term()]) -> term().
rpc(Cluster, Name, Module, Function, Args) ->
    call(Cluster, rpc, call, [node_of(Cluster, Name), Module, Function, Args, ?CALL_MS]).

-spec os_pid(cluster(), atom()) -> string().
os_pid(Cluster, Name) ->
    case kind(Cluster, Name) of
        rakv -> integer_to_list(ets:lookup_element(table(Cluster), {rakv, Name}, 2));
        beam -> maps:get(os_pid, beam(Cluster, Name))
    end.

beam(Cluster, Name) -> ets:lookup_element(table(Cluster), {beam, Name}, 2).

table(#{config := Config}) -> ?config(cluster_table, Config).

%% ---------------------------------------------------------------------------------------------------------------
%% What happens to nodes.

%% kill -9; it stays dead until restart/2.
-spec kill(cluster(), atom()) -> ok.
kill(#{config := Config} = Cluster, Name) ->
    case kind(Cluster, Name) of
        beam -> rakv_ct:kill_beam(Config, beam(Cluster, Name));
        rakv -> rakv:kill_node(node_of(Cluster, Name), #{restart => false})
    end.

%% What is to be done before a test case sends the signal itself, and what afterwards.
-spec before_kill(cluster(), atom()) -> ok.
before_kill(Cluster, Name) ->
    case kind(Cluster, Name) of
        beam -> rakv_ct:sync_names(beam(Cluster, Name));
        rakv -> ok
    end.

-spec after_kill(cluster(), atom()) -> ok.
after_kill(#{config := Config} = Cluster, Name) ->
    case kind(Cluster, Name) of
        beam ->
            rakv_ct:stop_beam(Config, beam(Cluster, Name));
        rakv ->
            _ = rakv:kill_node(node_of(Cluster, Name), #{restart => false}),
            rakv_ct:wait_until(fun() -> not lists:member(node_of(Cluster, Name), rakv:nodes()) end)
    end.

%% In order.
-spec stop(cluster(), atom()) -> ok.
stop(#{config := Config} = Cluster, Name) ->
    case kind(Cluster, Name) of
        beam ->
            Beam = #{os_pid := OsPid} = beam(Cluster, Name),
            ok = rakv_ct:call(Beam, init, stop, []),
            rakv_ct:wait_until(fun() -> not filelib:is_dir("/proc/" ++ OsPid) end),
            rakv_ct:stop_beam(Config, Beam);
        rakv -> rakv:stop_node(node_of(Cluster, Name))
    end.

%% Starts a node again with its data, and its server.
-spec restart(cluster(), atom()) -> ok.
restart(Cluster, Name) ->
    ok = start_again(Cluster, Name),
    start_server(Cluster, Name).

%% The node alone; a rakv node starts its servers by itself.
-spec start_again(cluster(), atom()) -> ok.
start_again(Cluster, Name) ->
    start_node(Cluster, Name, kind(Cluster, Name)).

-spec start_server(cluster(), atom()) -> ok.
start_server(Cluster, Name) ->
    rakv_ct:wait_until(fun() ->
        case call(Cluster, ra, restart_server, [default, server(Cluster, Name)]) of
            ok -> true;
            {error, {already_started, _}} -> true;
            %% the client has just noticed that the connection is that of the node before
            {error, nodedown} = Error -> Error
        end
    end).

%% Starts a node that is not running as the other kind, with its data; its servers are not started on a BEAM.
-spec become(cluster(), atom(), kind()) -> ok.
become(#{config := Config} = Cluster, Name, Kind) ->
    case {kind(Cluster, Name), Kind} of
        {rakv, beam} -> {0, _, <<>>} = rakv_ct:run(Config, ["release", rakv_ct:system_dir(Config, Name)]);
        {beam, rakv} -> ok
    end,
    true = ets:insert(table(Cluster), {{kind, Name}, Kind}),
    start_again(Cluster, Name).

%% SIGSTOP: the connections stay, nobody answers.
-spec pause(cluster(), atom()) -> ok.
pause(Cluster, Name) ->
    OsPid = os_pid(Cluster, Name),
    true = ets:insert(table(Cluster), {{paused, Name}, OsPid}),
    signal("STOP", OsPid).

-spec resume(cluster(), atom()) -> ok.
resume(Cluster, Name) ->
    true = ets:delete(table(Cluster), {paused, Name}),
    signal("CONT", os_pid(Cluster, Name)).

signal(Signal, OsPid) ->
    "" = os:cmd("kill -" ++ Signal ++ " " ++ OsPid),
    ok.

%% Deletes the data of a node that is not running.
-spec wipe(cluster(), atom()) -> ok.
wipe(#{config := Config}, Name) ->
    Dir = rakv_ct:system_dir(Config, Name),
    true = filelib:is_dir(Dir),
    file:del_dir_r(Dir).

%% ---------------------------------------------------------------------------------------------------------------
%% What happens to links; of clusters started with `links => true`.

-spec links(cluster()) -> cluster_links:links().
links(#{config := Config, options := #{links := true}}) -> ?config(cluster_links, Config).

-spec block(cluster(), atom(), atom()) -> ok.
block(Cluster, A, B) -> cluster_links:block(links(Cluster), node_of(Cluster, A), node_of(Cluster, B)).

-spec block_one_way(cluster(), atom(), atom()) -> ok.
block_one_way(Cluster, From, To) -> cluster_links:block_one_way(links(Cluster), node_of(Cluster, From), node_of(Cluster, To)).

-spec allow(cluster(), atom(), atom()) -> ok.
allow(Cluster, A, B) -> cluster_links:allow(links(Cluster), node_of(Cluster, A), node_of(Cluster, B)).

%% Nothing passes between a member and the others any more; clients still reach it.
-spec isolate(cluster(), atom()) -> ok.
isolate(#{members := Members} = Cluster, Name) ->
    [ok = block(Cluster, Name, Other) || Other <- Members, Other =/= Name],
    ok.

-spec heal(cluster(), atom()) -> ok.
heal(#{members := Members} = Cluster, Name) ->
    [ok = allow(Cluster, Name, Other) || Other <- Members, Other =/= Name],
    ok.

%% ---------------------------------------------------------------------------------------------------------------
%% What happens to clocks (`clocks => true`) and disks (`disk_bytes`).

%% A member's wall clock is so many seconds off, within a second.
-spec set_clock(cluster(), atom(), integer()) -> ok.
set_clock(#{options := #{clocks := true}} = Cluster, Name, Seconds) -> fake_clock:set(clock_file(Cluster, Name), Seconds).

%% Leaves so many bytes.
-spec fill_disk(cluster(), atom(), non_neg_integer()) -> ok.
fill_disk(Cluster, Name, Left) -> small_disk:fill_up(disk(Cluster, Name), Left).

-spec make_room(cluster(), atom()) -> ok.
make_room(Cluster, Name) -> small_disk:make_room(disk(Cluster, Name)).

disk(Cluster, Name) -> ets:lookup_element(table(Cluster), {disk, Name}, 2).

%% ---------------------------------------------------------------------------------------------------------------
%% What clients do and see.

-spec put(cluster(), atom(), binary(), term()) -> term().
put(Cluster, Name, Key, Value) ->
    call(Cluster, ra_kv, put, [server(Cluster, Name), Key, Value, ?CALL_MS]).

-spec get(cluster(), atom(), binary()) -> term().
get(Cluster, Name, Key) ->
    call(Cluster, ra_kv, get, [server(Cluster, Name), Key, ?CALL_MS]).

%% Puts so many keys with this prefix through all members in turn; fails when a put does.
-spec fill(cluster(), string(), pos_integer()) -> ok.
fill(Cluster, Prefix, Count) ->
    call(Cluster, cluster_client, fill, [servers(Cluster), Prefix, Count]).

-spec take_snapshot(cluster(), atom()) -> ok.
take_snapshot(Cluster, Name) ->
    Server = server(Cluster, Name),
    {ok, #{last_applied := Applied}, _} = call(Cluster, ra, member_overview, [Server, ?CALL_MS]),
    ok = call(Cluster, ra_kv, take_snapshot, [Server]),
    rakv_ct:wait_until(fun() ->
        #{log := #{snapshot_index := Index}} = overview(Cluster, Name),
        is_integer(Index) andalso Index >= Applied
    end, ?WAIT_MS).

-spec overview(cluster(), atom()) -> map().
overview(Cluster, Name) ->
    {ok, Overview, _} = call(Cluster, ra, member_overview, [server(Cluster, Name), ?CALL_MS]),
    Overview.

%% leader, follower, ...; or an error.
-spec state(cluster(), atom()) -> term().
state(Cluster, Name) ->
    case call(Cluster, ra, ping, [server(Cluster, Name), 2000]) of
        {pong, State} -> State;
        Other -> Other
    end.

%% Waits until exactly one of the members leads, and those that follow somebody follow it: none sends a caller to another.
-spec leader(cluster()) -> atom().
leader(#{members := Members} = Cluster) ->
    rakv_ct:wait_for(fun() ->
        States = [{Name, state(Cluster, Name)} || Name <- Members],
        case [Name || {Name, leader} <- States] of
            [Leader] ->
                Id = server(Cluster, Leader),
                case [Name || {Name, follower} <- States, leader_id(Cluster, Name) =/= Id] of
                    [] -> {ok, Leader};
                    Others -> {leader, Leader, unknown_to, Others}
                end;
            Other -> {leaders, Other, States}
        end
    end, ?WAIT_MS).

leader_id(Cluster, Name) ->
    case call(Cluster, ra, member_overview, [server(Cluster, Name), ?CALL_MS]) of
        {ok, Overview, _} -> maps:get(leader_id, Overview, undefined);
        Other -> Other
    end.

%% Makes a member the leader, as an operator would.
-spec lead(cluster(), atom()) -> ok.
lead(Cluster, Name) ->
    rakv_ct:wait_until(fun() ->
        case leader(Cluster) of
            Name -> true;
            Leader ->
                Answer = call(Cluster, ra, transfer_leadership, [server(Cluster, Leader), server(Cluster, Name)]),
                Answer =:= ok andalso leads_within(Cluster, Name, 150),
                {asked, Leader, Answer}
        end
    end, ?WAIT_MS).

leads_within(_Cluster, _Name, 0) -> false;
leads_within(Cluster, Name, Tries) ->
    state(Cluster, Name) =:= leader orelse receive after 20 -> leads_within(Cluster, Name, Tries - 1) end.

%% Waits until a member has applied what the leader has.
-spec wait_caught_up(cluster(), atom()) -> ok.
wait_caught_up(Cluster, Name) ->
    rakv_ct:wait_until(fun() ->
        #{last_applied := There} = overview(Cluster, leader(Cluster)),
        #{last_applied := Here} = overview(Cluster, Name),
        Here >= There orelse {behind, Here, There}
    end, ?WAIT_MS).

%% ---------------------------------------------------------------------------------------------------------------
%% The comparison after each scenario.

-spec same_everywhere(cluster()) -> ok.
same_everywhere(#{members := Members} = Cluster) ->
    same_everywhere(Cluster, Members).

%% One leader that all name, in one term; everything committed and applied by all; the same keys, live indexes, hashes,
%% and the same values and metadata read through every member.
-spec same_everywhere(cluster(), [atom()]) -> ok.
same_everywhere(Cluster0, Members) ->
    Cluster = Cluster0#{members := Members},
    ok = settled(Cluster),
    Servers = servers(Cluster),
    case call(Cluster, cluster_client, compare, [Servers], infinity) of
        {same, Keys} ->
            ct:log("~b keys are the same on ~p", [Keys, kinds(Cluster)]);
        {different, Differences} ->
            ct:fail({different, Differences})
    end.

settled(#{members := Members} = Cluster) ->
    rakv_ct:wait_until(fun() ->
        Overviews = [overview(Cluster, Name) || Name <- Members],
        States = lists:sort([state(Cluster, Name) || Name <- Members]),
        Seen = [maps:with([leader_id, current_term, last_applied, commit_index], Overview) || Overview <- Overviews],
        Ends = [Last || #{log := #{last_index := Last}} <- Overviews],
        [#{last_applied := Applied} | _] = Seen,
        {length(lists:usort(Seen)), lists:usort(Ends), States}
            =:= {1, [Applied], lists:sort([leader | lists:duplicate(length(Members) - 1, follower)])}
            orelse {not_settled, lists:zip(Members, Seen), Ends, States}
    end, ?WAIT_MS).

%% ---------------------------------------------------------------------------------------------------------------

%% Does something with all of them at once; an exception in one is raised here.
-spec parallel(fun((A) -> B), [A]) -> [B].
parallel(Fun, List) ->
    Running = [spawn_monitor(fun() -> exit({done, Fun(One)}) end) || One <- List],
    [receive
         {'DOWN', Monitor, process, Pid, {done, Result}} -> Result;
         {'DOWN', Monitor, process, Pid, Reason} -> error({in_parallel, Reason})
     end || {Pid, Monitor} <- Running].

%% To the log and to the terminal.
-spec say(io:format(), [term()]) -> ok.
say(Format, Args) ->
    ct:log(Format, Args),
    io:format(user, Format ++ "~n", Args).
