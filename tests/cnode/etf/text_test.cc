// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/text.h"

#include <gtest/gtest.h>

#include "cnode/etf/writer.h"
#include "tests/cnode/etf/samples.h"

namespace rakv::etf {
namespace {

/// Reads and prints again.
std::string again(std::string_view text) {
  const auto term = parse_text(text);
  return term ? print_text(*term) : term.error().message;
}

TEST(Text, ReadsWhatErlangWrites) {
  const std::pair<const char*, const char*> cases[] = {
      {"ok", "ok"},
      {"  % comment\n ok % more\n", "ok"},
      {"ok.", "ok"},
      {"{a , b}.\n% end", "{a,b}"},
      {"aB_1@x", "aB_1@x"},
      {"åÅ", "åÅ"},
      {"'hello world'", "'hello world'"},
      {"'日本'", "'日本'"},
      {"'ok'", "ok"},
      {"'end'", "'end'"},
      {R"('it\'s \\ \x{1F600} \101\n')", R"('it\'s \\ 😀 A\n')"},
      {"0", "0"},
      {"-5", "-5"},
      {"+ 7", "7"},
      {"1_000_000", "1000000"},
      {"16#fF", "255"},
      {"2#1_01", "5"},
      {"36#z", "35"},
      {"123456789012345678901234567890", "123456789012345678901234567890"},
      {"-16#10000000000000000", "-18446744073709551616"},
      {"$a", "97"},
      {"$\\n", "10"},
      {"$ ", "32"},
      {"$\\^A", "1"},
      {"$\\x41", "65"},
      {"$\\e", "27"},
      {"$日", "26085"},
      {"1.5", "1.5"},
      {"-0.0", "-0.0"},
      {"1.0e10", "1.0e10"},
      {"1.0E-5", "1.0e-5"},
      {"1_0.2_5e+2", "1025.0"},
      {"1.0e-400", "0.0"},
      {"100000.0", "1.0e5"},
      {"123.0", "123.0"},
      {"0.001", "0.001"},
      {"\"abc\"", "\"abc\""},
      {"\"ab\" % and\n \"cd\"", "\"abcd\""},
      {R"("q\"\t\\\s\e")", R"("q\"\t\\ \e")"},
      {"\"\"", "[]"},
      {"\"日\"", "[26085]"},
      {"\"é\"", "\"é\""},
      {"[1,2,3]", "[1,2,3]"},
      {"[97]", "\"a\""},
      {"[1,[2|3]|x]", "[1,[2|3]|x]"},
      {"[1|[2,3]]", "[1,2,3]"},
      {"[ ]", "[]"},
      {"{ }", "{}"},
      {"#{}", "#{}"},
      {"#{ b => 1, a => #{} }", "#{a => #{},b => 1}"},
      {"fun lists:map/2", "fun lists:map/2"},
      {"fun 'a b' : c / 0", "fun 'a b':c/0"},
      {"<<>>", "<<>>"},
      {"<<\"abc\">>", "<<\"abc\">>"},
      {"<<1,2,255>>", "<<1,2,255>>"},
      {"<<5:3>>", "<<5:3>>"},
      {"<<1,5:3>>", "<<1,5:3>>"},
      {"<<-1>>", "<<255>>"},
      {"<<256>>", "<<0>>"},
      {"<<1:16>>", "<<0,1>>"},
      {"<<1:16/little>>", "<<1,0>>"},
      {"<<16#123:12/little>>", "<<\"#\",1:4>>"},
      {"<<-2:12>>", "<<255,14:4>>"},
      {"<<1:2/unit:4>>", "<<1>>"},
      {"<<1:2/integer-signed-big-unit:8>>", "<<0,1>>"},
      {"<<\"é\">>", "<<233>>"},
      {"<<\"é\"/utf8>>", "<<\"é\"/utf8>>"},
      {"<<\"ab\":16>>", "<<0,97,0,98>>"},
      {"<<\"😀\"/utf16>>", "<<216,61,222,0>>"},
      {"<<\"a\"/utf16-little>>", "<<97,0>>"},
      {"<<$a/utf32>>", "<<0,0,0,97>>"},
      {"<<1.5/float>>", "<<63,248,0,0,0,0,0,0>>"},
      {"<<1.5:32/float>>", "<<63,192,0,0>>"},
      {"<<1:64/float-little>>", "<<0,0,0,0,0,0,240,63>>"},
      {"<<(<<1>>)/binary>>", nullptr},
      {"<< <<1,2>>/binary, <<5:3>>/bits >>", "<<1,2,5:3>>"},
      {"<<1:1, <<255>>/binary, 0:1>>", "<<255,2:2>>"},
      {"<< <<1,2>>:1/binary >>", "<<1>>"},
      {"<<\"a\" \"b\", 0>>", "<<97,98,0>>"},
      {"~\"abc\"", "<<\"abc\">>"},
      {"~b\"é\\n\"", "<<\"é\\n\"/utf8>>"},
      {"~B'a\\n'", "<<\"a\\\\n\">>"},
      {"~s(a\\)c)", "\"a)c\""},
      {"~S[a\\]", "\"a\\\\\""},
      {"{~<a>, ~/b/, ~|c|, ~`d`, ~#e#}", "{<<\"a\">>,<<\"b\">>,<<\"c\">>,<<\"d\">>,<<\"e\">>}"},
      {"\"\"\"\nab\\n\n c\n\"\"\"", "\"ab\\\\n\\n c\""},
      {"\"\"\"\"  \n  a\"\"\"\n\n   b\n  \"\"\"\" \"c\"", "\"a\\\"\\\"\\\"\\n\\n bc\""},
      {"~b\"\"\"\na\\tb\n\"\"\"", "<<\"a\\tb\">>"},
      {"\"\"\"\n\"\"\"", "[]"},
      {"<<~s\"ab\", ~\"é\"/binary>>", "<<\"abé\"/utf8>>"},
      {"#{a => 1, b => 2, a => 3, 1 => x, 1.0 => y}", "#{1 => x,1.0 => y,a => 3,b => 2}"},
  };
  for (const auto& [text, printed] : cases) {
    if (printed == nullptr) {
      EXPECT_FALSE(parse_text(text)) << text;
    } else if (std::string_view(text).starts_with("<<16#123")) {
      EXPECT_EQ(again(text), "<<35,1:4>>");
    } else {
      EXPECT_EQ(again(text), printed) << text;
      EXPECT_EQ(again(again(text)), printed) << text;
    }
  }
}

TEST(Text, ErrorsSayWhereAndWhatToDo) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "line 1, column 1: expected a term, but the text ends"},
      {"{a,}", "line 1, column 4: expected a term"},
      {"{a b}", "line 1, column 4: expected }"},
      {"[a,\n b", "line 2, column 3: expected ], but the text ends"},
      {"é ü", "line 1, column 3: unexpected text after the term"},
      {"a. b", "line 1, column 4: unexpected text after the dot"},
      {"X",
       "line 1, column 1: variables have no value here; write an atom in lower case or in single "
       "quotes"},
      {"end",
       "line 1, column 1: 'end' is a reserved word; put it in single quotes to mean the atom"},
      {"'abc", "line 1, column 1: the text that is opened here is never closed with '"},
      {"\"abc", "line 1, column 1: the text that is opened here is never closed with \""},
      {"<0.1.2>", "line 1, column 1: a pid can not be read from text"},
      {"#Ref<0.1>",
       "line 1, column 1: references, ports, closures and records can not be read from text"},
      {"1#0", "line 1, column 1: a base is 2 to 36"},
      {"2#2", "line 1, column 3: expected a digit"},
      {"1.0e400", "line 1, column 1: this float is too large; the largest is about 1.8e308"},
      {"#{a}", "line 1, column 4: expected =>"},
      {"fun a/1", "line 1, column 6: expected :"},
      {"fun a:b/256", "line 1, column 9: an arity is 0 to 255"},
      {"fun a:b/x", "line 1, column 9: expected an arity, 0 to 255"},
      {"\"\\xzz\"", "line 1, column 2: write \\xHH or \\x{H...} with hexadecimal digits"},
      {"\"\\x{110000}\"", "line 1, column 2: this is no Unicode character"},
      {"\"\\x{d800}\"", "line 1, column 2: this is no Unicode character"},
      {"\xff", "line 1, column 1: this text is not UTF-8; save it as UTF-8"},
      {"<<1", "line 1, column 4: expected >>, but the text ends"},
      {"<<a>>", "line 1, column 3: expected a number"},
      {"<<1.5>>",
       "line 1, column 3: this value needs a type, as in <<1.5/float>> or <<(binary)/binary>>"},
      {"<<1/what>>", "line 1, column 5: 'what' is no type of a binary's segment"},
      {"<<1/unit:0>>", "line 1, column 5: a unit is 1 to 256"},
      {"<<1:17/float>>", "line 1, column 3: a float segment has 32 or 64 bits"},
      {"<<1.0e300:32/float>>", "line 1, column 3: this float is too large for 32 bits"},
      {"<<1/binary>>", "line 1, column 3: only a binary can be a segment of this type"},
      {"<< <<1>>:2/binary>>",
       "line 1, column 4: the binary does not have the size that is asked for"},
      {"<<16#110000/utf8>>",
       "line 1, column 3: a utf segment holds one Unicode character and has no size"},
      {"\"\"\"a\"\"\"", "line 1, column 4: the text begins on the line after its triple quotes"},
      {"\"\"\"\na\"\"\"",
       "line 1, column 1: the text in triple quotes that is opened here is never closed, on a line "
       "of its own"},
      {"\"\"\"\n  a\n b\n  \"\"\"",
       "line 3, column 1: this line is not indented as the closing quotes are"},
      {"~s\"\"\"\n\\x\n\"\"\"",
       "line 1, column 3: in this text: line 1, column 1: write \\xHH or \\x{H...} with "
       "hexadecimal digits"},
      {"~x\"a\"", "line 1, column 1: a sigil begins with ~, ~b, ~B, ~s or ~S"},
      {"~ \"a\"",
       "line 1, column 2: a sigil's text stands in quotes, ( ), [ ], { }, < > or two of / | ` #"},
      {"~",
       "line 1, column 2: a sigil's text stands in quotes, ( ), [ ], { }, < > or two of / | ` #, "
       "but the text ends"},
      {"~(a", "line 1, column 1: the text that is opened here is never closed with )"},
      {"~\"a\"b", "line 1, column 5: nothing may follow the text of a sigil"},
      {"~\"a\" \"b\"", "line 1, column 6: unexpected text after the term"},
      {"\"a\"\"b\"", "line 1, column 4: strings that are joined have white space between them"},
      {"<<~\"abc\">>",
       "line 1, column 3: this value needs a type, as in <<1.5/float>> or <<(binary)/binary>>"},
      {"'\\x{0}", "line 1, column 1: the text that is opened here is never closed with '"},
      {"?", "line 1, column 1: expected a term"},
      {"$", "line 1, column 2: expected another character, but the text ends"},
  };
  for (const auto& [text, message] : cases) {
    const auto term = parse_text(text);
    ASSERT_FALSE(term) << text;
    EXPECT_EQ(term.error().message, message) << text;
    EXPECT_EQ(term.error().code, ErrorCode::invalid_argument) << text;
  }
  EXPECT_FALSE(parse_text("'" + std::string(256, 'x') + "'"));
}

