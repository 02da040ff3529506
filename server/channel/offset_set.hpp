// Sets of offsets, as ranges.
// Pure functions. Next file: message_log.hpp.
#pragma once

#include <cstdint>
#include <map>

#include "server/channel/on_demand.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

/// Ranges of offsets, without overlaps: first -> end.
using OffsetSet = OnDemandMap<std::map<Offset, Offset>>;
/// Adds a range that touches none of the others, and joins it with its neighbours.
void add_range(OffsetSet& set, Offset first, Offset end);
/// The first range that reaches beyond `from`: it contains it or begins behind it.
[[nodiscard]] OffsetSet::const_iterator first_beyond(const OffsetSet& set, Offset from) noexcept;
[[nodiscard]] bool overlaps(const OffsetSet& set, Offset first, Offset end) noexcept;
/// So many of first .. end - 1 are in the set. Linear in the ranges in between.
[[nodiscard]] std::uint64_t overlap(const OffsetSet& set, Offset first, Offset end) noexcept;
/// Takes these offsets out of the set.
void cut_out(OffsetSet& set, Offset first, Offset end);

}  // namespace baton::channel
