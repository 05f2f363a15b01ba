%% SPDX-License-Identifier: Apache-2.0
%% A server that says what it is told to, for cli_SUITE: replies that no well member gives at the moment a test wants
%% them. Runs on a node without ra, where ra_kv:read_entry/4 is made up, too.
-module(cli_member).

-export([start/2, requests/1, serve_entries/1, read_entry/4]).

-type answer() :: {reply, term()} | silence | exit.

%% Registers a server that answers its first call with the first answer, and so on; the last one for ever.
-spec start(atom(), [answer(), ...]) -> ok.
start(Name, Answers) ->
    Parent = self(),
    _ = spawn(fun() ->
        true = register(Name, self()),
        Parent ! {self(), registered},
        serve(Answers, [])
    end),
    receive {_, registered} -> ok end.

%% What it was asked so far.
-spec requests(atom()) -> [term()].
requests(Name) ->
    Name ! {requests, self()},
    receive {requests, Requests} -> lists:reverse(Requests) end.

serve([Answer | Later], Seen) ->
    receive
        {requests, Pid} ->
            Pid ! {requests, Seen},
            serve([Answer | Later], Seen);
        {'$gen_call', From, Request} ->
            case Answer of
                {reply, Reply} -> gen_statem:reply(From, Reply);
                silence -> ok;
                exit -> exit(on_purpose)
            end,
            serve(case Later of [] -> [Answer]; _ -> Later end, [Request | Seen])
    end.

%% Makes a module ra_kv whose read_entry/4 gives the first of these, then the second, the last one for ever.
-spec serve_entries([term(), ...]) -> ok.
serve_entries(Results) ->
    ok = persistent_term:put(?MODULE, {atomics:new(1, []), Results}),
    Forms = [{attribute, 1, module, ra_kv},
             {attribute, 2, export, [{read_entry, 4}]},
             {function, 3, read_entry, 4,
              [{clause, 3, [{var, 3, V} || V <- ['S', 'I', 'M', 'T']], [],
                [{call, 3, {remote, 3, {atom, 3, ?MODULE}, {atom, 3, read_entry}},
                  [{var, 3, V} || V <- ['S', 'I', 'M', 'T']]}]}]}],
    {ok, ra_kv, Binary} = compile:forms(Forms, []),
    {module, ra_kv} = code:load_binary(ra_kv, "ra_kv", Binary),
    ok.

-spec read_entry(term(), term(), term(), term()) -> term().
read_entry(_Server, _Index, _Members, _Timeout) ->
    {Count, Results} = persistent_term:get(?MODULE),
    lists:nth(min(atomics:add_get(Count, 1, 1), length(Results)), Results).
