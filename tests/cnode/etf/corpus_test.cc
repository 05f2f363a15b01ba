// SPDX-License-Identifier: Apache-2.0
// Compares this codec with a real BEAM over tens of thousands of random terms. rakv_etf_corpus.erl
// makes them.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cnode/etf/canonical.h"
#include "cnode/etf/compress.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/order.h"
#include "cnode/etf/text.h"

namespace rakv::etf {
namespace {

constexpr int kTerms = 20'000;
constexpr std::uint8_t kNoText = 1;
constexpr std::uint8_t kMinusZero = 2;
constexpr std::uint8_t kNames = 4;

std::string erl() {
  const char* chosen = std::getenv("RAKV_ERL");
  return chosen != nullptr ? chosen : "erl";
}

/// Runs an expression over the module M; gives its output and sets `status`.
std::string run_erl(const std::string& expression, int& status) {
  const std::string source = std::string(RAKV_SOURCE_DIR) + "/tests/cnode/etf/rakv_etf_corpus.erl";
  const std::string command = "ERL_CRASH_DUMP_SECONDS=0 '" + erl() +
                              "' -noshell -noinput -eval '{ok,M,B}=compile:file(\"" + source +
                              "\",[binary,report]),{module,M}=code:load_binary(M,\"" + source +
                              "\",B)," + expression + ",halt(0).' 2>&1";
  std::string output;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) {
    status = -1;
    return output;
  }
  char buffer[4096];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe))
    output.append(buffer, got);
  status = ::pclose(pipe);
  return output;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return std::move(content).str();
}

struct Record {
  std::string_view term;  // without version byte
  std::uint32_t phash2;
  std::uint64_t phash2_32;
  std::uint64_t size;
  std::uint8_t flags;
  std::string_view text;
};

