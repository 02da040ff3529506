// See steps.hpp.
#include "client/src/steps.hpp"

#include <algorithm>
#include <utility>

namespace baton::client {

void Steps::commit(RequestId id, StepPlan plan) {
    waiting_.emplace_back(id, Step{.plan = std::move(plan)});
    pump();
}

void Steps::forget(RequestId id) {
    std::erase_if(waiting_, [id](const Waiting& waiting) { return waiting.first == id; });
    if (const auto found = asked_.find(id); found != asked_.end()) {
        found->second.is_forgotten = true;
    }
}

void Steps::on_ready() {
    pump();
}

// In their order; what was sent has an unknown outcome, and is asked for first.
void Steps::on_disconnected() {
    for (auto at = asked_.rbegin(); at != asked_.rend(); ++at) {
        if (!at->second.is_forgotten) {
            at->second.was_sent = true;
            waiting_.emplace_front(at->first, std::move(at->second));
        }
    }
    asked_.clear();
}

void Steps::pump() {
    while (context_.is_ready && !waiting_.empty() && asked_.size() < wire::steps_pending_max) {
        auto [id, step] = std::move(waiting_.front());
        waiting_.pop_front();
        send(id, std::move(step));
    }
}

bool Steps::still_holds(const StepPlan& plan) const {
    return std::ranges::all_of(plan.settlings, [this](const StepPlan::Settling& settling) {
        const ReceiverLink* receiver = find_receiver_(settling.link);
        return receiver != nullptr && receiver->epoch() == settling.epoch;
    });
}

// What the old connection held is lost with it. Whether the step was done before, the broker knows.
void Steps::send(RequestId id, Step step) {
    if (std::ranges::find(context_.welcome.features, wire::feature_step) == context_.welcome.features.end()) {
        return answer(id, wire::Status::unsupported, "this broker knows no steps; it is an older one");
    }
    if (!step.was_sent && !still_holds(step.plan)) {
        return answer(id, wire::Status::lost_lease,
                      "the connection that the deliveries came with is gone, or their receiver is closed");
    }
    wire::StepBuilder builder{step.plan.producer, step.plan.number};
    for (const StepPlan::Sending& sending : step.plan.sendings) {
        builder.add_messages(as_bytes(sending.channel), sending.must_exist, sending.batch);
    }
    for (const StepPlan::Settling& settling : step.plan.settlings) {
        builder.add_settlements(step.was_sent ? std::uint16_t{0} : find_receiver_(settling.link)->number(),
                                settling.ranges);
    }
    if (builder.body().size() > context_.body_size_max()) {
        return answer(id, wire::Status::message_too_large,
                      "the step has " + std::to_string(builder.body().size()) + " bytes, the broker takes " +
                          std::to_string(context_.body_size_max()) + " in one");
    }
    wire::put_step(context_.outbox, id.value(), builder.body());
    asked_.emplace(id, std::move(step));
}

// Receivers do not ask for it again.
void Steps::note_done(const StepPlan& plan) {
    for (const StepPlan::Settling& settling : plan.settlings) {
        if (ReceiverLink* receiver = find_receiver_(settling.link)) {
            std::ranges::for_each(settling.ranges, [receiver](const wire::Settlement& range) { receiver->note_done(range); });
        }
    }
}

void Steps::answer(RequestId id, wire::Status status, const std::string& text) {
    context_.events.on_stepped(id, {.status = status, .section = wire::no_section, .text = text});
}

bool Steps::on_stepped(std::uint64_t id, Bytes body) {
    const auto stepped = wire::decode_stepped(body);
    if (!stepped) {
        return false;
    }
    if (const auto found = asked_.find(RequestId{id}); found != asked_.end()) {
        const bool is_forgotten = found->second.is_forgotten;
        if (stepped->status == wire::Status::ok) {
            note_done(found->second.plan);
        }
        asked_.erase(found);
        if (!is_forgotten) {
            context_.events.on_stepped(RequestId{id}, *stepped);
        }
        pump();
    }
    return true;
}

}  // namespace baton::client
