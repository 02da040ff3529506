// See outgoing.hpp.
#include "client/src/outgoing.hpp"

#include <chrono>
#include <utility>

namespace baton::client {

namespace {

constexpr std::uint8_t priority_max = 9;

// Null: nothing is wrong.
const char* why_impossible(const MessageProperties& properties) noexcept {
    if (properties.priority.value_or(0) > priority_max) {
        return "priority is 0 to 9";
    }
    if (properties.ttl.value_or(std::chrono::microseconds{0}).count() < 0) {
        return "ttl is not negative";
    }
    if (properties.delay.value_or(std::chrono::microseconds{0}).count() < 0) {
        return "delay is not negative";
    }
    return nullptr;
}

}  // namespace

Expected<std::vector<std::byte>> encoded_properties(const Message& message) {
    const MessageProperties* properties = message.properties();
    if (properties == nullptr || properties->empty()) {
        return std::vector<std::byte>{};
    }
    if (const char* wrong = why_impossible(*properties)) {
        return std::unexpected{ClientError{ClientErrc::bad_argument, wrong}};
    }
    auto block = encode_properties(*properties);
    if (!block) {
        return std::unexpected{ClientError{ClientErrc::bad_argument, block.error().message()}};
    }
    return std::move(*block);
}

}  // namespace baton::client
