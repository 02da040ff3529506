// The sending half of a channel: numbers messages, spends credit, keeps what is not confirmed and sends it again, under
// the same numbers, after a reconnect.
// Not responsible for windows and waiting users (sender_endpoint) or for turns between links (client_protocol).
// One thread; owned by ClientProtocol. Next file: receiver_link.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "client/src/fragment_sender.hpp"
#include "client/src/link.hpp"
#include "common/base/batch.hpp"
#include <baton/options.hpp>

namespace baton::client {

// Whether somebody waits for the confirm of a batch. Nobody: the broker may take its time.
enum class ConfirmWhen : std::uint8_t { now, later };

// Messages are in one of two queues, in order, numbers without gaps: unconfirmed (written to this connection) and then
// unsent. Losing the connection moves the first in front of the second.
class SenderLink final : public Link {
public:
    static constexpr std::uint32_t batch_count_max = 4'096;  // Messages in one PUBLISH.

    SenderLink(ProtocolContext& context, LinkId id, std::string name, bool may_create,
               ConfirmLevel confirm = ConfirmLevel::durable);

    // A whole batch (header and messages, base offset and time 0). Returns the number of its first message.
    std::uint64_t publish(const Payload& batch, ConfirmWhen when = ConfirmWhen::now);
    // Now somebody does wait for everything that was published.
    void await_confirms();
    // Takes back what no broker has seen of this producer. Returns the number that the next message gets: those from
    // there on are free again. What was written stays, on this connection or an earlier one: it may be stored.
    std::uint64_t withdraw();
    // Everything that was published is written, and there is credit for more.
    [[nodiscard]] bool takes_messages() const noexcept;

    // Writes one frame, if there is something to write and a right to. True: it did; there may be more.
    bool send_one() noexcept;

    [[nodiscard]] bool is_quiet() const noexcept override {
        return is_held_ || (unconfirmed_.empty() && !fragments_.is_active());
    }
    [[nodiscard]] std::uint64_t confirmed_up_to() const noexcept { return confirmed_; }

    bool is_scheduled = false;  // In ClientProtocol's round; its own.

private:
    struct Batch {
        Payload messages;
        std::uint64_t first = 0;
        std::uint32_t count = 0;
        std::uint16_t flags = 0;
        ConfirmWhen confirm = ConfirmWhen::now;
        [[nodiscard]] std::uint64_t last() const noexcept { return first + count - 1; }
    };

    [[nodiscard]] Violation on_message_frame(const wire::FrameHeader& header, BorrowedBytes body) override;
    [[nodiscard]] std::string producer() const override { return producer_; }
    [[nodiscard]] std::string_view confirm() const override;
    [[nodiscard]] Violation on_attached(std::uint64_t sequence, const ChannelTerms& terms) override;
    [[nodiscard]] bool can_start_over(wire::Status status) override;
    void on_detached() override;
    [[nodiscard]] bool may_detach() const noexcept override { return unconfirmed_.empty() && unsent_.empty(); }

    [[nodiscard]] Violation on_confirm(std::uint64_t sequence, Bytes body);
    void on_draining(std::uint64_t first_refused);
    void confirm_up_to(std::uint64_t sequence, std::uint8_t level);

    [[nodiscard]] bool may_write() const noexcept;
    // How many messages of a batch may be written as one frame now, and the bytes they take. Zero: none.
    struct Cut {
        std::uint32_t count = 0;
        std::size_t size = 0;
    };
    [[nodiscard]] Cut cut(const Batch& batch) const noexcept;
    [[nodiscard]] bool is_for_fragments(const Batch& batch) const noexcept;
    [[nodiscard]] static BatchHeader header_of(const Batch& batch) noexcept;
    [[nodiscard]] Batch split_front(const Cut& cut) noexcept;
    void write_publish(const Batch& batch) noexcept;
    void make_producer();

    const ConfirmLevel confirm_level_;
    std::string producer_;
    std::deque<Batch> unconfirmed_;
    std::deque<Batch> unsent_;  // A batch that travels in fragments stays at the front until its last piece is written.
    FragmentSender fragments_;

    std::uint64_t next_ = 1;       // Number of the next message that is published.
    std::uint64_t confirmed_ = 0;  // Everything up to this number is decided.
    std::uint64_t sent_ = 0;       // Everything up to this number is written to this connection.
    std::uint64_t sent_ever_ = 0;  // As sent_, to any connection, by this producer; announced is enough.
    std::uint64_t awaited_ = 0;    // Somebody waits for everything up to this number.
    std::uint64_t later_ = 0;      // The broker may take its time with the confirms up to here; 0: it has been asked.
    std::uint64_t known_ = 0;      // What the last ATTACHED said is decided; 0: nothing known.
    wire::CreditLimits limit_;     // Since ATTACH, as the broker counts.
    wire::CreditLimits used_;
    bool is_held_ = false;  // The broker refuses because it is draining: wait for the next connection.
};

}  // namespace baton::client
