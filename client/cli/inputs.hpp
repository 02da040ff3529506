// Where `baton send` gets its messages from: arguments, files, or stdin as lines, NUL-separated, whole or JSON lines.
// Streams: memory is bounded by the longest message. Next file: send.cpp.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "client/cli/interrupt.hpp"
#include "common/base/properties.hpp"

namespace baton::cli {

struct InputMessage {
    std::string body;
    std::optional<MessageProperties> properties;  ///< Only JSON lines have their own.
};

/// Cuts a stream of bytes at a separator. The last piece counts without one, unless it is empty.
class Splitter {
public:
    explicit Splitter(char separator) noexcept : separator_{separator} {}
    /// Calls `take` for each complete piece.
    void feed(std::string_view bytes, const std::function<void(std::string_view)>& take);
    /// The end of the stream.
    void finish(const std::function<void(std::string_view)>& take);

private:
    char separator_;
    std::string rest_;
};

/// A line that is not what `--jsonl` expects.
class BadLine : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// {"body":…} or {"body_base64":…}, and key, headers, content_type, id, ttl, delay, at, priority. Those that are times also
/// in microseconds, as "ttl_us", "delay_us" and "not_before_us" (since 1970 UTC: "at"); those that are texts also as
/// "key_base64" and so on, which counts where both are there. Lines of `receive --jsonl`, `peek --output jsonl` (with
/// "properties") and baton-inspect. Throws BadLine.
[[nodiscard]] InputMessage parse_json_line(std::string_view line);

/// Reads a descriptor to its end or until it is interrupted (false).
bool read_all(int descriptor, const Interrupt& interrupt, const std::function<void(std::string_view)>& take);

}  // namespace baton::cli
