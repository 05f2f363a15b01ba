// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/result.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace rakv {
namespace {

TEST(ResultTest, TheValueOfAnErrorThrowsItsMessage) {
  const Result<int> failed = make_error(ErrorCode::not_found, "no such key");
  try {
    (void)failed.value();
    FAIL() << "an error has no value";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "no such key");
  }
  EXPECT_THROW(throw_exception_from_error(failed.error(), BOOST_CURRENT_LOCATION),
               std::runtime_error);
}

}  // namespace
}  // namespace rakv
