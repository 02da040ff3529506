// `baton receive --exec`: a shell command per message, with the body on its stdin.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>

#include <baton/delivery.hpp>

namespace baton::cli {

struct CommandEnd {
    int status = 0;            ///< Its exit code, or 128 + signal.
    bool was_stopped = false;  ///< We told it to end.
    std::string last_words;    ///< The last line of its stderr that is not empty; UTF-8 or not.
};

/// Keeps the last line that is not empty, whatever pieces it comes in.
class LastLine {
public:
    void feed(std::string_view bytes);
    [[nodiscard]] std::string text() const;

private:
    std::string line_;
    std::string before_;
};

/// Runs `command` and waits for it. The environment tells it BATON_CHANNEL, BATON_OFFSET, BATON_ATTEMPT and BATON_KEY.
/// A command that does not read its stdin is fine. What it writes to stderr goes on to ours. It runs in a process group
/// of its own; a stop sends SIGTERM to that, and its end is awaited all the same. With `output` its stdout goes there,
/// up to one byte more than `output_max`; otherwise it is ours.
[[nodiscard]] CommandEnd run_command(const std::string& command, const Delivery& delivery, const std::stop_token& stop,
                                     std::string* output = nullptr, std::size_t output_max = 0);

}  // namespace baton::cli
