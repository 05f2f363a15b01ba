// SPDX-License-Identifier: Apache-2.0
#include "kv/program/client_commands.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>

#include "cnode/base/printable.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "kv/client.h"
#include "kv/program/cookie_option.h"
#include "kv/program/json_text.h"
#include "kv/program/node_name.h"
#include "kv/program/number_text.h"

namespace rakv::kv {
namespace {

/// A command runs in real time.
using Clock = std::chrono::steady_clock;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kNotFound = 3;
constexpr int kUnknown = 4;
constexpr int kNotWritten = 5;
constexpr int kClientNames = 8;
constexpr std::size_t kMaxValueBytes = std::size_t{256} << 20;
constexpr std::chrono::milliseconds kStopPatience{1000};
constexpr std::chrono::milliseconds kNamePause{50};
/// The client ends its operations at the deadline by itself, and says why; this much later nobody
/// waits for it any more.
constexpr std::chrono::milliseconds kGrace{100};
constexpr const char* kExitCodes =
    "Exit codes: 0 done, 1 failed (nothing was changed), 2 unusable arguments, 3 no such key,\n"
    "4 outcome unknown (put and delete: sent, but no usable answer came), 5 done, but the result\n"
    "could not be written to standard output or --output";

/// What the commands are told.
struct Arguments {
  std::vector<std::string> servers;
  std::string cluster = "kv";
  CookieSource cookie;
  std::string timeout = "5";   ///< seconds
  Clock::time_point deadline;  ///< of the whole command
  std::string key;
  std::string value;
  std::string value_file;
  std::string output;
  bool term = false;
  bool json = false;
};

void print_error(const std::string& line) {
  std::fprintf(stderr, "rakv: error: %s\n", printable(line).c_str());
}

int report_error(const Error& error) {
  print_error(error.message);
  switch (error.code) {
    case ErrorCode::invalid_argument:
      return kUsage;
    case ErrorCode::not_found:
      return kNotFound;
    case ErrorCode::timeout:
      return kUnknown;
    default:
      return kFailed;
  }
}

/// A failure that is not about the arguments, a key or a lost answer, whatever it was below.
Error failure(const Error& error) { return make_error(ErrorCode::io, error.message); }

Result<std::string> encode(const std::string& text, bool as_term, const std::string& what) {
  if (!as_term) return etf::Writer().binary(text).take();
  Result<std::string> term = etf::parse_text(text);
  if (term) return term;
  return make_error(ErrorCode::invalid_argument,
                    what + " is no Erlang term: " + term.error().message);
}

Error cannot_read(const std::string& path) {
  return make_error(ErrorCode::io, "can't read " + (path == "-" ? "standard input" : path) + " (" +
                                       std::strerror(errno) +
                                       "): give a file that can be read, or - for standard input");
}

/// Reads all that `file` has, until `deadline`.
Result<std::string> read_all(int file, const std::string& path, Clock::time_point deadline) {
  std::string bytes;
  std::string part(std::size_t{1} << 20, '\0');
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd ready{file, POLLIN, 0};
    const int polled = left <= 0 ? 0 : ::poll(&ready, 1, static_cast<int>(left));
    if (polled == 0) {
      return make_error(ErrorCode::unavailable,
                        "the value did not end in time: " + std::to_string(bytes.size()) +
                            " bytes were read, nothing was sent; give more --timeout");
    }
    const ssize_t count = polled < 0 ? -1 : ::read(file, part.data(), part.size());
    if (count == 0) return bytes;
    if (count < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return cannot_read(path);
    }
    bytes.append(part, 0, static_cast<std::size_t>(count));
    if (bytes.size() > kMaxValueBytes) {
      return make_error(ErrorCode::limit_exceeded,
                        path + " has more than 256 MiB: store a smaller value");
    }
  }
}

Result<std::string> read_value(const std::string& path, Clock::time_point deadline) {
  if (path == "-") return read_all(STDIN_FILENO, path, deadline);
  // A pipe's other end may never come; poll() waits for it.
  const int file = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return cannot_read(path);
  Result<std::string> bytes = read_all(file, path, deadline);
  ::close(file);
  return bytes;
}

/// `done` is what has happened all the same, should it be impossible to write.
int write_output(const std::string& path, std::string_view bytes, const std::string& done) {
  std::FILE* file = path.empty() ? stdout : std::fopen(path.c_str(), "wb");
  bool written =
      file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  written = file != nullptr && std::fflush(file) == 0 && written;
  const int reason = errno;
  if (file != nullptr && file != stdout) written = std::fclose(file) == 0 && written;
  if (written) return 0;
  print_error(done + ", but can't write " + (path.empty() ? "standard output" : path) + " (" +
              std::strerror(reason) + "): let it go to a place that can be written");
  return kNotWritten;
}

std::string host_name() {
  std::string buffer(256, '\0');
  if (gethostname(buffer.data(), buffer.size() - 1) != 0) return "localhost";
  return buffer.c_str();
}

/// This program as a node: named from a small pool, because every name that a BEAM ever sees stays
/// in its atom table.
std::string client_name(int number, const std::string& server_node) {
  const std::string alive = "rakv_cli_" + std::to_string(number) + "@";
  const std::string server_host = server_node.substr(server_node.find('@') + 1);
  const std::string host = host_name();
  if (server_host.find_first_of(".:") == std::string::npos)
    return alive + host.substr(0, host.find('.'));
  if (server_host.starts_with("127.") || server_host == "::1") return alive + server_host;
  return alive + (host.find('.') == std::string::npos ? host + ".local" : host);
}

Result<std::string> server_node(const std::string& text) {
  const Result<std::string> name = peer_node_name(text);
  if (name) return *name;
  return make_error(ErrorCode::invalid_argument, "--server: " + name.error().message);
}

/// What --server was given, in pieces.
std::vector<std::string> server_names(const std::vector<std::string>& arguments) {
  std::vector<std::string> names;
  for (const std::string& argument : arguments) {
    for (std::size_t begin = 0; begin <= argument.size();) {
      const std::size_t end = std::min(argument.find(',', begin), argument.size());
      names.push_back(argument.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return names;
}

/// The node and the client of one command; asks by turning the io_context until the answer is
/// there, or the time is over.
class Session {
 public:
  explicit Session(const Arguments& arguments)
      : arguments_(arguments), io_(std::make_unique<boost::asio::io_context>(1)) {}

  ~Session() {
    if (node_) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(arguments_.deadline - Clock::now());
      const auto stopped = std::make_shared<bool>(false);
      node_->stop(std::clamp(left, std::chrono::milliseconds(0), kStopPatience),
                  [stopped] { *stopped = true; });
      turn_until(*stopped);
    }
    client_.reset();
    node_.reset();
    // A look-up of a host can't be interrupted, and the io_context would wait for its thread. It
    // stays as it is until the process ends; leak detectors see that it can be reached (volatile:
    // nobody reads it, and it must be stored all the same).
    [[maybe_unused]] static boost::asio::io_context* volatile left_behind = nullptr;
    if (Clock::now() >= arguments_.deadline) left_behind = io_.release();
  }

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<void> open() {
    ClientOptions options;
    if (const auto checked = check_cluster_name(arguments_.cluster); !checked) {
      return make_error(ErrorCode::invalid_argument, "--cluster " + checked.error().message);
    }
    for (const std::string& text : server_names(arguments_.servers)) {
      const Result<std::string> node = server_node(text);
      if (!node) return node.error();
      options.servers.emplace_back(arguments_.cluster, *node);
    }
    Result<std::string> cookie = find_cookie(arguments_.cookie, arguments_.deadline);
    if (!cookie) {
      return failure(make_error(ErrorCode::io,
                                cookie.error().message + "; or give --cookie-file (or --cookie)"));
    }
    if (const Result<void> started = start_node(*cookie, options); !started)
      return failure(started.error());
    client_ = std::make_unique<Client>(*io_, *node_, std::move(options));
    return {};
  }

  Client& client() { return *client_; }

  /// Runs `start(handler)` to its end; `late` when it has none in time.
  template <class T, class Start>
  Result<T> wait(const Error& late, Start start) {
    struct State {
      std::optional<Result<T>> result;
      bool done = false;
    };
    const auto state = std::make_shared<State>();
    start([state](Result<T> ended) {
      state->result.emplace(std::move(ended));
      state->done = true;
    });
    turn_until(state->done);
    if (!state->result) return late;
    return std::move(*state->result);
  }

  void turn_until(const bool& done) {
    const Clock::time_point end = arguments_.deadline + kGrace;
    while (!done && Clock::now() < end) {
      if (io_->run_one_until(end) == 0 && io_->stopped()) io_->restart();
    }
  }

 private:
  Result<void> start_node(const std::string& cookie, const ClientOptions& options) {
    const Error late = make_error(ErrorCode::unavailable,
                                  "epmd of this host has not answered in time: check that it runs "
                                  "(epmd -names), or give more --timeout");
    for (int number = 1;; number = number % kClientNames + 1) {
      node::NodeOptions node_options;
      node_options.name = client_name(number, options.servers.front().node());
      node_options.cookie = cookie;
      node_options.visible = false;
      node_options.listen_address = "127.0.0.1";
      auto node = std::make_unique<node::Node>(*io_, std::move(node_options));
      const Result<void> started =
          wait<void>(late, [&](auto handler) { node->start(std::move(handler)); });
      if (started) {
        node_ = std::move(node);
        node_->accept_peers();
        return {};
      }
      if (started.error().code != ErrorCode::already_exists) return started;
      if (number < kClientNames) continue;
      if (Clock::now() > arguments_.deadline) {
        return make_error(ErrorCode::unavailable,
                          "all names rakv_cli_1 to rakv_cli_8 are in use on this host: wait until "
                          "other rakv commands have ended");
      }
      const auto over = std::make_shared<bool>(false);
      boost::asio::steady_timer pause(*io_, kNamePause);
      pause.async_wait([over](boost::system::error_code) { *over = true; });
      turn_until(*over);
    }
  }

  const Arguments& arguments_;
  std::unique_ptr<boost::asio::io_context> io_;
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<Client> client_;
};

Error no_answer() {
  return make_error(ErrorCode::unavailable, "no answer in time; see rakv status");
}

Error no_outcome() {
  return make_error(ErrorCode::timeout,
                    "no answer in time; the outcome is unknown: read the key before you try again");
}

std::string place(const char* what, const CommittedPosition& written) {
  return std::string(what) + " at index " + std::to_string(written.index) + ", term " +
         std::to_string(written.term) + ", leader " + written.leader.node();
}

int report_written(const Arguments& arguments, const char* what,
                   const Result<CommittedPosition>& written) {
  if (written) {
    const std::string line = printable(place(what, *written));
    return write_output("", line + "\n", "'" + arguments.key + "' was " + line);
  }
  if (written.error().code != ErrorCode::not_found) return report_error(written.error());
  return report_error(make_error(ErrorCode::not_found, "there is no key '" + arguments.key + "'"));
}

int run_put(const Arguments& arguments) {
  const Result<std::string> key = encode(arguments.key, arguments.term, "KEY");
  if (!key) return report_error(key.error());
  Result<std::string> text = arguments.value_file.empty()
                                 ? Result<std::string>(arguments.value)
                                 : read_value(arguments.value_file, arguments.deadline);
  if (!text) return report_error(text.error());
  const Result<std::string> value = encode(*text, arguments.term, "VALUE");
  if (!value) return report_error(value.error());
  Session session(arguments);
  if (const Result<void> opened = session.open(); !opened) return report_error(opened.error());
  return report_written(
      arguments, "stored", session.wait<CommittedPosition>(no_outcome(), [&](auto handler) {
        session.client().put(*key, *value, arguments.deadline, std::move(handler));
      }));
}

int run_delete(const Arguments& arguments) {
  const Result<std::string> key = encode(arguments.key, arguments.term, "KEY");
  if (!key) return report_error(key.error());
  Session session(arguments);
  if (const Result<void> opened = session.open(); !opened) return report_error(opened.error());
  return report_written(arguments, "deleted",
                        session.wait<CommittedPosition>(no_outcome(), [&](auto handler) {
                          session.client().remove(*key, arguments.deadline, std::move(handler));
                        }));
}

int run_get(const Arguments& arguments) {
  const Result<std::string> key = encode(arguments.key, arguments.term, "KEY");
  if (!key) return report_error(key.error());
  Session session(arguments);
  if (const Result<void> opened = session.open(); !opened) return report_error(opened.error());
  const Result<StoredValue> stored = session.wait<StoredValue>(no_answer(), [&](auto handler) {
    session.client().get(*key, arguments.deadline, std::move(handler));
  });
  if (!stored && stored.error().code == ErrorCode::not_found)
    return report_error(
        make_error(ErrorCode::not_found, "there is no key '" + arguments.key + "'"));
  if (!stored) return report_error(stored.error());
  const std::string done = "the value of '" + arguments.key + "' was read";
  etf::Cursor cursor(stored->value);
  if (!arguments.term && cursor.kind() == etf::TermKind::binary)
    return write_output(arguments.output, cursor.binary().value_or(""), done);
  etf::Limits unlimited;
  unlimited.max_output_bytes = std::numeric_limits<std::size_t>::max();
  return write_output(arguments.output, etf::print_text(stored->value, {}, unlimited) + "\n", done);
}

/// A member's line of the table.
struct StatusRow {
  raft::ServerId member;
  bool reachable = false;
  KeyMetrics metrics;
};

std::string number(std::optional<std::int64_t> value, const char* none) {
  return value && *value >= 0 ? std::to_string(*value) : none;
}

/// A text of others in a column of the table.
std::string cell(std::string_view text) { return printable(text, 512); }

std::string status_table(const std::vector<StatusRow>& rows) {
  std::vector<std::vector<std::string>> table{{"MEMBER", "NODE", "ROLE", "TERM", "LAST", "WRITTEN",
                                               "COMMIT", "APPLIED", "SNAPSHOT", "MEMBERSHIP",
                                               "REACHABLE"}};
  for (const StatusRow& row : rows) {
    const KeyMetrics& metrics = row.metrics;
    table.push_back({cell(row.member.name()), cell(row.member.node()), cell(metrics.state),
                     number(metrics.term, "-"), number(metrics.last_index, "-"),
                     number(metrics.last_written_index, "-"), number(metrics.commit_index, "-"),
                     number(metrics.last_applied, "-"), number(metrics.snapshot_index, "-"),
                     cell(metrics.membership), row.reachable ? "yes" : "no"});
  }
  std::vector<std::size_t> widths(table.front().size());
  for (const auto& line : table) {
    for (std::size_t column = 0; column < line.size(); ++column)
      widths[column] = std::max(widths[column], line[column].size());
  }
  std::string text;
  for (const auto& line : table) {
    for (std::size_t column = 0; column < line.size(); ++column) {
      text += line[column];
      if (column + 1 < line.size()) text.append(widths[column] + 2 - line[column].size(), ' ');
    }
    text += '\n';
  }
  for (const StatusRow& row : rows) {
    if (!row.metrics.note.empty())
      text += to_string(row.member) + ' ' + cell(row.metrics.note) + '\n';
  }
  return text;
}

std::string status_json(const std::string& cluster, const std::vector<StatusRow>& rows) {
  std::string out = "{\"cluster\":" + json_text(cluster) + ",\"members\":[";
  const char* comma = "";
  for (const StatusRow& row : rows) {
    const KeyMetrics& metrics = row.metrics;
    out += comma;
    out += "{\"name\":" + json_text(row.member.name()) +
           ",\"node\":" + json_text(row.member.node()) + ",\"role\":" + json_text(metrics.state) +
           ",\"term\":" + number(metrics.term, "null") +
           ",\"last_index\":" + number(metrics.last_index, "null") +
           ",\"last_written_index\":" + number(metrics.last_written_index, "null") +
           ",\"commit_index\":" + number(metrics.commit_index, "null") +
           ",\"last_applied\":" + number(metrics.last_applied, "null") +
           ",\"snapshot_index\":" + number(metrics.snapshot_index, "null") +
           ",\"membership\":" + json_text(metrics.membership) +
           ",\"reachable\":" + (row.reachable ? "true" : "false") +
           (metrics.note.empty() ? "" : ",\"note\":" + json_text(metrics.note)) + "}";
    comma = ",";
  }
  return out + "]}\n";
}

int run_status(const Arguments& arguments) {
  Session session(arguments);
  if (const Result<void> opened = session.open(); !opened) return report_error(opened.error());
  using Members = std::vector<raft::ServerId>;
  // Of the server itself: a cluster without a leader has a status too.
  Result<Members> members = session.wait<Members>(no_answer(), [&](auto handler) {
    session.client().members(arguments.deadline, std::move(handler));
  });
  if (!members) return report_error(members.error());
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

CLI::App* add_command(CLI::App& app, const char* name, const char* what, const char* examples,
                      const std::shared_ptr<Arguments>& arguments) {
  CLI::App* command = app.add_subcommand(name, what);
  command->footer(std::string(kExitCodes) + "\n\nExamples:\n" + examples);
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

int run(Arguments& arguments, int (*command)(const Arguments&)) {
  arguments.deadline = Clock::now() + patience(arguments.timeout).value();
  std::signal(SIGPIPE, SIG_IGN);
  return command(arguments);
}

void on_run(CLI::App* command, const std::shared_ptr<Arguments>& arguments, int& exit_code,
            int (*with)(const Arguments&)) {
  command->callback([arguments, &exit_code, with] { exit_code = run(*arguments, with); });
}

}  // namespace

void add_client_commands(CLI::App& app, int& exit_code) {
  auto put = std::make_shared<Arguments>();
  CLI::App* command =
      add_command(app, "put", "Store a value",
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

  auto get = std::make_shared<Arguments>();
  command = add_command(app, "get", "Print a value: a binary's bytes as they are, else the term",
                        "  rakv get --server n1@host greeting\n"
                        "  rakv get --server n1@host,n2@host --term '{user, 17}'\n"
                        "  rakv get --server n1@host --timeout 60 --output backup.tar backup",
                        get);
  command->add_option("KEY", get->key, "The key; put -- before one that begins with -")->required();
  command->add_option("--output", get->output, "Write to this file instead of standard output");
  command->add_flag("--term", get->term, "KEY is an Erlang term in text; print one always");
  on_run(command, get, exit_code, run_get);

  auto remove = std::make_shared<Arguments>();
  command = add_command(app, "delete", "Delete a key",
                        "  rakv delete --server n1@host greeting\n"
                        "  rakv delete --server n1@host --cluster orders --term '{user, 17}'",
                        remove);
  command->add_option("KEY", remove->key, "The key; put -- before one that begins with -")
      ->required();
  command->add_flag("--term", remove->term, "KEY is an Erlang term in text, not raw bytes");
  on_run(command, remove, exit_code, run_delete);

  auto status = std::make_shared<Arguments>();
  command = add_command(app, "status",
                        "Show every member of a cluster, as the first server that answers knows it",
                        "  rakv status --server n1@host\n"
                        "  rakv status --server n1@host,n2@host --json --timeout 2",
                        status);
  command->add_flag("--json", status->json, "Print JSON instead of a table");
  on_run(command, status, exit_code, run_status);
}

}  // namespace rakv::kv
