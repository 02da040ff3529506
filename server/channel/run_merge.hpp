// Runs that lie in many places, in each in the order of offsets, one after the other. What it costs to begin is linear in the
// places, and each run after that in their logarithm, however many runs there are.
// Plain state; the places must not change meanwhile. One owner. Next file: ready_messages.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "server/channel/in_flight.hpp"

namespace baton::channel {

class RunMerge {
public:
    /// Of runs that reach beyond `from`.
    explicit RunMerge(Offset from) noexcept : from_{from} {}

    void add(const std::map<Offset, Run>& runs);
    void add(const Ring<Run>& runs);
    /// The lowest that is left; null if there is none. Valid as long as the place does not change.
    [[nodiscard]] const Run* next();
    /// The first `limit` of those that are left.
    [[nodiscard]] std::vector<Run> take(std::size_t limit);

private:
    struct Place {
        const Run* run = nullptr;  // The next one.
        const std::map<Offset, Run>* map = nullptr;
        std::map<Offset, Run>::const_iterator at{};
        const Ring<Run>* ring = nullptr;  // Instead.
        std::size_t index = 0;

        [[nodiscard]] bool operator<(const Place& other) const noexcept {  // For a heap with the lowest first.
            return run->first > other.run->first;
        }
        /// False: that was the last one.
        [[nodiscard]] bool advance() noexcept;
    };
    void add(const Place& place);

    const Offset from_;
    std::vector<Place> places_;  // A heap.
};

}  // namespace baton::channel
