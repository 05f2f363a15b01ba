// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cnode/base/shared_bytes.h"
#include "cnode/node/peer_charge.h"

// Remote function calls that this node answers (erpc, rpc, spawn): an allow-list of functions.
// Everything that is not in it is answered with the `undef` error that a BEAM node gives
// (docs/protocol/distribution.md 5.3).

namespace rakv::node {

/// How an applied function ended, in erpc's four classes.
enum class RpcOutcome { returned, thrown, exited, raised };

/// An encoded term whose last bytes may be a range of shared ones, so that a large value is
/// answered without a copy. The views live during the call they are given to; `owner` keeps
/// `shared` alive.
struct RpcTerm {
  std::string_view head;
  SharedBytes owner;
  std::string_view shared;

  RpcTerm(std::string_view whole) : head(whole) {}    // NOLINT(google-explicit-constructor)
  RpcTerm(const std::string& whole) : head(whole) {}  // NOLINT(google-explicit-constructor)
  RpcTerm(std::string_view begins, SharedBytes owner_of_rest, std::string_view rest)
      : head(begins), owner(std::move(owner_of_rest)), shared(rest) {}

  /// The term in one piece.
  std::string flat() const {
    std::string whole;
    whole.reserve(head.size() + shared.size());
    return whole.append(head).append(shared);
  }
};

/// One remote call that must be answered exactly once, now or later. Dropping it unanswered answers
/// with the exit reason `killed`, so that no caller waits for ever.
class RpcCall {
 public:
  using Answer = std::function<void(RpcOutcome, const RpcTerm& term, std::string_view stack)>;

  /// Takes the encoded list of arguments apart. Nothing (and no answer) when it is not a proper
  /// list of at most kMaxArguments terms.
  static std::optional<RpcCall> make(std::string_view caller_node, std::string_view arguments,
                                     Answer answer);

  RpcCall(RpcCall&&) noexcept;
  RpcCall& operator=(RpcCall&&) noexcept;
  RpcCall(const RpcCall&) = delete;
  RpcCall& operator=(const RpcCall&) = delete;
  ~RpcCall();

  /// Keeps this as long as the call is not answered.
  void set_charge(PeerCharge charge) { state_->charge = std::move(charge); }

  /// The node that asks.
  const std::string& caller_node() const { return state_->caller_node; }
  /// The arguments, each one encoded term (validated). They live as long as the call.
  const std::vector<std::string_view>& arguments() const { return state_->arguments; }
  std::string_view argument(std::size_t position) const { return state_->arguments[position]; }

  /// The function returned this (encoded) value.
  void answer(const RpcTerm& value);
  /// The function raised error:Reason; stack is empty.
  void raise(std::string_view reason);
  /// erlang:error(badarg).
  void raise_badarg();
  /// throw(Term).
  void throw_term(std::string_view term);
  /// exit(Reason).
  void exit(std::string_view reason);
  /// The answer has been given another way.
  void disarm() { state_.reset(); }

 private:
  struct State {
    std::string caller_node;
    std::string storage;
    std::vector<std::string_view> arguments;
    Answer answer;
    PeerCharge charge;
  };
  explicit RpcCall(std::unique_ptr<State> state);
  void finish(RpcOutcome outcome, const RpcTerm& term);

  std::unique_ptr<State> state_;
};

/// What carries out a function of the allow-list.
using RpcFunction = std::function<void(RpcCall)>;

/// The allow-list: module, function and arity to what carries it out.
class RpcTable {
 public:
  void add(std::string_view module, std::string_view function, std::size_t arity,
           RpcFunction implementation);

  /// Null when the function is not served.
  const RpcFunction* find(std::string_view module, std::string_view function,
                          std::size_t arity) const;

 private:
  static void write_key(std::string& key, std::string_view module, std::string_view function,
                        std::size_t arity);
  std::unordered_map<std::string, RpcFunction> functions_;
  mutable std::string sought_;  ///< of find(), to reuse its memory
};

/// No function has more arguments.
inline constexpr std::size_t kMaxArguments = 255;

/// How many elements an encoded proper list has (validated). Nothing when it is not one. Takes no
/// memory for them, however many there are.
std::optional<std::size_t> list_length(std::string_view list);

/// Takes an encoded proper list apart into its elements (validated); the STRING form gives
/// integers. Nothing when it is not a proper list, or has more than kMaxArguments. `storage`
/// receives the elements' bytes and must outlive the views.
std::optional<std::vector<std::string_view>> list_elements(std::string_view list,
                                                           std::string& storage);

/// The list of the error class for an unknown function: `[{M, F, Args, []}]`, encoded.
std::string undef_stack(std::string_view module, std::string_view function,
                        std::string_view arguments);

}  // namespace rakv::node
