// Something that is guarded by a mutex and yet may be used without it, by one thread at a time: by whoever has taken it
// out of the hand. Taking costs one atomic exchange and giving back none, less than half of a mutex that nobody else
// wants; and whoever has the mutex can close the hand, and then owns the thing as well.
// Not responsible for the thing, or for what has to be counted up when the hand is closed.
// Next file: endpoint.hpp.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include "common/base/assert.hpp"

namespace baton::client {

template <class Thing>
class Hand {
public:
    Hand() = default;
    Hand(const Hand&) = delete;
    Hand& operator=(const Hand&) = delete;

    // --- Any thread, without the mutex
    // Null: it is closed, or somebody else has the thing now. Otherwise give_back() follows at once: whoever closes the
    // hand waits for it.
    [[nodiscard]] Thing* take() noexcept {
        if (place_.load(std::memory_order_relaxed) == nullptr) {
            return nullptr;
        }
        return place_.exchange(nullptr, std::memory_order_acquire);
    }
    void give_back(Thing* thing) noexcept { place_.store(thing, std::memory_order_release); }

    // --- With the mutex
    // It is closed. Until it is closed again the thing is used by nobody who has not taken it.
    void open(Thing& thing) noexcept {
        BATON_ASSERT(thing_ == nullptr);
        thing_ = &thing;
        give_back(thing_);
    }
    // Returns what was in it; null: it was closed.
    Thing* close() noexcept {
        if (thing_ == nullptr) {
            return nullptr;
        }
        for (int tries = 0; place_.exchange(nullptr, std::memory_order_acquire) == nullptr; ++tries) {
            wait_a_little(tries);
        }
        Thing* const thing = thing_;
        thing_ = nullptr;
        return thing;
    }

private:
    // Whoever has it gives it back within nanoseconds, unless the system has taken its core away meanwhile; and if that
    // was for us, because our priority is higher, it gets it only when we sleep.
    static void wait_a_little(int tries) noexcept {
        constexpr int spins = 100;
        constexpr int yields = 100;
        if (tries < spins) {
            return;
        }
        if (tries < spins + yields) {
            std::this_thread::yield();
        } else {
            std::this_thread::sleep_for(std::chrono::microseconds{50});
        }
    }

    std::atomic<Thing*> place_{nullptr};
    Thing* thing_ = nullptr;  // Guarded by the mutex: what the hand was opened with.
};

}  // namespace baton::client
