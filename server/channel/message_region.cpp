#include "server/channel/message_region.hpp"

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"

namespace baton::channel {

namespace {
constexpr std::uint64_t length_size = 4;
}

std::uint64_t first_message_bytes(Bytes region) noexcept {
    BATON_ASSERT(region.size() >= length_size);
    const std::uint64_t bytes = length_size + load_u32(region.data());
    BATON_ASSERT_MSG(bytes <= region.size(), "the batch was not checked");
    return bytes;
}

Cut cut_front(Bytes region, const CutLimits& limits) noexcept {
    Cut cut;
    while (cut.bytes < region.size() && cut.count < limits.count) {
        const std::uint64_t bytes = first_message_bytes(region.subspan(cut.bytes));
        if (bytes > limits.message_bytes || bytes > limits.bytes - cut.bytes) {
            break;
        }
        cut.bytes += static_cast<std::uint32_t>(bytes);
        ++cut.count;
    }
    return cut;
}

Cut cut_count(Bytes region, std::uint32_t count) noexcept {
    return {count, static_cast<std::uint32_t>(messages_prefix_size(region, count))};
}

std::optional<BatchHeader> front_batch(Bytes batches) noexcept {
    const auto header = decode_batch_header(batches);
    if (!header || header->messages_size > batches.size() - batch_header_size ||
        !check_batch(batches.first(batch_header_size + header->messages_size))) {
        return std::nullopt;
    }
    return *header;
}

}  // namespace baton::channel
