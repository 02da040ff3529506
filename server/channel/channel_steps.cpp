// Steps: messages and settlements of several channels that count together (docs/protocol.md, section 10b). This is the
// part of one channel: everything is checked and set aside first, and then done or given back. Who brings the parts
// together is server/runtime/steps.hpp.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/channel.hpp"

namespace baton::channel {

std::error_code Channel::check_step() const noexcept {
    if (!damage().empty()) {
        return Errc::damaged;
    }
    if (journal_ == nullptr || journal_->log().condition() == commit::Condition::open) {
        return {};
    }
    return journal_->log().condition() == commit::Condition::full ? Errc::disk_full : Errc::storage_failed;
}

// What was decided and is not on the disk may still be undone by a crash: that is under way, not done.
std::error_code Channel::check_known(const StepMessages& messages) noexcept {
    const bool is_under_way = std::ranges::any_of(steps_, [&](const auto& entry) {
        return std::ranges::any_of(entry.second.sendings, [&](const StepSending& sending) {
            return sending.producer == messages.producer && sending.number == messages.number;
        });
    });
    if (is_under_way) {
        return Errc::step_under_way;
    }
    const Producer* producer = producers_.find(messages.producer);
    if (producer == nullptr || producer->last_decided < messages.number) {
        return producer != nullptr && producer->is_attached ? make_error_code(Errc::superseded) : std::error_code{};
    }
    return journal_ == nullptr || producer->last_index <= journal_->log().committed() ? Errc::step_known
                                                                                      : Errc::step_under_way;
}

std::error_code Channel::begin_step(StepId id, const StepMessages& messages) {
    const auto header = decode_batch_header(messages.batch.bytes());
    if (!header || header->messages_size != messages.batch.size() - batch_header_size) {
        return Errc::bad_batch;
    }
    if (const auto known = check_known(messages)) {
        return known;
    }
    if (const auto refused = is_draining_ ? make_error_code(Errc::draining) : check_step()) {
        return refused;
    }
    StepSending sending{.producer = messages.producer,
                        .number = messages.number,
                        .pending = {.first_sequence = 1,
                                    .count = header->count,
                                    .crc32c = header->crc32c,
                                    .flags = header->flags,
                                    .messages = messages.batch.slice(batch_header_size, header->messages_size)}};
    if (is_held_up() || budget_.available() == 0) {
        return Errc::full;
    }
    if (const auto refused = intake_.set_room_aside(sending.pending)) {
        return refused;
    }
    steps_[id].sendings.push_back(std::move(sending));
    return {};
}

std::error_code Channel::begin_step(StepId id, const LinkAddress& link, std::span<const SettleRange> ranges,
                                    std::optional<ReaderId>& noted) {
    Receiver* receiver = find_receiver(link);
    if (receiver == nullptr || receiver->ending) {
        return Errc::lost_lease;
    }
    if (const auto refused = check_step()) {
        return refused;
    }
    settle_all_late(*receiver);
    Subscription& reader = *receiver->subscription;
    std::vector<Offset> held;
    if (!reader.begin_step(*receiver, ranges, held)) {
        return Errc::lost_lease;
    }
    steps_[id].settlings.push_back({.reader = reader.id(), .held = std::move(held)});
    noted = journal_ != nullptr && reader.is_lasting() ? std::optional{reader.id()} : std::nullopt;
    return {};
}

void Channel::finish_step(StepId id, bool is_done) {
    auto node = steps_.extract(id);
    if (node.empty()) {
        return;
    }
    for (const StepSettling& settling : node.mapped().settlings) {
        const auto reader = std::ranges::find(readers_, settling.reader, [](const auto& owned) { return owned->id(); });
        if (reader != readers_.end()) {
            (*reader)->finish_step(settling.held, is_done);
        }
    }
    for (StepSending& sending : node.mapped().sendings) {
        if (!is_done) {
            intake_.give_room_back(sending.pending);
            continue;
        }
        Sender sender;
        sender.step_producer = sending.producer;
        sender.step_number = sending.number;
        sending.pending.sender = &sender;
        intake_.take_step(std::move(sending.pending));
        producers_.note_step(sending.producer, sending.number, journal_ != nullptr ? journal_->log().submitted() : 0,
                             clock_.now());
    }
    if (journal_ == nullptr) {
        messages_visible();
    }
    room_changed();
}

}  // namespace baton::channel
