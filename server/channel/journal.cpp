#include "server/channel/journal.hpp"

#include <algorithm>
#include <utility>

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

void Journal::encode_moved(const BatchHeader& header, std::vector<std::byte>& out) {
    encode(PublishRecord{.header = header, .producer{}, .last_sequence = 0, .messages{}}, out);
}

commit::Index Journal::move(const StoredBatch& batch) {
    const auto [header, messages] = batch.whole();
    encode_moved(header, encoded_);
    return submit(commit::Urgency::relaxed, messages);
}

void Journal::subscribed(const SubscriptionSettings& settings, Offset cursor) {
    encode(SubscribedRecord{.settings = settings, .cursor = cursor}, encoded_);
    submit(commit::Urgency::now);
}

void Journal::unsubscribed(ReaderId reader) {
    encode(UnsubscribedRecord{.reader = reader}, encoded_);
    submit(commit::Urgency::now);
}

void Journal::trimmed(Offset end) {
    encode(TrimmedRecord{.end = end}, encoded_);
    submit(commit::Urgency::relaxed);
}

void Journal::compacted(const OffsetSet& removed) {
    CompactedRecord record;
    const auto flush = [&] {
        encode(record, encoded_);
        submit(commit::Urgency::relaxed);
        record.ranges.clear();
    };
    for (const auto& [first, end] : removed) {
        record.ranges.push_back({first, end - first});
        if (record.ranges.size() == ranges_max) {
            flush();
        }
    }
    if (!record.ranges.empty()) {
        flush();
    }
}

// --- Notes -------------------------------------------------------------------------------------------------

void ReaderNotes::note_settled(Offset first, std::uint64_t count) {
    if (!settled.empty() && settled.back().first + settled.back().count == first) {
        settled.back().count += count;
    } else {
        settled.push_back({first, count});
    }
}

void ReaderNotes::note_started(Offset first, std::uint32_t count, std::uint32_t attempt) {
    if (!started.empty() && started.back().first + started.back().count == first &&
        started.back().attempt == attempt && started.back().count <= UINT32_MAX - count) {
        started.back().count += count;
    } else {
        started.push_back({first, count, attempt});
    }
}

void ReaderNotes::note(ReaderEntry entry) {
    if (!entries.empty() && entries.back().end == entry.first && entries.back().is_like(entry)) {
        entries.back().end = entry.end;
    } else {
        entries.push_back(std::move(entry));
    }
}

void Journal::write_notes(ReaderNotes& notes, Offset cursor) {
    const auto urgency = receipts_.empty() ? commit::Urgency::relaxed : commit::Urgency::now;
    if (notes.reader == queue_reader && notes.entries.empty()) {
        write_queue_notes(notes, cursor, urgency);
    } else {
        write_progress(notes, cursor, urgency);
    }
    notes.started.clear();
    notes.entries.clear();
    notes.settled.clear();
    notes.written_cursor = cursor;
}

void Journal::write_queue_notes(ReaderNotes& notes, Offset cursor, commit::Urgency urgency) {
    for (std::size_t at = 0; at < notes.started.size(); at += ranges_max) {
        const std::size_t count = std::min(ranges_max, notes.started.size() - at);
        const auto first = notes.started.begin() + static_cast<std::ptrdiff_t>(at);
        encode(StartedRecord{.cursor = cursor, .ranges{first, first + static_cast<std::ptrdiff_t>(count)}}, encoded_);
        submit(urgency);
    }
    if (notes.settled.empty() && (!notes.started.empty() || cursor == notes.written_cursor)) {
        return;
    }
    std::size_t at = 0;
    do {
        const std::size_t count = std::min(ranges_max, notes.settled.size() - at);
        const auto first = notes.settled.begin() + static_cast<std::ptrdiff_t>(at);
        encode(SettledRecord{.cursor = cursor, .ranges{first, first + static_cast<std::ptrdiff_t>(count)}}, encoded_);
        submit(urgency);
        at += count;
    } while (at < notes.settled.size());
}

void Journal::write_progress(ReaderNotes& notes, Offset cursor, commit::Urgency urgency) {
    ProgressRecord record{.reader = notes.reader, .cursor = cursor, .started{}, .entries{}};
    const auto flush = [&] {
        encode(record, encoded_);
        submit(urgency);
        record.started.clear();
        record.entries.clear();
    };
    for (const StartedRange& range : notes.started) {
        record.started.push_back(range);
        if (record.started.size() == ranges_max) {
            flush();
        }
    }
    for (ReaderEntry& entry : notes.entries) {
        record.entries.push_back(std::move(entry));
        if (record.entries.size() == ranges_max / 16) {  // Each may carry texts.
            flush();
        }
    }
    for (const OffsetRange& range : notes.settled) {
        record.entries.push_back({.first = range.first,
                                  .end = range.first + range.count,
                                  .kind = ReaderEntryKind::settled,
                                  .note{}});
        if (record.entries.size() == ranges_max / 16) {
            flush();
        }
    }
    flush();
}

void Journal::notes_written() {
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