TEST(Text, IsBounded) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '{') + std::string(depth, '}');
  };
  EXPECT_TRUE(parse_text(nested(1000)));
  EXPECT_EQ(parse_text(nested(100'000)).error().code, ErrorCode::limit_exceeded);
  std::string binaries;
  for (int i = 0; i < 100'000; ++i) binaries += "<<";
  EXPECT_EQ(parse_text(binaries).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(parse_text(std::string(10'001, '9')).error().code, ErrorCode::limit_exceeded);
  EXPECT_TRUE(parse_text("16#" + std::string(10'001, '9')));
  EXPECT_EQ(parse_text("<<1:99999999999>>").error().code, ErrorCode::limit_exceeded);
  EXPECT_FALSE(parse_text("<<1:99999999999999999999>>"));
  Limits small;
  small.max_output_bytes = 10;
  EXPECT_EQ(parse_text("[\"aaaaaaaaaaaa\",b]", small).error().code, ErrorCode::limit_exceeded);
}

TEST(Text, ReadsOneTermAfterAnother) {
  const std::string_view file = "{a, 1}.\n% next\n\"b.c\". ";
  std::size_t consumed = 0;
  EXPECT_EQ(print_text(parse_text_prefix(file, consumed).value()), "{a,1}");
  EXPECT_EQ(consumed, 7u);
  std::size_t more = 0;
  EXPECT_EQ(print_text(parse_text_prefix(file.substr(consumed), more).value()), "\"b.c\"");
  EXPECT_EQ(parse_text_prefix("a", more).error().message,
            "line 1, column 2: expected a dot after the term, but the text ends");
}

TEST(Text, ReadsTheConfigOfARaServer) {
  const std::string_view config =
      "#{id => {kv1,'a@host'},uid => <<\"KV1ABC\">>,cluster_name => kv,\n"
      "  friendly_name => \"{kv1,a@host}\",membership => voter,\n"
      "  machine => {module,ra_kv,#{}},initial_members => [{kv1,'a@host'},{kv2,'b@host'}],\n"
      "  log_init_args => #{uid => <<\"KV1ABC\">>},tick_timeout => 1000}.\n";
  const auto term = parse_text(config);
  ASSERT_TRUE(term) << term.error().message;
  EXPECT_EQ(
      print_text(*term),
      "#{cluster_name => kv,friendly_name => \"{kv1,a@host}\",id => {kv1,a@host},"
      "initial_members => [{kv1,a@host},{kv2,b@host}],log_init_args => #{uid => <<\"KV1ABC\">>},"
      "machine => {module,ra_kv,#{}},membership => voter,tick_timeout => 1000,uid => "
      "<<\"KV1ABC\">>}");
}

TEST(Text, PrintsWhatCanNotBeRead) {
  Writer w;
  w.tuple(3).pid({"a@b", 1, 2, 3}).port({"a@b", 7, 3}).reference({"'", 3, {{1, 2, 3}, 3}});
  EXPECT_EQ(print_text(w.view()), "{<a@b.1.2>,#Port<a@b.7>,#Ref<'\\''.3.2.1>}");
  EXPECT_EQ(print_text(closure(1, "a\x01")), "#Fun<mod.7.16909060>");
  EXPECT_EQ(print_text("C" + be32(1) + "\x00"s + small_atom("mod") + small_atom("rec") +
                       small_atom("f") + "a\x01"),
            "#Record<mod:rec{1}>");
  EXPECT_EQ(print_text("h\x01"s), "#Malformed<byte 0 of the term can not be read>");
}

TEST(Text, OfALongTermOnlyItsLengthIsSaid) {
  EXPECT_EQ(print_brief(Writer().tuple(2).atom("a").integer(1).view()), "{a,1}");
  const std::string longest = Writer().binary(std::string(kMaxBriefBytes - 5, 'x')).take();
  EXPECT_EQ(print_brief(longest), print_text(longest));
  // To print a thousand integers of 4 KB takes seconds.
  Writer integers;
  integers.list(1000);
  for (int i = 0; i < 1000; ++i) integers.big(false, std::string(4096, '\x7f'));
  integers.nil();
  EXPECT_EQ(print_brief(integers.view()), "#Term<4102006 bytes>");
}

TEST(Text, PrintsListsWithoutStringsWhenAsked) {
  TextOptions options;
  options.strings = false;
  EXPECT_EQ(print_text(parse_text("{\"ab\",<<\"c\">>}").value(), options), "{[97,98],<<99>>}");
}

TEST(Text, HugeIntegersArePrintedInBase16) {
  const std::string huge = "o" + be32(5000) + "\x01" + std::string(5000, '\x1f');
  const std::string text = print_text(huge);
  EXPECT_EQ(text.substr(0, 8), "-16#1f1f");
  EXPECT_EQ(parse_text(text).value(), huge);
}

TEST(Text, OutputIsBounded) {
  Limits small;
  small.max_output_bytes = 20;
  const std::string text = print_text("m" + be32(10) + std::string(10, '\xff'), {}, small);
  EXPECT_EQ(text, "<<255,255,255,255,25...");
}

}  // namespace
}  // namespace rakv::etf
