// What other shards have handed over and is not taken yet. A list without locks: any thread puts in front, the owner takes all
// of it at once, so that no other thread ever takes and the list has no ABA problem.
// Not responsible for waking the owner: who puts something into an empty inbox does that. Next file: shard.hpp.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "server/runtime/envelope.hpp"

namespace baton::runtime {

class Inbox {
public:
    Inbox() = default;
    Inbox(const Inbox&) = delete;
    Inbox& operator=(const Inbox&) = delete;
    ~Inbox() { take([](const EnvelopeBatch&) {}); }

    /// Any thread. True: it was empty, the owner must be told. What one thread puts is taken in that order.
    [[nodiscard]] bool put(EnvelopeBatch batch) {
        Entry* older = newest_.load(std::memory_order_relaxed);
        auto* entry = new Entry{.batch = std::move(batch), .older = older};
        while (!newest_.compare_exchange_weak(older, entry, std::memory_order_release, std::memory_order_relaxed)) {
            entry->older = older;
        }
        return older == nullptr;  // The entry may be gone already.
    }

    /// The owner: everything that is there, oldest first.
    template <class Visitor>
    void take(Visitor visitor) {
        std::unique_ptr<Entry> oldest;
        for (Entry* entry = newest_.exchange(nullptr, std::memory_order_acquire); entry != nullptr;) {
            Entry* const older = entry->older;
            entry->older = oldest.release();  // From here on: the next newer one.
            oldest.reset(entry);
            entry = older;
        }
        while (oldest) {
            visitor(std::move(oldest->batch));
            oldest.reset(oldest->older);
        }
    }

private:
    struct Entry {
        EnvelopeBatch batch;
        Entry* older = nullptr;
    };

    std::atomic<Entry*> newest_{nullptr};
};

}  // namespace baton::runtime
