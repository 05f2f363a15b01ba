// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/simulation/random_run.h"
#include "tests/simulation/shrink.h"

// rakv_sim: random runs of whole clusters, each by a seed, each in a process of its own, so that
// one that aborts or never ends is a result like others.
//
//   rakv_sim --seeds=100 [--from=1]           seeds 1 to 100; those that fail are shrunk
//   rakv_sim --seed=7 [--OPTION=VALUE...]     one, with options in the place of those that it draws
//   rakv_sim --seed=7 ... --trace             and all that happens, as text
//   --no-shrink                               failing ones are only named
//   --stop                                    after the first that fails

namespace rakv::simulation {
namespace {

/// Of the processor: a run that takes more is a failure.
constexpr rlim_t kRunSeconds = 120;

struct Arguments {
  std::uint64_t from = 1;
  std::uint64_t seeds = 1;
  bool trace = false;
  bool shrinks = true;
  bool stops = false;
  std::vector<std::pair<std::string, std::string>> options;
};

struct SeedOutcome {
  std::string violation;  ///< empty: none
  std::map<std::string, std::uint64_t> counts;
  double virtual_seconds = 0;
};

RunReport run_here(const RunOptions& options, bool trace) {
  RandomRun run(options);
  run.trace().send_to([trace](const std::string& line) {
    if (trace) std::fwrite(line.data(), 1, line.size(), stdout);
  });
  return run.run();
}

void report_to(int pipe, const RunReport& report) {
  std::string text = std::to_string(report.virtual_seconds) + "\n";
  for (const auto& [name, count] : report.counts) text += std::to_string(count) + " " + name + "\n";
  text += "\n" + report.violation.value_or("");
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t count = ::write(pipe, text.data() + at, text.size() - at);
    if (count <= 0) return;
    at += static_cast<std::size_t>(count);
  }
}

SeedOutcome read_report(const std::string& text, int status) {
  SeedOutcome outcome;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    outcome.violation =
        WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL)
            ? "it does not end"
            : "the process ended (status " + std::to_string(status) + "): see standard error";
    return outcome;
  }
  std::size_t at = text.find('\n') + 1;
  outcome.virtual_seconds = std::strtod(text.c_str(), nullptr);
  while (at < text.size() && text[at] != '\n') {
    const std::size_t end = text.find('\n', at);
    const std::size_t space = text.find(' ', at);
    outcome.counts[text.substr(space + 1, end - space - 1)] =
        std::strtoull(text.c_str() + at, nullptr, 10);
    at = end + 1;
  }
  outcome.violation = text.substr(at + 1);
  return outcome;
}

/// In a process of its own.
SeedOutcome run_apart(const RunOptions& options) {
  int pipe[2];
  if (::pipe(pipe) != 0) return {.violation = "no pipe", .counts = {}, .virtual_seconds = 0};
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(pipe[0]);
    const rlimit limit{kRunSeconds, kRunSeconds};
    ::setrlimit(RLIMIT_CPU, &limit);
    report_to(pipe[1], run_here(options, false));
    ::_exit(0);
  }
  ::close(pipe[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t count = 0; (count = ::read(pipe[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return read_report(text, status);
}

bool parse(int count, char** words, Arguments& arguments) {
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--trace") {
      arguments.trace = true;
    } else if (word == "--no-shrink") {
      arguments.shrinks = false;
    } else if (word == "--stop") {
      arguments.stops = true;
    } else if (word.substr(0, 2) == "--" && word.find('=') != std::string_view::npos) {
      const std::size_t equals = word.find('=');
      const std::string name(word.substr(2, equals - 2));
      const std::string value(word.substr(equals + 1));
      if (name == "seeds") {
        arguments.seeds = std::strtoull(value.c_str(), nullptr, 10);
      } else if (name == "from" || name == "seed") {
        arguments.from = std::strtoull(value.c_str(), nullptr, 10);
      } else {
        arguments.options.emplace_back(name, value);
      }
    } else {
      std::cerr << "rakv_sim: error: what is " << word << "? See the beginning of main.cc\n";
      return false;
    }
  }
  return true;
}

bool options_of(const Arguments& arguments, std::uint64_t seed, RunOptions& options) {
  options = RunOptions::draw(seed);
  for (const auto& [name, value] : arguments.options) {
    if (const Result<void> known = options.set(name, value); !known) {
      std::cerr << "rakv_sim: error: " << known.error().message << "\n";
      return false;
    }
  }
  return true;
}

void tell_failure(const RunOptions& options, const SeedOutcome& outcome,
                  const Arguments& arguments) {
  std::cout << "\nseed " << options.seed << " FAILED: " << outcome.violation << "\n  rakv_sim "
            << options.text() << std::endl;
  if (!arguments.shrinks) return;
  const RunOptions smaller =
      shrink(options, [](const RunOptions& tried) { return !run_apart(tried).violation.empty(); });
  std::cout << "  smaller: rakv_sim " << smaller.text()
            << "\n  there: " << run_apart(smaller).violation << std::endl;
}

int run_seeds(const Arguments& arguments) {
  const auto began = std::chrono::steady_clock::now();
  std::map<std::string, std::uint64_t> counts;
  double virtual_seconds = 0;
  std::uint64_t failed = 0;
  std::uint64_t done = 0;
  for (std::uint64_t seed = arguments.from; seed < arguments.from + arguments.seeds; ++seed) {
    RunOptions options;
    if (!options_of(arguments, seed, options)) return 2;
    const SeedOutcome outcome = run_apart(options);
    for (const auto& [name, count] : outcome.counts) counts[name] += count;
    virtual_seconds += outcome.virtual_seconds;
    ++done;
    if (outcome.violation.empty()) continue;
    ++failed;
    tell_failure(options, outcome, arguments);
    if (arguments.stops) break;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::cout << done << " seeds, " << failed << " failed, " << virtual_seconds
            << " simulated seconds in " << took.count() << " s\n";
  for (const auto& [name, count] : counts) std::cout << "  " << count << " " << name << "\n";
  return failed == 0 ? 0 : 1;
}

int run_traced(const Arguments& arguments) {
  RunOptions options;
  if (!options_of(arguments, arguments.from, options)) return 2;
  const RunReport report = run_here(options, true);
  std::cout << "rakv_sim " << options.text() << "\n"
            << report.events << " events, trace checksum " << report.trace_sum << "\n"
            << report.violation.value_or("no violation") << "\n";
  return report.violation ? 1 : 0;
}

}  // namespace
}  // namespace rakv::simulation

int main(int count, char** words) {
  spdlog::set_level(spdlog::level::off);
  rakv::simulation::Arguments arguments;
  if (!rakv::simulation::parse(count, words, arguments)) return 2;
  return arguments.trace ? rakv::simulation::run_traced(arguments)
                         : rakv::simulation::run_seeds(arguments);
}
