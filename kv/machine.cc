// SPDX-License-Identifier: Apache-2.0
#include "kv/machine.h"

#include <limits>
#include <optional>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/etf/canonical.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/map_pairs.h"

namespace rakv::kv {

namespace {

/// Stands in a slot for a hash in odd_hashes_.
constexpr std::uint32_t kOddHash = std::numeric_limits<std::uint32_t>::max();

Error unsupported_command() {
  return make_error(ErrorCode::unsupported,
                    "ra_kv knows the commands {put, Key, Value, #{hash => Hash, size => Size}} and "
                    "{delete, Key} only; any other one would crash its Erlang replicas");
}

/// The value of `hash` in a put's meta map; empty if there is none.
std::string_view read_hash(etf::Cursor& cursor) {
  std::string_view hash;
  etf::for_each_atom_pair(cursor, [&](std::string_view key, std::string_view value) {
    if (key == "hash") hash = value;
  });
  return hash;
}

std::optional<KvCommand> read_command(std::string_view data) {
  etf::Cursor cursor(data, etf::kAnyDepth);
  const std::optional<std::uint32_t> arity = cursor.tuple();
  KvCommand command;
  if (arity == 4U && cursor.is_atom("put")) {
    command.kind = KvCommand::Kind::put;
    command.key = cursor.skip().value_or(std::string_view{});
    command.value = cursor.skip().value_or(std::string_view{});
    command.hash = read_hash(cursor);
    if (command.hash.empty()) return std::nullopt;
  } else if (arity == 2U && cursor.is_atom("delete")) {
    command.kind = KvCommand::Kind::remove;
    command.key = cursor.skip().value_or(std::string_view{});
  } else {
    return std::nullopt;
  }
  if (!cursor.at_end()) return std::nullopt;
  return command;
}

/// A key in its canonical form; points into the given bytes when these have it already. Bytes that
/// are not a term stay what they are: equal to themselves only.
class CanonicalKey {
 public:
  explicit CanonicalKey(std::string_view encoded) : view_(encoded) {
    if (etf::is_plainly_canonical(encoded)) return;
    if (etf::canonicalize_to(encoded, made_, etf::kAnyDepth)) view_ = made_;
  }
  CanonicalKey(const CanonicalKey&) = delete;
  CanonicalKey& operator=(const CanonicalKey&) = delete;

  std::string_view view() const { return view_; }

