// One DELIVER, shared by the deliveries made of it, and the references that keep it.
// Not responsible for what is decided and told: receiver_endpoint.hpp, whose mutex guards most of it.
// Next file: receiver_endpoint.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <utility>

#include "client/src/open_messages.hpp"
#include "client/src/protocol_events.hpp"
#include "common/base/assert.hpp"
#include "common/base/batch.hpp"

namespace baton::client {

class ReceiverEndpoint;
class SliceRef;

// An ack takes no lock: it closes its message, and nothing else in the usual case, for the endpoint looks at the slice
// again in any case (`is_dirty`). Whoever looks clears that flag and then reads what is closed; whoever acks closes and
// then reads the flag; all four in the one order of sequentially consistent operations. So either the one sees the
// closed message or the other sees that it has to say so.
struct DeliveredSlice {
    // `stride`: a power of two.
    DeliveredSlice(DeliveredBatch&& delivered, std::shared_ptr<ReceiverEndpoint> receiver, std::uint32_t stride)
        : open{delivered.header.count},
          stride_mask{stride - 1},
          batch{std::move(delivered)},
          owner{std::move(receiver)},
          cursor{batch.messages.bytes(), batch.header.has_properties()},
          end{batch.header.count},
          unaccounted{batch.header.count},
          room{batch.header.messages_size},
          renewed_at{batch.arrived} {}
    DeliveredSlice(const DeliveredSlice&) = delete;
    DeliveredSlice& operator=(const DeliveredSlice&) = delete;

    // --- Any thread
    void retain(std::uint32_t count) noexcept { references.fetch_add(count, std::memory_order_relaxed); }
    void release(std::uint32_t count) noexcept {
        if (references.fetch_sub(count, std::memory_order_acq_rel) == count) {
            delete this;
        }
    }
    [[nodiscard]] std::uint32_t index_of(std::uint64_t offset) const noexcept {
        return static_cast<std::uint32_t>(offset - batch.header.base_offset);
    }
    // Every so many messages, and at the last, an ack says how far it has come, that a window does not run dry.
    [[nodiscard]] bool is_milestone(std::uint32_t index) const noexcept {
        return (index & stride_mask) == stride_mask || index + 1 == batch.header.count;
    }
    // How many messages lead to it.
    [[nodiscard]] std::uint32_t milestone_size(std::uint32_t index) const noexcept { return (index & stride_mask) + 1; }
    [[nodiscard]] std::uint64_t room_each() const noexcept { return batch.header.messages_size / batch.header.count; }

    // --- With the owner's mutex. So many more are decided or lost; returns the bytes of the window that are free
    // again: on average, and the rest with the last. So their sum is exact and never more than was received.
    std::uint64_t account(std::uint32_t count) noexcept {
        BATON_ASSERT(count <= unaccounted);
        unaccounted -= count;
        const std::uint64_t bytes = unaccounted == 0 ? room : count * room_each();
        room -= bytes;
        return bytes;
    }

    std::atomic<std::uint32_t> references{0};
    std::atomic<bool> is_dirty{false};  // In the owner's `dirty_`. Written with its mutex.
    OpenMessages open;                  // Not decided by us, nor lost. When they are lost as a whole: all are closed.
    const std::uint32_t stride_mask;
    const DeliveredBatch batch;
    const std::shared_ptr<ReceiverEndpoint> owner;

    // --- Guarded by the owner's mutex, or by whoever has taken it out of the owner's hand
    MessageCursor cursor;    // In front of `next`.
    std::uint32_t next = 0;  // Index of the next message to hand out.
    std::uint32_t end;       // Behind the last one.

    // --- Guarded by the owner's mutex
    std::uint32_t given = 0;      // Deliveries made of it: up to `next`, without those that were lost before.
    std::uint32_t announced = 0;  // Of the messages before this one it has been said that they were started.
    std::uint32_t unaccounted;    // Neither told to be decided or lost, nor about to be.
    std::uint64_t room;           // Bytes of the window that they take.
    MonotonicTime renewed_at;     // When the leases were extended.
    bool is_held = false;         // In the owner's `held_`, and there:
    std::list<SliceRef>::iterator place;
};

// Keeps a slice.
class SliceRef {
public:
    explicit SliceRef(DeliveredSlice& slice) noexcept : slice_{&slice} { slice_->retain(1); }
    SliceRef(const SliceRef& other) noexcept : SliceRef{*other.slice_} {}
    SliceRef(SliceRef&& other) noexcept : slice_{std::exchange(other.slice_, nullptr)} {}
    SliceRef& operator=(SliceRef other) noexcept {
        std::swap(slice_, other.slice_);
        return *this;
    }
    ~SliceRef() {
        if (slice_ != nullptr) {
            slice_->release(1);
        }
    }
    [[nodiscard]] DeliveredSlice& operator*() const noexcept { return *slice_; }
    [[nodiscard]] DeliveredSlice* operator->() const noexcept { return slice_; }

private:
    DeliveredSlice* slice_;
};

// A slice of which messages wait to be handed out. It keeps it once for each of them, so that handing out costs no
// counting: the delivery takes over one of these.
class QueuedSlice {
public:
    explicit QueuedSlice(DeliveredSlice& slice) noexcept : slice_{&slice} { slice_->retain(slice.batch.header.count); }
    QueuedSlice(QueuedSlice&& other) noexcept : slice_{std::exchange(other.slice_, nullptr)} {}
    QueuedSlice(const QueuedSlice&) = delete;
    QueuedSlice& operator=(const QueuedSlice&) = delete;
    ~QueuedSlice() {
        if (slice_ != nullptr && slice_->given != slice_->batch.header.count) {
            slice_->release(slice_->batch.header.count - slice_->given);
        }
    }
    [[nodiscard]] DeliveredSlice& operator*() const noexcept { return *slice_; }

private:
    DeliveredSlice* slice_;
};

}  // namespace baton::client
