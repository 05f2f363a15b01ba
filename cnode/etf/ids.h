// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "cnode/etf/limits.h"

// Process identifiers, references and ports as values. The `*View` twins point into the bytes they
// were read from (or into the cursor, for Latin-1 node names with non-ASCII characters) and cost no
// allocation.
//
// `==` is Erlang's `=:=`: node, all numbers and the creation. `<` is a total order for containers;
// Erlang's own order is in order.h.

namespace rakv::etf {

/// A pid whose node name is borrowed.
struct PidView {
  std::string_view node;
  std::uint32_t id = 0;
  std::uint32_t serial = 0;
  std::uint32_t creation = 0;

  friend auto operator<=>(const PidView&, const PidView&) = default;
  friend bool operator==(const PidView&, const PidView&) = default;
};

/// A process identifier.
struct Pid {
  std::string node;
  std::uint32_t id = 0;
  std::uint32_t serial = 0;
  std::uint32_t creation = 0;

  Pid() = default;
  Pid(std::string node_name, std::uint32_t id_, std::uint32_t serial_, std::uint32_t creation_)
      : node(std::move(node_name)), id(id_), serial(serial_), creation(creation_) {}
  explicit Pid(const PidView& from)
      : node(from.node), id(from.id), serial(from.serial), creation(from.creation) {}

  PidView view() const { return {node, id, serial, creation}; }
  operator PidView() const { return view(); }  // NOLINT(google-explicit-constructor)

  friend auto operator<=>(const Pid&, const Pid&) = default;
  friend bool operator==(const Pid&, const Pid&) = default;
};

/// The words of a reference: one to five; unused words are 0, so comparing the arrays compares the
/// references.
struct ReferenceWords {
  std::array<std::uint32_t, kMaxReferenceWords> word{};
  std::uint8_t count = 0;

  friend auto operator<=>(const ReferenceWords&, const ReferenceWords&) = default;
  friend bool operator==(const ReferenceWords&, const ReferenceWords&) = default;
};

/// A reference whose node name is borrowed.
struct ReferenceView {
  std::string_view node;
  std::uint32_t creation = 0;
  ReferenceWords words;

  friend auto operator<=>(const ReferenceView&, const ReferenceView&) = default;
  friend bool operator==(const ReferenceView&, const ReferenceView&) = default;
};

/// A reference (also: an alias, a monitor, a call's tag).
struct Reference {
  std::string node;
  std::uint32_t creation = 0;
  ReferenceWords words;

  Reference() = default;
  Reference(std::string node_name, std::uint32_t creation_, ReferenceWords words_)
      : node(std::move(node_name)), creation(creation_), words(words_) {}
  explicit Reference(const ReferenceView& from)
      : node(from.node), creation(from.creation), words(from.words) {}

  ReferenceView view() const { return {node, creation, words}; }
  operator ReferenceView() const { return view(); }  // NOLINT(google-explicit-constructor)

  friend auto operator<=>(const Reference&, const Reference&) = default;
  friend bool operator==(const Reference&, const Reference&) = default;
};

/// A port whose node name is borrowed.
struct PortView {
  std::string_view node;
  std::uint64_t id = 0;
  std::uint32_t creation = 0;

  friend auto operator<=>(const PortView&, const PortView&) = default;
  friend bool operator==(const PortView&, const PortView&) = default;
};

/// A port identifier.
struct Port {
  std::string node;
  std::uint64_t id = 0;
  std::uint32_t creation = 0;

  Port() = default;
  Port(std::string node_name, std::uint64_t id_, std::uint32_t creation_)
      : node(std::move(node_name)), id(id_), creation(creation_) {}
  explicit Port(const PortView& from) : node(from.node), id(from.id), creation(from.creation) {}

  PortView view() const { return {node, id, creation}; }
  operator PortView() const { return view(); }  // NOLINT(google-explicit-constructor)

  friend auto operator<=>(const Port&, const Port&) = default;
  friend bool operator==(const Port&, const Port&) = default;
};

/// Hashes for unordered containers. Views and owners of the same value hash alike.
std::size_t hash_value(const PidView& pid);
std::size_t hash_value(const ReferenceView& reference);
std::size_t hash_value(const PortView& port);

}  // namespace rakv::etf

template <>
struct std::hash<rakv::etf::Pid> {
  std::size_t operator()(const rakv::etf::Pid& pid) const {
    return rakv::etf::hash_value(pid.view());
  }
};
template <>
struct std::hash<rakv::etf::PidView> {
  std::size_t operator()(const rakv::etf::PidView& pid) const { return rakv::etf::hash_value(pid); }
};
template <>
struct std::hash<rakv::etf::Reference> {
  std::size_t operator()(const rakv::etf::Reference& reference) const {
    return rakv::etf::hash_value(reference.view());
  }
};
template <>
struct std::hash<rakv::etf::ReferenceView> {
  std::size_t operator()(const rakv::etf::ReferenceView& reference) const {
    return rakv::etf::hash_value(reference);
  }
};
template <>
struct std::hash<rakv::etf::Port> {
  std::size_t operator()(const rakv::etf::Port& port) const {
    return rakv::etf::hash_value(port.view());
  }
};
