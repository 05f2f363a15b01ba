// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/rpc.h"

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"

namespace rakv::node {

RpcCall::RpcCall(std::unique_ptr<State> state) : state_(std::move(state)) {}

std::optional<RpcCall> RpcCall::make(std::string_view caller_node, std::string_view arguments,
                                     Answer answer) {
  auto state = std::make_unique<State>();
  std::optional<std::vector<std::string_view>> elements = list_elements(arguments, state->storage);
  if (!elements) return std::nullopt;
  state->caller_node = caller_node;
  state->arguments = std::move(*elements);
  state->answer = std::move(answer);
  return RpcCall(std::move(state));
}

RpcCall::RpcCall(RpcCall&&) noexcept = default;

RpcCall& RpcCall::operator=(RpcCall&& other) noexcept {
  if (this != &other) {
    if (state_) exit(etf::Writer().atom("killed").view());
    state_ = std::move(other.state_);
  }
  return *this;
}

RpcCall::~RpcCall() {
  if (state_) exit(etf::Writer().atom("killed").view());
}

void RpcCall::finish(RpcOutcome outcome, const RpcTerm& term) {
  const std::unique_ptr<State> state = std::move(state_);
  if (state && state->answer) state->answer(outcome, term, etf::Writer().nil().view());
}

void RpcCall::answer(const RpcTerm& value) { finish(RpcOutcome::returned, value); }
void RpcCall::raise(std::string_view reason) { finish(RpcOutcome::raised, reason); }
void RpcCall::raise_badarg() { raise(etf::Writer().atom("badarg").view()); }
void RpcCall::throw_term(std::string_view term) { finish(RpcOutcome::thrown, term); }
void RpcCall::exit(std::string_view reason) { finish(RpcOutcome::exited, reason); }

void RpcTable::write_key(std::string& key, std::string_view module, std::string_view function,
                         std::size_t arity) {
  key.assign(module).append(1, ':').append(function).append(1, '/').append(std::to_string(arity));
}

void RpcTable::add(std::string_view module, std::string_view function, std::size_t arity,
                   RpcFunction implementation) {
  std::string key;
  write_key(key, module, function, arity);
  functions_[key] = std::move(implementation);
}

const RpcFunction* RpcTable::find(std::string_view module, std::string_view function,
                                  std::size_t arity) const {
  write_key(sought_, module, function, arity);
  const auto found = functions_.find(sought_);
  return found == functions_.end() ? nullptr : &found->second;
}

std::optional<std::size_t> list_length(std::string_view list) {
  etf::Cursor cursor(list, etf::kMessageLimits);
  if (cursor.kind() == etf::TermKind::string) {
    const std::optional<std::string_view> bytes = cursor.string();
    return bytes && cursor.at_end() ? std::optional(bytes->size()) : std::nullopt;
  }
  const std::optional<std::uint32_t> count = cursor.list();
  for (std::uint32_t i = 0; count && i < *count; ++i) {
    if (!cursor.skip()) return std::nullopt;
  }
  if (!count || !cursor.list_end(*count) || !cursor.at_end()) return std::nullopt;
  return *count;
}

std::optional<std::vector<std::string_view>> list_elements(std::string_view list,
                                                           std::string& storage) {
  std::vector<std::string_view> elements;
  etf::Cursor cursor(list, etf::kMessageLimits);
  if (cursor.kind() == etf::TermKind::string) {
    const std::optional<std::string_view> bytes = cursor.string();
    if (!bytes || !cursor.at_end() || bytes->size() > kMaxArguments) return std::nullopt;
    std::vector<std::size_t> ends;
    etf::Writer writer(storage);
    for (const char byte : *bytes) {
      writer.integer(static_cast<unsigned char>(byte));
      ends.push_back(storage.size());
    }
    std::size_t start = 0;
    for (const std::size_t end : ends) {
      elements.push_back(std::string_view(storage).substr(start, end - start));
      start = end;
    }
    return elements;
  }
  const std::optional<std::uint32_t> count = cursor.list();
  if (!count || *count > kMaxArguments) return std::nullopt;
  storage.assign(list);
  etf::Cursor own(storage, etf::kMessageLimits);
  own.list();
  elements.reserve(*count);
  for (std::uint32_t i = 0; i < *count; ++i) {
    const std::optional<std::string_view> element = own.skip();
    if (!element) return std::nullopt;
    elements.push_back(*element);
  }
  if (!own.list_end(*count) || !own.at_end()) return std::nullopt;
  return elements;
}

std::string undef_stack(std::string_view module, std::string_view function,
                        std::string_view arguments) {
  etf::Writer writer;
  writer.list(1).tuple(4).atom(module).atom(function).raw(arguments).nil().nil();
  return writer.take();
}

}  // namespace rakv::node
