// Work shared among threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

namespace isospike {

// Hands out the numbers 0 .. count - 1, one after another, to whoever asks.
class Numbers {
  public:
    explicit Numbers(size_t count) : count_(count) {}

    // False where none is left.
    bool take(size_t& number) {
        number = next_++;
        return number < count_;
    }
    void stop() { next_ = count_; }

  private:
    std::atomic<size_t> next_{0};
    size_t count_;
};

// Calls `work` on `threads` threads, at most one for each number, the calling one among them.
// Throws what the first of them threw, once all have ended.
void share(size_t count, unsigned threads, const std::function<void(Numbers&)>& work);

}  // namespace isospike
