%% SPDX-License-Identifier: Apache-2.0
%% Terms on the command line (--term) are read as OTP 29's erl_scan and erl_parse read them: sigils, strings in triple
%% quotes, keys that are there twice. What OTP refuses is refused with one line and exit code 2.
-module(term_text_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

all() -> [read_as_otp_reads, refused_as_otp_refuses].

suite() -> [{timetrap, {minutes, 3}}].

init_per_suite(Config0) ->
    Config = rakv_ct:init(Config0),
    [{rakv, rakv_ct:start_rakv(Config, native, #{bootstrap => kv})} | Config].

end_per_suite(Config) -> rakv_ct:finish(Config).

read_as_otp_reads(Config) ->
    Texts = ["~\"abc\"", "~b\"abc\"", "~s\"abc\"", "~S\"a\\nb\"", "~B\"a\\nb\"", "~\"a\\nb\"", "~s\"a\\nb\"", "~b\"éл\"", "~s\"éл\"",
             "~B\"é\\x\"", "~(a b)", "~[a]", "~{a}", "~<a>", "~/a/", "~|a|", "~'a'", "~`a`", "~#a#", "~s(a\\)c)",
             "~S[a\\]", "~\"\"", "~s()",
             "{~\"a\", ~s\"b\"}", "[~\"a\"|~\"b\"]", "#{~\"a\" => ~\"b\"}",
             "\"\"\"\nabc\n\"\"\"", "\"\"\"\nabc\ndef\n\"\"\"", "\"\"\"\n  abc\n   def\n  \"\"\"", "\"\"\"\n\"\"\"",
             "\"\"\"\n\n\"\"\"", "\"\"\"\"\nabc\"\"\"\n\"\"\"\"", "\"\"\"\na\\nb\n\"\"\"", "~\"\"\"\na\\nb\n\"\"\"",
             "~s\"\"\"\na\\nb\n\"\"\"", "~S\"\"\"\na\\nb\n\"\"\"", "~b\"\"\"\na\\nb\n\"\"\"", "~B\"\"\"\na\\nb\n\"\"\"",
             "\"\"\"  \nabc\n\"\"\"", "\"\"\"\n\tabc\n\t\"\"\"", "\"\"\"\n  \n  abc\n\n  \"\"\"",
             "\"\"\"\nabc\n\"\"\" \"def\"", "\"\"\"\nabc\n\"\"\"\n\"\"\"\ndef\n\"\"\"", "\"\"\"\na\"b\n\"\"\"", "\"\"\"\na\"\"\"\n\"\"\"",
             "{\"\"\"\nabc\n\"\"\", x}", "\"a\" \"b\"", "\"\" \"\"", "\"a\nb\"", "'a\nb'",
             "#{a=>1,a=>2}", "#{a=>1,b=>2,a=>3}", "#{1=>a,1.0=>b}", "#{0.0=>a,-0.0=>b}", "#{{a}=>1,{a}=>2}",
             "#{<<1>> => 1, ~\"\\x{1}\" => 2}", "#{\"a\" => 1, [97] => 2}", "#{k => #{a=>1,a=>2}, k => #{b => 1, b => 1}}",
             "<<~s\"abc\">>", "<<\"\"\"\nabc\n\"\"\">>", "<<~\"abc\"/binary>>", "<<~\"é\"/binary, 1>>", "<<~s\"é\"/utf8>>",
             "<<~\"abc\":2/binary>>", "<<~S(a\\)/utf16>>", "\"\\q\"", "\"\\^A\"", "\"\\777\"", "<<\"л\">>", "-$a", "1_0"],
    [begin
         {Text, {ok, Expected}} = {Text, otp(Text)},
         {0, _, <<>>} = cli(Config, ["put", "--term", "--", "key", utf8(Text)]),
         {0, Printed, <<>>} = cli(Config, ["get", "--term", "key"]),
         {ok, Stored} = otp(unicode:characters_to_list(Printed)),
         ?assertEqual({Text, Expected}, {Text, Stored})
     end || Text <- Texts].

refused_as_otp_refuses(Config) ->
    Texts = ["~x\"abc\"", "~abc\"abc\"", "~\"abc\"x", "~\"abc\"_", "~ \"abc\"", "~S", "~s", "~", "~\"abc", "~\"abc\" \"def\"",
             "\"abc\" ~\"def\"", "~s\"a\" ~s\"b\"", "~s(a(b)c)", "~S(a\\)c)", "~(a", "\"a\"\"b\"", "~\"a\"\"b\"",
             "\"\"\"abc\"\"\"", "\"\"\"\nabc", "\"\"\"\nabc\"\"\"", "\"\"\" x\nabc\n\"\"\"", "\"\"\"\n  abc\n def\n  \"\"\"",
             "\"\"\"\nabc\n\"\"\"x", "\"\"\"\"\nabc\n\"\"\"", "\"\"\"\n \n  abc\n  \"\"\"", "<<~\"abc\">>", "<<\"abc\" ~s\"d\">>", "-~\"a\"", "~s\"\"\"\n\\x\n\"\"\"",
             "~\"\\x{110000}\"", "#{a=>1,a=>2", "#{a=>1,}", "'a'b", "~1\"a\"", "~B_\"a\""],
    [begin
         ?assertMatch({Text, error}, {Text, otp(Text)}),
         {Status, Out, Error} = cli(Config, ["put", "--term", "--", "key", utf8(Text)]),
         ?assertMatch({Text, 2, <<>>, {match, _}},
                      {Text, Status, Out, re:run(Error, "^rakv: error: VALUE is no Erlang term: line [0-9]+, column [0-9]+: [^\n]+\n$")})
     end || Text <- Texts].

%% ---------------------------------------------------------------------------------------------------------------

otp(Text) ->
    maybe
        {ok, Tokens, _} ?= erl_scan:string(Text ++ "\n."),
        {ok, Term} ?= erl_parse:parse_term(Tokens),
        {ok, Term}
    else
        _ -> error
    end.

utf8(Text) -> unicode:characters_to_binary(Text).

cli(Config, [Command | Args]) ->
    rakv_ct:run(Config, [Command, "--server", atom_to_list(?config(rakv, Config)), "--cookie", rakv_ct:cookie(Config) | Args]).
