%% SPDX-License-Identifier: Apache-2.0
%% Makes and checks the corpus of random terms that corpus_test.cc compares with.
%%
%% generate(File, Seed, Count) writes
%%   <<Release:32, Count:32, Records..., PairCount:32, Pairs...>>
%%   record: <<Size:32, term_to_binary (some compressed), phash2:32, phash2 of range 2^32:64, external_size:64, Flags:8,
%%             TextSize:32, ~tw text in UTF-8>>
%%   pair: <<Left:32, Right:32, =:= :8, == :8, < :8>>
%% verify(Corpus, Ours) reads the corpus again and <<Size:32, canonical with 131 (some compressed), TextSize:32, text>> for each term,
%% and stops with status 1 when a term does not come back as it was.
-module(rakv_etf_corpus).
-export([generate/3, verify/2, closure/1]).

-define(NO_TEXT, 1).      % holds something that has no readable text, or a map whose printed order is not fixed
-define(MINUS_ZERO, 2).   % holds -0.0
-define(NAMES, 4).        % holds an atom, also as a node's name
-define(NO_DATA, 8).      % holds a pid, port, reference or closure: text can't be read back

release() -> list_to_integer(erlang:system_info(otp_release)).

generate(File, Seed, Count) ->
    rand:seed(exsss, Seed),
    Fixed = fixed(),
    Random = siblings(Count - length(Fixed), []),
    Terms = list_to_tuple(Fixed ++ Random),
    N = tuple_size(Terms),
    Records = [record(T) || T <- tuple_to_list(Terms)],
    Near = [{I, I + 1} || I <- lists:seq(1, N - 1)],
    Same = [{I, I} || I <- lists:seq(1, N, 7)],
    Far = [{rand:uniform(N), rand:uniform(N)} || _ <- lists:seq(1, N)],
    F = length(Fixed),
    All = [{I, J} || I <- lists:seq(1, F), J <- lists:seq(1, F)],
    Pairs = Near ++ Same ++ Far ++ All,
    Compared = [pair(I - 1, copy(element(I, Terms)), J - 1, copy(element(J, Terms))) || {I, J} <- Pairs],
    ok = file:write_file(File, [<<(release()):32, N:32>>, Records, <<(length(Pairs)):32>>, Compared]).

%% A copy, so that nothing is equal only for being the same object. Both sides of a pair are copies: random arithmetic
%% has made a -(1 bsl 59) that was a bignum on the heap (OTP 25 and 29), for which < is inconsistent with =:=.
copy(T) -> binary_to_term(term_to_binary(T)).

record(T) ->
    B = term_to_binary(T, pick([[], [], [], [compressed], [{compressed, 1}]])),
    Text = unicode:characters_to_binary(io_lib:format("~tw", [T])),
    <<(byte_size(B)):32, B/binary, (erlang:phash2(T)):32, (erlang:phash2(T, 1 bsl 32)):64,
      (erlang:external_size(T)):64, (flags(T)):8, (byte_size(Text)):32, Text/binary>>.

pair(I, A, J, B) -> <<I:32, J:32, (bit(A =:= B)):8, (bit(A == B)):8, (bit(A < B)):8>>.

bit(true) -> 1;
bit(false) -> 0.

flags(T) when is_atom(T) -> ?NAMES;
flags(T) when is_pid(T); is_port(T); is_reference(T) -> ?NO_TEXT bor ?NO_DATA bor ?NAMES;
flags(T) when is_function(T) ->
    case erlang:fun_info(T, type) of
        {type, external} ->
            %% ~tw writes the UTF-8 bytes of such names as if they were characters.
            case lists:all(fun(C) -> C < 128 end, erlang:fun_to_list(T)) of
                true -> ?NAMES;
                false -> ?NAMES bor ?NO_TEXT
            end;
        _ ->
            {env, Env} = erlang:fun_info(T, env),
            ?NO_TEXT bor ?NO_DATA bor ?NAMES bor flags(Env)
    end;
flags(T) when is_float(T) ->
    case <<T/float>> of
        <<1:1, 0:63>> -> ?MINUS_ZERO;
        _ -> 0
    end;
flags([H | T]) -> flags(H) bor flags(T);
flags(T) when is_tuple(T) -> flags(tuple_to_list(T));
flags(T) when is_map(T) ->
    case map_size(T) > 1 of
        true -> ?NO_TEXT;
        false -> 0
    end bor flags(maps:to_list(T));
