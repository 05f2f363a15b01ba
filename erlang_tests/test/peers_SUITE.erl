%% SPDX-License-Identifier: Apache-2.0
%% Nodes that are neither rakv nor a BEAM of today with all it offers: erl_call, C with ei of OTP 25 and 29, Java with
%% Jinterface, Elixir, nodes without a name, hidden nodes, calls as old nodes make them. Whatever is done to a rakv node is done
%% to a BEAM node with ra, too, and has to come to the same.
%%
%% The programs are those of examples/, as they stand there.
-module(peers_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(SIZES, [0, 1, 11, 12, 70000, 10_000_000]).

all() ->
    [erl_call_25, erl_call_29, erl_call_with_a_wrong_cookie, ei_25, ei_29, jinterface, elixir_visible, elixir_hidden,
     nameless_25, nameless_29, hidden_25, hidden_29, hidden_member, calls_of_old_nodes, net_kernel_calls].

suite() -> [{timetrap, {minutes, 10}}].

init_per_testcase(hidden_member, Config) -> rakv_ct:init(Config);
init_per_testcase(_Case, Config0) ->
    Config = rakv_ct:init(Config0),
    Beam = rakv_ct:start_beam(Config, beam),
    ok = rakv_ct:start_ra(Config, Beam),
    Node = rakv_ct:node_of(Beam),
    {ok, [_], []} = rakv_ct:call(Beam, ra_kv, start_cluster, [default, kv, #{members => [{kv, Node}]}]),
    Rakv = rakv_ct:start_rakv(Config, rakv, #{bootstrap => kv}),
    [{beam, Beam}, {targets, [Node, Rakv]} | Config].

%% A wrong cookie is noted by the BEAM, and nothing else may be.
end_per_testcase(_Case, Config) ->
    case rakv_ct:finish(Config) of
        ok -> ok;
        {fail, {malformed_messages, Found}} ->
            case [Line || {_, Lines} <- Found, Line <- Lines, re:run(Line, "Invalid challenge") =:= nomatch] of
                [] -> ok;
                Others -> {fail, {malformed_messages, Others}}
            end
    end.

%% ---------------------------------------------------------------------------------------------------------------
%% erl_call.

erl_call_25(Config) -> erl_call_with(Config, "/usr/bin/erl_call").
erl_call_29(Config) -> erl_call_with(Config, filename:join([code:lib_dir(erl_interface), "bin", "erl_call"])).

erl_call_with(Config, Program) ->
    [Beam, Rakv] = ?config(targets, Config),
    Call = fun(Target, Apply, More) ->
        {Status, Output} = run(Config, Program, ["-sname", alive(Target), "-c", rakv_ct:cookie(Config), "-a", Apply | More]),
        %% The names of the two nodes are what may differ.
        {Status, string:replace(Output, alive(Target), "NODE", all)}
    end,
    Own = ["-h", alive(rakv_ct:node_name(Config, c))],
    [begin
         OfBeam = Call(Beam, Apply, More),
         ct:log("~ts: ~p", [Apply, OfBeam]),
         ?assertEqual({Apply, OfBeam}, {Apply, Call(Rakv, Apply, More)})
     end || {Apply, More} <- [{"erlang node []", Own}, {"erlang nodes []", Own}, {"erlang nodes [hidden]", Own},
                              {"erlang nodes [[this, hidden]]", Own}, {"erlang node", Own},
                              {"ra_directory uid_of [default, no_such_server]", Own},
                              {"erlang node []", ["-r"]}, {"erlang node []", Own ++ ["-timeout", "20"]}]],
    {0, Undefined} = Call(Rakv, "no_such function [a]", Own),
    ?assertEqual({0, Undefined}, Call(Beam, "no_such function [a]", Own)),
    ?assertMatch({match, _}, re:run(Undefined, "badrpc.*EXIT.*undef.*no_such.*function")),
    {0, Badarg} = Call(Rakv, "erlang nodes [nonsense]", Own),
    ?assertMatch({match, _}, re:run(Badarg, "badrpc.*EXIT.*badarg")),
    %% by address, and with a name that the node gives
    [begin
         {port, Port, _} = erl_epmd:port_please(alive(Target), "localhost"),
         ?assertEqual({0, "'" ++ atom_to_list(Target) ++ "'"},
                      run(Config, Program, ["-address", "localhost:" ++ integer_to_list(Port), "-c", rakv_ct:cookie(Config),
                                            "-a", "erlang node []" | Given]))
     end || Target <- [Beam, Rakv], Given <- [Own, ["-R"]]].

erl_call_with_a_wrong_cookie(Config) ->
    [begin
         {Status, Output} = run(Config, "/usr/bin/erl_call", ["-sname", alive(Target), "-c", "wrong", "-a", "erlang node []"]),
         ?assertMatch({1, {match, _}}, {Status, re:run(Output, "failed to connect")})
     end || Target <- ?config(targets, Config)],
    %% and nothing has become of it
    [Beam, Rakv] = ?config(targets, Config),
    ?assertEqual(pong, rakv_ct:call(?config(beam, Config), net_adm, ping, [Rakv])),
    ?assertEqual(Beam, hd(rakv_ct:call(?config(beam, Config), erpc, call, [Rakv, erlang, nodes, []]))).

%% ---------------------------------------------------------------------------------------------------------------
%% Programs in other languages.

ei_25(Config) ->
    puts_and_gets(Config, {compile_c(Config, "/usr/lib/erlang/usr", []), []}).

ei_29(Config) ->
    Libc = filename:join(rakv_ct:sources(), "ei29_libc.c"),
    puts_and_gets(Config, {compile_c(Config, filename:join(code:root_dir(), "usr"), [Libc]), []}).

jinterface(Config) ->
    Jar = "/usr/share/java/OtpErlang.jar",
    Classes = filename:join(?config(rakv_dir, Config), "classes"),
    {0, _} = run(Config, "/usr/bin/javac", ["-cp", Jar, "-d", Classes, example("jinterface/KvClient.java")]),
    puts_and_gets(Config, {"/usr/bin/java", ["-cp", Jar ++ ":" ++ Classes, "KvClient"]}).

elixir_visible(Config) ->
    puts_and_gets(Config, {"/usr/bin/elixir", [example("elixir/kv_client.exs")]}).

elixir_hidden(Config) ->
    puts_and_gets(Config, {"/usr/bin/elixir", ["--erl", "-hidden", example("elixir/kv_client.exs")]}).

compile_c(Config, Erlang, More) ->
    Program = filename:join(?config(rakv_dir, Config), "kv_client"),
    {0, _} = run(Config, "/usr/bin/cc", ["-Wall", "-Wextra", "-Werror", "-pthread", "-o", Program, example("ei/kv_client.c")] ++ More ++
                     ["-I", filename:join(Erlang, "include"), "-L", filename:join(Erlang, "lib"), "-lei"]),
    Program.

%% Everything that such a program can do, to both members; what each says of it is the same.
puts_and_gets(Config, Client) ->
    Beam = ?config(beam, Config),
    [OfBeam, OfRakv] = [[{Size, put_and_get(Config, Client, Target, Size)} || Size <- ?SIZES] ++
                            refusals(Config, Client, Target) || Target <- ?config(targets, Config)],
    ?assertEqual(OfBeam, OfRakv),
    %% what a BEAM client wrote is read, and it is a value like any other in the end
    [begin
         {ok, _} = rakv_ct:call(Beam, ra_kv, put, [{kv, Target}, <<"of a BEAM">>, <<"value">>, 10000]),
         ?assertEqual({0, <<"value">>, <<>>}, client(Config, Client, Target, "get", "of a BEAM", <<>>))
     end || Target <- ?config(targets, Config)].

put_and_get(Config, Client, Target, Size) ->
    Value = rand:bytes(Size),
    Key = "key of " ++ integer_to_list(Size),
    {0, Index, <<>>} = client(Config, Client, Target, "put", Key, Value),
    ?assert(binary_to_integer(string:trim(Index)) > 0),
    {ok, _, Stored} = rakv_ct:call(?config(beam, Config), ra_kv, get, [{kv, Target}, list_to_binary(Key), 30000]),
    ?assert(Stored =:= Value),
    hash_is_right(Config, Target, list_to_binary(Key), Value),
    {0, Read, <<>>} = client(Config, Client, Target, "get", Key, <<>>),
    ?assert(Read =:= Value),
    {0, <<>>} = {0, <<>>}.

%% What ra_kv keeps beside a key is what an Erlang client would have sent. The BEAM's state can be asked for.
hash_is_right(Config, Target, Key, Value) ->
    case rakv_ct:node_of(?config(beam, Config)) of
        Target ->
            {ok, {_, State}, _} = rakv_ct:call(?config(beam, Config), ra, local_query, [{kv, Target}, {erlang, tuple_to_list, []}]),
            #{Key := [_ | Hash]} = lists:last(State),
            ?assertEqual(erlang:phash2(Value), Hash);
        _ ->
            ok
    end.

refusals(Config, Client, Target) ->
    {3, <<>>, NotFound} = client(Config, Client, Target, "get", "no such key", <<>>),
    ?assertMatch({match, _}, re:run(NotFound, "no such key")),
    {Wrong, <<>>, _} = client(lists:keyreplace(rakv_cookie, 1, Config, {rakv_cookie, "wrong"}), Client, Target, "get", "key", <<>>),
    [{not_found, 3}, {wrong_cookie, Wrong}].

client(Config, {Program, Args}, Target, Action, Key, Value) ->
    Unique = integer_to_list(erlang:unique_integer([positive])),
    File = filename:join(?config(rakv_dir, Config), "value-" ++ Unique),
    ok = file:write_file(File, Value),
    Own = alive(rakv_ct:node_name(Config, "client" ++ Unique)),
    run_3(Config, Program, Args ++ [Own, rakv_ct:cookie(Config), "kv", atom_to_list(Target), Action, Key], File).

%% ---------------------------------------------------------------------------------------------------------------
%% Nodes without a name: `erl -sname undefined`, as remote consoles start.

nameless_25(Config) -> nameless(Config, os:getenv("RAKV_OTP25", "/usr/bin/erl"), []).
nameless_29(Config) -> nameless(Config, filename:join([code:root_dir(), "bin", "erl"]), []).

nameless(Config, Erl, More) ->
    Old = rakv_ct:start_beam(Config, old, #{otp => 25}), % compiles plain_kv_client for it
    Ebin = filename:join(?config(rakv_dir, Config), "ebin25"),
    [begin
         Node = atom_to_list(Target),
         Script = "Node = '" ++ Node ++ "', nonode@nohost = node(), true = net_kernel:connect_node(Node),"
             "Ping = net_adm:ping(Node), Me = node(),"
             "[Name, Host] = string:split(atom_to_list(Me), \"@\"),"
             "Given = length(Name) > 5 andalso lists:suffix(Host, \"" ++ Node ++ "\"),"
             "{ok, _} = plain_kv_client:put({kv, Node}, <<\"nameless\">>, binary:copy(<<\"v\">>, 1000000), 20000),"
             "{ok, _, Value} = plain_kv_client:get({kv, Node}, <<\"nameless\">>, 20000),"
             "Nodes = fun(Kind) -> lists:member(Me, erpc:call(Node, erlang, nodes, [Kind])) end,"
             "Call = rpc:call(Node, erlang, node, []) =:= Node,"
             "io:format(\"~p\", [{Ping, Given, byte_size(Value), Nodes(hidden), Nodes(visible), Call}]), halt(0).",
         {Status, Output} = run(Config, Erl, ["-noinput", "-sname", "undefined", "-setcookie", rakv_ct:cookie(Config), "-pa", Ebin,
                                              "-eval", Script | More]),
         ?assertEqual({0, "{pong,true,1000000,true,false,true}"}, {Status, Output})
     end || Target <- ?config(targets, Config)],
    rakv_ct:stop_beam(Config, Old).

%% ---------------------------------------------------------------------------------------------------------------
%% Hidden BEAM nodes.

hidden_25(Config) -> hidden(Config, #{otp => 25, args => ["-hidden"]}, plain_kv_client).
hidden_29(Config) -> hidden(Config, #{args => ["-hidden"]}, ra_kv).

hidden(Config, Options, Client) ->
    Hidden = rakv_ct:start_beam(Config, hidden, Options),
    Name = rakv_ct:node_of(Hidden),
    [OfBeam, OfRakv] =
        [begin
             Value = rand:bytes(10_000_000),
             pong = rakv_ct:call(Hidden, net_adm, ping, [Target]),
             {ok, _} = rakv_ct:call(Hidden, Client, put, [{kv, Target}, <<"hidden">>, Value, 30000]),
             {ok, _, Value} = rakv_ct:call(Hidden, Client, get, [{kv, Target}, <<"hidden">>, 30000]),
             [{Kind, lists:member(Name, rakv_ct:call(Hidden, erpc, call, [Target, erlang, nodes, [Kind]]))}
              || Kind <- [visible, hidden, connected, known, [this, visible]]]
         end || Target <- ?config(targets, Config)],
    ?assertEqual(OfBeam, OfRakv),
    ?assertMatch([{visible, false}, {hidden, true} | _], OfRakv).

%% A hidden BEAM is a member beside rakv members like any other, as follower and as leader.
hidden_member(Config) ->
    Hidden = rakv_ct:start_beam(Config, hidden, #{args => ["-hidden"]}),
    ok = rakv_ct:start_ra(Config, Hidden),
    Rakvs = [rakv_ct:start_rakv(Config, Name) || Name <- [r1, r2]],
    Ids = [{kv, Node} || Node <- [rakv_ct:node_of(Hidden) | Rakvs]],
    {ok, Started, []} = rakv_ct:call(Hidden, ra_kv, start_cluster, [default, kv, #{members => Ids}]),
    ?assertEqual(lists:sort(Ids), lists:sort(Started)),
    [begin
         rakv_ct:wait_until(fun() ->
             case rakv_ct:call(Hidden, ra, members, [hd(Ids)]) of
                 {ok, _, Id} -> true;
                 {ok, _, Leader} -> _ = rakv_ct:call(Hidden, ra, transfer_leadership, [Leader, Id]), false;
                 Other -> Other
             end
         end),
         {ok, _} = rakv_ct:call(Hidden, ra_kv, put, [Id, <<"key">>, Id, 10000]),
         [?assertMatch({ok, _, Id}, rakv_ct:call(Hidden, ra_kv, get, [Other, <<"key">>, 10000])) || Other <- Ids]
     end || Id <- Ids].

%% ---------------------------------------------------------------------------------------------------------------
%% What old nodes and other libraries say to rex and net_kernel.

calls_of_old_nodes(Config) ->
    [Beam, Rakv] = ?config(targets, Config),
    Client = rakv_ct:start_beam(Config, client, #{modules => [peers_client]}),
    [?assertEqual({Name, rakv_ct:call(Client, peers_client, Name, [Beam])}, {Name, rakv_ct:call(Client, peers_client, Name, [Rakv])})
     || Name <- [gen_call, block_call, plain_call, undefined_function, bad_arguments, cast, features, broadcast, send, rpc_call]].

net_kernel_calls(Config) ->
    [OfBeam, OfRakv] =
        [[rakv_ct:call(?config(beam, Config), gen_server, call, [{net_kernel, Target}, Request, 10000])
          || Request <- [{is_auth, node()}, longnames, ticktime, allowed]] || Target <- ?config(targets, Config)],
    ?assertEqual(OfBeam, OfRakv),
    [_, Rakv] = ?config(targets, Config),
    ?assertEqual(Rakv, rakv_ct:call(?config(beam, Config), gen_server, call, [{net_kernel, Rakv}, nodename])).

%% ---------------------------------------------------------------------------------------------------------------

alive(Node) -> hd(string:split(atom_to_list(Node), "@")).

sources() -> filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile))).

%% A file of this repository's examples/: it is above this suite, wherever that was compiled.
example(Path) -> example(Path, sources()).

example(Path, Dir) ->
    File = filename:join([Dir, "examples", Path]),
    case {filelib:is_regular(File), filename:dirname(Dir)} of
        {true, _} -> File;
        {false, Dir} -> ct:fail("there is no examples/~ts above ~ts", [Path, sources()]);
        {false, Above} -> example(Path, Above)
    end.

%% Runs a program to its end; gives its status and what it said.
run(Config, Program, Args) ->
    {Status, Output, Errors} = run_3(Config, Program, Args, "/dev/null"),
    Text = unicode:characters_to_list([Output, Errors]),
    ct:log("~ts ~p: ~b ~ts", [Program, Args, Status, Text]),
    {Status, Text}.

run_3(Config, Program, Args, Stdin) ->
    filelib:is_regular(Program) orelse ct:fail("~ts is not there: scripts/setup.sh installs it", [Program]),
    Errors = filename:join(?config(rakv_dir, Config), "errors-" ++ integer_to_list(erlang:unique_integer([positive]))),
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-c", "exec \"$0\" \"$@\" 2>\"$RAKV_STDERR\" <\"$RAKV_STDIN\"", Program | Args]}, binary, exit_status, hide,
                      {env, [{"RAKV_STDERR", Errors}, {"RAKV_STDIN", Stdin} | clean_environment()]}]),
    {Status, Output} = rakv_ct:collect(Port, []),
    {ok, Complaints} = file:read_file(Errors),
    {Status, Output, Complaints}.

%% Without what belongs to the OTP that runs this suite.
clean_environment() ->
    [{"PATH", "/usr/bin:/bin"} | [{Name, false} || Name <- ["ERL_LIBS", "ROOTDIR", "BINDIR", "EMU", "PROGNAME"]]].
