// The checks of the model test: what the real channel said and stores against the reference model, after each step.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/crc32c.hpp"
#include "tests/unit/channel/channel_world.hpp"
#include "tests/unit/channel/queue_model.hpp"
#include "tests/unit/channel/seeds.hpp"

namespace baton::channel::test {

/// The real channel, the model, and what the peers know. The operations act on all three and note what they expect.
class ModelChecks {
public:
    explicit ModelChecks(const ChannelOptions& options, std::size_t memory) : world_{options, memory} {
        model_.messages_max = world_.channel.options().messages_max;
        model_.bytes_max = world_.channel.options().bytes_max;
        model_.attempts_max = world_.channel.options().attempts_max;
        model_.quarantines_expired = world_.channel.options().quarantines_expired;
        model_.message_size_max = world_.channel.options().message_size_max;
        model_.drops_oldest = world_.channel.options().overflow == Overflow::drop_oldest;
    }

    void check() {
        for (const Event& event : world_.events.take()) {
            trace("    " + to_line(event));
            check_event(event);
        }
        EXPECT_TRUE(model_.refused.empty()) << "refusals are missing";
        EXPECT_FALSE(expected_closed_) << "a close is missing";
        for (const auto& [link, state] : senders_) {
            if (model_.senders[link].has_decision) {
                EXPECT_EQ(state.confirmed, model_.senders[link].decided) << "link " << link;
            }
        }
        check_stored();
        check_promises();
        if (std::exchange(has_dispatched_, false)) {
            check_nobody_could_take_more();
        }
    }

    void add_to(Reached& reached) const {
        const ChannelStats stats = world_.channel.stats();
        reached["published"] += stats.published;
        reached["duplicates"] += stats.duplicates;
        reached["refused"] += stats.refused;
        reached["delivered"] += stats.delivered;
        reached["redelivered"] += stats.redelivered;
        reached["settled"] += stats.settled;
        reached["purged"] += stats.purged;
        reached["retried"] += stats.retried;
        reached["rejected"] += stats.rejected;
        reached["expired"] += stats.expired;
        reached["dropped"] += stats.dropped;
        reached["dropped for room"] += model_.dropped_for_room;
        reached["parked"] += most_parked_;
        reached["lost leases"] += lost_leases_;
        reached["blocked on memory"] += blocked_on_memory_;
        reached["later attempts"] += later_attempts_;
        reached["larger than the credit"] += oversized_;
    }

protected:
    struct SenderState {
        Credit granted, used;
        std::uint64_t confirmed = 0;
        bool is_blocked = false;
    };
    struct ReceiverState {
        Credit limit, delivered;
        bool is_slow = false;
    };

    void trace(std::string line) { trace_.push_back(std::move(line)); }

    ChannelWorld world_;
    QueueModel model_;
    std::map<std::uint16_t, SenderState> senders_;
    std::map<std::uint16_t, ReceiverState> receivers_;
    std::set<Offset> expected_lost_;
    std::optional<std::pair<std::uint16_t, std::error_code>> expected_closed_;
    bool has_dispatched_ = false;
    std::vector<std::string> trace_;

private:
    void check_event(const Event& event) {
        const std::uint16_t link = event.link.link;
        switch (event.kind) {
            case Event::Kind::confirmed:
                EXPECT_GE(event.number, senders_[link].confirmed);
                EXPECT_LE(event.number, model_.senders[link].decided);
                senders_[link].confirmed = event.number;
                break;
            case Event::Kind::refused:
                EXPECT_EQ(event.reason, model_.is_draining ? Errc::draining : Errc::too_large);
                EXPECT_LT(senders_[link].confirmed, event.number) << "refused after its confirm";
                for (std::uint64_t i = 0; i < event.count; ++i) {
                    EXPECT_EQ(model_.refused.erase({link, event.number + i}), 1U);
                }
                break;
            case Event::Kind::credit:
                EXPECT_GE(event.credit.messages, senders_[link].granted.messages);
                EXPECT_GE(event.credit.bytes, senders_[link].granted.bytes);
                EXPECT_FALSE(senders_[link].is_blocked);
                senders_[link].granted = event.credit;
                break;
            case Event::Kind::state:
                senders_[link].is_blocked = event.state.wait.reason != WaitReason::none;
                blocked_on_memory_ += event.state.wait.reason == WaitReason::memory ? 1 : 0;
                break;
            case Event::Kind::deliver:
                check_delivery(event);
                break;
            case Event::Kind::settle_refused:
                EXPECT_EQ(event.reason, Errc::lost_lease);
                ++lost_leases_;
                for (std::uint64_t i = 0; i < event.range.count; ++i) {
                    seen_lost_.insert(event.range.first + i);
                }
                break;
            case Event::Kind::settled:
                EXPECT_EQ(event.number, 99U);
                EXPECT_EQ(std::exchange(seen_lost_, {}), std::exchange(expected_lost_, {}));
                break;
            case Event::Kind::closed:
                ASSERT_TRUE(expected_closed_);
                EXPECT_EQ(expected_closed_->first, link);
                EXPECT_EQ(expected_closed_->second, event.reason);
                expected_closed_.reset();
                senders_.erase(link);
                receivers_.erase(link);
                break;
        }
    }

