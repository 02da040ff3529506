// How the properties of a message stand in the JSON that people and scripts read: each as a text. What is no UTF-8 cannot
// be one; it stands there as shown_text() shows it, and its bytes beside it, so that nothing is lost when the line is sent
// again: "key_base64", and "headers_base64", a list of [name, value] of all headers.
// A template, so that this library needs no JSON. Any thread. Next file: text_form.hpp.
#pragma once

#include <algorithm>
#include <string>

#include "common/base/base64.hpp"
#include "common/base/properties.hpp"
#include "common/base/text_form.hpp"
#include "common/base/utf8.hpp"

namespace baton {

// Nothing for an empty text.
template <class Json>
void add_text(Json& json, const std::string& name, const std::string& bytes) {
    if (bytes.empty()) {
        return;
    }
    json[name] = shown_text(bytes);
    if (!is_valid_utf8(as_bytes(bytes))) {
        json[name + "_base64"] = base64_encode(as_bytes(bytes));
    }
}

// A header that is there several times has a list of values.
template <class Json>
void add_headers(Json& json, const MessageProperties& properties) {
    for (const auto& [name, value] : properties.headers) {
        auto& place = json["headers"][shown_text(name)];
        if (place.is_null()) {
            place = shown_text(value);
            continue;
        }
        if (!place.is_array()) {
            auto list = Json::array();
            list.push_back(place);
            place = std::move(list);
        }
        place.push_back(shown_text(value));
    }
    const bool is_text = std::ranges::all_of(properties.headers, [](const auto& header) {
        return is_valid_utf8(as_bytes(header.first)) && is_valid_utf8(as_bytes(header.second));
    });
    if (is_text) {
        return;
    }
    for (const auto& [name, value] : properties.headers) {
        auto pair = Json::array();
        pair.push_back(base64_encode(as_bytes(name)));
        pair.push_back(base64_encode(as_bytes(value)));
        json["headers_base64"].push_back(std::move(pair));
    }
}

// Those that are texts, and the headers.
template <class Json>
void add_texts(Json& json, const MessageProperties& properties) {
    add_text(json, "key", properties.key);
    add_text(json, "content_type", properties.content_type);
    add_text(json, "reply_to", properties.reply_to);
    add_text(json, "correlation_id", properties.correlation_id);
    add_text(json, "trace_context", properties.trace_context);
    add_text(json, "id", properties.message_id);
}

// What they ask of the broker: priority and times.
template <class Json>
void add_life(Json& json, const MessageProperties& properties) {
    if (properties.priority) {
        json["priority"] = *properties.priority;
    }
    if (properties.ttl) {
        json["ttl_us"] = properties.ttl->count();
    }
    if (properties.delay) {
        json["delay_us"] = properties.delay->count();
    }
    if (properties.not_before) {
        json["not_before_us"] = properties.not_before->time_since_epoch().count();
    }
}

}  // namespace baton
