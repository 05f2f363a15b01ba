// SPDX-License-Identifier: Apache-2.0
#include "kv/program/client_commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <limits>
#include <memory>

#include "cnode/base/printable.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "kv/client.h"
#include "kv/program/client_session.h"
#include "kv/program/command_io.h"
#include "kv/program/cookie_option.h"
#include "kv/program/number_text.h"
#include "kv/program/status_text.h"

namespace rakv::kv {
namespace {

constexpr const char* kClientExitCodes =
    "Exit codes: 0 done, 1 failed (nothing was changed), 2 unusable arguments, 3 no such key,\n"
    "4 outcome unknown (put and delete: sent, but no usable answer came), 5 done, but the result\n"
    "could not be written to standard output or --output";

/// What the commands are told.
struct ClientArguments : SessionArguments {
  std::string timeout = "5";  ///< seconds
  std::string key;
  std::string value;
  std::string value_file;
  std::string output;
  bool term = false;
  bool json = false;
};

int report_client_error(const Error& error) {
  print_error(error.message);
  return exit_code_of(error.code);
}

Result<std::string> encode(const std::string& text, bool as_term, const std::string& what) {
  if (!as_term) return etf::Writer().binary(text).take();
  Result<std::string> term = etf::parse_text(text);
  if (term) return term;
  return make_error(ErrorCode::invalid_argument,
                    what + " is no Erlang term: " + term.error().message);
}

Error no_answer() {
  return make_error(ErrorCode::unavailable, "no answer in time; see rakv status");
}

Error no_outcome() {
  return make_error(ErrorCode::timeout,
                    "no answer in time; the outcome is unknown: read the key before you try again");
}

std::string place(const char* what, const CommittedPosition& written) {
  return fmt::format("{} at index {}, term {}, leader {}", what, written.index, written.term,
                     written.leader.node());
}

int report_written(const ClientArguments& arguments, const char* what,
                   const Result<CommittedPosition>& written) {
  if (written) {
    const std::string line = printable(place(what, *written));
    return write_output("", line + "\n", "'" + arguments.key + "' was " + line);
  }
  if (written.error().code != ErrorCode::not_found) return report_client_error(written.error());
  return report_client_error(
      make_error(ErrorCode::not_found, "there is no key '" + arguments.key + "'"));
}

int run_put(const ClientArguments& arguments) {
  const Result<std::string> key = encode(arguments.key, arguments.term, "KEY");
  if (!key) return report_client_error(key.error());
  Result<std::string> text = arguments.value_file.empty()
                                 ? Result<std::string>(arguments.value)
                                 : read_value(arguments.value_file, arguments.deadline);
  if (!text) return report_client_error(text.error());
  const Result<std::string> value = encode(*text, arguments.term, "VALUE");
  if (!value) return report_client_error(value.error());
  ClientSession session(arguments);
  if (const Result<void> opened = session.open(); !opened)
    return report_client_error(opened.error());
  return report_written(
      arguments, "stored", session.wait<CommittedPosition>(no_outcome(), [&](auto handler) {
        session.client().put(*key, *value, arguments.deadline, std::move(handler));
      }));
}

int run_delete(const ClientArguments& arguments) {
  const Result<std::string> key = encode(arguments.key, arguments.term, "KEY");
  if (!key) return report_client_error(key.error());
  ClientSession session(arguments);
  if (const Result<void> opened = session.open(); !opened)
    return report_client_error(opened.error());
  return report_written(arguments, "deleted",
                        session.wait<CommittedPosition>(no_outcome(), [&](auto handler) {
                          session.client().remove(*key, arguments.deadline, std::move(handler));
                        }));
}

int run_get(const ClientArguments& arguments) {
  const Result<std::string> key = encode(arguments.key, arguments.term, "KEY");
  if (!key) return report_client_error(key.error());
  ClientSession session(arguments);
  if (const Result<void> opened = session.open(); !opened)
    return report_client_error(opened.error());
  const Result<StoredValue> stored = session.wait<StoredValue>(no_answer(), [&](auto handler) {
    session.client().get(*key, arguments.deadline, std::move(handler));
  });
  if (!stored && stored.error().code == ErrorCode::not_found)
    return report_client_error(
        make_error(ErrorCode::not_found, "there is no key '" + arguments.key + "'"));
  if (!stored) return report_client_error(stored.error());
  const std::string done = "the value of '" + arguments.key + "' was read";
  etf::Cursor cursor(stored->value);
  if (!arguments.term && cursor.kind() == etf::TermKind::binary)
    return write_output(arguments.output, cursor.binary().value_or(""), done);
  etf::Limits unlimited;
  unlimited.max_output_bytes = std::numeric_limits<std::size_t>::max();
  return write_output(arguments.output, etf::print_text(stored->value, {}, unlimited) + "\n", done);
}

int run_status(const ClientArguments& arguments) {
  ClientSession session(arguments);
  if (const Result<void> opened = session.open(); !opened)
    return report_client_error(opened.error());
  using Members = std::vector<raft::ServerId>;
  // Of the server itself: a cluster without a leader has a status too.
  Result<Members> members = session.wait<Members>(no_answer(), [&](auto handler) {
    session.client().members(arguments.deadline, std::move(handler));
  });
  if (!members) return report_client_error(members.error());
  std::sort(members->begin(), members->end());
  struct Answers {
    std::vector<StatusRow> rows;
    std::size_t missing = 0;
    bool complete = false;
  };
  const auto answers = std::make_shared<Answers>();
  answers->missing = members->size();
  answers->complete = members->empty();
  // All at once: one that does not answer takes no time from the others.
  for (std::size_t row = 0; row < members->size(); ++row) {
    answers->rows.push_back({(*members)[row], false, {}});
    session.client().key_metrics((*members)[row], arguments.deadline,
                                 [answers, row](const Result<KeyMetrics>& metrics) {
                                   answers->rows[row].reachable = metrics.has_value();
                                   if (metrics) answers->rows[row].metrics = *metrics;
                                   answers->complete = --answers->missing == 0;
                                 });
  }
  session.turn_until(answers->complete);
  return write_output(
      "",
      arguments.json ? status_json(arguments.cluster, answers->rows) : status_table(answers->rows),
      "all members were asked");
}

/// How long a command may take by its --timeout.
std::optional<std::chrono::milliseconds> patience(const std::string& seconds) {
  const std::optional<double> number = decimal_number(seconds);
  if (!number || *number < 0.1 || *number > 86'400) return std::nullopt;
  return std::chrono::milliseconds(static_cast<long>(*number * 1000));
}

CLI::App* add_cluster_command(CLI::App& app, const char* name, const char* what,
                              const char* examples,
                              const std::shared_ptr<ClientArguments>& arguments) {
  CLI::App* command = app.add_subcommand(name, what);
  command->footer(std::string(kClientExitCodes) + "\n\nExamples:\n" + examples);
  command
      ->add_option("--server", arguments->servers,
                   "Nodes of members, NAME@HOST[,NAME@HOST...]; may be repeated. The next is asked "
                   "when one can't be reached")
      ->required()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_option("--cluster", arguments->cluster, "Name of the cluster's servers")
      ->capture_default_str();
  CLI::Option* cookie_file =
      command->add_option("--cookie-file", arguments->cookie.file,
                          "File with the cluster's cookie, which only its owner can read; - takes "
                          "the first line of standard input. Without it ~/.erlang.cookie is read, "
                          "as erl does");
  cookie_file->type_name("FILE")->check([](const std::string& file) {
    return std::string(file.empty() ? "must be the name of a file, or - for standard input" : "");
  });
  command
      ->add_option("--cookie", arguments->cookie.text,
                   "The cookie itself: others can see it on the command line until the program "
                   "has wiped it, so --cookie-file is safer")
      ->excludes(cookie_file)
      ->check([](const std::string& cookie) {
        const Result<std::string> checked = cookie_bytes(cookie);
        return checked ? std::string() : checked.error().message;
      });
  command
      ->add_option("--timeout", arguments->timeout,
                   "Seconds for the whole command, reading a value from a file or standard input "
                   "included; only its output may take longer")
      ->type_name("SECONDS")
      ->check([](const std::string& seconds) {
        return std::string(patience(seconds) ? ""
                                             : "must be a number of seconds from 0.1 to 86400");
      })
      ->capture_default_str();
  return command;
}

int run(ClientArguments& arguments, int (*command)(const ClientArguments&)) {
  arguments.deadline = CommandClock::now() + patience(arguments.timeout).value();
  std::signal(SIGPIPE, SIG_IGN);
  return command(arguments);
}

void on_run(CLI::App* command, const std::shared_ptr<ClientArguments>& arguments, int& exit_code,
            int (*with)(const ClientArguments&)) {
  command->callback([arguments, &exit_code, with] { exit_code = run(*arguments, with); });
}

}  // namespace

void add_client_commands(CLI::App& app, int& exit_code) {
  auto put = std::make_shared<ClientArguments>();
  CLI::App* command = add_cluster_command(
      app, "put", "Store a value",
      "  rakv put --server n1@host greeting 'hello world'\n"
      "  rakv put --server n1@host,n2@host --term '{user, 17}' '#{name => \"Ada\"}'\n"
      "  tar c /etc | rakv put --server n1@host --timeout 60 --value-file - backup\n"
      "  rakv put --server n1@host -- -key -value",
      put);
  command->add_option("KEY", put->key, "The key; put -- before one that begins with -")->required();
  CLI::Option* value = command->add_option("VALUE", put->value, "The value");
  CLI::Option* file =
      command->add_option("--value-file", put->value_file,
                          "Read the value from this file instead; - is standard input");
  command->add_flag("--term", put->term, "KEY and VALUE are Erlang terms in text, not raw bytes");
  command->callback([put, value, file, &exit_code] {
    if ((value->count() > 0) == (file->count() > 0))
      throw CLI::ValidationError("give either VALUE or --value-file");
    if (file->count() > 0 && put->value_file.empty())
      throw CLI::ValidationError("--value-file takes a file's name, or - for standard input");
    if (put->value_file == "-" && put->cookie.file == "-")
      throw CLI::ValidationError("standard input can't give both the value and the cookie");
    exit_code = run(*put, run_put);
  });

  auto get = std::make_shared<ClientArguments>();
  command =
      add_cluster_command(app, "get", "Print a value: a binary's bytes as they are, else the term",
                          "  rakv get --server n1@host greeting\n"
                          "  rakv get --server n1@host,n2@host --term '{user, 17}'\n"
                          "  rakv get --server n1@host --timeout 60 --output backup.tar backup",
                          get);
  command->add_option("KEY", get->key, "The key; put -- before one that begins with -")->required();
  command->add_option("--output", get->output, "Write to this file instead of standard output");
  command->add_flag("--term", get->term, "KEY is an Erlang term in text; print one always");
  on_run(command, get, exit_code, run_get);

  auto remove = std::make_shared<ClientArguments>();
  command =
      add_cluster_command(app, "delete", "Delete a key",
                          "  rakv delete --server n1@host greeting\n"
                          "  rakv delete --server n1@host --cluster orders --term '{user, 17}'",
                          remove);
  command->add_option("KEY", remove->key, "The key; put -- before one that begins with -")
      ->required();
  command->add_flag("--term", remove->term, "KEY is an Erlang term in text, not raw bytes");
  on_run(command, remove, exit_code, run_delete);

  auto status = std::make_shared<ClientArguments>();
  command = add_cluster_command(
      app, "status", "Show every member of a cluster, as the first server that answers knows it",
      "  rakv status --server n1@host\n"
      "  rakv status --server n1@host,n2@host --json --timeout 2",
      status);
  command->add_flag("--json", status->json, "Print JSON instead of a table");
  on_run(command, status, exit_code, run_status);
}

}  // namespace rakv::kv
