// Some threads use a thing that they take, one closes the hand now and then: it is one thread's at a time.
#include "client/src/hand.hpp"

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace baton::client {
namespace {

TEST(HandTest, WhatIsTakenIsGoneUntilItIsGivenBack) {
    Hand<int> hand;
    EXPECT_EQ(hand.take(), nullptr);
    EXPECT_EQ(hand.close(), nullptr);
    int thing = 0;
    hand.open(thing);
    EXPECT_EQ(hand.take(), &thing);
    EXPECT_EQ(hand.take(), nullptr);
    hand.give_back(&thing);
    EXPECT_EQ(hand.close(), &thing);
    EXPECT_EQ(hand.take(), nullptr);
    EXPECT_EQ(hand.close(), nullptr);
}

TEST(HandTest, ItIsOneThreadsAtATime) {
    constexpr int rounds = 20'000;
    constexpr int takers = 3;
    std::mutex mutex;
    Hand<std::uint64_t> hand;
    std::uint64_t thing = 0;  // No atomic: whoever has it is alone with it.
    std::atomic<std::uint64_t> taken{0};
    std::atomic<bool> is_over{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < takers; ++i) {
        threads.emplace_back([&] {
            while (!is_over) {
                if (std::uint64_t* mine = hand.take()) {
                    ++*mine;
                    hand.give_back(mine);
                    ++taken;
                }
            }
        });
    }
    std::uint64_t by_closer = 0;
    for (int round = 0; round < rounds; ++round) {
        const std::lock_guard lock{mutex};
        if (hand.close() == nullptr) {
            hand.open(thing);
        } else {
            ++thing;
            ++by_closer;
        }
    }
    is_over = true;
    for (auto& thread : threads) {
        thread.join();
    }
    hand.close();
    EXPECT_EQ(thing, taken + by_closer);
    EXPECT_GT(by_closer, 0U);
}

}  // namespace
}  // namespace baton::client
