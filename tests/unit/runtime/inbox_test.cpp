// What shards hand each other: nothing is lost, each thread's order is kept, and the owner is told when it has to be.
#include "server/runtime/inbox.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace baton::runtime {
namespace {

/// An envelope that carries a number and who sent it.
EnvelopeBatch numbered(std::uint64_t sender, std::uint64_t number) {
    EnvelopeBatch batch;
    batch.emplace_back(ConfirmedEvent{{channel::SessionId{sender}, 1}, number, channel::ConfirmLevel::received});
    return batch;
}

const ConfirmedEvent& event_of(const EnvelopeBatch& batch) {
    return std::get<ConfirmedEvent>(batch.front());
}

TEST(Inbox, GivesInOrderAndSaysWhenItWasEmpty) {
    Inbox inbox;
    EXPECT_TRUE(inbox.put(numbered(1, 1)));
    EXPECT_FALSE(inbox.put(numbered(1, 2)));
    EXPECT_FALSE(inbox.put(numbered(2, 3)));
    std::vector<std::uint64_t> taken;
    const auto note = [&](const EnvelopeBatch& batch) { taken.push_back(event_of(batch).sequence); };
    inbox.take(note);
    EXPECT_EQ(taken, (std::vector<std::uint64_t>{1, 2, 3}));
    inbox.take(note);
    EXPECT_EQ(taken.size(), 3U);
    EXPECT_TRUE(inbox.put(numbered(1, 4)));  // Not taken: goes with the inbox.
}

TEST(Inbox, LosesNothingOfManyThreads) {
    constexpr std::uint64_t each = 20'000;
    constexpr std::uint64_t threads = 3;
    Inbox inbox;
    std::atomic<std::uint64_t> told{0};
    std::vector<std::thread> senders;
    for (std::uint64_t sender = 0; sender < threads; ++sender) {
        senders.emplace_back([&, sender] {
            for (std::uint64_t number = 1; number <= each; ++number) {
                if (inbox.put(numbered(sender, number))) {
                    told.fetch_add(1, std::memory_order_release);
                }
            }
        });
    }
    std::array<std::uint64_t, threads> last{};
    std::uint64_t taken = 0;
    std::uint64_t heard = 0;
    while (taken < threads * each) {
        if (told.load(std::memory_order_acquire) == heard) {
            std::this_thread::yield();
            continue;
        }
        ++heard;  // Told once, looks once: what is put behind that is told again.
        inbox.take([&](const EnvelopeBatch& batch) {
            const ConfirmedEvent& event = event_of(batch);
            const auto sender = static_cast<std::size_t>(event.link.session.value());
            EXPECT_EQ(event.sequence, last.at(sender) + 1);
            last.at(sender) = event.sequence;
            ++taken;
        });
    }
    for (std::thread& sender : senders) {
        sender.join();
    }
    EXPECT_EQ(heard, told.load());
}

}  // namespace
}  // namespace baton::runtime