flags(_) -> 0.

%% Terms beside their small changes, so that neighbours are often equal or nearly so.
siblings(N, Acc) when N =< 0 -> Acc;
siblings(N, Acc) ->
    T = term(rand:uniform(5) - 1),
    More = [change(T) || _ <- lists:seq(1, rand:uniform(3) - 1)],
    siblings(N - 1 - length(More), [T | More] ++ Acc).

pick(List) -> lists:nth(rand:uniform(length(List)), List).

change(T) when is_integer(T), abs(T) < 1 bsl 1000 -> pick([T, T + 1, T - 1, float(T), -T]);
change(T) when is_float(T), abs(T) < 1.0e300 -> pick([T, -T, T * 2, trunc(T), T + 1.0]);
change([H | T]) ->
    case rand:uniform(3) of
        1 -> [change(H) | T];
        2 -> [H | change(T)];
        3 -> [H | T]
    end;
change([]) -> pick([[], [], [0], a]);
change(T) when is_tuple(T), tuple_size(T) > 0 ->
    I = rand:uniform(tuple_size(T)),
    setelement(I, T, change(element(I, T)));
change(T) when is_map(T), map_size(T) > 0 ->
    {K, V} = pick(maps:to_list(T)),
    case rand:uniform(3) of
        1 -> T#{K => change(V)};
        2 -> (maps:remove(K, T))#{change(K) => V};
        3 -> maps:from_list(lists:reverse(maps:to_list(T)))
    end;
change(T) when is_bitstring(T), bit_size(T) > 0 ->
    S = bit_size(T) - 1,
    <<Head:S/bitstring, Last:1>> = T,
    pick([T, Head, <<Head/bitstring, (1 - Last):1>>, <<T/bitstring, 0:1>>]);
change(T) -> T.

