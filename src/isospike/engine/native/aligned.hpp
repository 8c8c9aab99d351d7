// Zeroed memory that begins at a cache line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace isospike {

class AlignedBytes {
  public:
    explicit AlignedBytes(size_t size)
        : size_(size), bytes_(static_cast<uint8_t*>(::operator new(size + 1, std::align_val_t{64}))) {
        std::memset(bytes_.get(), 0, size);
    }

    uint8_t* data() { return bytes_.get(); }
    const uint8_t* data() const { return bytes_.get(); }
    size_t size() const { return size_; }

  private:
    struct Free {
        void operator()(uint8_t* bytes) const { ::operator delete(bytes, std::align_val_t{64}); }
    };

    size_t size_;
    std::unique_ptr<uint8_t, Free> bytes_;
};

}  // namespace isospike
