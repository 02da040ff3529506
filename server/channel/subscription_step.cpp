// What a step is about to settle: out of its receiver's hands, so that neither a lease nor the receiver can take it
// away while the step is decided on. What is saved of it meanwhile is what is saved of a message in flight.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/subscription.hpp"

namespace baton::channel {

bool Subscription::begin_step(Receiver& receiver, std::span<const SettleRange> ranges, std::vector<Offset>& held) {
    Settlement& settlement = scratch_.edit().settlement;
    settlement.clear();
    InFlight& in_flight = receiver.in_flight;
    for (const SettleRange& range : ranges) {
        in_flight.take(range, settlement);
    }
    if (!settlement.lost.empty()) {
        for (const Run& run : settlement.held) {
            in_flight.put_back(run);
        }
        return false;
    }
    for (const Run& run : settlement.held) {
        held.push_back(run.first);
        in_flight_ -= run.count;
        moving_messages_ += run.count;
        moving_.emplace(run.first, Moving{.run = run,
                                          .state = MessageState::in_flight,
                                          .key = Key::held,
                                          .due{},
                                          .note{},
                                          .receiver = receiver.address});
    }
    refresh(receiver);
    return true;
}

void Subscription::finish_step(std::span<const Offset> held, bool is_done) {
    Receiver* changed = nullptr;
    for (const Offset first : held) {
        auto node = moving_.extract(first);
        if (node.empty()) {
            continue;  // Everything was forgotten meanwhile.
        }
        const Moving& moving = node.mapped();
        const Run& run = moving.run;
        moving_messages_ -= run.count;
        if (is_done) {
            counters_.edit().settled += run.count;
            forget(run, Key::held);
            continue;
        }
        const auto receiver = std::ranges::find(receivers_, moving.receiver, &Receiver::address);
        if (receiver == receivers_.end()) {
            come_back(run);
            continue;
        }
        changed = *receiver;
        changed->in_flight.put_back(run);
        in_flight_ += run.count;
        note_lease_end(run.lease_end);
    }
    if (changed != nullptr) {
        refresh(*changed);
    }
    note_change();
    wake();
}

}  // namespace baton::channel