term(0) ->
    case rand:uniform(12) of
        1 -> int();
        2 -> int();
        3 -> flt();
        4 -> atm();
        5 -> atm();
        6 -> bin();
        7 -> bits();
        8 -> identifier();
        9 -> function(0);
        10 -> [];
        11 -> bytes();
        12 -> pick([{}, #{}, <<>>, "", ''])
    end;
term(D) ->
    case rand:uniform(9) of
        1 -> list_to_tuple(terms(D, 6));
        2 -> terms(D, 6);
        3 -> improper(D);
        4 -> maps:from_list([{term(D - 1), term(D - 1)} || _ <- terms(0, 5)]);
        5 -> case rand:uniform(25) of
                 1 -> big_map();
                 2 -> list_to_tuple(lists:seq(1, 250 + rand:uniform(20)));
                 _ -> {ok, term(D - 1)}
             end;
        6 -> mixed_bytes(D);
        7 -> function(D);
        _ -> term(0)
    end.

terms(D, Max) -> [term(max(0, D - 1)) || _ <- lists:seq(1, rand:uniform(Max) - 1)].

improper(D) ->
    lists:foldl(fun(H, T) -> [H | T] end, term(D - 1), [term(D - 1) || _ <- lists:seq(1, rand:uniform(3))]).

%% Runs of bytes with something else between them, also in the tail: what phash2 treats apart.
mixed_bytes(D) ->
    lists:append([pick([bytes(), [term(D - 1)], [256], [-1]]) || _ <- lists:seq(1, 3)]) ++ pick([[], bytes(), 7, a]).

big_map() ->
    Size = 30 + rand:uniform(50),
    maps:from_list([{pick([I, float(I), {I}, integer_to_binary(I), [I]]), I} || I <- lists:seq(1, Size)]).

int() ->
    case rand:uniform(9) of
        1 -> rand:uniform(300) - 20;
        2 -> rand:uniform(1 bsl 32) - (1 bsl 31);
        3 -> near(pick([1 bsl 27, 1 bsl 28, 1 bsl 31, 1 bsl 32, 1 bsl 53, 1 bsl 59, 1 bsl 60, 1 bsl 63, 1 bsl 64,
                        1 bsl 65, 1 bsl 128]));
        4 -> near(1 bsl rand:uniform(300));
        5 -> sign(rand:uniform(1 bsl 300));
        6 -> sign(rand:uniform(1 bsl rand:uniform(128)));
        7 -> sign(1 bsl pick([2031, 2039, 2040, 2041, 2048, 3000, 8 * 255 - 1, 8 * 255, 8 * 256]));
        8 -> sign(rand:uniform(1 bsl 62));
        9 -> trunc(flt())
    end.

sign(N) -> pick([N, -N]).
near(N) -> sign(N + rand:uniform(5) - 3).

flt() ->
    case rand:uniform(8) of
        1 -> pick([0.0, neg_zero(), 1.0, -1.0, 1.5, 0.1]);
        2 -> float(sign(rand:uniform(1 bsl 53)));
        3 -> float(near(1 bsl (40 + rand:uniform(100))));
        4 -> float(1 bsl rand:uniform(1000));
        5 -> rand:uniform();
        6 -> pick([1.0e22, 1.0e21, 123456789012345680.0, 5.0e-324, 1.7976931348623157e308, 1.0e-5, 0.001, 0.0001, 1.0e15,
                   9007199254740992.0, 9007199254740991.0, 1.0e100, 123.456, 1200000.0, 1.0e7, 1.2e-7]);
        _ -> any_float()
    end.

%% Not written as a literal, which releases treat differently.
neg_zero() ->
    <<F/float>> = <<1:1, 0:63>>,
    F.

any_float() ->
    case rand:bytes(8) of
        <<F/float>> -> F;
        _ -> any_float()
    end.

atm() ->
    case rand:uniform(5) of
        1 -> pick([ok, error, undefined, '', 'hello world', true, false, nil, 'end', 'fun', a, ab, z, 'it\'s', 'a\\b',
                   'a\nb', 'A', '_x', 'x@y', x1, '1x', a_b, '\x{0}', '\x{7f}', 'maybe']);
        2 -> pick(['å', 'é', 'ÿ', 'Ab', 'été', 'Å', 'ß', 'a÷', '÷']);
        3 -> pick(['日本', 'ÿĀ', 'Ā', '😀', 'a日']);
        4 -> list_to_atom([$a + rand:uniform(26) - 1 || _ <- lists:seq(1, rand:uniform(12))]);
        5 -> pick([list_to_atom(lists:duplicate(255, $x)), list_to_atom(lists:duplicate(200, 16#e9)),
                   list_to_atom(lists:duplicate(255, 16#1F600)), list_to_atom(lists:duplicate(128, 16#e9)),
                   list_to_atom([rand:uniform(2000) || _ <- lists:seq(1, rand:uniform(5))])])
    end.

bin() ->
    case rand:uniform(4) of
        1 -> <<"hello">>;
        2 -> unicode:characters_to_binary([rand:uniform(500) || _ <- lists:seq(1, rand:uniform(8))]);
        3 -> rand:bytes(rand:uniform(40) - 1);
        4 -> list_to_binary([32 + rand:uniform(90) || _ <- lists:seq(1, rand:uniform(30))])
    end.

bits() ->
    B = rand:bytes(rand:uniform(20)),
    S = rand:uniform(bit_size(B)),
    <<R:S/bitstring, _/bitstring>> = B,
    R.

bytes() ->
    case rand:uniform(800) of
        1 -> lists:duplicate(65535, rand:uniform(256) - 1);
        2 -> lists:duplicate(65536, rand:uniform(256) - 1);
        _ -> binary_to_list(rand:bytes(rand:uniform(20) - 1))
    end.

node_name() -> pick([<<"a@b">>, <<"b@a">>, <<"node1@example.net">>, atom_to_binary(node())]).

identifier() ->
    Name = node_name(),
    Node = <<119, (byte_size(Name)), Name/binary>>,
    Creation = pick([1, 2, 16#80000001, rand:uniform(1 bsl 32) - 1]),
    case rand:uniform(6) of
        1 -> self();
        2 -> make_ref();
        3 -> pick(erlang:ports());
        4 -> remote(Node, <<88, Node/binary, (word()):32, (word()):32, Creation:32>>);
        5 -> remote(Node, <<120, Node/binary, (pick([word(), rand:uniform(1 bsl 60)])):64, Creation:32>>);
        6 ->
            Words = [word() || _ <- lists:seq(1, pick([1, 2, 3, 3, 5]))],
            remote(Node, <<90, (length(Words)):16, Node/binary, Creation:32, << <<W:32>> || W <- Words>>/binary>>)
    end.

word() -> pick([0, 1, 2, 16#8000, 16#3ffff, rand:uniform(1 bsl 32) - 1]).

%% Identifiers of this node are checked for their range when read; then take a real one.
remote(_Node, Bytes) ->
    try binary_to_term(<<131, Bytes/binary>>)
    catch error:badarg -> self()
    end.

function(D) ->
    case rand:uniform(4) of
        1 -> pick([fun lists:map/2, fun 'é':'日'/255, fun a:b/0, fun erlang:'+'/2, fun lists:map/3]);
        2 -> closure(none);
        3 -> closure(term(max(0, D - 1)));
        4 ->
            A = term(0),
            B = term(0),
            fun(X) -> {X, A, B} end
    end.

closure(none) -> fun() -> ok end;
closure(T) -> fun(X, Y) -> {T, X, Y} end.

%% Vectors and corner cases; every pair of these is compared.
fixed() ->
    Two53 = 1 bsl 53,
    [[], {}, <<>>, #{}, a, '', '日本', 'å', 0, -1, 1, 134217728, -134217728, -134217729, 1 bsl 64, -(1 bsl 64), 1.5, 1.0,
     0.0, neg_zero(), "abc", "abcde", [1, 2, a | b], {ok, []}, [{k, <<"v">>}], #{a => 1, <<"k">> => [2]}, <<"hello">>,
     <<"0123456789ab">>, binary:copy(<<"x">>, 1000), <<5:3>>, <<1, 2, 5:3>>, fun lists:map/2,
     #{1 => a}, #{1.0 => a}, #{2 => a}, #{1.5 => a}, #{{2} => a}, #{{1.5} => a}, #{a => 1}, #{a => 1.0}, #{b => 0},
     #{1 => a, 1.0 => b}, #{1 => b, 1.0 => a}, #{0.0 => x}, #{neg_zero() => x},
     Two53, Two53 + 1, Two53 - 1, float(Two53), float(Two53 - 1), (1 bsl 64) + 1, float(1 bsl 64), -float(1 bsl 64),
     1 bsl 1023, float(1 bsl 1023), (1 bsl 1023) + 1, 1 bsl 1024, 1.7976931348623157e308, 5.0e-324, 1 bsl 2040,
     255, 256, -2147483648, -2147483649, 2147483647, 2147483648, (1 bsl 2040) - 1,
     [1 | 2], [1, 2], [1 | a], [1], [1, 2, 3], [1.0, 2], [256, 1], [1, 256], <<1:1>>, <<255>>, <<1, 0:7>>, <<1, 0:1>>,
     {1, 2}, {3}, {1.0, 2}, lists:duplicate(65535, 1), lists:duplicate(65536, 1), lists:duplicate(65536, 1) ++ [2.0]].

verify(Corpus, Ours) ->
    {ok, <<_Release:32, Count:32, Records/binary>>} = file:read_file(Corpus),
    {ok, Bytes} = file:read_file(Ours),
    Wrong = check(Count, Records, Bytes, 0),
    io:format("~b~n", [Wrong]),
    halt(case Wrong of 0 -> 0; _ -> 1 end).

check(0, _, <<>>, Wrong) -> Wrong;
check(N, <<S:32, B:S/binary, _:32, _:64, _:64, Flags:8, TS:32, _:TS/binary, Records/binary>>,
      <<CS:32, Canonical:CS/binary, OS:32, Text:OS/binary, Bytes/binary>>, Wrong) ->
    Term = binary_to_term(B),
    Same = try binary_to_term(Canonical) =:= Term catch _:_ -> false end,
    Read = Flags band ?NO_DATA =/= 0 orelse read(Text) =:= {ok, Term},
    case Same andalso Read of
        true -> check(N - 1, Records, Bytes, Wrong);
        false ->
            Wrong < 5 andalso io:format("term ~0tP~n same ~w read ~w~n text ~0tP~n",
                                        [Term, 60, Same, Read, binary:part(Text, 0, min(OS, 400)), 500]),
            check(N - 1, Records, Bytes, Wrong + 1)
    end.

read(Text) ->
    try
        {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(<<Text/binary, ".">>)),
        erl_parse:parse_term(Tokens)
    catch _:Why -> {error, Why}
    end.
