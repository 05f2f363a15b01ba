// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/stream.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

namespace rakv::simulation {

void Stream::post(End& end, Done done, Result<std::size_t> result) {
  if (end.io == nullptr || !done) return;
  boost::asio::post(*end.io,
                    [done = std::move(done), result = std::move(result)] { done(result); });
}

void Stream::read(std::size_t at, std::span<char> room, Done done) {
  End& end = ends[at];
  if (end.closed) return post(end, std::move(done), make_error(ErrorCode::io, "closed"));
  end.room = room;
  end.reading = std::move(done);
  answer_read(at);
}

void Stream::answer_read(std::size_t at) {
  End& end = ends[at];
  if (!end.reading) return;
  if (!end.inbox.empty()) {
    const std::size_t count = std::min(end.room.size(), end.inbox.size());
    std::memcpy(end.room.data(), end.inbox.data(), count);
    end.inbox.erase(0, count);
    post(end, std::exchange(end.reading, nullptr), count);
    send_rest(1 - at);
  } else if (end.ended) {
    post(end, std::exchange(end.reading, nullptr),
         make_error(ErrorCode::unavailable, "the peer closed the connection"));
  }
}

std::size_t Stream::send(std::size_t from, std::string_view bytes) {
  End& end = ends[from];
  End& other = ends[1 - from];
  if (end.closed || other.closed || broken) {
    if (other.vanished) {
      other.missed = true;
      if (network.is_on(other.host)) come_back();
    }
    return bytes.size();  // into the void, until that is heard of
  }
  const std::size_t used = other.under_way + other.inbox.size();
  const std::size_t room = network.options().window - std::min(network.options().window, used);
  bytes = bytes.substr(0, room);
  for (std::string_view rest = bytes; !rest.empty();) {
    const std::string piece(rest.substr(0, network.piece_of(rest.size())));
    rest.remove_prefix(piece.size());
    other.under_way += piece.size();
    arrive(1 - from, [this, to = 1 - from, piece] { take(to, piece); });
  }
  return bytes.size();
}

void Stream::take(std::size_t at, const std::string& bytes) {
  End& end = ends[at];
  end.under_way -= bytes.size();
  if (end.closed || broken) return;
  network.note(ends[1 - at].host + " > " + end.host + " #" + std::to_string(number) + ": " +
               std::to_string(bytes.size()) + " bytes " + std::to_string(checksum(bytes)));
  end.inbox += bytes;
  if (end.on_arrival) return end.on_arrival();
  answer_read(at);
}

void Stream::arrive(std::size_t at, std::function<void()> arrival) {
  End& end = ends[at];
  end.last_arrival = std::max(end.last_arrival, network.schedule().now() + network.delay());
  network.schedule().at(
      end.last_arrival, [self = shared_from_this(), at, arrival = std::move(arrival)]() mutable {
        End& here = self->ends[at];
        if (!here.held.empty() || self->network.is_cut(self->ends[1 - at].host, here.host)) {
          here.held.push_back(std::move(arrival));
          return;
        }
        arrival();
        const auto turn = here.turn;
        if (turn) turn();
      });
}

void Stream::mend() {
  for (End& end : ends) {
    for (auto& arrival : std::exchange(end.held, {})) arrival();
    const auto turn = end.turn;
    if (turn) turn();
  }
}

void Stream::write_all(std::size_t from, std::string bytes, Done done) {
  End& end = ends[from];
  if (end.closed) return post(end, std::move(done), make_error(ErrorCode::io, "closed"));
  end.writing = bytes.size();
  end.unsent = std::move(bytes);
  end.written = std::move(done);
  send_rest(from);
}

void Stream::send_rest(std::size_t from) {
  End& end = ends[from];
  if (!end.written) return;
  end.unsent.erase(0, send(from, end.unsent));
  if (end.unsent.empty()) {
    post(end, std::exchange(end.written, nullptr), end.writing);
    if (end.turn) network.schedule().after(Nanoseconds(1), end.turn);
  }
}

void Stream::close(std::size_t at) {
  End& end = ends[at];
  if (std::exchange(end.closed, true)) return;
  post(end, std::exchange(end.reading, nullptr), make_error(ErrorCode::io, "closed"));
  post(end, std::exchange(end.written, nullptr), make_error(ErrorCode::io, "closed"));
  if (!end.vanished) arrive(1 - at, [this, to = 1 - at] { end_at(to); });
}

void Stream::end_at(std::size_t at) {
  End& end = ends[at];
  if (end.closed || end.ended) return;
  network.note("stream #" + std::to_string(number) + " ends at " + end.host);
  end.ended = true;
  if (end.on_arrival) return end.on_arrival();
  if (end.written) {
    post(end, std::exchange(end.written, nullptr),
         make_error(ErrorCode::unavailable, "the peer closed the connection"));
  }
  answer_read(at);
}

void Stream::come_back() {
  for (const std::size_t at : {0U, 1U}) {
    const bool unknown_there = ends[1 - at].vanished && std::exchange(ends[1 - at].missed, false);
    if (unknown_there) arrive(at, [this, at] { end_at(at); });
  }
}

void Stream::reset() {
  broken = true;
  for (const std::size_t at : {0U, 1U}) {
    ends[at].inbox.clear();
    ends[at].held.clear();
    network.schedule().after(network.delay(), [self = shared_from_this(), at] {
      self->end_at(at);
      const auto turn = self->ends[at].turn;
      if (turn) turn();
    });
  }
}

void Stream::abandon(std::size_t at) {
  End& end = ends[at];
  end.io = nullptr;
  end.turn = nullptr;
  end.reading = nullptr;
  end.written = nullptr;
  close(at);
}

std::size_t SimulatedTransport::write_now(const std::vector<std::string_view>& buffers) {
  std::size_t sent = 0;
  for (const std::string_view buffer : buffers) {
    const std::size_t count = stream_->send(at_, buffer);
    sent += count;
    if (count < buffer.size()) break;
  }
  return sent;
}

void SimulatedTransport::write_all(const std::vector<std::string_view>& buffers, Done done) {
  std::string bytes;
  for (const std::string_view buffer : buffers) bytes += buffer;
  stream_->write_all(at_, std::move(bytes), std::move(done));
}

}  // namespace rakv::simulation
