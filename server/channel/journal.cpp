#include "server/channel/journal.hpp"

#include <algorithm>

namespace baton::channel {

namespace {

// Ranges of one record; keeps a record far below what a reader would find suspicious.
constexpr std::size_t ranges_max = 64 * 1024;

}  // namespace

commit::Index Journal::submit(commit::Urgency urgency, const Payload& body) {
    const commit::Index index = log_.submit(stream_, encoded_, body, urgency);
    encoded_.clear();
    return index;
}

// --- Records -----------------------------------------------------------------------------------------------

void Journal::settings(const SettingsRecord& record) {
    encode(record, encoded_);
    submit(commit::Urgency::now);
}

void Journal::deleted() {
    encode(DeletedRecord{}, encoded_);
    submit(commit::Urgency::now);
}

commit::Index Journal::publish(const StoredBatch& batch, const ProducerId& producer, std::uint64_t last_sequence) {
    encode(PublishRecord{.header = batch.header(), .producer = producer, .last_sequence = last_sequence, .messages{}},
           encoded_);
    return submit(commit::Urgency::now, batch.messages);
}

void Journal::encode_moved(const StoredBatch& batch, std::vector<std::byte>& out) {
    encode(PublishRecord{.header = batch.header(), .producer{}, .last_sequence = 0, .messages{}}, out);
}

commit::Index Journal::move(const StoredBatch& batch) {
    encode_moved(batch, encoded_);
    return submit(commit::Urgency::relaxed, batch.messages);
}

void Journal::note_settled(Offset first, std::uint64_t count) {
    if (!settled_.empty() && settled_.back().first + settled_.back().count == first) {
        settled_.back().count += count;
    } else {
        settled_.push_back({first, count});
    }
}

void Journal::note_started(Offset first, std::uint32_t count, std::uint32_t attempt) {
    if (!started_.empty() && started_.back().first + started_.back().count == first &&
        started_.back().attempt == attempt && started_.back().count <= UINT32_MAX - count) {
        started_.back().count += count;
    } else {
        started_.push_back({first, count, attempt});
    }
}

void Journal::write_notes(Offset cursor) {
    const auto urgency = receipts_.empty() ? commit::Urgency::relaxed : commit::Urgency::now;
    for (std::size_t at = 0; at < started_.size(); at += ranges_max) {
        const std::size_t count = std::min(ranges_max, started_.size() - at);
        encode(StartedRecord{.cursor = cursor,
                             .ranges{started_.begin() + static_cast<std::ptrdiff_t>(at),
                                     started_.begin() + static_cast<std::ptrdiff_t>(at + count)}},
               encoded_);
        submit(urgency);
    }
    if (!settled_.empty() || (started_.empty() && cursor != written_cursor_)) {
        std::size_t at = 0;
        do {
            const std::size_t count = std::min(ranges_max, settled_.size() - at);
            encode(SettledRecord{.cursor = cursor,
                                 .ranges{settled_.begin() + static_cast<std::ptrdiff_t>(at),
                                         settled_.begin() + static_cast<std::ptrdiff_t>(at + count)}},
                   encoded_);
            submit(urgency);
            at += count;
        } while (at < settled_.size());
    }
    started_.clear();
    settled_.clear();
    written_cursor_ = cursor;
    for (Waiting& receipt : receipts_) {
        receipt.index = log_.submitted();
        waiting_.push_back(receipt);
    }
    receipts_.clear();
}

// --- Waiting for the commit
// --------------------------------------------------------------------------------------------

void Journal::confirm_later(const LinkAddress& sender, std::uint64_t sequence) {
    const commit::Index index = log_.submitted();
    if (!waiting_.empty() && waiting_.back().answer == Answer::confirm && waiting_.back().link == sender &&
        waiting_.back().index == index) {
        waiting_.back().value = sequence;
        return;
    }
    waiting_.push_back({.index = index, .link = sender, .value = sequence, .answer = Answer::confirm});
}

void Journal::refuse_later(const LinkAddress& sender, std::uint64_t first, std::uint32_t count, Errc reason) {
    waiting_.push_back({.index = log_.submitted(),
                        .link = sender,
                        .value = first,
                        .count = count,
                        .reason = reason,
                        .answer = Answer::refusal});
}

void Journal::answer_later(const LinkAddress& receiver, std::uint64_t receipt) {
    receipts_.push_back({.index = 0, .link = receiver, .value = receipt, .answer = Answer::receipt});
}

void Journal::forget(const LinkAddress& link) noexcept {
    std::erase_if(receipts_, [&](const Waiting& receipt) { return receipt.link == link; });
    for (std::size_t i = 0; i < waiting_.size(); ++i) {
        if (waiting_[i].link == link) {
            waiting_[i].answer = Answer::nobody;
        }
    }
}

void Journal::release(ChannelEvents& events) noexcept {
    const commit::Index committed = log_.committed();
    while (!waiting_.empty() && waiting_.front().index <= committed) {
        const Waiting& first = waiting_.front();
        switch (first.answer) {
            case Answer::nobody:
                break;
            case Answer::confirm:
                events.confirmed(first.link, first.value, ConfirmLevel::durable);
                break;
            case Answer::refusal:
                events.refused(first.link, first.value, first.count, first.reason);
                break;
            case Answer::receipt:
                events.settled(first.link, first.value);
                break;
        }
        waiting_.pop_front();
    }
}

}  // namespace baton::channel
