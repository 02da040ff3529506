// The properties of one message, and their encoding as the property block of a batch (batch.hpp).
// The broker reads single properties in place (find_property); only clients build and take apart MessageProperties.
// Not responsible for what a property does to a message: that is the channel's.
// Pure functions: any thread. Next file: batch_builder.hpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/batch.hpp"
#include "common/base/bytes.hpp"
#include "common/base/result.hpp"

namespace baton {

// The numbers are for ever. An id that is not listed is kept and skipped.
enum class PropertyId : std::uint8_t {
    key = 1,
    priority = 2,  // u8
    ttl_us = 3,    // u64
    delay_us = 4,  // u64
    content_type = 5,
    reply_to = 6,
    correlation_id = 7,
    trace_context = 8,
    user_header = 9,  // u16 name size, name, value; may repeat
    message_id = 10,
    not_before_us = 11,  // i64, since 1970 UTC
};

inline constexpr std::size_t properties_size_max = 65'535;

// An empty text means: not there. The initialisers allow naming only some of them: `{.key = "k"}`.
struct MessageProperties {
    std::string key{};
    std::optional<std::uint8_t> priority{};
    std::optional<std::chrono::microseconds> ttl{};    // Not negative.
    std::optional<std::chrono::microseconds> delay{};  // Not negative.
    std::optional<std::chrono::sys_time<std::chrono::microseconds>> not_before{};
    std::string content_type{};
    std::string reply_to{};
    std::string correlation_id{};
    std::string trace_context{};
    std::string message_id{};
    std::vector<std::pair<std::string, std::string>> headers{};

    [[nodiscard]] bool empty() const noexcept;

    friend bool operator==(const MessageProperties&, const MessageProperties&) = default;
};

// The property block, without its size in front. Fails if it does not fit into properties_size_max.
[[nodiscard]] Result<std::vector<std::byte>> encode_properties(const MessageProperties& properties);

// If a property that may not repeat does, the first one counts, as in find_property. Unknown ones are left out.
[[nodiscard]] std::expected<MessageProperties, BatchErrc> decode_properties(Bytes block);

// Every property lies inside the block and the known ones have a possible size. check_batch calls it for each message.
[[nodiscard]] bool is_well_formed_block(Bytes block) noexcept;

// The value of the first property with this id, inside `block`, or nothing. The block is well formed.
[[nodiscard]] std::optional<Bytes> find_property(Bytes block, PropertyId id) noexcept;

}  // namespace baton
