// What is true of a durable channel, message by message and as plainly as it can be written: what was submitted at
// which index, and what of that a crash leaves. It reads the records that the channel submits; the checks say whether
// they were right. Next file: durable_checks.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "server/channel/durable_records.hpp"
#include "tests/unit/channel/fake_commit_log.hpp"

namespace baton::channel::test {

struct DurableModel {
    struct Message {
        std::string text;
        commit::Index published = 0;   ///< The record that made it; 0: it has survived a restart.
        commit::Index visible_at = 0;  ///< The newest record that holds it, until it is visible.
        bool is_visible = false;
        std::uint16_t holder = 0;
        std::uint32_t attempt = 1;
        bool is_started = false;
        bool was_delivered = false;
        bool is_gone = false;       ///< Settled or purged.
        commit::Index gone_at = 0;  ///< The record that says so; 0: not written yet.
        std::vector<std::pair<commit::Index, std::uint32_t>>
            attempts;                      ///< Written: from this record on at least this one.
        std::uint32_t attempt_before = 1;  ///< At the last restart.
    };

    std::map<Offset, Message> messages;                     ///< Of this life: also those that are gone.
    std::vector<std::pair<commit::Index, Offset>> cursors;  ///< Written.
    Offset cursor_before = 1;
    Offset next_offset = 1;
    std::map<std::string, commit::Index> stored;  ///< What was stored in this life, by which record, or (0) before it.
    std::map<std::uint8_t, std::vector<std::pair<commit::Index, std::uint64_t>>> sequences;  ///< Written, by producer.
    commit::Index seen = 0;

    /// Takes note of what was submitted since the last time.
    void read(const FakeCommitLog& log) {
        while (seen < log.submitted()) {
            const auto record = decode_record(log.record(++seen).body);
            ASSERT_TRUE(record) << "record " << seen << " is not understood";
            if (const auto* publish = std::get_if<PublishRecord>(&*record)) {
                on(*publish);
            } else if (const auto* settings = std::get_if<SettingsRecord>(&*record)) {
                options.emplace_back(seen, settings->options);
            } else if (const auto* settled = std::get_if<SettledRecord>(&*record)) {
                cursors.emplace_back(seen, settled->cursor);
                for (const OffsetRange& range : settled->ranges) {
                    for (Offset offset = range.first; offset < range.first + range.count; ++offset) {
                        ASSERT_TRUE(messages.contains(offset)) << offset;
                        Message& message = messages[offset];
                        EXPECT_TRUE(message.is_gone && message.gone_at == 0) << "offset " << offset;
                        message.gone_at = seen;
                    }
                }
            } else if (const auto* started = std::get_if<StartedRecord>(&*record)) {
                cursors.emplace_back(seen, started->cursor);
                for (const StartedRange& range : started->ranges) {
                    for (Offset offset = range.first; offset < range.first + range.count; ++offset) {
                        ASSERT_TRUE(messages.contains(offset)) << offset;
                        messages[offset].attempts.emplace_back(seen, range.attempt + 1);
                    }
                }
            }
        }
    }

    /// The log has got so far and the channel has heard of it.
    void commit(commit::Index index) {
        for (auto& [offset, message] : messages) {
            if (!message.is_visible) {
                if (message.visible_at > index) {
                    return;
                }
                message.is_visible = true;
            }
        }
    }

    /// What is there after a crash that left the records up to `last`.
    [[nodiscard]] DurableModel survivor(commit::Index last) const {
        DurableModel next;
        next.cursor_before = cursor_before;
        for (const auto& [index, cursor] : cursors) {
            next.cursor_before = index <= last ? std::max(next.cursor_before, cursor) : next.cursor_before;
        }
        next.next_offset = std::max(first_offset, next.cursor_before);
        next.stored = stored_before;
        for (const auto& [offset, message] : messages) {
            if (message.published > last) {
                continue;
            }
            next.next_offset = std::max(next.next_offset, offset + 1);
            next.stored.emplace(message.text, 0);
            if (message.gone_at != 0 && message.gone_at <= last) {
                continue;
            }
            Message& kept = next.messages[offset];
            kept.text = message.text;
            kept.is_visible = true;
            kept.was_delivered = offset < next.cursor_before;
            kept.attempt = message.attempt_before;
            for (const auto& [index, attempt] : message.attempts) {
                kept.attempt = index <= last ? std::max(kept.attempt, attempt) : kept.attempt;
            }
            kept.attempt_before = kept.attempt;
        }
        next.first_offset = next.next_offset;
        next.stored_before = next.stored;
        for (const auto& [index, written] : options) {
            if (index <= last) {
                next.options = {{0, written}};
            }
        }
        for (const auto& [producer, written] : sequences) {
            for (const auto& [index, sequence] : written) {
                if (index <= last) {
                    next.sequences[producer] = {{0, sequence}};
                }
            }
        }
        return next;
    }

    Offset first_offset = 1;                             ///< The next one when this life began.
    std::map<std::string, commit::Index> stored_before;  ///< Everything that was stored before this life; all 0.
    std::vector<std::pair<commit::Index, ChannelOptions>> options;  ///< Written.

private:
    void on(const PublishRecord& publish) {
        MessageCursor cursor{publish.messages, publish.header.has_properties()};
        MessageView view;
        Offset offset = publish.header.base_offset;
        const bool is_new = offset >= next_offset;
        if (is_new) {
            EXPECT_EQ(offset, next_offset) << "a gap in the offsets";
            const auto producer = std::to_integer<std::uint8_t>(publish.producer.bytes[0]);
            if (producer != 0) {
                sequences[producer].emplace_back(seen, publish.last_sequence);
            }
        }
        for (; cursor.next(view); ++offset) {
            const std::string text{as_text(view.payload)};
            if (is_new) {
                EXPECT_TRUE(stored.emplace(text, seen).second) << text << " is stored twice";
                Message& message = messages[offset];
                message.text = text;
                message.published = message.visible_at = seen;
                ++next_offset;
            } else if (const auto found = messages.find(offset); found != messages.end()) {
                // What the log knows as settled need not be written again.
                EXPECT_TRUE(found->second.text == text || (text.empty() && found->second.gone_at != 0))
                    << "offset " << offset << " was moved: " << text;
                found->second.visible_at = seen;
            }
        }
    }
};

}  // namespace baton::channel::test
