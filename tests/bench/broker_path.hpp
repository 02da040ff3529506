// The path of messages through one shard without sockets (docs/architecture.md): each step can be run, and measured, by
// itself. A turn is what one read of a socket brings: some frames with batches, which are published, given to
// receivers, written as DELIVER frames and settled. Shared by the microbenchmarks and the instruction budget. One
// thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/assert.hpp"
#include "common/base/batch_builder.hpp"
#include "common/base/clock.hpp"
#include "common/base/memory_budget.hpp"
#include "common/base/outbox.hpp"
#include "common/base/payload.hpp"
#include "common/wire/frame.hpp"
#include "server/channel/channel.hpp"
#include "server/session/delivery_writer.hpp"

namespace baton::bench {

/// Of a turn; not more than a sender's first credit (SenderGate::window_start). The standard one is what the blocking
/// client makes of 128-byte messages under load.
struct TurnShape {
    std::uint32_t frames = 4;
    std::uint32_t batch = 64;  ///< Messages in a frame.
    std::size_t size = 128;    ///< Bytes of a payload.
    std::uint16_t receivers = 1;
};

class BrokerPath final : private channel::ChannelEvents {
public:
    explicit BrokerPath(const TurnShape& shape = {})
        : shape_{shape}, channel_{"bench", channel::ChannelOptions{}, *this, clock_, budget_}, links_(shape.receivers + 1U) {
        prepare_input();
        static_cast<void>(channel_.attach_sender(address(sender_link), {}));
        channel_.announce_credit(address(sender_link));
        for (std::uint16_t i = 0; i < shape.receivers; ++i) {
            const auto refused = channel_.attach_receiver(address(receiver_link(i)), {});
            BATON_ASSERT(!refused);
            channel_.set_credit(address(receiver_link(i)), {endless, endless});
        }
    }
    BrokerPath(const BrokerPath&) = delete;
    BrokerPath& operator=(const BrokerPath&) = delete;
    ~BrokerPath() override = default;

    [[nodiscard]] std::uint64_t messages_per_turn() const noexcept {
        return std::uint64_t{shape_.frames} * shape_.batch;
    }

    // The steps of a turn, in this order.

    /// Cuts the read bytes into frames and checks the batches in them.
    void decode() noexcept {
        batches_.clear();
        std::size_t at = 0;
        while (at < input_.size) {
            const auto decoded = wire::decode_frame(input_.bytes().subspan(at), wire::frame_size_max_default);
            BATON_ASSERT(decoded.status == wire::FrameStatus::complete);
            const auto body = input_.sub(at + wire::frame_header_size, decoded.frame.body.size());
            BATON_ASSERT(check_batch(body.bytes()).has_value());
            batches_.push_back(body.size < dense_copy_below ? Payload::copy_of(pool_, body.bytes()) : body.retain());
            at += decoded.size();
        }
    }
    /// Stores them.
    void publish() {
        for (auto& batch : batches_) {
            channel_.publish(address(sender_link), sequence_, std::move(batch));
            sequence_ += shape_.batch;
        }
    }
    /// Chooses receivers.
    void dispatch() { channel_.dispatch(); }
    /// Makes frames of what was given.
    void deliver() {
        for (const auto& given : given_) {
            writer_.deliver(given.link, links_[given.link - 1U], given.slice);
        }
    }
    /// As if the socket took everything.
    void write() noexcept {
        while (const auto count = outbox_.gather(buffers_, endless)) {
            std::size_t size = 0;
            for (std::size_t i = 0; i < count; ++i) {
                size += buffers_[i].iov_len;
            }
            bytes_written_ += size;
            outbox_.consume(size);
        }
    }
    /// As if every receiver had acked all it got.
    void settle() {
        for (const auto& given : given_) {
            const channel::SettleRange range{given.slice.first, given.slice.count, given.slice.attempt};
            channel_.settle(address(given.link), {&range, 1}, 0);
        }
        settled_ += given_messages_;
        given_messages_ = 0;
        given_.clear();
    }

