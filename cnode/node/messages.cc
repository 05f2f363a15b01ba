// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/gen.h"
#include "cnode/node/node_impl.h"

namespace rakv::node {
namespace {

/// The whole message as one string, for a process of this node.
std::string flatten(const distribution::OutMessage& message) {
  std::vector<std::string_view> parts;
  message.append_range(0, message.size(), parts);
  std::string whole;
  whole.reserve(message.size());
  for (const std::string_view part : parts) whole.append(part);
  return whole;
}

Delivery delivery_of(distribution::Outbox::Admission admission) {
  switch (admission) {
    case distribution::Outbox::Admission::queued:
      return Delivery::queued;
    case distribution::Outbox::Admission::would_block:
      return Delivery::would_block;
    case distribution::Outbox::Admission::overflow:
      break;  // the connection is being closed
  }
  return Delivery::not_connected;
}

}  // namespace

std::string rendered(PayloadWriter payload) {
  distribution::OutMessage message;
  payload(message);
  return flatten(message);
}

Delivery Node::Impl::transmit(distribution::Connection& connection, const etf::PidView& from,
                              distribution::OutMessage message, bool may_block) {
  const distribution::SenderKey sender = entity_of(from);
  return delivery_of(may_block ? connection.send(sender, std::move(message))
                               : connection.try_send(sender, std::move(message)));
}

void Node::Impl::signal(std::string_view node, const etf::PidView& from,
                        distribution::OutMessage message) {
  if (const auto peer = connection(node)) transmit(*peer, from, std::move(message), true);
}

Delivery Node::Impl::send(const etf::PidView& from, const etf::PidView& to, PayloadWriter payload,
                          bool may_block) {
  if (is_own(to.node)) {
    deliver_later(entity_of(to), rendered(payload));
    return Delivery::queued;
  }
  const auto peer = connection(to.node);
  if (!peer) return Delivery::not_connected;
  distribution::OutMessage message = distribution::encode_send(from, to);
  payload(message);
  return transmit(*peer, from, std::move(message), may_block);
}

Delivery Node::Impl::send_to_name(const etf::PidView& from, std::string_view node,
                                  std::string_view name, PayloadWriter payload, bool may_block) {
  if (is_own(node)) {
    const auto found = names_.find(name);
    if (found != names_.end()) deliver_later(found->second, rendered(payload));
    return Delivery::queued;
  }
  const auto peer = connection(node);
  if (!peer) return Delivery::not_connected;
  distribution::OutMessage message = distribution::encode_send_to_name(from, name);
  payload(message);
  return transmit(*peer, from, std::move(message), may_block);
}

Delivery Node::Impl::reply(const etf::PidView& from, std::string_view caller,
                           PayloadWriter payload) {
  etf::Cursor cursor(caller);
  const std::optional<ReplyAddress> address = parse_from(cursor);
  if (!address) return Delivery::not_connected;
  const auto tagged = [&](distribution::OutMessage& out) {
    etf::Writer(out.text).tuple(2).raw(address->tag);
    payload(out);
  };
  if (!address->alias || is_own(address->pid.node)) return send(from, address->pid, tagged, true);
  // An alias lives where its reference was made; a reply that comes too late is dropped there
  // instead of staying in the caller's mailbox.
  const auto peer = connection(address->alias->node);
  if (!peer) return Delivery::not_connected;
  if (!peer->has(distribution::kFlagAlias)) return send(from, address->pid, tagged, true);
  distribution::OutMessage message =
      distribution::encode_send_to_alias(peer->peer().flags, from, *address->alias);
  tagged(message);
  return transmit(*peer, from, std::move(message), true);
}

void Node::Impl::refuse(std::uint64_t entity, std::string_view caller, std::string_view what,
                        std::string_view request) {
  reply(pid_of(entity), caller, [&](distribution::OutMessage& out) {
    etf::Writer(out.text).tuple(2).atom("error").tuple(2).atom(what).raw(request);
  });
}

void Node::Impl::refuse_system_message(std::uint64_t entity, std::string_view message) {
  if (const std::optional<SystemMessage> system = parse_system_message(message))
    refuse(entity, system->from, "unsupported_system_message", system->request);
}

}  // namespace rakv::node
