// How a received message looks on stdout: the body alone, or an envelope.
#pragma once

#include <string>

#include <baton/delivery.hpp>

namespace baton::cli {

/// Appends body and separator, or one JSON line: "body" if it is UTF-8, else "body_base64". `baton send
/// --jsonl` makes the same message of it, whatever bytes its properties are.
void append_output(std::string& out, const Delivery& delivery, bool as_envelope, bool null_separated);

}  // namespace baton::cli
