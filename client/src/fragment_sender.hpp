// One large message on its way out in pieces (docs/protocol.md, section 9).
// Not responsible for whose turn it is (client_protocol) or for credit (sender_link).
// One thread. Next file: sender_link.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "common/base/outbox.hpp"
#include "common/base/payload.hpp"
#include "common/wire/bodies.hpp"

namespace baton::client {

//   idle --announce--> announced --GRANT--> granted --write_next (last piece)--> idle
//
// cancel() leads back to idle from everywhere: the connection is gone, the message starts again on the next.
class FragmentSender {
public:
    [[nodiscard]] bool is_active() const noexcept { return phase_ != Phase::idle; }
    [[nodiscard]] bool is_granted() const noexcept { return phase_ == Phase::granted; }

    void announce(Outbox& outbox, ChunkPool& pool, std::uint16_t link, std::uint64_t sequence,
                  const BatchHeader& header, Payload messages) noexcept {
        BATON_ASSERT(!is_active());
        std::array<std::byte, batch_header_size> encoded;
        encode(header, encoded);
        header_ = Payload::copy_of(pool, encoded);
        messages_ = std::move(messages);
        sequence_ = sequence;
        position_ = 0;
        wire::put_fragment_head(outbox, link, sequence,
                                {.type = wire::FrameType::publish, .flags = 0, .total = total_size()});
        phase_ = Phase::announced;
    }

    // False: not the message that was announced.
    [[nodiscard]] bool on_grant(std::uint64_t sequence) noexcept {
        if (phase_ != Phase::announced || sequence != sequence_) {
            return false;
        }
        phase_ = Phase::granted;
        return true;
    }

    // The next piece. True: it was the last.
    [[nodiscard]] bool write_next(Outbox& outbox, std::uint16_t link, std::size_t piece_size_max) noexcept {
        BATON_ASSERT(is_granted());
        if (position_ == 0) {
            wire::put_fragment(outbox, link, 0, header_, false);
            position_ = header_.size();
            return false;
        }
        const std::size_t left = total_size() - position_;
        const std::size_t size = left < piece_size_max ? left : piece_size_max;
        const bool is_last = size == left;
        wire::put_fragment(outbox, link, position_, messages_.slice(position_ - header_.size(), size), is_last);
        position_ += size;
        if (is_last) {
            cancel();
        }
        return is_last;
    }

    void cancel() noexcept {
        phase_ = Phase::idle;
        header_ = {};
        messages_ = {};
    }

private:
    enum class Phase : std::uint8_t { idle, announced, granted };

    [[nodiscard]] std::size_t total_size() const noexcept { return header_.size() + messages_.size(); }

    Phase phase_ = Phase::idle;
    std::uint64_t sequence_ = 0;
    std::size_t position_ = 0;
    Payload header_;
    Payload messages_;
};

}  // namespace baton::client
