// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/builtins.h"

#include "cnode/node/gen.h"

namespace rakv::node {

Node::Impl::Builtins::Builtins(Impl& node)
    : node_(node), net_kernel_(node), rex_(node), aten_sink_(node), io_leader_(node) {
  const auto enlist = [&](Process& process, const char* name) {
    const std::uint64_t entity = node_.entity_of(node_.spawn(&process));
    if (name != nullptr) {
      node_.names_.emplace(name, entity);
      node_.entities_[entity].names.insert(name);
    }
    return entity;
  };
  net_kernel_.entity = enlist(net_kernel_, "net_kernel");
  rex_.entity = enlist(rex_, "rex");
  aten_sink_.entity = enlist(aten_sink_, "aten_sink");
  io_leader_.entity = enlist(io_leader_, nullptr);
}

etf::Pid Node::Impl::Builtins::io_leader() const { return node_.pid_of(io_leader_.entity); }

bool Node::Impl::Builtins::on_message_for(std::string_view name, std::string_view sender_node,
                                          std::string_view message) {
  if (name != "global_name_server") return false;
  greet_global(sender_node, message);
  return true;
}

// global of a BEAM node offers to synchronise. We don't take part, but one `in_sync` cast makes its
// global:sync/0 return instead of waiting for us for ever (docs/protocol/distribution.md 6.3).
// Monitors of the name keep getting noproc: we never become a node that global knows, so
// prevent_overlapping_partitions leaves us alone.
void Node::Impl::Builtins::greet_global(std::string_view sender_node, std::string_view message) {
  const std::optional<GenMessage> gen = parse_gen_message(message);
  if (!gen || gen->kind != GenMessage::Kind::cast) return;
  etf::Cursor cursor(gen->request);
  if (cursor.kind() != etf::TermKind::tuple || !cursor.tuple() || !cursor.is_atom("init_connect"))
    return;
  node_.send_to_name(
      node_.pid_of(node_.caller_), sender_node, "global_name_server",
      [&](distribution::OutMessage& out) {
        etf::Writer(out.text)
            .tuple(2)
            .atom("$gen_cast")
            .tuple(3)
            .atom("in_sync")
            .atom(node_.options_.name)
            .boolean(true);
      },
      true);
}

// net_adm:ping/1 is a call {is_auth, Node}; any answer but `yes` makes the caller hang up. What
// net_kernel answers with a value of its own is answered with ours, the rest with an error: a
// caller must not wait for ever.
void Node::Impl::Builtins::NetKernel::on_message(std::string_view message) {
  const std::optional<GenMessage> gen = parse_gen_message(message);
  if (!gen) return;
  if (gen->kind == GenMessage::Kind::info) return node_.refuse_system_message(entity, message);
  if (gen->kind != GenMessage::Kind::call) return;
  const std::string& name = node_.options_.name;
  etf::Cursor cursor(gen->request);
  const bool is_auth =
      cursor.kind() == etf::TermKind::tuple && cursor.tuple() == 2u && cursor.is_atom("is_auth");
  etf::Cursor request(gen->request);
  node_.reply(node_.pid_of(entity), gen->from, [&](distribution::OutMessage& out) {
    etf::Writer writer(out.text);
    if (is_auth) {
      writer.atom("yes");
    } else if (request.is_atom("nodename")) {
      writer.atom(name);
    } else if (request.is_atom("longnames")) {
      writer.boolean(name.find('.', name.find('@')) != std::string::npos);
    } else if (request.is_atom("ticktime")) {
      writer.integer(node_.options_.net_ticktime.count());  // milliseconds, as net_kernel keeps it
    } else if (request.is_atom("allowed")) {
      writer.tuple(2).atom("ok").nil();
    } else {
      writer.tuple(2).atom("error").atom("not_supported");
    }
  });
}

void Node::Impl::Builtins::AtenSink::on_message(std::string_view message) {
  const std::optional<GenMessage> gen = parse_gen_message(message);
  if (!gen) return;
  if (gen->kind == GenMessage::Kind::info) return node_.refuse_system_message(entity, message);
  if (gen->kind == GenMessage::Kind::call)
    return node_.refuse(entity, gen->from, "unsupported_call", gen->request);
  etf::Cursor cursor(gen->request);
  if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 2u || !cursor.is_atom("hb"))
    return;
  const std::optional<std::string_view> from =
      cursor.kind() == etf::TermKind::atom ? cursor.atom() : std::nullopt;
  // Only beats of connected nodes count, so that made-up names can't fill the table.
  if (from && node_.connection(*from)) node_.detector_.beat(*from, Clock::of(node_.io_).now());
}

// A process that we spawn on a BEAM node has this as its group leader; a dead or silent one would
// break or hang its io:format calls (docs/protocol/distribution.md 5.4). Output is swallowed.
void Node::Impl::Builtins::IoLeader::on_message(std::string_view message) {
  etf::Cursor cursor(message);
  if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 4u ||
      !cursor.is_atom("io_request"))
    return;
  if (cursor.kind() != etf::TermKind::pid) return;
  const std::optional<etf::PidView> from = cursor.pid_view();
  const std::optional<std::string_view> reply_as = cursor.skip();
  if (!from || !reply_as) return;
  const bool writes =
      cursor.kind() == etf::TermKind::tuple && cursor.tuple() && cursor.is_atom("put_chars");
  node_.send(
      node_.pid_of(entity), *from,
      [&](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        writer.tuple(3).atom("io_reply").raw(*reply_as);
        if (writes) {
          writer.atom("ok");
        } else {
          writer.tuple(2).atom("error").atom("request");
        }
      },
      true);
}

}  // namespace rakv::node
