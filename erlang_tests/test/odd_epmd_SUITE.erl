%% SPDX-License-Identifier: Apache-2.0
%% An epmd that is broken or means ill: whatever it answers, `start` and every command of a client end in time with one
%% line that names epmd, and with the documented exit code.
-module(odd_epmd_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() -> [registration, small_creations, look_up].

suite() -> [{timetrap, {minutes, 5}}].

init_per_testcase(_Case, Config) -> rakv_ct:init(Config).

end_per_testcase(_Case, Config) -> rakv_ct:finish(Config).

%% What is answered to ALIVE2_REQ.
registration(Config) ->
    Answers = [{creation_0, <<118, 0, 0:32>>}, {creation_0_short_form, <<121, 0, 0:16>>}, {error, <<121, 1, 0:16>>},
               {short, <<118, 0, 1>>}, {other_tag, <<99, 0, 1:32>>}, {empty, <<>>}, {endless, endless}, {late, late}],
    [begin
         Epmd = epmd(fun(_) -> Answer end),
         {Status, Out, Error} = rakv_ct:run(Config, ["start", "--sname", "odd-" ++ ?config(rakv_run, Config), "--cookie", "c", "--data-dir",
                                                     filename:join(?config(rakv_dir, Config), atom_to_list(What)), "--exit-with-parent"],
                                            #{env => env(Epmd)}),
         ?assertMatch({What, 1, <<>>, {match, _}}, {What, Status, Out, re:run(Error, "^[^\n]*(epmd|taken|already)[^\n]*\n$")}),
         [begin
              {S, O, E} = rakv_ct:run(Config, [hd(Command), "--server", "a@localhost", "--cookie", "c", "--timeout", "2" | tl(Command)],
                                      #{env => env(Epmd)}),
              ?assertMatch({What, Command, 1, <<>>, {match, _}},
                           {What, Command, S, O, re:run(E, "^rakv: error: [^\n]*(epmd|in use)[^\n]*\n$")})
          end || Command <- commands()],
         stop(Epmd)
     end || {What, Answer} <- Answers].

%% As an epmd older than OTP 23 gives them, and as a BEAM takes them.
small_creations(Config) ->
    [begin
         Epmd = epmd(fun(_) -> {keep, Answer} end),
         ?assertMatch({0, <<"ready ", _/binary>>, _},
                      rakv_ct:run(Config, ["start", "--sname", "odd-" ++ ?config(rakv_run, Config), "--cookie", "c", "--data-dir",
                                           filename:join(?config(rakv_dir, Config), "data"), "--exit-with-parent"], #{env => env(Epmd)})),
         stop(Epmd)
     end || Answer <- [<<118, 0, 3:32>>, <<121, 0, 1:16>>]].

%% What is answered to PORT_PLEASE2_REQ, after a registration that went well.
look_up(Config) ->
    Answers = [{error, <<119, 1>>}, {short, <<119, 0, 1>>}, {other_tag, <<99, 0, 1:32>>}, {empty, <<>>}, {endless, endless}, {late, late},
               {port_0, <<119, 0, 0:16, 77, 0, 6:16, 5:16, 1:16, "a", 0:16>>},
               {other_name, <<119, 0, 9:16, 77, 0, 6:16, 5:16, 1:16, "b", 0:16>>},
               {old_version, <<119, 0, 9:16, 77, 0, 4:16, 1:16, 1:16, "a", 0:16>>},
               {name_without_end, <<119, 0, 9:16, 77, 0, 6:16, 5:16, 65535:16, "a">>}],
    [begin
         Epmd = epmd(fun(<<120, _/binary>>) -> {keep, <<118, 0, 7:32>>}; (_) -> Answer end),
         [begin
              {S, O, E} = rakv_ct:run(Config, [hd(Command), "--server", "a@localhost", "--cookie", "c", "--timeout", "2" | tl(Command)],
                                      #{env => env(Epmd)}),
              ?assertMatch({What, Command, 1, <<>>, {match, _}},
                           {What, Command, S, O, re:run(E, "^rakv: error: [^\n]*(epmd|a@localhost)[^\n]*\n$")})
          end || Command <- commands()],
         stop(Epmd)
     end || {What, Answer} <- Answers].

%% ---------------------------------------------------------------------------------------------------------------

commands() -> [["put", "k", "v"], ["get", "k"], ["delete", "k"], ["status"]].

env({Port, _}) -> [{"ERL_EPMD_PORT", integer_to_list(Port)}].

%% Answers requests as Fun says: bytes (and closes), {keep, bytes}, endless, late.
epmd(Fun) ->
    Suite = self(),
    Pid = spawn_link(fun() ->
                         {ok, Listener} = gen_tcp:listen(0, [binary, {packet, 2}, {active, false}, {ip, {0, 0, 0, 0}}, {reuseaddr, true}]),
                         {ok, Port} = inet:port(Listener),
                         Suite ! {self(), Port},
                         accept(Listener, Fun)
                     end),
    receive {Pid, Port} -> {Port, Pid} end.

stop({_, Pid}) ->
    unlink(Pid),
    exit(Pid, kill).

accept(Listener, Fun) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn_link(fun() -> receive go -> serve(Socket, Fun) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listener, Fun).

serve(Socket, Fun) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Request} ->
            ok = inet:setopts(Socket, [{packet, raw}]),
            case Fun(Request) of
                endless -> endless(Socket);
                late -> gen_tcp:recv(Socket, 0);
                {keep, Bytes} -> gen_tcp:send(Socket, Bytes), gen_tcp:recv(Socket, 0);
                Bytes -> gen_tcp:send(Socket, Bytes)
            end,
            gen_tcp:close(Socket);
        {error, _} ->
            ok
    end.

endless(Socket) ->
    case gen_tcp:send(Socket, binary:copy(<<255>>, 65536)) of
        ok -> endless(Socket);
        {error, _} -> ok
    end.
