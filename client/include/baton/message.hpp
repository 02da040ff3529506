// A message as it is handed to the library: bytes and, if wanted, properties.
// Not responsible for received messages (delivery.hpp).
// Next file: sender.hpp.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/base/properties.hpp"

namespace baton {

// A view: body and properties belong to the caller and are copied before the call returns. The body may be empty and
// may hold any bytes.
//
//   sender.send("Hello");
//   baton::MessageProperties properties;
//   properties.key = "customer-7";
//   sender.send({"Hello", properties});
//
// MessageProperties (common/base/properties.hpp) has key, content_type, reply_to, correlation_id, trace_context,
// message_id and headers, which the broker passes on, and what it acts on:
//
//   ttl         not negative; after so long in the broker it is expired: dropped or quarantined, as the channel says.
//   delay       not negative; it is given to nobody before so long has passed since the broker accepted it.
//   not_before  a point in time (microseconds since 1970 UTC); it is given to nobody before. With both the later
//   counts. priority    0 (default) to 9; ready messages with a higher one are given first. key         order,
//   fairness, filters and compaction, if the channel is set to them. message_id  duplicates, if the channel has a
//   dedupe window.
//
// send and post refuse values outside of these ranges (bad_argument).
class Message {
public:
    Message(const char* body) noexcept : body_{as_bytes(body)} {}
    Message(std::string_view body) noexcept : body_{as_bytes(body)} {}
    Message(const std::string& body) noexcept : body_{as_bytes(body)} {}
    Message(Bytes body) noexcept : body_{body} {}
    Message(const std::vector<std::byte>& body) noexcept : body_{body} {}

    Message(std::string_view body, const MessageProperties& properties) noexcept
        : body_{as_bytes(body)}, properties_{&properties} {}
    Message(Bytes body, const MessageProperties& properties) noexcept : body_{body}, properties_{&properties} {}

    [[nodiscard]] Bytes body() const noexcept { return body_; }
    // Null if the message has none.
    [[nodiscard]] const MessageProperties* properties() const noexcept { return properties_; }

private:
    Bytes body_;
    const MessageProperties* properties_ = nullptr;
};

}  // namespace baton
