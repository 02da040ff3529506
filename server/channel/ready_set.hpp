// Ready messages that are not in their place in the log any more, in the order of their offsets: what came back, and what
// was picked before its turn. Runs that belong together are joined, so that a channel that is given back whole is a few of them.
// One owner. Next file: ready_messages.hpp.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <vector>

#include "server/channel/message_log.hpp"
#include "server/channel/on_demand.hpp"

namespace baton::channel {

class ReadySet {
public:
    /// None of its messages is in the set.
    void put(const Run& run);
    /// The same, and it is joined with no other: neither now nor with one that is put in like this later. It stays where it is
    /// until it is taken; to be changed but for its offsets.
    Run& put_alone(const Run& run) {
        messages_ += run.count;
        return runs_.emplace(run.first, run).first->second;
    }
    /// The lowest run. Not if empty.
    [[nodiscard]] const Run& head() const noexcept { return runs_.begin()->second; }
    /// Removes and returns the first messages of the lowest run.
    [[nodiscard]] Run take(Cut cut) noexcept;
    /// Removes and returns the message with this offset, if it is here.
    [[nodiscard]] std::optional<Run> take_at(Offset offset);

    /// Removes and returns the lowest run, if it begins below `end`, up to there.
    [[nodiscard]] std::optional<Run> take_before(Offset end) noexcept;

    /// Removes the runs that begin at `from` .. `end` - 1 and adds them to `taken`.
    void take_from(Offset from, Offset end, std::vector<Run>& taken);

    /// The runs that begin at `from` .. `end` - 1.
    template <class Visit>
    void visit(Offset from, Offset end, Visit visit) const {
        for (auto at = runs_.lower_bound(from); at != runs_.end() && at->first < end; ++at) {
            visit(at->second);
        }
    }
    /// The same, to be changed but for their offsets.
    void add(Offset from, Offset end, std::vector<Run*>& runs) {
        for (auto at = runs_.lower_bound(from); at != runs_.end() && at->first < end; ++at) {
            runs.push_back(&at->second);
        }
    }
    [[nodiscard]] bool has(Offset offset) const noexcept {
        const auto after = runs_.upper_bound(offset);
        return after != runs_.begin() && std::prev(after)->second.end() > offset;
    }

    /// The run with this message, which is here.
    [[nodiscard]] const Run& run_at(Offset offset) const noexcept { return std::prev(runs_.upper_bound(offset))->second; }

    [[nodiscard]] bool empty() const noexcept { return runs_.empty(); }
    [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
    /// By first offset.
    [[nodiscard]] const std::map<Offset, Run>& runs() const noexcept { return runs_.map(); }

private:
    OnDemandMap<std::map<Offset, Run>> runs_;
    std::uint64_t messages_ = 0;
};

}  // namespace baton::channel
