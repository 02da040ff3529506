// A reader at rest: what records make of it, message by message; and that replay of any part of them ends in the same state.
#include "server/channel/reader_image.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"

namespace baton::channel::test {
namespace {

ReaderEntry entry_of(Offset first, Offset end, ReaderEntryKind kind, std::uint32_t attempt = 1) {
    return {.first = first, .end = end, .kind = kind, .attempt = attempt, .note{}};
}

struct ReaderImageTest : testing::Test {
    ReaderImage image{SubscriptionSettings{}};
    [[nodiscard]] std::vector<ReaderEntry> entries() const { return image.state().entries; }
};

TEST_F(ReaderImageTest, WhatTheCursorPassesWasGivenAndWhatWasSettledInFrontOfItIsGone) {
    image.set(entry_of(3, 5, ReaderEntryKind::settled));
    EXPECT_TRUE(image.is_alive(1, 3));
    EXPECT_FALSE(image.is_alive(3, 5));
    EXPECT_EQ(image.live_messages(10), 7U);
    image.advance(8);
    EXPECT_EQ(entries(), (std::vector{entry_of(1, 3, ReaderEntryKind::ready), entry_of(5, 8, ReaderEntryKind::ready)}));
    EXPECT_EQ(image.live_messages(10), 7U);
    image.advance(5);
    EXPECT_EQ(image.cursor(), 8U);
}

TEST_F(ReaderImageTest, AStartedMessageHasOneMoreAttemptBehindItAndNeverFewer) {
    image.advance(5);
    image.start(2, 4, 1);
    image.start(2, 3, 1);
    image.start(2, 3, 2);
    image.start(2, 3, 1);
    EXPECT_EQ(entries(), (std::vector{entry_of(1, 2, ReaderEntryKind::ready), entry_of(2, 3, ReaderEntryKind::ready, 3),
                                      entry_of(3, 4, ReaderEntryKind::ready, 2), entry_of(4, 5, ReaderEntryKind::ready)}));
}

TEST_F(ReaderImageTest, StartingWhatIsSettledDoesNotBringItBack) {
    image.advance(5);
    image.set(entry_of(2, 4, ReaderEntryKind::settled));
    image.start(1, 6, 1);
    EXPECT_FALSE(image.is_alive(2, 4));
    EXPECT_EQ(entries().front(), entry_of(1, 2, ReaderEntryKind::ready, 2));
    EXPECT_EQ(entries().back(), entry_of(4, 6, ReaderEntryKind::ready, 2));
}

TEST_F(ReaderImageTest, IsUniformWhereAllIsFreshOrAllIsSettled) {
    image.advance(10);
    image.set(entry_of(1, 10, ReaderEntryKind::settled));
    image.set(entry_of(4, 5, ReaderEntryKind::waiting, 2));
    EXPECT_TRUE(image.is_uniform(1, 4));
    EXPECT_FALSE(image.is_uniform(3, 5));
    EXPECT_TRUE(image.is_uniform(5, 10));
    EXPECT_FALSE(image.is_uniform(9, 11));
    EXPECT_TRUE(image.is_uniform(10, 20));
}

// The same, message by message.
struct Naive {
    Offset cursor = 1;
    std::map<Offset, std::optional<ReaderEntry>> messages;  // Nothing: settled. Absent: fresh, or settled behind the cursor.

