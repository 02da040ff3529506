// What a user wants to send, checked and encoded. Any thread. Next file: sender_endpoint.hpp.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <baton/error.hpp>
#include <baton/message.hpp>

namespace baton::client {

// The encoded block of its properties; empty if it has none. bad_argument, about `what`, for values out of their range.
[[nodiscard]] Expected<std::vector<std::byte>> encoded_properties(const Message& message, const std::string& what);

}  // namespace baton::client
