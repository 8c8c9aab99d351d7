// The counting neuron on bit masks. Counts are unary: bit mask k says which neurons have a count above k, and `reached`
// says the same of the count that the membrane deserves. Firing moves one mask into the next.
#pragma once

#include "vectors.hpp"

namespace {

// The neurons that rise and those that fall by one.
template <class H>
struct Moves {
    H up, down;
};

template <class H>
inline Moves<H> find_moves(const H* reached, const H* count, uint32_t used, size_t stride) {
    Moves<H> moves{};
    for (uint32_t k = 0; k < used; ++k) {
        const H deserved = reached[k * stride], has = count[k * stride];
        moves.up = or_without(moves.up, deserved, has);
        moves.down = or_without(moves.down, has, deserved);
    }
    return moves;
}

template <class H>
inline void move_counts(H* count, uint32_t used, size_t stride, Moves<H> moves) {
    H below = ~H{};
    for (uint32_t k = 0; k < used; ++k) {
        const H has = count[k * stride];
        const H above = k + 1 < used ? count[(k + 1) * stride] : H{};
        count[k * stride] = keep_unless(or_both(has, moves.up, below), above, moves.down);
        below = has;
    }
}

template <class H>
inline bool all_agree(const H* reached, const H* count, uint32_t used, size_t stride) {
    H differs{};
    for (uint32_t k = 0; k < used; ++k) differs = or_differs(differs, reached[k * stride], count[k * stride]);
    return !any(differs);
}

}  // namespace
