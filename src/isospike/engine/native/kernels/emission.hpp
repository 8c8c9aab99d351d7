// From bit masks of firing neurons to lists of channels.
#pragma once

#include "../layout.hpp"
#include "vectors.hpp"

namespace {

using isospike::EventSink;

// Appends `channel` + the numbers of the bits set in `mask`; may write up to 64 items past the end.
inline uint32_t* append_bits(uint32_t* to, uint64_t mask, uint32_t channel) {
#if defined(__AVX512VBMI2__) && defined(__AVX512BW__)
    alignas(64) static constexpr uint8_t kNumbers[64] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const __m512i packed = _mm512_maskz_compress_epi8(mask, _mm512_load_si512(kNumbers));
    const __m512i base = _mm512_set1_epi32(static_cast<int>(channel));
    const int count = __builtin_popcountll(mask);
    const auto put = [&](int at, __m128i numbers) __attribute__((always_inline)) {
        _mm512_storeu_si512(to + at, _mm512_add_epi32(base, _mm512_cvtepu8_epi32(numbers)));
    };
    put(0, _mm512_castsi512_si128(packed));
    put(16, _mm512_extracti32x4_epi32(packed, 1));
    if (count > 32) {
        put(32, _mm512_extracti32x4_epi32(packed, 2));
        put(48, _mm512_extracti32x4_epi32(packed, 3));
    }
    return to + count;
#else
    while (mask) {
        *to++ = channel + static_cast<uint32_t>(__builtin_ctzll(mask));
        mask &= mask - 1;
    }
    return to;
#endif
}

inline void reserve(EventSink& sink, size_t need) {
    if (sink.size + need + isospike::kSlack > sink.capacity) sink.grow(&sink, need + isospike::kSlack);
}

// Ends slot `slot`, whose items begin where the slot before it ended.
inline void close_slot(EventSink& sink, size_t slot, uint32_t positive) {
    sink.positive[slot] = positive;
    sink.start[slot + 1] = static_cast<uint32_t>(sink.size);
    if (sink.start[slot] != sink.size) {
        const size_t step = slot % sink.steps;
        sink.active[slot / sink.steps * sink.words + step / 64] |= uint64_t{1} << (step % 64);
    }
}

}  // namespace
