// The broker's total memory for messages: what is allocated (chunks) and what is promised (credit) against one limit.
// Promises are made only while there is room, so what is allocated under them fits. Thread-safe: every shard shares it.
// Next file: payload.hpp, whose chunks are charged here.
#pragma once

#include <atomic>
#include <cstddef>

namespace baton {

class MemoryBudget {
public:
    /// `limit` in bytes.
    explicit MemoryBudget(std::size_t limit) noexcept : limit_(limit) {}
    MemoryBudget(const MemoryBudget&) = delete;
    MemoryBudget& operator=(const MemoryBudget&) = delete;

    /// Promises `bytes` to a peer. False, and nothing is changed, if they do not fit.
    [[nodiscard]] bool try_reserve(std::size_t bytes) noexcept {
        return take_if([&](std::size_t used) { return used <= limit_ && bytes <= limit_ - used; }, bytes);
    }
    /// The same for somebody who would wait for peers that have promises and use none: what is allocated and this fit, and all
    /// promises together may be half a limit too much. So it is exceeded only if very many peers use theirs at once.
    [[nodiscard]] bool try_overdraw(std::size_t bytes) noexcept {
        return take_if([&](std::size_t used) { return can_overdraw(bytes, used); }, bytes);
    }
    [[nodiscard]] bool can_overdraw(std::size_t bytes) const noexcept { return can_overdraw(bytes, used()); }

    /// Takes back a promise, used or not.
    void release(std::size_t bytes) noexcept { used_.fetch_sub(bytes, std::memory_order_relaxed); }

    /// Counts memory that has been allocated. Never refused: it was promised before, or is small and bounded elsewhere.
    void charge(std::size_t bytes) noexcept {
        allocated_.fetch_add(bytes, std::memory_order_relaxed);
        used_.fetch_add(bytes, std::memory_order_relaxed);
    }
    void discharge(std::size_t bytes) noexcept {
        allocated_.fetch_sub(bytes, std::memory_order_relaxed);
        used_.fetch_sub(bytes, std::memory_order_relaxed);
    }

    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
    [[nodiscard]] std::size_t used() const noexcept { return used_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::size_t available() const noexcept {
        const auto now = used();
        return now < limit_ ? limit_ - now : 0;
    }

private:
    /// fits(used)
    template <class Fits>
    [[nodiscard]] bool take_if(Fits fits, std::size_t bytes) noexcept {
        auto used = used_.load(std::memory_order_relaxed);
        do {
            if (!fits(used)) {
                return false;
            }
        } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
        return true;
    }
    [[nodiscard]] bool can_overdraw(std::size_t bytes, std::size_t used) const noexcept {
        const auto allocated = allocated_.load(std::memory_order_relaxed);
        const auto most = limit_ + limit_ / 2;
        return allocated <= limit_ && bytes <= limit_ - allocated && used <= most && bytes <= most - used;
    }

    const std::size_t limit_;
    std::atomic<std::size_t> used_{0};       // Allocated or promised.
    std::atomic<std::size_t> allocated_{0};  // Of that.
};

}  // namespace baton
