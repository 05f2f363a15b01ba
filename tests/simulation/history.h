// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rakv::simulation {

/// One operation of a client, as the client saw it.
struct ClientOperation {
  enum class Kind : std::uint8_t { put, get, remove };
  enum class Outcome : std::uint8_t {
    open,       ///< not answered, or the answer says that the outcome is unknown
    done,       ///< put: stored; get: `value`; remove: it was there
    not_found,  ///< get, remove: there is no such key
    refused,    ///< certainly not carried out
  };
  Kind kind = Kind::put;
  std::string key;
  /// Of a put: its own, unlike all others. Of a get that is done: what was read. Never 0.
  std::uint64_t value = 0;
  Outcome outcome = Outcome::open;
  /// Moments of one order over all operations; `answered` is 0 while there is no answer.
  std::uint64_t invoked = 0;
  std::uint64_t answered = 0;
};

std::string to_string(const ClientOperation& operation);

/// What all clients did.
class History {
 public:
  /// Gives the operation's number.
  std::size_t invoke(ClientOperation::Kind kind, std::string key, std::uint64_t value);
  void answer(std::size_t number, ClientOperation::Outcome outcome, std::uint64_t value = 0);
  const ClientOperation& operation(std::size_t number) const { return operations_[number]; }
  const std::vector<ClientOperation>& operations() const { return operations_; }
  /// By key.
  std::map<std::string, std::vector<ClientOperation>> by_key() const;
  /// Whether another write of that key can have come after the put, or instead of it.
  bool may_be_superseded(std::size_t put) const;

 private:
  std::vector<ClientOperation> operations_;
  std::uint64_t moment_ = 0;
};

struct LinearizabilityVerdict {
  bool linearizable = true;
  /// False: the search was given up; `linearizable` says nothing then.
  bool decided = true;
  std::string why;
};

/// Whether operations on one key, which is absent at first, can have happened one after the other,
/// each between its invocation and its answer, those without answer at any later moment or never.
/// The search is that of Wing and Gong, in the form of G. Lowe, "Testing for linearizability"
/// (2017), with his memory of configurations that were seen. It gives up after `limit` of them.
LinearizabilityVerdict check_linearizable(std::vector<ClientOperation> operations,
                                          std::size_t limit = 1'000'000);

}  // namespace rakv::simulation
