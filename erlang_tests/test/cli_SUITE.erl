%% SPDX-License-Identifier: Apache-2.0
%% The client commands of the program, as a user runs them: against three BEAM members with ra, against a rakv member,
%% and against servers that misbehave (cli_member).
-module(cli_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [put_get_delete, raw_bytes, terms, files, keys_like_flags, not_found, redirect, several_servers, other_cluster,
     status_of_all, status_as_json, cookie_file, cookies_refused, long_names,
     help, version, usage_errors, failures_before_asking,
     written_but_not_said, read_but_not_written, output_is_closed,
     value_does_not_end, node_hangs, names_in_use,
     names_of_others_are_escaped, odd_replies, no_answer, redirected_for_ever, compacted_between, never_readable,
     leader_dies, no_majority, dead_member_in_status, hung_members_in_status].

suite() -> [{timetrap, {minutes, 3}}].

init_per_suite(Config0) ->
    Config = rakv_ct:init(Config0),
    {Beams, Ids} = beam_cluster(Config, ["a", "b", "c"]),
    Rakv = rakv_ct:start_rakv(Config, native, #{bootstrap => kv}),
    [{beams, Beams}, {ids, Ids}, {rakv, Rakv} | Config].

end_per_suite(Config) -> rakv_ct:finish(Config).

%% ---------------------------------------------------------------------------------------------------------------
%% What works.

put_get_delete(Config) ->
    [begin
         {0, <<"stored at index ", _/binary>>, <<>>} = cli(Config, ["put", "--server", Node, "greeting", "hello world"]),
         ?assertMatch({ok, _, <<"hello world">>}, ra_get(Config, Node, <<"greeting">>)),
         ?assertEqual({0, <<"hello world">>, <<>>}, cli(Config, ["get", "--server", Node, "greeting"])),
         {0, <<"stored at index ", _/binary>>, <<>>} = cli(Config, ["put", "--server", Node, "greeting", ""]),
         ?assertEqual({0, <<>>, <<>>}, cli(Config, ["get", "--server", Node, "greeting"])),
         {0, Deleted, <<>>} = cli(Config, ["delete", "--server", Node, "greeting"]),
         ?assertMatch({match, _}, re:run(Deleted, "^deleted at index [0-9]+, term [0-9]+, leader .+@.+\n$")),
         ?assertEqual({error, not_found}, ra_get(Config, Node, <<"greeting">>))
     end || Node <- targets(Config)].

raw_bytes(Config) ->
    Bytes = <<(list_to_binary(lists:seq(0, 255)))/binary, "\n\n">>,
    [begin
         {ok, _} = ra_put(Config, Node, <<"bytes">>, Bytes),
         ?assertEqual({0, Bytes, <<>>}, cli(Config, ["get", "--server", Node, "bytes"])),
         {0, _, <<>>} = cli(Config, ["put", "--server", Node, "bytes", <<255, 254, "\t">>]),
         ?assertMatch({ok, _, <<255, 254, "\t">>}, ra_get(Config, Node, <<"bytes">>)),
         {0, _, <<>>} = cli(Config, ["put", "--server", Node, <<"ключ"/utf8>>, <<"значение"/utf8>>]),
         ?assertMatch({ok, _, <<"значение"/utf8>>}, ra_get(Config, Node, <<"ключ"/utf8>>)),
         {0, _, <<>>} = cli(Config, ["put", "--server", Node, "", "of the empty key"]),
         ?assertMatch({ok, _, <<"of the empty key">>}, ra_get(Config, Node, <<>>))
     end || Node <- targets(Config)].

terms(Config) ->
    Terms = [{"{user, 17}", "#{name => \"Ада\", list => [1, -2.5, <<1:3>>, 'an atom'], big => 16#ffffffffffffffffff}"},
             {"<<\"text\">>", "<<\"a binary\">>"}, {"[]", "fun lists:map/2"}, {"1.0", "[1 | 2]"}],
    [begin
         {0, _, <<>>} = cli(Config, ["put", "--server", Node, "--term", utf8(Key), utf8(Value)]),
         Expected = term(Value),
         ?assertMatch({ok, _, Expected}, ra_get(Config, Node, term(Key))),
         {0, Printed, <<>>} = cli(Config, ["get", "--server", Node, "--term", utf8(Key)]),
         ?assertEqual(Expected, term(unicode:characters_to_list(Printed))),
         ?assertEqual($\n, binary:last(Printed))
     end || Node <- targets(Config), {Key, Value} <- Terms],
    [Node | _] = targets(Config),
    %% without --term a value that is no binary is printed as a term, too
    {ok, _} = ra_put(Config, Node, <<"no binary">>, {1, "two"}),
    ?assertEqual({0, <<"{1,\"two\"}\n">>, <<>>}, cli(Config, ["get", "--server", Node, "no binary"])).

files(Config) ->
    Bytes = rand:bytes(10 * 1024 * 1024),
    In = file(Config, "in"),
    ok = file:write_file(In, Bytes),
    [begin
         Patience = ["--server", Node, "--timeout", "60"],
         {0, _, <<>>} = cli(Config, ["put", "--value-file", In, "large" | Patience]),
         ?assertMatch({ok, _, Bytes}, ra_get(Config, Node, <<"large">>)),
         Out = file(Config, "out"),
         ?assertEqual({0, <<>>, <<>>}, cli(Config, ["get", "--output", Out, "large" | Patience])),
         ?assertEqual({ok, Bytes}, file:read_file(Out)),
         {0, _, <<>>} = cli(Config, ["put", "--value-file", "-", "piped" | Patience], #{stdin => In}),
         ?assertEqual({0, Bytes, <<>>}, cli(Config, ["get", "piped" | Patience])),
         Text = file(Config, "text"),
         ok = file:write_file(Text, "{a, \"term\",\n   of_lines}.\n"),
         {0, _, <<>>} = cli(Config, ["put", "--term", "--value-file", Text, "text" | Patience]),
         ?assertMatch({ok, _, {a, "term", of_lines}}, ra_get(Config, Node, text))
     end || Node <- targets(Config)].

keys_like_flags(Config) ->
    Node = rakv(Config),
    {0, _, <<>>} = cli(Config, ["put", "--server", Node, "--", "-key", "--value"]),
    ?assertEqual({0, <<"--value">>, <<>>}, cli(Config, ["get", "--server", Node, "--", "-key"])),
    {0, _, <<>>} = cli(Config, ["delete", "--server", Node, "--", "-key"]).

not_found(Config) ->
    [failed(3, Pattern, cli(Config, [Command, "--server", Node | Args]))
     || Node <- targets(Config), Command <- ["get", "delete"],
        {Pattern, Args} <- [{"no key 'nothing'", ["nothing"]}, {"no key '{no, thing}'", ["--term", "{no, thing}"]}]].

%% A follower names the leader.
redirect(Config) ->
    {Leader, [Follower | _]} = leader_and_followers(Config),
    {0, Stored, <<>>} = cli(Config, ["put", "--server", node_text(Follower), "redirected", "yes"]),
    ?assertMatch({match, _}, re:run(Stored, ["leader ", node_text(Leader), "\n$"])),
    ?assertEqual({0, <<"yes">>, <<>>}, cli(Config, ["get", "--server", node_text(Follower), "redirected"])),
    {0, _, <<>>} = cli(Config, ["delete", "--server", node_text(Follower), "redirected"]).

several_servers(Config) ->
    Dead = "nobody" ++ [$@ | host(rakv(Config))],
    [begin
         Joined = lists:flatten(lists:join(",", Servers)),
         Repeated = lists:append([["--server", Server] || Server <- Servers]),
         {0, _, <<>>} = cli(Config, ["put", "--server", Joined, "several", Joined]),
         ?assertEqual({0, list_to_binary(Joined), <<>>}, cli(Config, ["get" | Repeated] ++ ["several"])),
         {0, _, <<>>} = cli(Config, ["status", "--server", Joined])
     end || Node <- targets(Config), Servers <- [[Dead, Node], [Node, Dead], [Dead, Dead, Node]]],
    %% a node without a member of that name is passed over, too
    [Beam | _] = targets(Config),
    {0, _, <<>>} = cli(Config, ["put", "--server", Beam ++ "," ++ rakv(Config), "--cluster", "kv", "k", "v"]),
    %% all are named when none can be asked
    {1, <<>>, Error} = cli(Config, ["get", "--server", Dead ++ ",none" ++ Dead, "key"]),
    ?assertMatch([_, _], binary:matches(Error, list_to_binary(Dead))),
    one_line(Error).

other_cluster(Config) ->
    Node = rakv(Config),
    Id = {orders, list_to_atom(Node)},
    {ok, [Id], []} = rakv_ct:call(client(Config), ra_kv, start_cluster, [default, orders, #{members => [Id]}]),
    {0, _, <<>>} = cli(Config, ["put", "--server", Node, "--cluster", "orders", "only here", "1"]),
    failed(3, "no key", cli(Config, ["get", "--server", Node, "only here"])),
    [failed(1, "no server 'nothing'.*check --cluster", cli(Config, [Command, "--server", Target, "--cluster", "nothing" | Args]))
     || Target <- targets(Config), {Command, Args} <- [{"put", ["k", "v"]}, {"get", ["k"]}, {"delete", ["k"]}, {"status", []}]].

%% ---------------------------------------------------------------------------------------------------------------
%% Status.

status_of_all(Config) ->
    {Leader, Followers} = leader_and_followers(Config),
    [begin
         Rows = status(Config, ["--server", node_text(Server)]),
         ?assertEqual(lists:sort([node_text(Node) || Node <- [Leader | Followers]]), [N || [_, N | _] <- Rows]),
         [?assertMatch(["kv", _, "leader", _, _, _, _, _, "-", "voter", "yes"], Row) || [_, N | _] = Row <- Rows, N =:= node_text(Leader)],
         [?assertMatch(["kv", _, "follower", _, _, _, _, _, "-", "voter", "yes"], Row) || [_, N | _] = Row <- Rows, N =/= node_text(Leader)]
     end || Server <- [Leader | Followers]],
    Rakv = rakv(Config),
    ?assertMatch([["kv", Rakv, "leader", _, _, _, _, _, "-", "voter", "yes"]], status(Config, ["--server", Rakv])),
    %% the columns are the member's own numbers
    [[_, _, _, Term, Last, _, _, Applied | _]] = status(Config, ["--server", Rakv]),
    #{term := T, last_index := L, last_applied := A} = rakv_ct:call(client(Config), ra, key_metrics, [{kv, list_to_atom(Rakv)}]),
    ?assertEqual([integer_to_list(N) || N <- [T, L, A]], [Term, Last, Applied]).

status_as_json(Config) ->
    [begin
         {0, Text, <<>>} = cli(Config, ["status", "--json", "--server", Node]),
         #{<<"cluster">> := <<"kv">>, <<"members">> := Members} = json:decode(Text),
         ?assertMatch([_], [M || #{<<"role">> := <<"leader">>} = M <- Members]),
         [?assertMatch(#{<<"name">> := <<"kv">>, <<"node">> := _, <<"term">> := Term, <<"last_index">> := Last,
                         <<"last_written_index">> := _, <<"commit_index">> := _, <<"last_applied">> := _,
                         <<"snapshot_index">> := null, <<"membership">> := <<"voter">>, <<"reachable">> := true}
                         when is_integer(Term) andalso is_integer(Last) andalso map_size(M) =:= 11, M)
          || M <- Members]
     end || Node <- targets(Config)].

dead_member_in_status(Config) ->
    Names = ["dead1", "dead2", "dead3"],
    {Beams, _} = beam_cluster(Config, Names),
    [Dead | _] = Beams,
    ok = rakv_ct:kill_beam(Config, Dead),
    [_, Live1, Live2] = [node_text(rakv_ct:node_of(Beam)) || Beam <- Beams],
    Rows = status(Config, ["--server", node_text(rakv_ct:node_of(Dead)) ++ "," ++ Live1]),
    ?assertEqual(3, length(Rows)),
    [?assertEqual(case lists:member(Node, [Live1, Live2]) of
                      true -> "yes";
                      false -> "no"
                  end, lists:last(Row)) || [_, Node | _] = Row <- Rows],
    ?assertMatch([["kv", _, "unknown", "-", "-", "-", "-", "-", "-", "unknown", "no"]],
                 [Row || Row <- Rows, lists:last(Row) =:= "no"]),
    %% a stopped server on a living node
    ok = rakv_ct:call(lists:last(Beams), ra, stop_server, [default, {kv, list_to_atom(Live2)}]),
    ?assertMatch([["kv", Live2, "noproc", _, _, _, _, _, _, "unknown", "yes"]],
                 [Row || [_, Node | _] = Row <- status(Config, ["--server", Live1]), Node =:= Live2]).

%% They are asked at the same time: what comes after one that hangs is still seen.
hung_members_in_status(Config) ->
    [Hung1, Hung2] = Hung = [rakv_ct:start_beam(Config, Name) || Name <- ["a_hung1", "a_hung2"]],
    Fake = fake(Config, "z_fake", [{reply, {ok, [{kv, rakv_ct:node_of(B)} || B <- Hung] ++ [{kv, list_to_atom(rakv(Config))}],
                                            {kv, 'x@y'}}}]),
    [signal(Beam, "STOP") || Beam <- Hung],
    Rows = status(Config, ["--timeout", "2", "--server", Fake]),
    [signal(Beam, "CONT") || Beam <- Hung],
    ?assertEqual([{node_text(rakv_ct:node_of(Hung1)), "no"}, {node_text(rakv_ct:node_of(Hung2)), "no"}, {rakv(Config), "yes"}],
                 [{Node, lists:last(Row)} || [_, Node | _] = Row <- Rows]).

%% ---------------------------------------------------------------------------------------------------------------
%% Cookies and names.

cookie_file(Config) ->
    [begin
         Home = file(Config, "home"),
         File = filename:join(Home, Name),
         ok = filelib:ensure_dir(File),
         ok = file:write_file(File, rakv_ct:cookie(Config)),
         ok = file:change_mode(File, 8#400),
         [{0, _, <<>>} = rakv_ct:run(Config, ["get", "--server", Node, "cookie"], #{env => home(Home)})
          || Node <- targets(Config), {ok, _} <- [ra_put(Config, Node, <<"cookie">>, <<"known">>)]]
     end || Name <- [".erlang.cookie", ".config/erlang/.erlang.cookie"]].

cookies_refused(Config) ->
    Home = file(Config, "no_cookie_here"),
    ok = filelib:ensure_path(Home),
    Get = ["get", "--server", rakv(Config), "key"],
    failed(1, "cookie.*or give --cookie", rakv_ct:run(Config, Get, #{env => home(Home)})),
    failed(1, "cookie.*give both nodes the same", rakv_ct:run(Config, Get ++ ["--cookie", "wrong"], #{})),
    failed(2, "--cookie.*not empty.*rakv get --help", rakv_ct:run(Config, Get ++ ["--cookie", ""], #{})),
    File = filename:join(Home, ".erlang.cookie"),
    ok = file:write_file(File, rakv_ct:cookie(Config)),
    ok = file:change_mode(File, 8#444),
    failed(1, "cookie", rakv_ct:run(Config, Get, #{env => home(Home)})).

long_names(Config) ->
    Rakv = "native_long-" ++ ?config(rakv_run, Config) ++ "@127.0.0.1",
    {ok, _} = rakv:start_node(#{name => Rakv, cookie => rakv_ct:cookie(Config), bootstrap => kv,
                                data_dir => file(Config, "long")}),
    {ok, Peer, Beam} = peer:start(#{name => "long-" ++ ?config(rakv_run, Config), host => "127.0.0.1", longnames => true,
                                    connection => standard_io, args => ["-setcookie", rakv_ct:cookie(Config)]}),
    try
        {ok, _} = peer:call(Peer, ra, start, [[{data_dir, file(Config, "long_ra")}]]),
        {ok, [_], []} = peer:call(Peer, ra_kv, start_cluster, [default, kv, #{members => [{kv, Beam}]}], 30000),
        [begin
             {0, _, <<>>} = cli(Config, ["put", "--server", Node, "long", "name"]),
             ?assertEqual({0, <<"name">>, <<>>}, cli(Config, ["get", "--server", Node, "long"])),
             ?assertMatch([["kv", Node, "leader" | _]], status(Config, ["--server", Node])),
             {0, _, <<>>} = cli(Config, ["delete", "--server", Node, "long"])
         end || Node <- [Rakv, atom_to_list(Beam)]]
    after
        peer:stop(Peer)
    end,
    %% a name without a host is one of this host
    [Alive, _] = string:split(rakv(Config), "@"),
    {0, _, <<>>} = cli(Config, ["put", "--server", Alive, "short", "name"]).

%% ---------------------------------------------------------------------------------------------------------------
%% Help and usage.

help(Config) ->
    {0, Help, <<>>} = rakv_ct:run(Config, ["--help"], #{}),
    {0, Help, <<>>} = rakv_ct:run(Config, [], #{}),
    [begin
         {0, Text, <<>>} = rakv_ct:run(Config, Args ++ [Flag], #{}),
         ?assertMatch({match, _}, re:run(Text, "Examples:\n  rakv ")),
         [?assertMatch({match, _}, re:run(Text, Expected)) || Expected <- Words]
     end || Flag <- ["--help", "-h"],
            {Args, Words} <- [{[], ["start", "put", "get", "delete", "status", "version"]}, {["version"], []}, {["start"], []}
                              | [{[Command], ["--server", "--cluster", "--cookie", "--timeout", "0 done", "1 failed", "2 unusable",
                                              "3 no such key", "4 outcome unknown", "5 done, but"]}
                                 || Command <- ["put", "get", "delete", "status"]]]].

version(Config) ->
    [begin
         {0, Text, <<>>} = rakv_ct:run(Config, [Argument], #{}),
         ?assertMatch({match, _}, re:run(Text, "^rakv [0-9]+\\.[0-9]+\\.[0-9]+\n$"))
     end || Argument <- ["version", "--version"]].

usage_errors(Config) ->
    Server = ["--server", "n@h"],
    [begin
         ct:log("~p", [Args]),
         failed(2, Pattern, rakv_ct:run(Config, Args, #{}))
     end || {Pattern, Args} <-
        [{"no command nonsense; see rakv --help", ["nonsense", "--frob"]}, {"no command --frob; see rakv --help", ["--frob"]}]
        ++ [{"--frob.*see rakv " ++ hd(Command) ++ " --help", Command ++ Server ++ ["--frob"]}
            || Command <- [["put", "k", "v"], ["get", "k"], ["delete", "k"], ["status"]]]
        ++ [{"--server.*see rakv " ++ hd(Command) ++ " --help", Command}
            || Command <- [["put", "k", "v"], ["get", "k"], ["delete", "k"], ["status"]]]
        ++ [{"--timeout: must be a number of seconds from 0.1 to 86400", ["get", "k", "--timeout=" ++ Seconds | Server]}
            || Seconds <- ["nan", "NaN", "inf", "-inf", "-1", "86401", "1e999", "", "0x10", " 5", "5s", "0.09"]]
        ++ [{"KEY", [Command | Server]} || Command <- ["put", "get", "delete"]]
        ++ [{"VALUE or --value-file", ["put" | Server] ++ Args}
            || Args <- [["k"], ["k", "v", "--value-file", "-"]]]
        ++ [{"--value-file takes", ["put", "k", "--value-file", "" | Server]},
            {"not expected", ["get", "k", "other" | Server]}, {"not expected", ["version", "other"]},
            {"--timeout", ["get", "k", "--timeout", "0" | Server]}, {"--timeout", ["get", "k", "--timeout", "soon" | Server]},
            {"--server", ["get", "k", "--server"]},
            {"--server: .*node name", ["get", "k", "--cookie", "c", "--server", ""]},
            {"--server: .*node name", ["get", "k", "--cookie", "c", "--server", "a@h,,b@h"]},
            {"--server: ", ["get", "k", "--cookie", "c", "--server", "a@"]},
            {"--server: .*node name", ["get", "k", "--cookie", "c", "--server", "a b@h"]},
            {"--cluster takes", ["get", "k", "--cookie", "c", "--cluster", "" | Server]},
            {"--cluster takes", ["get", "k", "--cookie", "c", "--cluster", lists:duplicate(256, $x) | Server]},
            {"KEY is no Erlang term: .*line 1", ["get", "{a", "--term" | Server]},
            {"KEY is no Erlang term", ["delete", "", "--term" | Server]},
            {"VALUE is no Erlang term", ["put", "a", "b c", "--term" | Server]}]].

%% Nothing was asked yet.
failures_before_asking(Config) ->
    Server = ["--server", rakv(Config)],
    failed(1, "no_such_file.*No such file.*give a file", cli(Config, ["put", "k", "--value-file", file(Config, "no_such_file") | Server])),
    failed(1, "directory.*give a file", cli(Config, ["put", "k", "--value-file", ?config(priv_dir, Config) | Server])),
    failed(1, "standard input.*give a file", cli(Config, ["put", "k", "--value-file", "-" | Server], #{redirect => "<&-"})),
    failed(1, "more than 256 MiB: store", cli(Config, ["put", "k", "--value-file", "/dev/zero", "--timeout", "60" | Server])),
    failed(1, "no node named nobody.*start that node, or name another", cli(Config, ["put", "k", "v", "--server", "nobody"])),
    failed(1, "no_such_host.invalid.*name another", cli(Config, ["get", "k", "--timeout", "20", "--server", "n@no_such_host.invalid"])),
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    failed(1, "epmd", cli(Config, ["get", "k" | Server], #{env => [{"ERL_EPMD_PORT", integer_to_list(Port)}]})).

%% ---------------------------------------------------------------------------------------------------------------
%% The result can't be written.

written_but_not_said(Config) ->
    Node = rakv(Config),
    failed(5, "'said' was stored at index [0-9]+.*standard output .No space left",
           cli(Config, ["put", "--server", Node, "said", "no"], #{redirect => ">/dev/full"})),
    ?assertMatch({ok, _, <<"no">>}, ra_get(Config, Node, <<"said">>)),
    failed(5, "'said' was deleted at index [0-9]+.*standard output",
           cli(Config, ["delete", "--server", Node, "said"], #{redirect => ">/dev/full"})),
    ?assertEqual({error, not_found}, ra_get(Config, Node, <<"said">>)).

read_but_not_written(Config) ->
    Node = rakv(Config),
    {ok, _} = ra_put(Config, Node, <<"read">>, <<"value">>),
    failed(5, "was read, but.*standard output", cli(Config, ["get", "--server", Node, "read"], #{redirect => ">/dev/full"})),
    failed(5, "was read, but.*/no/such/folder", cli(Config, ["get", "--server", Node, "--output", "/no/such/folder/file", "read"])),
    failed(5, "asked, but.*standard output", cli(Config, ["status", "--server", Node], #{redirect => ">/dev/full"})),
    failed(5, "standard output", rakv_ct:run(Config, ["version"], #{redirect => ">/dev/full"})),
    failed(5, "standard output", rakv_ct:run(Config, ["put", "--help"], #{redirect => ">/dev/full"})).

output_is_closed(Config) ->
    Node = rakv(Config),
    failed(5, "'closed' was stored.*standard output", cli(Config, ["put", "--server", Node, "closed", "1"], #{redirect => ">&-"})),
    failed(5, "was read, but.*standard output", cli(Config, ["get", "--server", Node, "closed"], #{redirect => ">&-"})),
    ?assertEqual({0, <<"1">>, <<>>}, cli(Config, ["get", "--server", Node, "closed"], #{redirect => "<&-"})).

%% ---------------------------------------------------------------------------------------------------------------
%% --timeout bounds everything.

value_does_not_end(Config) ->
    Pipe = file(Config, "pipe"),
    "" = os:cmd("mkfifo '" ++ Pipe ++ "'"),
    Put = ["put", "--server", rakv(Config), "--timeout", "0.5", "k", "--value-file"],
    failed(1, "did not end in time.*nothing was sent.*--timeout", cli(Config, Put ++ [Pipe])),
    %% somebody holds the other end, and says nothing
    failed(1, "did not end in time: 0 bytes", cli(Config, Put ++ ["-"], #{redirect => "<>'" ++ Pipe ++ "'"})).

%% The kernel accepts connections for it, and no more comes.
node_hangs(Config) ->
    Beam = rakv_ct:start_beam(Config, hangs),
    Node = node_text(rakv_ct:node_of(Beam)),
    signal(Beam, "STOP"),
    [failed(1, "no connection to " ++ Node ++ " within [0-9]+ ms.*--timeout",
            cli(Config, [hd(Command), "--server", Node, "--timeout", "0.5" | tl(Command)]))
     || Command <- [["put", "k", "v"], ["get", "k"], ["delete", "k"], ["status"]]],
    %% the next one has its share of the time
    {0, _, <<>>} = cli(Config, ["put", "--server", Node ++ "," ++ rakv(Config), "--timeout", "2", "k", "v"]),
    {0, _, <<>>} = cli(Config, ["get", "--server", Node ++ "," ++ rakv(Config), "--timeout", "2", "k"]),
    signal(Beam, "CONT").

names_in_use(Config) ->
    Sockets = [begin
                   {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, epmd_port(), [binary, {active, false}]),
                   Name = <<"rakv_cli_", (integer_to_binary(N))/binary>>,
                   Request = <<120, 1:16, 72, 0, 6:16, 5:16, (byte_size(Name)):16, Name/binary, 0:16>>,
                   ok = gen_tcp:send(Socket, <<(byte_size(Request)):16, Request/binary>>),
                   {ok, _} = gen_tcp:recv(Socket, 0, 10000),
                   Socket
               end || N <- lists:seq(1, 8)],
    failed(1, "rakv_cli_1 to rakv_cli_8 are in use.*wait", cli(Config, ["status", "--timeout", "0.5", "--server", rakv(Config)])),
    [ok = gen_tcp:close(Socket) || Socket <- Sockets],
    {0, _, <<>>} = cli(Config, ["status", "--server", rakv(Config)]).

%% Names and reasons of others do nothing to the terminal.
names_of_others_are_escaped(Config) ->
    Odd = list_to_atom("k\e[31m\n\x{9b}v\x{202e}"),
    Fake = fake(Config, "names", [{reply, {ok, [{Odd, list_to_atom(rakv(Config))}], {kv, 'x@y'}}}]),
    {0, Table, <<>>} = cli(Config, ["status", "--timeout", "5", "--server", Fake]),
    ?assertMatch([_Head, _Row], string:lexemes(Table, "\n")),
    ?assertMatch({match, _}, re:run(Table, "k\\\\x1B\\[31m\\\\n\\\\x{9B}v\\\\x{202E}")),
    harmless(Table),
    {0, Json, <<>>} = cli(Config, ["status", "--json", "--timeout", "5", "--server", Fake]),
    #{<<"members">> := [#{<<"name">> := Name}]} = json:decode(Json),
    ?assertEqual(atom_to_binary(Odd), Name),
    harmless(Json),
    Refuses = fake(Config, "reasons", [{reply, {error, Odd}}]),
    [begin
         {1, <<>>, Error} = cli(Config, [hd(Command), "--server", Refuses, "--timeout", "5" | tl(Command)]),
         one_line(Error),
         harmless(Error)
     end || Command <- [["put", "k", "v"], ["get", "k"], ["delete", "k"]]],
    {3, <<>>, Missing} = cli(Config, ["get", "--server", rakv(Config), <<"no\e[1m\nkey", 255>>]),
    one_line(Missing),
    harmless(Missing).

harmless(Text) ->
    Characters = unicode:characters_to_list(Text),
    ?assert(is_list(Characters)),
    ?assertEqual([], [C || C <- Characters, C =/= $\n, C < 32 orelse (C >= 127 andalso C < 160) orelse C =:= 16#202e]).

%% ---------------------------------------------------------------------------------------------------------------
%% Servers that misbehave. 4 stands for an unknown outcome, which only what was sent can have.

odd_replies(Config) ->
    Unknown = "outcome is unknown: read the key",
    Odd = "unexpected reply.*check that it is a member",
    [begin
         ct:log("~p ~p", [Command, Answer]),
         Fake = fake(Config, "odd", [Answer]),
         failed(Code, Pattern, cli(Config, [hd(Command), "--server", Fake, "--timeout", "5" | tl(Command)]))
     end || {Answer, Changing, Reading} <-
                [{{reply, Reply}, {4, Odd ++ ".*" ++ Unknown}, {1, Odd}}
                 || Reply <- [something, {wrap_reply, something}, {wrap_reply, {ok, something}}, {wrap_reply, {ok, #{}}},
                              {wrap_reply, {ok, something, []}}, {wrap_reply, {error, other}}, {redirect, nowhere},
                              {redirect, {1, 2}}, {ok, 1, 2, 3}, "text", <<"x">>, [], lists:seq(1, 10000)]]
                ++ [{{reply, {error, on_purpose}}, {1, "refused: on_purpose"}, {1, "refused: on_purpose"}},
                    {exit, {4, "on_purpose.*" ++ Unknown}, {1, "on_purpose.*try again"}}],
            {Command, {Code, Pattern}} <- [{["put", "k", "v"], Changing}, {["delete", "k"], Changing}, {["get", "k"], Reading},
                                           {["status"], Reading}]].

no_answer(Config) ->
    Fake = fake(Config, "silent", [silence]),
    Args = ["--server", Fake, "--timeout", "0.5"],
    [failed(4, "no answer in time from .*outcome is unknown: read the key", cli(Config, Command ++ Args))
     || Command <- [["put", "k", "v"], ["delete", "k"]]],
    [failed(1, "no answer in time from .*see rakv status", cli(Config, Command ++ Args)) || Command <- [["get", "k"], ["status"]]],
    %% a read goes on to the next server; a change that was sent must not
    {0, _, <<>>} = cli(Config, ["get", "--server", Fake ++ "," ++ rakv(Config), "--timeout", "2", present(Config)]),
    failed(4, "unknown", cli(Config, ["put", "--server", Fake ++ "," ++ rakv(Config), "--timeout", "0.5", "unsent", "v"])),
    ?assertEqual({error, not_found}, ra_get(Config, rakv(Config), <<"unsent">>)).

redirected_for_ever(Config) ->
    Self = rakv_ct:node_name(Config, "circle"),
    Fake = fake(Config, "circle", [{reply, {redirect, {kv, Self}}}]),
    %% not when the time ends while a request is on its way, whose outcome is unknown then
    [rakv_ct:wait_until(fun() ->
         failed(1, "redirected more than 10 times.*try again", cli(Config, Command ++ ["--server", Fake, "--timeout", "1"])),
         true
     end) || Command <- [["put", "k", "v"], ["delete", "k"], ["get", "k"]]],
    %% a leader that is gone, until another is there
    Moved = fake(Config, "moved", [{reply, {redirect, {kv, 'nobody@127.0.0.1'}}}, {reply, {redirect, {kv, 'nobody@127.0.0.1'}}},
                                   {reply, {wrap_reply, {ok, #{index => 17, term => 3}}}}]),
    ?assertMatch({0, <<"stored at index 17, term 3, leader ", _/binary>>, <<>>},
                 cli(Config, ["put", "--server", Moved, "--timeout", "60", "k", "v"])).

%% The place that the leader named is empty when it is read: it is asked again.
compacted_between(Config) ->
    [begin
         {Fake, Beam} = fake_beam(Config, "moves" ++ integer_to_list(N),
                                  [{reply, {wrap_reply, {ok, 5, []}}}, {reply, {wrap_reply, {ok, 7, []}}}]),
         ok = rakv_ct:call(Beam, cli_member, serve_entries, [[Gone, {ok, #{}, <<"new">>}]]),
         ?assertEqual({0, <<"new">>, <<>>}, cli(Config, ["get", "--server", Fake, "--timeout", "30", "k"])),
         ?assertMatch([_, _], rakv_ct:call(Beam, cli_member, requests, [kv]))
     end || {N, Gone} <- lists:enumerate([{error, not_found}, {ok, {#{}, cache}}, {error, {error, {case_clause, x}}}])],
    %% it was deleted meanwhile
    {Deleted, Beam2} = fake_beam(Config, "deleted", [{reply, {wrap_reply, {ok, 5, []}}}, {reply, {wrap_reply, {error, not_found}}}]),
    ok = rakv_ct:call(Beam2, cli_member, serve_entries, [[{ok, {#{}, cache}}]]),
    failed(3, "no key 'k'", cli(Config, ["get", "--server", Deleted, "--timeout", "30", "k"])).

never_readable(Config) ->
    {Fake, Beam} = fake_beam(Config, "unreadable", [{reply, {wrap_reply, {ok, 5, []}}}]),
    %% there is no ra_kv at all
    failed(1, "entry at index 5 could not be read.*undef.*log", cli(Config, ["get", "--server", Fake, "--timeout", "30", "k"])),
    ok = rakv_ct:call(Beam, cli_member, serve_entries, [[{error, not_found}]]),
    failed(1, "entry at index 5 could not be read.*not_found.*try again", cli(Config, ["get", "--server", Fake, "--timeout", "30", "k"])).

%% ---------------------------------------------------------------------------------------------------------------
%% Real clusters in trouble.

leader_dies(Config) ->
    {Beams, [Id | _]} = beam_cluster(Config, ["e1", "e2", "e3"]),
    {ok, _, {kv, Leader}} = rakv_ct:call(hd(Beams), ra, members, [Id]),
    [Dies] = [Beam || Beam <- Beams, rakv_ct:node_of(Beam) =:= Leader],
    Followers = lists:flatten(lists:join(",", [node_text(rakv_ct:node_of(B)) || B <- Beams, B =/= Dies])),
    {0, _, <<>>} = cli(Config, ["put", "--server", Followers, "before", "1"]),
    ok = rakv_ct:kill_beam(Config, Dies),
    ?assertEqual({0, <<"1">>, <<>>}, cli(Config, ["get", "--server", Followers, "--timeout", "60", "before"])),
    {0, Stored, <<>>} = cli(Config, ["put", "--server", Followers, "--timeout", "60", "after", "2"]),
    ?assertEqual(nomatch, binary:match(Stored, list_to_binary(node_text(Leader)))).

no_majority(Config) ->
    {Beams, [Id | _]} = beam_cluster(Config, ["m1", "m2", "m3"]),
    {ok, _, {kv, Leader}} = rakv_ct:call(hd(Beams), ra, members, [Id]),
    [ok = rakv_ct:kill_beam(Config, Beam) || Beam <- Beams, rakv_ct:node_of(Beam) =/= Leader],
    Args = ["--server", node_text(Leader), "--timeout", "1"],
    failed(4, "outcome is unknown", cli(Config, ["put", "k", "v" | Args])),
    failed(1, "majority.*see rakv status", cli(Config, ["get", "k" | Args])),
    ?assertEqual(["no", "no", "yes"], lists:sort([lists:last(Row) || Row <- status(Config, Args)])).

%% ---------------------------------------------------------------------------------------------------------------

targets(Config) ->
    {_, [Follower | _]} = leader_and_followers(Config),
    [node_text(Follower), rakv(Config)].

rakv(Config) -> node_text(?config(rakv, Config)).

client(Config) -> hd(?config(beams, Config)).

leader_and_followers(Config) ->
    Ids = ?config(ids, Config),
    {ok, _, Leader} = rakv_ct:call(client(Config), ra, members, [Ids]),
    {element(2, Leader), [Node || {_, Node} = Id <- Ids, Id =/= Leader]}.

node_text(Node) -> atom_to_list(Node).

host(Node) -> lists:last(string:split(Node, "@")).

beam_cluster(Config, Names) ->
    Beams = [rakv_ct:start_beam(Config, Name) || Name <- Names],
    [ok = rakv_ct:start_ra(Config, Beam) || Beam <- Beams],
    Ids = [{kv, rakv_ct:node_of(Beam)} || Beam <- Beams],
    {ok, _, []} = rakv_ct:call(hd(Beams), ra_kv, start_cluster, [default, kv, #{members => Ids}]),
    {Beams, Ids}.

%% A node of that name with a server kv that gives these answers.
fake(Config, Name, Answers) -> element(1, fake_beam(Config, Name, Answers)).

fake_beam(Config, Name, Answers) ->
    Beam = case [B || {N, B} <- kept_fakes(), N =:= {?config(rakv_run, Config), Name}] of
               [Known] -> Known;
               [] -> New = rakv_ct:start_beam(Config, Name, #{otp => 25, modules => [cli_member]}),
                     put(fakes, [{{?config(rakv_run, Config), Name}, New} | kept_fakes()]),
                     New
           end,
    case rakv_ct:call(Beam, erlang, whereis, [kv]) of
        undefined -> ok;
        Old -> true = rakv_ct:call(Beam, erlang, exit, [Old, kill]),
               rakv_ct:wait_until(fun() -> rakv_ct:call(Beam, erlang, whereis, [kv]) =:= undefined end)
    end,
    ok = rakv_ct:call(Beam, cli_member, start, [kv, Answers]),
    {node_text(rakv_ct:node_of(Beam)), Beam}.

kept_fakes() ->
    case get(fakes) of undefined -> []; Fakes -> Fakes end.

ra_put(Config, Node, Key, Value) ->
    rakv_ct:call(client(Config), ra_kv, put, [{kv, list_to_atom(Node)}, Key, Value, 10000]).

ra_get(Config, Node, Key) ->
    rakv_ct:call(client(Config), ra_kv, get, [{kv, list_to_atom(Node)}, Key, 10000]).

%% A key that the rakv member has.
present(Config) ->
    {ok, _} = ra_put(Config, rakv(Config), <<"present">>, <<"yes">>),
    "present".

status(Config, Args) ->
    {0, Table, <<>>} = cli(Config, ["status" | Args]),
    [Head | Rows] = [string:lexemes(Line, " ") || Line <- string:lexemes(binary_to_list(Table), "\n")],
    ?assertEqual(["MEMBER", "NODE", "ROLE", "TERM", "LAST", "WRITTEN", "COMMIT", "APPLIED", "SNAPSHOT", "MEMBERSHIP", "REACHABLE"],
                 Head),
    Rows.

utf8(Text) -> unicode:characters_to_binary(Text).

term(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, [Expr]} = erl_parse:parse_exprs(Tokens),
    {value, Value, _} = erl_eval:expr(Expr, []),
    Value.

signal(Beam, Name) -> "" = os:cmd("kill -" ++ Name ++ " " ++ maps:get(os_pid, Beam)).

file(Config, Name) -> filename:join(?config(rakv_dir, Config), Name).

home(Dir) -> [{"HOME", Dir}, {"XDG_CONFIG_HOME", false}].

epmd_port() ->
    list_to_integer(os:getenv("ERL_EPMD_PORT", "4369")).

%% ---------------------------------------------------------------------------------------------------------------
%% Running the program.

%% With the test's cookie.
cli(Config, Args) -> cli(Config, Args, #{}).

cli(Config, Args, How) -> rakv_ct:run(Config, [hd(Args), "--cookie", rakv_ct:cookie(Config) | tl(Args)], How).

%% It failed with one line that says what was wrong and what to do.
failed(Code, Pattern, {Status, Output, Error}) ->
    one_line(Error),
    ?assertMatch({_, {match, _}}, {Error, re:run(Error, Pattern)}),
    ?assertEqual({Code, <<>>, Error}, {Status, Output, Error}).

one_line(Error) -> ?assertMatch({_, {match, _}}, {Error, re:run(Error, "^rakv: error: [^\n]+\n$")}).
