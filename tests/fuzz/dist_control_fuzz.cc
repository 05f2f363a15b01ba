// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "cnode/base/check.h"
#include "cnode/distribution/control.h"
#include "cnode/distribution/frames.h"

// Frames and control messages from a peer that means no good. The first byte chooses the size of
// the pieces in which the bytes arrive; its high bit makes the rest one message's terms instead of
// frames.

namespace {

std::size_t sum(std::string_view bytes) {
  std::size_t total = 0;
  for (const char c : bytes) total += static_cast<unsigned char>(c);
  return total;
}

/// Touches every byte a signal points to, so that the sanitizer sees views that lead astray.
struct Touch {
  std::size_t total = 0;

  void operator()(std::string_view bytes) { total += sum(bytes); }
  void operator()(const rakv::etf::PidView& pid) { total += sum(pid.node) + pid.id; }
  void operator()(const rakv::etf::ReferenceView& reference) {
    total += sum(reference.node) + reference.words.count;
  }
  template <class... Alternatives>
  void operator()(const std::variant<Alternatives...>& value) {
    std::visit(*this, value);
  }
  void operator()(const rakv::distribution::MessageSignal& s) {
    if (s.from) (*this)(*s.from);
    (*this)(s.to);
  }
  void operator()(const rakv::distribution::LinkSignal& s) { pair(s); }
  void operator()(const rakv::distribution::UnlinkSignal& s) { pair(s); }
  void operator()(const rakv::distribution::UnlinkAckSignal& s) { pair(s); }
  void operator()(const rakv::distribution::LinkExitSignal& s) {
    pair(s);
    (*this)(s.reason);
  }
  void operator()(const rakv::distribution::ExitSignal& s) {
    pair(s);
    (*this)(s.reason);
  }
  void operator()(const rakv::distribution::MonitorSignal& s) { watch(s); }
  void operator()(const rakv::distribution::DemonitorSignal& s) { watch(s); }
  void operator()(const rakv::distribution::MonitorExitSignal& s) {
    watch(s);
    (*this)(s.reason);
  }
  void operator()(const rakv::distribution::SpawnRequestSignal& s) {
    (*this)(s.reference);
    (*this)(s.from);
    (*this)(s.group_leader);
    (*this)(s.module);
    (*this)(s.function);
    (*this)(s.options);
  }
  void operator()(const rakv::distribution::SpawnReplySignal& s) {
    (*this)(s.reference);
    (*this)(s.to);
    (*this)(s.result);
  }
  void operator()(const rakv::distribution::IgnoredSignal& s) { total += s.op; }

  template <class Signal>
  void pair(const Signal& s) {
    (*this)(s.from);
    (*this)(s.to);
  }
  template <class Signal>
  void watch(const Signal& s) {
    (*this)(s.watcher);
    (*this)(s.watched);
    (*this)(s.reference);
  }
};

void decode(std::string_view terms) {
  rakv::etf::Cursor cursor(terms);
  const auto decoded = rakv::distribution::decode_message(cursor);
  if (!decoded) return;
  Touch touch;
  touch(decoded->control);
  touch(decoded->payload);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 0x80) != 0) {
    decode(input);
    return 0;
  }
  rakv::distribution::AssemblerLimits limits;
  limits.max_assembled_bytes = 4096;
  limits.max_unfinished_sequences = 8;
  rakv::distribution::FrameAssembler assembler(limits);
  const std::size_t piece = 1 + data[0];
  while (!input.empty()) {
    const std::string_view part = input.substr(0, piece);
    input.remove_prefix(part.size());
    assembler.feed(part);
    for (;;) {
      const auto event = assembler.next();
      if (!event) return 0;
      if (!*event) break;
      if (const auto* message =
              std::get_if<rakv::distribution::FrameAssembler::Message>(&**event)) {
        decode(message->terms);
      }
    }
    RAKV_CHECK(assembler.unfinished_bytes() <= limits.max_assembled_bytes);
    RAKV_CHECK(assembler.unfinished_sequences() <= limits.max_unfinished_sequences);
    RAKV_CHECK(assembler.memory_bytes() <= (std::size_t{1} << 20));
  }
  return 0;
}