 private:
  std::string made_;
  std::string_view view_;
};

/// Reads `[Index|Hash]`. `hash` is Hash encoded, in `storage` if it has no bytes of its own: when
/// Hash is itself a list, the two are one list on the wire.
bool read_index_and_hash(etf::Cursor& cursor, std::uint64_t& index, std::string_view& hash,
                         std::string& storage) {
  storage.clear();
  if (cursor.kind() == etf::TermKind::string) {
    const std::string_view bytes = *cursor.string();
    if (bytes.empty()) return cursor.fail();
    index = static_cast<unsigned char>(bytes.front());
    etf::Writer(storage).byte_list(bytes.substr(1));
    hash = storage;
    return true;
  }
  const std::uint32_t count = cursor.list().value_or(0);
  if (count == 0) return cursor.fail();
  const std::optional<std::uint64_t> number = cursor.u64();
  if (!number) return false;
  index = *number;
  const std::string_view after_index = cursor.rest();
  for (std::uint32_t i = 1; i <= count; ++i) {
    const std::optional<std::string_view> part = cursor.skip();
    if (!part) return false;
    hash = *part;
  }
  if (count == 1) return true;
  etf::Writer(storage).list(count - 1).raw(
      after_index.substr(0, after_index.size() - cursor.rest().size()));
  hash = storage;
  return true;
}

}  // namespace

Result<KvCommand> parse_command(std::string_view data) {
  const std::optional<KvCommand> command = read_command(data);
  if (!command) return unsupported_command();
  return *command;
}

CommandOutcome KvMachine::apply(std::uint64_t index, const KvCommand& command) {
  const CanonicalKey key(command.key);
  if (command.kind == KvCommand::Kind::put) {
    put(key.view(), index, command.hash);
    return CommandOutcome::ok;
  }
  return remove(key.view()) ? CommandOutcome::ok : CommandOutcome::not_found;
}

std::uint64_t KvMachine::find(std::string_view encoded_key) const {
  const KeyTable::Slot* slot = keys_.find(CanonicalKey(encoded_key).view());
  return slot == nullptr ? 0 : slot->index;
}

std::vector<std::uint64_t> KvMachine::live_indexes() const {
  std::vector<std::uint64_t> indexes;
  indexes.reserve(keys_.size());
  keys_.for_each_index([&](std::uint64_t index) { indexes.push_back(index); });
  return indexes;
}

Result<std::string> KvMachine::command_at(std::uint64_t index, std::string_view value) const {
  const KeyTable::Slot* found = nullptr;
  keys_.for_each([&](const KeyTable::Slot& slot) {
    if (slot.index == index) found = &slot;
  });
  if (found == nullptr) {
    return make_error(ErrorCode::not_found, "no key has index " + std::to_string(index));
  }
  const Result<std::uint32_t> hash = etf::phash2(value, etf::kAnyDepth);
  const Result<std::size_t> size = etf::external_size(value, etf::kAnyDepth);
  if (!hash) return hash.error();
  if (!size) return size.error();
  // A hash of another kind is nobody's but a raw command's: with it nothing can be verified.
  if (found->value_hash != *hash) {
    return make_error(
        ErrorCode::corrupt,
        "the hash of the value at index " + std::to_string(index) + " is not the one that was put");
  }
  etf::Writer writer;
  writer.tuple(4).atom("put").raw(found->key()).raw(value).map(2);
  writer.atom("size").u64(*size).atom("hash").u64(*hash);
  return writer.take();
}

void KvMachine::write_state(etf::Writer& writer) const {
  writer.tuple(2).atom("ra_kv").map(keys_.size());
  keys_.for_each([&](const KeyTable::Slot& slot) { write_slot(writer, slot); });
}

void KvMachine::write_slot(etf::Writer& writer, const KeyTable::Slot& slot) const {
  writer.raw(slot.key()).list(1).u64(slot.index);
  if (slot.value_hash == kOddHash) {
    writer.raw(odd_hashes_.find(slot.key())->second);
  } else {
    writer.u64(slot.value_hash);
  }
}

std::unique_ptr<KvStateCapture> KvMachine::capture() {
  RAKV_CHECK(capture_ == nullptr);
  auto capture = std::make_unique<KvStateCapture>(
      keys_, [this](etf::Writer& writer, const KeyTable::Slot& slot) { write_slot(writer, slot); },
      [this] { capture_ = nullptr; });
  capture_ = capture.get();
  return capture;
}

Result<void> KvMachine::read_state(std::string_view state) {
  constexpr std::string_view kExpected = "a state of ra_kv: {ra_kv, #{Key => [Index|Hash]}}";
  KvMachine fresh;
  etf::Cursor cursor(state, etf::kAnyDepth);
  if (!cursor.tuple(2) || !cursor.is_atom("ra_kv")) return cursor.error(kExpected);
  const std::optional<std::uint32_t> count = cursor.map();
  if (!count) return cursor.error(kExpected);
  std::string storage;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const std::optional<std::string_view> key = cursor.skip();
    if (!key) return cursor.error(kExpected);
    std::uint64_t index = 0;
    std::string_view hash;
    if (!read_index_and_hash(cursor, index, hash, storage)) return cursor.error(kExpected);
    fresh.put(CanonicalKey(*key).view(), index, hash);
  }
  if (!cursor.at_end()) return cursor.error("the end of the state");
  if (fresh.key_count() != *count) {
    return make_error(ErrorCode::malformed,
                      "the state of ra_kv has a key twice: take the snapshot again from a healthy "
                      "member");
  }
  RAKV_CHECK(capture_ == nullptr);
  *this = std::move(fresh);
  return {};
}

void KvMachine::write_overview(etf::Writer& writer) const {
  writer.map(2).atom("num_keys").u64(keys_.size()).atom("live_indexes").list(keys_.size());
  keys_.for_each_index([&](std::uint64_t index) { writer.u64(index); });
  writer.nil();
}

void KvMachine::put(std::string_view key, std::uint64_t index, std::string_view hash) {
  if (capture_ != nullptr) capture_->before_change(key);
  const KeyTable::Slot& slot = keys_.find_or_insert(key);
  slot.index = index;
  etf::Cursor cursor(hash);
  const std::optional<std::uint32_t> number = cursor.u32();
  const bool odd = !number || *number == kOddHash;
  if (slot.value_hash == kOddHash && !odd) odd_hashes_.erase(odd_hashes_.find(key));
  if (odd) odd_hashes_.insert_or_assign(std::string(key), std::string(hash));
  slot.value_hash = odd ? kOddHash : *number;
}

bool KvMachine::remove(std::string_view key) {
  if (capture_ != nullptr) capture_->before_change(key);
  if (!odd_hashes_.empty()) {
    if (const auto odd = odd_hashes_.find(key); odd != odd_hashes_.end()) odd_hashes_.erase(odd);
  }
  return keys_.erase(key);
}

}  // namespace rakv::kv
