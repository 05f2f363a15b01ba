// SPDX-License-Identifier: Apache-2.0
// One driver, several clusters: the same calls to each in turns, from one light client. Prints each
// figure's median over the rounds, and what the members' processes spent of a processor for one
// operation. Run by scripts/bench_kv.sh and scripts/bench_mixed.sh, which start the members.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/bench/bare_client.h"

namespace rakv::bench {
namespace {

constexpr std::size_t kWarmUp = 4000;
constexpr int kAttempts = 10;

/// A cluster that is measured.
struct Target {
  std::string label;
  raft::ServerId leader;
  std::vector<std::string> processes;  ///< of all its members
};

struct Figure {
  const char* option;
  const char* name;
  bool lower_is_better;
  std::size_t count;  ///< operations of one round
  /// Nothing when the member stopped leading meanwhile.
  std::optional<double> (*measure)(BareClient&, const raft::ServerId&, std::size_t count);
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Operations a second of whatever `run` does `count` times.
template <class Run>
std::optional<double> rate(std::size_t count, Run run) {
  const auto began = std::chrono::steady_clock::now();
  if (!run()) return std::nullopt;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  return static_cast<double>(count) / took.count();
}

const Figure kFigures[] = {
    {"put_latency", "put, one caller: median latency (us)", true, 2000,
     [](BareClient& client, const raft::ServerId& leader,
        std::size_t count) -> std::optional<double> {
       if (!client.run_puts(leader, 1, count)) return std::nullopt;
       return median(client.times_us());
     }},
    {"put_64", "put/s, 64 callers", false, 60000,
     [](BareClient& client, const raft::ServerId& leader, std::size_t count) {
       return rate(count, [&] { return client.run_puts(leader, 64, count); });
     }},
    {"pipelined", "put/s, pipelined (512 in flight)", false, 100000,
     [](BareClient& client, const raft::ServerId& leader, std::size_t count) {
       return rate(count, [&] { return client.run_pipelined(leader, 512, count); });
     }},
    {"get_1", "get/s, one caller", false, 5000,
     [](BareClient& client, const raft::ServerId& leader, std::size_t count) {
       return rate(count, [&] { return client.run_gets(leader, 1, count); });
     }},
    {"get_64", "get/s, 64 callers", false, 60000,
     [](BareClient& client, const raft::ServerId& leader, std::size_t count) {
       return rate(count, [&] { return client.run_gets(leader, 64, count); });
     }},
};

/// Processor time of a process so far, user and system; /proc counts in ticks.
double cpu_us(const std::string& process) {
  std::ifstream file("/proc/" + process + "/stat");
  std::string stat((std::istreambuf_iterator<char>(file)), {});
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) {
    std::fprintf(stderr, "kv_driver: error: process %s is gone\n", process.c_str());
    std::exit(1);
  }
  std::istringstream fields(stat.substr(name_end + 2));
  std::string skipped;
  for (int field = 0; field < 11; ++field) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) * 1e6 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double cpu_us(const std::vector<std::string>& processes) {
  double sum = 0;
  for (const std::string& process : processes) sum += cpu_us(process);
  return sum;
}

/// The parts of a list with commas between.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream rest(text);
  for (std::string part; std::getline(rest, part, ',');) parts.push_back(part);
  return parts;
}

/// LABEL=CLUSTER@NODE@HOST:PID[,PID...]
Target parse_target(const std::string& text) {
  const std::size_t label = text.find('=');
  const std::size_t cluster = text.find('@');
  const std::size_t colon = text.rfind(':');
  if (label == std::string::npos || cluster == std::string::npos || colon == std::string::npos ||
      label > cluster || cluster > colon) {
    std::fprintf(stderr, "kv_driver: error: no LABEL=CLUSTER@NODE@HOST:PID[,PID...]: %s\n",
                 text.c_str());
    std::exit(2);
  }
  return Target{text.substr(0, label),
                raft::ServerId(text.substr(label + 1, cluster - label - 1),
                               text.substr(cluster + 1, colon - cluster - 1)),
                split(text.substr(colon + 1))};
}

struct Measured {
  double value;
  double cpu_us;  ///< of the members, for one operation
};

/// Measures again when the leader changed meanwhile.
Measured measure(BareClient& client, const Figure& figure, const Target& target) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    client.lead(target.leader);
    const double before = cpu_us(target.processes);
    const std::optional<double> value = figure.measure(client, target.leader, figure.count);
    const double used = cpu_us(target.processes) - before;
    if (value) return {*value, used / static_cast<double>(figure.count)};
  }
  std::fprintf(stderr, "kv_driver: error: %s: the leader changes all the time\n",
               target.label.c_str());
  std::exit(1);
}

/// The targets take turns, so that a drift of the machine meets all.
void report(BareClient& client, const Figure& figure, const std::vector<Target>& targets,
            std::size_t rounds) {
  std::vector<std::vector<double>> figures(targets.size());
  std::vector<std::vector<double>> cpu(targets.size());
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t each = 0; each < targets.size(); ++each) {
      const auto [value, cpu_us] = measure(client, figure, targets[each]);
      figures[each].push_back(value);
      cpu[each].push_back(cpu_us);
    }
  }
  std::printf("%-38s", figure.name);
  for (const auto& values : figures) std::printf(" %9.0f", median(values));
  std::printf("  ");
  const double first = median(figures.front());
  for (std::size_t each = 1; each < targets.size(); ++each) {
    const double ours = median(figures[each]);
    std::printf(" %5.2f", figure.lower_is_better ? first / ours : ours / first);
  }
  std::printf("  ");
  for (const auto& values : cpu) std::printf(" %6.1f", median(values));
  std::printf("\n");
  std::fflush(stdout);
}

int main(int argc, char** argv) {
  std::string cookie;
  std::size_t rounds = 5;
  std::string wanted;
  std::vector<std::string> texts;
  CLI::App app{"Measures leaders of ra_kv clusters, of BEAM members or of rakv's"};
  app.add_option("--cookie", cookie)->required();
  app.add_option("--rounds", rounds, "of which the median counts")->check(CLI::PositiveNumber);
  app.add_option("--figures", wanted, "their names with commas between, default: all");
  app.add_option("target", texts,
                 "LABEL=CLUSTER@NODE@HOST:PID[,PID...], the leader and all members")
      ->required();
  CLI11_PARSE(app, argc, argv);

  BareClient client(cookie);
  std::vector<Target> targets;
  for (const std::string& text : texts) {
    targets.push_back(parse_target(text));
    client.connect(targets.back().leader.node());
    client.lead(targets.back().leader);
    static_cast<void>(client.run_puts(targets.back().leader, 64, kWarmUp));
  }
  std::printf("median of %-28zu", rounds);
  for (const Target& target : targets) std::printf(" %9s", target.label.c_str());
  std::printf("   ratio to %s; members' CPU us/op\n", targets.front().label.c_str());
  const std::vector<std::string> names = split(wanted);
  for (const Figure& figure : kFigures) {
    if (names.empty() || std::find(names.begin(), names.end(), figure.option) != names.end())
      report(client, figure, targets, rounds);
  }
  return 0;
}

}  // namespace
}  // namespace rakv::bench

int main(int argc, char** argv) { return rakv::bench::main(argc, argv); }
