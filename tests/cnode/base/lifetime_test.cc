// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/lifetime.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>

namespace rakv {
namespace {

TEST(Lifetime, AGuardedCallbackRunsOnlyWhileItLasts) {
  std::optional<Lifetime> lifetime(std::in_place);
  int sum = 0;
  const std::function<void(int)> add = lifetime->guard([&sum](int number) { sum += number; });
  add(1);
  EXPECT_EQ(sum, 1);
  lifetime.reset();
  add(2);
  EXPECT_EQ(sum, 1);
}

TEST(Lifetime, EveryWatchSeesTheEnd) {
  Lifetime lifetime;
  const Lifetime::Watch watch = lifetime.watch();
  // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): that a copy sees it is tested
  const Lifetime::Watch copy = watch;
  EXPECT_FALSE(watch.over());
  lifetime.end();
  EXPECT_TRUE(watch.over());
  EXPECT_TRUE(copy.over());
  EXPECT_TRUE(lifetime.watch().over());
}

}  // namespace
}  // namespace rakv
