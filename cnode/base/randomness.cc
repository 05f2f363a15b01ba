// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/randomness.h"

#include <sys/random.h>

#include <boost/asio/execution_context.hpp>
#include <cerrno>

#include "cnode/base/check.h"

namespace rakv {
namespace {

class SystemRandomness final : public Randomness {
 public:
  result_type operator()() override {
    result_type bits = 0;
    ssize_t count = 0;
    do count = ::getrandom(&bits, sizeof bits, 0);
    while (count < 0 && errno == EINTR);
    RAKV_CHECK_MSG(count == sizeof bits, "the system has no random numbers");
    return bits;
  }
};

class RandomnessService final : public boost::asio::execution_context::service {
 public:
  using key_type = RandomnessService;
  static boost::asio::execution_context::id id;

  explicit RandomnessService(boost::asio::execution_context& io) : service(io) {}
  void shutdown() override {}

  Randomness* randomness = &Randomness::system();
};

boost::asio::execution_context::id RandomnessService::id;

}  // namespace

Randomness& Randomness::system() {
  static SystemRandomness randomness;
  return randomness;
}

Randomness& Randomness::of(boost::asio::io_context& io) {
  return *boost::asio::use_service<RandomnessService>(io).randomness;
}

void Randomness::set(boost::asio::io_context& io, Randomness& randomness) {
  boost::asio::use_service<RandomnessService>(io).randomness = &randomness;
}

}  // namespace rakv
