// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/host.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "cnode/base/byte_order.h"

namespace rakv::simulation {

void HostConnecting::end(Result<std::unique_ptr<distribution::Transport>> result) {
  if (!done_) return;
  auto shared =
      std::make_shared<Result<std::unique_ptr<distribution::Transport>>>(std::move(result));
  boost::asio::post(io_,
                    [done = std::exchange(done_, nullptr), shared] { done(std::move(*shared)); });
  turn_();
}

class Host::PortListener final : public distribution::Network::Listener {
 public:
  PortListener(Host& host, std::uint16_t port) : host_(&host), port_(port) {
    host.listeners_[port] = this;
  }
  ~PortListener() override { close(); }
  std::uint16_t port() const override { return port_; }
  void accept(Accepted done) override {
    accepted_ = std::move(done);
    hand_over();
  }
  void close() override {
    accepted_ = nullptr;
    if (host_ != nullptr) std::exchange(host_, nullptr)->listeners_.erase(port_);
  }
  void take_in(const std::shared_ptr<Stream>& stream) {
    waiting_.push_back(std::make_unique<SimulatedTransport>(stream, 1));
    hand_over();
  }
  void forget_host() {
    host_ = nullptr;
    accepted_ = nullptr;
  }

 private:
  void hand_over() {
    if (!accepted_ || waiting_.empty()) return;
    auto shared =
        std::make_shared<std::unique_ptr<distribution::Transport>>(std::move(waiting_.front()));
    waiting_.pop_front();
    boost::asio::post(host_->io_, [done = std::exchange(accepted_, nullptr), shared] {
      done(std::move(*shared));
    });
  }

  Host* host_;
  std::uint16_t port_;
  Accepted accepted_;
  std::deque<std::unique_ptr<distribution::Transport>> waiting_;
};

Host::~Host() {
  for (const auto& [port, listener] : listeners_) listener->forget_host();
  for (const auto& attempt : connecting_) {
    if (const auto open = attempt.lock()) open->cancel();
  }
  for (const auto& [stream, at] : held_) {
    if (const auto open = stream.lock()) open->abandon(at);
  }
}

Result<std::unique_ptr<distribution::Network::Listener>> Host::listen(const std::string&,
                                                                      std::uint16_t port) {
  if (port == 0) port = next_port_++;
  if (listeners_.contains(port)) return make_error(ErrorCode::already_exists, "the port is taken");
  return std::unique_ptr<Listener>(std::make_unique<PortListener>(*this, port));
}

std::shared_ptr<distribution::Network::Connecting> Host::connect(const std::string& host,
                                                                 std::uint16_t port,
                                                                 Connected done) {
  auto connecting = std::make_shared<HostConnecting>(io_, turn_, std::move(done));
  std::erase_if(connecting_, [](const auto& attempt) { return attempt.expired(); });
  connecting_.push_back(connecting);
  network_.connect(*this, host == "127.0.0.1" ? name_ : host, port, connecting);
  return connecting;
}

void Host::hold(const std::shared_ptr<Stream>& stream, std::size_t at) {
  std::erase_if(held_, [](const auto& held) { return held.first.expired(); });
  held_.emplace_back(stream, at);
  stream->ends[at].io = &io_;
  stream->ends[at].turn = turn_;
}

bool Host::take_in(std::uint16_t port, const std::shared_ptr<Stream>& stream) {
  const auto found = listeners_.find(port);
  if (found == listeners_.end()) return false;
  hold(stream, 1);
  found->second->take_in(stream);
  turn_();
  return true;
}

bool Host::take_in(const std::shared_ptr<Stream>& stream) {
  return !listeners_.empty() && take_in(listeners_.begin()->first, stream);
}

Epmd::~Epmd() {
  for (const auto& weak : streams_) {
    const auto stream = weak.lock();
    if (!stream) continue;
    stream->ends[1].on_arrival = nullptr;
    stream->close(1);
  }
}

void Epmd::serve(const std::shared_ptr<Stream>& stream) {
  std::erase_if(streams_, [](const auto& old) { return old.expired(); });
  streams_.push_back(stream);
  stream->ends[1].on_arrival = [this, weak = std::weak_ptr<Stream>(stream)] {
    if (const auto open = weak.lock()) look(*open);
  };
}

void Epmd::look(Stream& stream) {
  End& end = stream.ends[1];
  if (end.ended) {
    std::erase_if(names_, [&](const auto& name) { return name.second.stream == stream.number; });
    return stream.close(1);
  }
  if (end.inbox.size() < 2) return;
  const std::size_t length = load_number(end.inbox, 2);
  if (end.inbox.size() < 2 + length) return;
  const std::string request = end.inbox.substr(2, length);
  end.inbox.clear();
  stream.send(1, answer(request, stream.number));
  if (request.front() != 'x') stream.close(1);
}

std::string Epmd::answer(std::string_view request, std::uint64_t stream) {
  std::string reply;
  if (request.front() == 'x') {
    FieldReader fields{request.substr(1)};
    const auto port = static_cast<std::uint16_t>(fields.number(2));
    fields.text(6);  // type, protocol, versions
    const std::string name(fields.text(fields.number(2)));
    const bool taken = names_.contains(name);
    if (!taken) names_[name] = {port, stream};
    put_number(reply, 'v', 1);
    put_number(reply, taken ? 1 : 0, 1);
    put_number(reply, taken ? 0 : next_creation_++, 4);
  } else if (request.front() == 'z') {
    const auto found = names_.find(std::string(request.substr(1)));
    put_number(reply, 'w', 1);
    put_number(reply, found == names_.end() ? 1 : 0, 1);
    if (found == names_.end()) return reply;
    put_number(reply, found->second.port, 2);
    put_number(reply, 'M', 1);
    put_number(reply, 0, 1);  // TCP
    put_number(reply, 6, 2);
    put_number(reply, 5, 2);
    put_number(reply, found->first.size(), 2);
    reply += found->first;
    put_number(reply, 0, 2);
  }
  return reply;
}

}  // namespace rakv::simulation