    void turn() {
        decode();
        publish();
        dispatch();
        deliver();
        write();
        settle();
    }

    /// For the end of a run: everything went all the way.
    [[nodiscard]] std::uint64_t settled() const noexcept { return settled_; }
    [[nodiscard]] std::uint64_t confirmed() const noexcept { return confirmed_; }
    [[nodiscard]] std::uint64_t bytes_written() const noexcept { return bytes_written_; }

private:
    struct Given {
        std::uint16_t link;
        channel::Slice slice;
    };
    static constexpr std::size_t dense_copy_below = 4 * 1024;  // As in session_frames.cpp.
    static constexpr std::uint16_t sender_link = 1;
    static constexpr std::uint64_t endless = std::uint64_t{1} << 60U;
    static constexpr std::size_t memory_max = std::size_t{1} << 30U;

    [[nodiscard]] static std::uint16_t receiver_link(std::uint16_t index) noexcept {
        return static_cast<std::uint16_t>(index + 2);
    }
    [[nodiscard]] static channel::LinkAddress address(std::uint16_t link) noexcept {
        return {channel::SessionId{7}, link};
    }

    void prepare_input() {
        BatchBuilder builder;
        const std::string payload(shape_.size, 'x');
        for (std::uint32_t i = 0; i < shape_.batch; ++i) {
            builder.append(as_bytes(payload));
        }
        const auto batch = builder.take(pool_);
        const auto frame_size = wire::frame_header_size + batch.size();
        chunk_ = pool_.allocate(frame_size * shape_.frames);
        for (std::uint32_t i = 0; i < shape_.frames; ++i) {
            auto* to = chunk_.bytes() + i * frame_size;
            wire::encode({.length = static_cast<std::uint32_t>(batch.size()),
                          .type = wire::FrameType::publish,
                          .flags = 0,
                          .link = sender_link,
                          .sequence = 1 + std::uint64_t{i} * shape_.batch},
                         to);
            std::ranges::copy(batch.bytes(), to + wire::frame_header_size);
        }
        input_ = {&chunk_, chunk_.bytes(), frame_size * shape_.frames};
    }

    void confirmed(const channel::LinkAddress&, std::uint64_t sequence, channel::ConfirmLevel) noexcept override {
        confirmed_ = sequence;
    }
    void refused(const channel::LinkAddress&, std::uint64_t, std::uint32_t, std::error_code) noexcept override {}
    void sender_credit(const channel::LinkAddress&, channel::Credit) noexcept override {}
    void state(const channel::LinkAddress&, const channel::LinkState&) noexcept override {}
    void deliver(const channel::LinkAddress& receiver, const channel::Slice& slice) noexcept override {
        given_.push_back({receiver.link, slice});
        given_messages_ += slice.count;
    }
    void settle_refused(const channel::LinkAddress&, const channel::SettleRange&, std::error_code) noexcept override {}
    void settled(const channel::LinkAddress&, std::uint64_t) noexcept override {}
    void closed(const channel::LinkAddress&, std::error_code) noexcept override { BATON_ASSERT(false); }

    const TurnShape shape_;
    ManualClock clock_;
    MemoryBudget budget_{memory_max};
    ChunkPool pool_;
    ChunkRef chunk_;
    BorrowedBytes input_;
    channel::Channel channel_;
    Outbox outbox_{pool_};
    session::DeliveryWriter writer_{pool_, outbox_};
    std::vector<session::Link> links_;  // By number, from 1.
    std::vector<Payload> batches_;
    std::vector<Given> given_;
    std::array<iovec, 64> buffers_{};
    std::uint64_t sequence_ = 1;
    std::uint64_t given_messages_ = 0;
    std::uint64_t settled_ = 0;
    std::uint64_t confirmed_ = 0;
    std::uint64_t bytes_written_ = 0;
};

}  // namespace baton::bench
