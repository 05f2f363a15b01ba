// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

namespace rakv {

/// Tells callbacks that come later whether the object that they belong to is still there. The
/// object has one as a member, best the last, so that it ends before what the callbacks use.
class Lifetime {
 public:
  /// Sees the end of a Lifetime; may be copied, outlives it, and may be asked on any thread. Only
  /// on the thread that ends the Lifetime does a no stay true for long enough to rely on it.
  class Watch {
   public:
    explicit Watch(const Lifetime& watched) : token_(watched.token_) {}
    bool over() const { return token_.expired(); }

   private:
    std::weak_ptr<const char> token_;
  };

  Lifetime() = default;
  Lifetime(const Lifetime&) = delete;
  Lifetime& operator=(const Lifetime&) = delete;

  Watch watch() const { return Watch(*this); }
  /// `function`, but doing nothing when this has ended before the call. `function` gives nothing.
  template <class Function>
  auto guard(Function function) const {
    return [watch = watch(), function = std::move(function)](auto&&... arguments) mutable {
      if (!watch.over()) function(std::forward<decltype(arguments)>(arguments)...);
    };
  }
  /// Ends it before it is destroyed; for good.
  void end() { token_.reset(); }

 private:
  std::shared_ptr<const char> token_ = std::make_shared<const char>('\0');
};

}  // namespace rakv
