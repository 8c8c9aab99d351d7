#include "threads.hpp"

#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace isospike {

void share(size_t count, unsigned threads, const std::function<void(Numbers&)>& work) {
    Numbers numbers(count);
    std::exception_ptr failure;
    std::mutex guard;
    const auto attempt = [&] {
        try {
            work(numbers);
        } catch (...) {
            const std::lock_guard lock(guard);
            if (!failure) failure = std::current_exception();
            numbers.stop();
        }
    };
    std::vector<std::jthread> helpers;
    for (size_t i = 1; i < threads && i < count; ++i) helpers.emplace_back(attempt);
    attempt();
    helpers.clear();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace isospike