struct Pair {
  std::uint32_t left, right;
  bool exact, equal, less;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    for (const char c : bytes(size)) value = (value << 8) | static_cast<unsigned char>(c);
    return value;
  }
  std::string_view bytes(std::size_t size) {
    if (size > bytes_.size()) {
      ADD_FAILURE() << "the corpus ends early";
      std::abort();
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  bool at_end() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

class Corpus : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* given = std::getenv("RAKV_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10))
                                           : std::random_device{}() % 1'000'000;
    std::cout << "RAKV_SEED=" << seed << " RAKV_ERL=" << erl() << "\n";
    directory_ = std::filesystem::temp_directory_path() /
                 ("rakv_etf_" + std::to_string(std::random_device{}()) + std::to_string(seed));
    std::filesystem::create_directories(directory_);
    corpus_path_ = directory_ / "corpus";
    int status = 0;
    const std::string output =
        run_erl("M:generate(\"" + corpus_path_.string() + "\"," + std::to_string(seed) + "," +
                    std::to_string(kTerms) + ")",
                status);
    ASSERT_EQ(status, 0) << erl() << " could not make the corpus; set RAKV_ERL to an erl:\n"
                         << output;
    bytes_ = read_file(corpus_path_);
    Reader reader(bytes_);
    release_ = reader.number(4);
    const std::uint64_t records = reader.number(4);
    for (std::uint64_t i = 0; i < records; ++i) {
      Record record{};
      const std::string_view external = reader.bytes(reader.number(4));
      record.term = external.substr(1);
      if (is_compressed(external)) {
        const auto plain = uncompress(external);
        ASSERT_TRUE(plain) << plain.error().message;
        EXPECT_EQ(canonicalize(external).value(), canonicalize(*plain).value());
        record.term = uncompressed_.emplace_back(*plain);
      }
      record.phash2 = static_cast<std::uint32_t>(reader.number(4));
      record.phash2_32 = reader.number(8);
      record.size = reader.number(8);
      record.flags = static_cast<std::uint8_t>(reader.number(1));
      record.text = reader.bytes(reader.number(4));
      records_.push_back(record);
    }
    const std::uint64_t pairs = reader.number(4);
    for (std::uint64_t i = 0; i < pairs; ++i) {
      Pair pair{};
      pair.left = static_cast<std::uint32_t>(reader.number(4));
      pair.right = static_cast<std::uint32_t>(reader.number(4));
      pair.exact = reader.number(1) != 0;
      pair.equal = reader.number(1) != 0;
      pair.less = reader.number(1) != 0;
      pairs_.push_back(pair);
    }
    ASSERT_TRUE(reader.at_end());
    ASSERT_GE(records_.size(), static_cast<std::size_t>(kTerms));
    ASSERT_GT(uncompressed_.size(), 0u);
  }

  void TearDown() override { std::filesystem::remove_all(directory_); }

  void check_records();
  void check_pairs();
  void check_read_back();

  std::filesystem::path directory_;
  std::filesystem::path corpus_path_;
  std::string bytes_;
  std::uint64_t release_ = 0;
  std::deque<std::string> uncompressed_;
  std::vector<Record> records_;
  std::vector<Pair> pairs_;
  std::vector<std::string> canonical_;
};

/// Long terms are cut in messages.
std::string shown(std::string_view term) { return print_text(term).substr(0, 400); }

/// Two terms, from a little before where their texts part.
std::string shown(std::string_view left, std::string_view right) {
  const std::string a = print_text(left);
  const std::string b = print_text(right);
  std::size_t at = 0;
  while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
  at = at > 300 ? at - 300 : 0;
  return "from character " + std::to_string(at) + ":\n" + a.substr(at, 400) + "\n" +
         b.substr(at, 400);
}

void Corpus::check_records() {
  std::size_t sizes = 0;
  std::size_t texts = 0;
  int wrong = 0;
  for (const Record& record : records_) {
    const auto validated = validate(record.term);
    const auto hash = phash2(record.term);
    const auto hash_32 = phash2(record.term, std::uint64_t{1} << 32);
    const auto size = external_size(record.term);
    const auto canonical = canonicalize(record.term);
    ASSERT_TRUE(validated && hash && hash_32 && size && canonical) << shown(record.term);
    canonical_.push_back(*canonical);
    EXPECT_EQ(*hash, record.phash2) << shown(record.term);
    EXPECT_EQ(*hash_32, record.phash2_32) << shown(record.term);
    EXPECT_EQ(canonicalize(*canonical).value(), *canonical) << shown(record.term);
    EXPECT_EQ(phash2(*canonical).value(), record.phash2) << shown(record.term);
    // OTP 25 counts Latin-1 atoms one byte longer, and so all terms that hold an atom can differ.
    if (release_ >= 26 || (record.flags & kNames) == 0) {
      EXPECT_EQ(*size, record.size) << shown(record.term);
      ++sizes;
    }
    if ((record.flags & kNoText) == 0) {
      // `maybe` needs quotes in 27 and later only.
      TextOptions options;
      options.strings = false;
      const std::string text = print_text(record.term, options);
      if (release_ >= 27 || text.find("maybe") == std::string::npos) {
        EXPECT_EQ(text, record.text);
        ++texts;
      }
    }
    if (HasFailure() && ++wrong > 5) FAIL() << "stopped after the first differences";
  }
  std::cout << records_.size() << " terms: phash2 of all, external_size of " << sizes
            << ", text of " << texts << " compared\n";
  EXPECT_GT(texts, records_.size() / 4);
}

void Corpus::check_pairs() {
  std::size_t compared = 0;
  std::size_t equal = 0;
  int wrong = 0;
  for (const Pair& pair : pairs_) {
    const Record& left = records_[pair.left];
    const Record& right = records_[pair.right];
    // Before OTP 27, 0.0 and -0.0 are the same value.
    if (release_ < 27 && ((left.flags | right.flags) & kMinusZero) != 0) continue;
    ++compared;
    const bool exact = canonical_[pair.left] == canonical_[pair.right];
    EXPECT_EQ(exact, pair.exact) << shown(left.term, right.term);
    const auto order = compare_canonical(canonical_[pair.left], canonical_[pair.right]);
    if (pair.equal) ++equal;
    EXPECT_EQ(order == 0, pair.equal) << shown(left.term, right.term);
    EXPECT_EQ(order < 0, pair.less)
        << "terms " << pair.left << " and " << pair.right << " " << shown(left.term, right.term);
    if (HasFailure() && ++wrong > 5) FAIL() << "stopped after the first differences";
  }
  std::cout << compared << " pairs compared (" << equal << " equal)\n";
  EXPECT_GT(compared, std::size_t{kTerms});
}

void Corpus::check_read_back() {
  const auto ours_path = directory_ / "ours";
  {
    std::ofstream ours(ours_path, std::ios::binary);
    const auto put = [&ours](std::string_view bytes) {
      for (int shift = 24; shift >= 0; shift -= 8)
        ours.put(static_cast<char>(bytes.size() >> shift));
      ours << bytes;
    };
    for (const std::string& canonical : canonical_) {
      put(canonical.size() % 5 == 0 ? compress(canonical).value() : "\x83" + canonical);
      put(print_text(canonical));
      if (const auto parsed = parse_text(print_text(canonical)); parsed) {
        EXPECT_EQ(*parsed, canonical) << shown(canonical);
      }
    }
  }
  int status = 0;
  const std::string output =
      run_erl("M:verify(\"" + corpus_path_.string() + "\",\"" + ours_path.string() + "\")", status);
  EXPECT_EQ(status, 0) << output;
  EXPECT_EQ(output, "0\n");
}

// One corpus for all three, as making it takes the time.
TEST_F(Corpus, AgreesWithTheBeam) {
  check_records();
  if (HasFatalFailure()) return;
  check_pairs();
  if (HasFatalFailure()) return;
  check_read_back();
}

}  // namespace
}  // namespace rakv::etf
