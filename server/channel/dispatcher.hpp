// Choice: which receiver gets the next messages, and how many. Least loaded first (unsettled messages), among equals
// the one that was served longest ago.
//
// Receivers with credit in messages and in bytes whose socket keeps up are candidates, in an indexed heap: one heap
// step for a share of messages, not for a message. The share is what everybody would get if the ready messages were
// divided evenly, at most `quantum_max`: a few messages spread over all. A batch that is not larger than an even share
// is not cut for fairness, and none is cut for the only candidate: a backlog goes in large slices.
//
// Byte credit counts the bytes of message regions: payloads, properties and the lengths in front of them. A message
// that is larger than all the byte credit left is given alone to a receiver that holds nothing and has any byte credit,
// because it would wait for ever otherwise.
// One owner, the channel. Next file: intake.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include "server/channel/channel_events.hpp"
#include "server/channel/receiver.hpp"
#include "server/channel/ready_messages.hpp"

namespace baton::channel {

class Dispatcher {
public:
    static constexpr std::uint32_t quantum_max = 256;

    struct Delivered {
        std::uint64_t messages = 0;
        std::uint64_t redelivered = 0;
        std::uint32_t lease_end = UINT32_MAX;  ///< The earliest of those that were given; LeaseTime steps.
    };

    explicit Dispatcher(ChannelEvents& events) noexcept : events_{events} {}

    /// After any change of the receiver's credit, slowness or load: puts it into the heap, out of it, or elsewhere in
    /// it, and stores the reason why it waits.
    void refresh(Receiver& receiver, MonotonicTime now) noexcept;
    /// Before the receiver is destroyed.
    void remove(Receiver& receiver) noexcept;

    /// Gives ready messages until there are none, nobody can take the next one, or so many slices are used up.
    Delivered run(ReadyMessages& ready, std::uint32_t& slices, MonotonicTime now) noexcept;

    [[nodiscard]] bool has_candidates() const noexcept { return !heap_.empty(); }

private:
    struct Share {
        std::uint64_t messages = 0;       // To one receiver before the next one gets its turn.
        std::uint64_t whole_batches = 0;  // As many if no batch has to be cut for them.
    };

    [[nodiscard]] Share share_of(std::uint64_t ready) const noexcept;
    [[nodiscard]] Delivered give(Receiver& receiver, Share share, ReadyMessages& ready, std::uint32_t& slices,
                                 MonotonicTime now) noexcept;
    [[nodiscard]] Cut fitting(const Receiver& receiver, const Run& head, Share share) const noexcept;
    void pass_over(Receiver& receiver, MonotonicTime now) noexcept;
    void readmit() noexcept;

    // The heap. What it compares lies in it: with thousands of receivers a look at each of them would be a cache miss.
    struct Candidate {
        std::uint64_t load = 0;  // Unsettled messages.
        std::uint64_t last_served = 0;
        Receiver* receiver = nullptr;
    };
    [[nodiscard]] static Candidate candidate(Receiver& receiver) noexcept;
    [[nodiscard]] static bool is_before(const Candidate& a, const Candidate& b) noexcept;
    void place(std::size_t index, const Candidate& candidate) noexcept;
    void move(std::size_t index) noexcept;
    void sift_up(std::size_t index) noexcept;
    void sift_down(std::size_t index) noexcept;
    void push(Receiver& receiver) noexcept;

    ChannelEvents& events_;
    std::vector<Candidate> heap_;
    std::vector<Receiver*> passed_over_;  // During `run`: the next message does not fit their byte credit.
    std::uint64_t servings_ = 0;
};

}  // namespace baton::channel
