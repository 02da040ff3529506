// What a user wants to send, checked and encoded. Any thread. Next file: sender_endpoint.hpp.
#pragma once

#include <cstddef>
#include <vector>

#include <baton/error.hpp>
#include <baton/message.hpp>

namespace baton::client {

// The encoded block of its properties; empty if it has none. bad_argument for values out of their range; whoever calls
// says before the text what they are about.
[[nodiscard]] Expected<std::vector<std::byte>> encoded_properties(const Message& message);

}  // namespace baton::client
