// Where a messages region (common/base/batch.hpp) can be cut. Only the length in front of each message is read, and
// only when a cut is really needed: whoever takes a whole region must not come here. The region has passed check_batch.
// Pure functions. Next file: message_log.hpp.
#pragma once

#include <cstdint>
#include <optional>

#include "common/base/batch.hpp"
#include "common/base/bytes.hpp"

namespace baton::channel {

/// The first `count` messages of a region, `bytes` bytes long.
struct Cut {
    std::uint32_t count = 0;
    std::uint32_t bytes = 0;
    friend bool operator==(const Cut&, const Cut&) = default;
};

/// What a cut may hold at most. `message_bytes`: the cut ends in front of a message that needs more in the region.
struct CutLimits {
    std::uint64_t count = UINT64_MAX;
    std::uint64_t bytes = UINT64_MAX;
    std::uint64_t message_bytes = UINT64_MAX;
};

/// The longest cut from the front that keeps the limits; empty if not even the first message does.
[[nodiscard]] Cut cut_front(Bytes region, const CutLimits& limits) noexcept;

/// The first `count` messages, which must be there.
[[nodiscard]] Cut cut_count(Bytes region, std::uint32_t count) noexcept;

/// The header of the batch that `batches` begin with, if it is whole and has passed check_batch; the next one follows at
/// batch_header_size + messages_size. For the body of a block: batches one behind the other (docs/storage.md).
[[nodiscard]] std::optional<BatchHeader> front_batch(Bytes batches) noexcept;

/// What the first message needs in the region. The region is not empty.
[[nodiscard]] std::uint64_t first_message_bytes(Bytes region) noexcept;

}  // namespace baton::channel
