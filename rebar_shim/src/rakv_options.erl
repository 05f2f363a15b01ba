%% SPDX-License-Identifier: Apache-2.0
%% What rakv:start_node/1 is given, checked and turned into what a node is started with.
-module(rakv_options).

-export([settings/1]).

-define(KNOWN, [name, cookie, cookie_file, data_dir, bootstrap, config, args, env, program, ready_timeout_ms, stop_timeout_ms,
                restart_intensity]).

-spec settings(rakv:options()) -> {ok, rakv_node:settings()} | {error, rakv:start_error()}.
settings(Options) ->
    try {ok, checked(Options)}
    catch
        throw:Reason -> {error, Reason}
    end.

checked(Options) ->
    [throw({bad_option, Key, unknown}) || Key <- maps:keys(Options), not lists:member(Key, ?KNOWN)],
    {Node, NameArgs} = name(maps:get(name, Options, undefined)),
    Program = case Options of
                  #{program := Given} -> filename:absname(Given);
                  _ -> found(rakv:program())
              end,
    Env = maps:get(env, Options, []),
    lists:all(fun({K, V}) -> is_list(K) andalso is_list(V); (_) -> false end, Env) orelse throw({bad_option, env, Env}),
    Further = [to_text(args, Arg) || Arg <- maps:get(args, Options, [])],
    {CookieArgs, Input} = cookie(Options),
    Args = ["start"] ++ NameArgs ++ CookieArgs ++ optional("--data-dir", data_dir, Options)
        ++ optional("--bootstrap", bootstrap, Options) ++ optional("--config", config, Options)
        ++ ["--exit-with-parent"] ++ Further,
    #{node => Node,
      program => Program,
      args => fun() -> Args end,
      env => fun() -> Env end,
      input => fun() -> Input end,
      options => fun() -> Options end,
      been_ready => atomics:new(1, []),
      ready_timeout_ms => positive(ready_timeout_ms, Options, 30000),
      stop_timeout_ms => positive(stop_timeout_ms, Options, 15000),
      restart_intensity => intensity(maps:get(restart_intensity, Options, {5, 60}))}.

found({ok, Program}) -> Program;
found({error, Reason}) -> throw(Reason).

positive(Key, Options, Default) ->
    case maps:get(Key, Options, Default) of
        Value when is_integer(Value), Value > 0 -> Value;
        Value -> throw({bad_option, Key, Value})
    end.

intensity({N, S} = Pair) when is_integer(N), N >= 0, is_integer(S), S > 0 -> Pair;
intensity(Other) -> throw({bad_option, restart_intensity, Other}).

optional(Flag, Key, Options) ->
    case Options of
        #{Key := Value} -> [Flag, to_text(Key, Value)];
        _ -> []
    end.

%% Arguments, and what the program reads from its standard input. A cookie goes that way: it would be seen by others
%% in the arguments and in the environment.
cookie(#{cookie := _, cookie_file := File}) ->
    throw({bad_option, cookie_file, File});
cookie(#{cookie := Cookie}) ->
    by_input(to_text(cookie, Cookie));
cookie(#{cookie_file := File}) ->
    {["--cookie-file", to_text(cookie_file, File)], <<>>};
cookie(Options) ->
    case is_alive() andalso not config_has_cookie(Options) of
        true -> by_input(atom_to_list(erlang:get_cookie()));
        false -> {[], <<>>}
    end.

by_input(Cookie) ->
    case Cookie =/= "" andalso not lists:member($\n, Cookie) of
        true -> {["--cookie-file", "-"], unicode:characters_to_binary([Cookie, $\n])};
        false -> throw({bad_option, cookie, hidden})
    end.

%% Whether the program's configuration file says what the cookie is; a file that can't be read is the program's to refuse.
config_has_cookie(#{config := File}) ->
    case file:read_file(File) of
        {ok, Text} -> re:run(Text, "^\\s*[\"']?cookie(-file)?[\"']?\\s*=", [multiline]) =/= nomatch;
        {error, _} -> false
    end;
config_has_cookie(_) ->
    false.

to_text(_Key, Value) when is_atom(Value) -> atom_to_list(Value);
to_text(Key, Value) ->
    case io_lib:printable_unicode_list(Value) of
        true -> Value;
        false -> throw({bad_option, Key, Value})
    end.

%% The node's name and the arguments that give it. A host without a domain that is this one is a short name.
name(undefined) ->
    throw({bad_option, name, missing});
name(Name) ->
    Short = short_host(),
    case string:split(to_text(name, Name), "@", all) of
        [[_ | _] = Alone] -> {list_to_atom(Alone ++ "@" ++ Short), ["--sname", Alone]};
        [[_ | _] = Alone, Short] -> {list_to_atom(Alone ++ "@" ++ Short), ["--sname", Alone]};
        [[_ | _] = Alone, [_ | _] = Host] ->
            Full = Alone ++ "@" ++ Host,
            {list_to_atom(Full), ["--name", Full]};
        _ -> throw({bad_option, name, Name})
    end.

short_host() ->
    {ok, Host} = inet:gethostname(),
    hd(string:split(Host, ".")).
