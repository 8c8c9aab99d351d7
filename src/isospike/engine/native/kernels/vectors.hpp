// Vectors of bits and of doubles, in the compiler's own vector types.
// Everything here has internal linkage: see layout.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using Bits64 = uint64_t __attribute__((vector_size(64)));
using Bits32 = uint64_t __attribute__((vector_size(32)));
using Bits16 = uint64_t __attribute__((vector_size(16)));
using Bits8 = uint64_t;

#if defined(__AVX512F__)
constexpr size_t kBytes = 64;
#elif defined(__AVX2__)
constexpr size_t kBytes = 32;
#else
constexpr size_t kBytes = 16;
#endif
using Doubles = double __attribute__((vector_size(kBytes)));
constexpr size_t kLanes = kBytes / sizeof(double);

template <class V>
inline V load(const void* from) {
    V value;
    std::memcpy(&value, from, sizeof(V));
    return value;
}

template <class V>
inline void store(void* to, V value) {
    std::memcpy(to, &value, sizeof(V));
}

// A truth table of three inputs in one instruction, where there is one; `Plain` says the same in and, or, xor.
#if defined(__AVX512F__) && defined(__AVX512VL__)
template <int Table, class V, class Plain>
inline V combine(V a, V b, V c, Plain plain) {
    if constexpr (sizeof(V) == 64) {
        return (V)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, Table);
    } else if constexpr (sizeof(V) == 32) {
        return (V)_mm256_ternarylogic_epi64((__m256i)a, (__m256i)b, (__m256i)c, Table);
    } else if constexpr (sizeof(V) == 16) {
        return (V)_mm_ternarylogic_epi64((__m128i)a, (__m128i)b, (__m128i)c, Table);
    } else {
        return plain(a, b, c);
    }
}
#else
template <int Table, class V, class Plain>
inline V combine(V a, V b, V c, Plain plain) {
    return plain(a, b, c);
}
#endif

template <class V>
inline V parity(V a, V b, V c) {
    return combine<0x96>(a, b, c, [](V x, V y, V z) { return x ^ y ^ z; });
}

template <class V>
inline V majority(V a, V b, V c) {
    return combine<0xE8>(a, b, c, [](V x, V y, V z) { return (x & y) | (z & (x ^ y)); });
}

// majority(~a, b, c): the borrow of a - b - c.
template <class V>
inline V borrow(V a, V b, V c) {
    return combine<0x8E>(a, b, c, [](V x, V y, V z) { return (~x & (y | z)) | (y & z); });
}

// a | (b & ~c)
template <class V>
inline V or_without(V a, V b, V c) {
    return combine<0xF4>(a, b, c, [](V x, V y, V z) { return x | (y & ~z); });
}

// a | (b & c)
template <class V>
inline V or_both(V a, V b, V c) {
    return combine<0xF8>(a, b, c, [](V x, V y, V z) { return x | (y & z); });
}

// a & (b | ~c)
template <class V>
inline V keep_unless(V a, V b, V c) {
    return combine<0xD0>(a, b, c, [](V x, V y, V z) { return x & (y | ~z); });
}

// a | (b ^ c)
template <class V>
inline V or_differs(V a, V b, V c) {
    return combine<0xF6>(a, b, c, [](V x, V y, V z) { return x | (y ^ z); });
}

template <class V>
inline bool any(V value) {
    if constexpr (sizeof(V) == 8) {
        return value != 0;
    } else {
#if defined(__AVX512F__)
        if constexpr (sizeof(V) == 64) return _mm512_test_epi64_mask((__m512i)value, (__m512i)value) != 0;
#endif
#if defined(__AVX2__)
        if constexpr (sizeof(V) == 32) return !_mm256_testz_si256((__m256i)value, (__m256i)value);
#endif
        uint64_t all = 0;
        for (size_t i = 0; i < sizeof(V) / 8; ++i) all |= value[i];
        return all != 0;
    }
}

}  // namespace
