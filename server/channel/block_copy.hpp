// A block of a stream without the messages that compaction has removed. On whatever thread has the bytes.
// Pure functions. Next file: server/runtime/segment_compactor.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/bytes.hpp"
#include "server/channel/offset_set.hpp"

namespace baton::channel {

/// Appends the batches of a block's body (docs/storage.md, section 4) to `out`, those with removed messages cut into pieces, and
/// counts them. False: it is not such a body.
[[nodiscard]] bool copy_without(Bytes body, const OffsetSet& removed, std::vector<std::byte>& out, std::uint32_t& batches);

}  // namespace baton::channel
