// What came back: messages that were delivered before and that nobody holds now, in the order of their offsets. They
// are given again before anything newer. One owner, the channel. Next file: receiver.hpp.
#pragma once

#include <cstdint>

#include "server/channel/message_log.hpp"
#include "server/channel/ring.hpp"

namespace baton::channel {

class RedeliverySet {
public:
    /// Puts a run that a receiver held back to its old place. If it was started, one attempt has been used up;
    /// otherwise the receiver is not to blame and the attempt number stays.
    void put(Run run) noexcept;
    /// The same for many, ordered by offset; linear in what is there.
    void put_all(const Ring<Run>& runs) noexcept;

    /// The lowest run. Not if empty.
    [[nodiscard]] const Run& head() const noexcept { return runs_.front(); }
    /// Removes and returns the first messages of the lowest run.
    [[nodiscard]] Run take(Cut cut) noexcept;
    /// Forgets everything and returns how many messages that were.
    std::uint64_t purge(MessageLog& log) noexcept;

    [[nodiscard]] bool empty() const noexcept { return runs_.empty(); }
    [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
    [[nodiscard]] const Ring<Run>& runs() const noexcept { return runs_; }

private:
    void append(const Run& run) noexcept;

    Ring<Run> runs_;
    std::uint64_t messages_ = 0;
};

}  // namespace baton::channel