    static constexpr Offset end = 30;
    void advance(Offset to) {
        for (Offset offset = cursor; offset < to; ++offset) {
            messages.try_emplace(offset, entry_of(offset, offset + 1, ReaderEntryKind::ready));
        }
        cursor = std::max(cursor, to);
    }
    void set(const ReaderEntry& entry) {
        for (Offset offset = entry.first; offset < entry.end; ++offset) {
            ReaderEntry one = entry;
            one.first = offset;
            one.end = offset + 1;
            messages[offset] = entry.is_alive() ? std::optional{one} : std::nullopt;
        }
    }
    void start(Offset first, Offset last, std::uint32_t attempt) {
        for (Offset offset = first; offset < last; ++offset) {
            const auto found = messages.find(offset);
            if (found == messages.end()) {
                if (offset >= cursor) {
                    messages[offset] = entry_of(offset, offset + 1, ReaderEntryKind::ready, attempt + 1);
                }
            } else if (found->second && found->second->attempt <= attempt) {
                found->second = entry_of(offset, offset + 1, ReaderEntryKind::ready, attempt + 1);
            }
        }
    }
    [[nodiscard]] std::map<Offset, ReaderEntry> alive() const {
        std::map<Offset, ReaderEntry> alive;
        for (Offset offset = 1; offset < end; ++offset) {
            const auto found = messages.find(offset);
            if (found != messages.end() && found->second) {
                alive[offset] = *found->second;
            } else if (found == messages.end() && offset >= cursor) {
                alive[offset] = entry_of(offset, offset + 1, ReaderEntryKind::ready);
            }
        }
        return alive;
    }
};

std::map<Offset, ReaderEntry> alive_in(const ReaderImage& image) {
    std::map<Offset, ReaderEntry> alive;
    for (Offset offset = image.cursor(); offset < Naive::end; ++offset) {
        alive[offset] = entry_of(offset, offset + 1, ReaderEntryKind::ready);
    }
    for (const auto& [first, entry] : image.entries()) {
        for (Offset offset = first; offset < entry.end; ++offset) {
            alive.erase(offset);
            if (entry.is_alive()) {
                ReaderEntry one = entry;
                one.first = offset;
                one.end = offset + 1;
                alive[offset] = one;
            }
        }
    }
    return alive;
}

TEST(ReaderImageModel, EqualsTheSameMessageByMessageAndReplayConverges) {
    for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Prng prng{seed};
        ReaderImage image{SubscriptionSettings{}};
        Naive naive;
        std::vector<std::function<void(ReaderImage&)>> records;
        std::vector<ReaderState> states{image.state()};
        for (int i = 0; i < 30; ++i) {
            const Offset first = prng.range(1, Naive::end - 2);
            const Offset end = prng.range(first + 1, Naive::end - 1);
            const auto attempt = static_cast<std::uint32_t>(prng.range(1, 4));
            if (prng.chance(1, 3)) {
                records.emplace_back([=](ReaderImage& other) { other.advance(end); });
                naive.advance(end);
            } else if (prng.chance(1, 3)) {
                // As in a log: nobody starts what is behind the cursor and settled, or in an attempt that is over.
                records.emplace_back([=](ReaderImage& other) { other.start(first, end, attempt); });
                naive.start(first, end, attempt);
            } else {
                auto entry = entry_of(first, end, static_cast<ReaderEntryKind>(prng.range(1, 5)), attempt);
                entry.attempt = entry.is_alive() ? attempt : 1;
                records.emplace_back([=](ReaderImage& other) { other.set(entry); });
                naive.set(entry);
            }
            records.back()(image);
            states.push_back(image.state());
            ASSERT_EQ(alive_in(image), naive.alive());
            ASSERT_EQ(image.live_messages(Naive::end), naive.alive().size());
            for (Offset at = 1; at < Naive::end; ++at) {
                ASSERT_EQ(image.is_alive(at, at + 1), naive.alive().contains(at)) << at;
            }
        }
    }
}

// A log of what a channel does: messages are given, started, tried again, quarantined, settled. Replay from any record on over any
// later state ends where the log ends.
TEST(ReaderImageModel, ReplayOverALaterStateEndsInTheSameState) {
    for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Prng prng{seed};
        ReaderImage image{SubscriptionSettings{}};
        std::vector<std::function<void(ReaderImage&)>> records;
        std::vector<ReaderState> states{image.state()};
        std::map<Offset, std::uint32_t> held;  // Attempts.
        Offset next = 1;
        for (int i = 0; i < 40; ++i) {
            if (held.empty() || prng.chance(1, 3)) {
                held[next++] = 1;
                records.emplace_back([=](ReaderImage& other) { other.advance(next); });
            } else {
                const auto at = std::next(held.begin(), static_cast<std::ptrdiff_t>(prng.below(held.size())));
                const auto [offset, attempt] = *at;
                switch (prng.below(4)) {
                    case 0:
                        records.emplace_back([=](ReaderImage& other) { other.start(offset, offset + 1, attempt); });
                        ++at->second;
                        break;
                    case 1:
                        ++at->second;
                        records.emplace_back([=](ReaderImage& other) {
                            other.set(entry_of(offset, offset + 1, ReaderEntryKind::waiting, attempt + 1));
                        });
                        break;
                    case 2:
                        at->second = 1;
                        records.emplace_back([=](ReaderImage& other) {
                            other.set(entry_of(offset, offset + 1, ReaderEntryKind::quarantined, attempt));
                            other.set(entry_of(offset, offset + 1, ReaderEntryKind::kept, 1));
                        });
                        break;
                    default:
                        held.erase(at);
                        records.emplace_back(
                            [=](ReaderImage& other) { other.set(entry_of(offset, offset + 1, ReaderEntryKind::settled)); });
                }
            }
            records.back()(image);
            states.push_back(image.state());
        }
        const std::size_t saved = prng.below(states.size());
        ReaderImage replayed{states[saved]};
        for (std::size_t i = prng.below(saved + 1); i < records.size(); ++i) {
            records[i](replayed);
        }
        ASSERT_EQ(alive_in(replayed), alive_in(image)) << "state of " << saved;
    }
}

}  // namespace
}  // namespace baton::channel::test