    void check_delivery(const Event& event) {
        const Slice& slice = event.slice;
        ReceiverState& receiver = receivers_[event.link.link];
        const bool holds_nothing = model_.held_by(event.link.link) == 0;
        const bool has_properties = (slice.batch_flags & batch_has_properties) != 0;
        const Lines words = words_of(slice.messages.bytes(), has_properties);
        EXPECT_FALSE(receiver.is_slow || model_.is_draining);
        EXPECT_LT(receiver.delivered.bytes, receiver.limit.bytes);
        ASSERT_EQ(words.size(), slice.count);
        std::uint64_t bytes = 0;
        for (std::uint32_t i = 0; i < slice.count; ++i) {
            const auto found = model_.stored.find(slice.first + i);
            ASSERT_NE(found, model_.stored.end());
            QueueModel::Message& message = found->second;
            EXPECT_EQ(message.holder, 0) << "given twice";
            EXPECT_EQ(model_.first_ready(), slice.first + i) << "not the first ready message";
            EXPECT_EQ(message.text, words[i]);
            EXPECT_EQ(message.attempt, slice.attempt);
            EXPECT_EQ(message.was_delivered, slice.redelivered);
            check_order(message);
            bytes += message.bytes;
            message.holder = event.link.link;
            message.was_delivered = true;
        }
        EXPECT_EQ(bytes, slice.messages.size());
        later_attempts_ += slice.attempt > 1 ? 1 : 0;
        receiver.delivered.messages += slice.count;
        receiver.delivered.bytes += bytes;
        EXPECT_LE(receiver.delivered.messages, receiver.limit.messages);
        EXPECT_TRUE(receiver.delivered.bytes <= receiver.limit.bytes || (holds_nothing && slice.count == 1));
        oversized_ += receiver.delivered.bytes > receiver.limit.bytes ? 1 : 0;
        if ((slice.batch_flags & batch_has_crc) != 0) {
            EXPECT_EQ(slice.crc32c, crc32c(slice.messages.bytes()));
        }
    }

    // First deliveries of one producer are in the order of its numbers.
    void check_order(const QueueModel::Message& message) {
        if (!message.was_delivered && message.delay == 0) {
            const std::size_t colon = message.text.find(':');
            std::uint64_t& last =
                first_delivered_[message.text.substr(0, colon) + "/" + std::to_string(message.priority)];
            const std::uint64_t sequence = std::stoull(message.text.substr(colon + 1));
            EXPECT_GT(sequence, last);
            last = sequence;
        }
    }

    static MessageState state_of(const QueueModel::Message& message) {
        if (message.holder != 0) {
            return MessageState::in_flight;
        }
        if (message.is_quarantined) {
            return MessageState::quarantined;
        }
        return message.is_waiting ? MessageState::delayed : MessageState::ready;
    }

    void check_stored() {
        auto expected = model_.stored.begin();
        std::uint64_t ready = 0, held = 0, delayed = 0;
        world_.channel.peek(0, [&](const PeekedMessage& peeked) {
            if (expected == model_.stored.end()) {
                ADD_FAILURE() << "more is stored than should be: " << peeked.offset;
                return false;
            }
            EXPECT_EQ(peeked.offset, expected->first);
            EXPECT_EQ(as_text(peeked.message.payload), expected->second.text);
            EXPECT_EQ(peeked.attempt, expected->second.attempt);
            EXPECT_EQ(peeked.state, state_of(expected->second)) << peeked.offset;
            ready += expected->second.is_ready() ? 1 : 0;
            held += expected->second.holder != 0 ? 1 : 0;
            delayed += expected->second.is_waiting ? 1 : 0;
            ++expected;
            return true;
        });
        EXPECT_TRUE(expected == model_.stored.end()) << "missing: " << expected->first;
        const ChannelStats stats = world_.channel.stats();
        EXPECT_EQ(stats.ready, ready);
        EXPECT_EQ(stats.in_flight, held);
        EXPECT_EQ(stats.delayed, delayed);
        EXPECT_EQ(stats.quarantined, model_.stored.size() - ready - held - delayed);
        EXPECT_EQ(stats.expired, model_.expired);
        EXPECT_EQ(stats.dropped, model_.dropped);
        EXPECT_EQ(stats.bytes, model_.stored_bytes());
        EXPECT_EQ(stats.parked, model_.parked.size());
        most_parked_ = std::max(most_parked_, stats.parked);
        EXPECT_EQ(stats.next_offset, model_.next_offset);
        EXPECT_EQ(stats.oldest_offset, model_.stored.empty() ? 0 : model_.stored.begin()->first);
        EXPECT_EQ(stats.published, stats.settled + stats.purged + stats.dropped + model_.expired_away + model_.stored.size());
        for (const LinkReport& link : stats.links) {
            if (!link.is_sender) {
                EXPECT_EQ(link.in_flight, model_.held_by(link.address.link));
            }
        }
    }

    // What senders were promised and have not used is what is reserved of the broker's memory.
    void check_promises() {
        std::uint64_t outstanding = 0;
        for (const auto& entry : senders_) {
            outstanding += entry.second.granted.bytes - entry.second.used.bytes;
        }
        EXPECT_EQ(world_.budget.used(), outstanding);
        EXPECT_LE(world_.budget.used(), world_.budget.limit() * 3 / 2);  // ADR 28.
    }

    void check_nobody_could_take_more() {
        const auto offset = model_.first_ready();
        if (!offset || model_.is_draining) {
            return;
        }
        const std::uint64_t bytes = model_.stored[*offset].bytes;
        for (const auto& [link, state] : receivers_) {
            const bool has_credit = !state.is_slow && state.delivered.messages < state.limit.messages &&
                                    state.delivered.bytes < state.limit.bytes;
            const bool fits = state.delivered.bytes + bytes <= state.limit.bytes || model_.held_by(link) == 0;
            EXPECT_FALSE(has_credit && fits) << "receiver " << link << " could take " << *offset;
        }
    }

    std::map<std::string, std::uint64_t> first_delivered_;  // Of each producer, its last number.
    std::set<Offset> seen_lost_;
    std::uint64_t most_parked_ = 0, lost_leases_ = 0, blocked_on_memory_ = 0, later_attempts_ = 0, oversized_ = 0;
};

}  // namespace baton::channel::test
