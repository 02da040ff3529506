// One channel attached in one direction: its life, from ATTACH to DETACHED, over as many connections as it takes.
// Not responsible for messages: sender_link.hpp and receiver_link.hpp are the two kinds.
// One thread; owned by ClientProtocol. Next files: sender_link.hpp, receiver_link.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "client/src/protocol_context.hpp"
#include "common/base/payload.hpp"
#include "common/wire/bodies.hpp"
#include "common/wire/frame.hpp"

namespace baton::client {

// What ATTACHED says of the channel.
struct ChannelTerms {
    std::uint64_t message_size_max = 0;  // 0: not said.
    bool is_durable = false;
    bool is_stream = false;
    Duration lease{};  // Of a receiver; zero: not said.
    Duration lease_max{};
};

// A rule that the broker has broken, in words; null: none. It ends the connection.
using Violation = const char*;

//   unattached --attach--> attaching --ATTACHED--> attached --close--> detaching --DETACHED--> ended
//       ^                      |                      |                    |
//       +---- disconnected ----+----------------------+                    +-- disconnected, ERROR --> ended
//       +---- ERROR, worth another try (after a while) +-- ERROR, for good ------------------------> ended
//
// It reports failed or closed exactly once, when it becomes ended; its owner then drops it.
class Link {
public:
    enum class Phase : std::uint8_t { unattached, attaching, attached, detaching, ended };

    Link(ProtocolContext& context, LinkId id, wire::Role role, std::string name, bool may_create);
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;
    virtual ~Link() = default;

    [[nodiscard]] LinkId id() const noexcept { return id_; }
    [[nodiscard]] std::uint16_t number() const noexcept { return number_; }
    void set_number(std::uint16_t number) noexcept { number_ = number; }
    [[nodiscard]] wire::Role role() const noexcept { return role_; }
    [[nodiscard]] Phase phase() const noexcept { return phase_; }

    // The connection is ready, or a retry is due.
    void attach();
    void close();
    void on_disconnected();
    // When to try again after an ERROR; nothing if that is not planned.
    [[nodiscard]] std::optional<MonotonicTime> retry_at() const noexcept { return retry_at_; }

    // Every frame for this link.
    [[nodiscard]] Violation on_frame(const wire::FrameHeader& header, BorrowedBytes body);

    // Nothing is waiting for the other side: the connection may be left without doing harm.
    [[nodiscard]] virtual bool is_quiet() const noexcept = 0;

protected:
    // Frames that only one kind knows. Only while attached or attaching.
    [[nodiscard]] virtual Violation on_message_frame(const wire::FrameHeader& header, BorrowedBytes body) = 0;
    [[nodiscard]] virtual std::string producer() const { return {}; }
    // The option `confirm` of ATTACH; empty: not said, which means "durable".
    [[nodiscard]] virtual std::string_view confirm() const { return {}; }
    // More options of ATTACH: the text of a JSON object, or empty.
    [[nodiscard]] virtual std::string options() const { return {}; }
    // Sent right behind ATTACH.
    [[nodiscard]] virtual std::optional<wire::CreditLimits> first_credit() { return std::nullopt; }
    [[nodiscard]] virtual Violation on_attached(std::uint64_t sequence, const ChannelTerms& terms) = 0;
    // Whether to attach again after this ERROR although the broker does not say that it helps. Comes behind
    // on_detached.
    [[nodiscard]] virtual bool can_start_over(wire::Status /*status*/) { return false; }
    virtual void before_detach() {}
    // The link is not attached any more, and may be again.
    virtual void on_detached() = 0;
    // True: close() may detach at once.
    [[nodiscard]] virtual bool may_detach() const noexcept { return true; }
    // Detaches if close() was called and nothing stands against it any more.
    void detach_if_closing();
    void fail(wire::Status status, bool is_retryable, std::string text);

    ProtocolContext& context_;

private:
    [[nodiscard]] std::string attach_options() const;
    [[nodiscard]] Violation on_attached_frame(const wire::FrameHeader& header, Bytes body);
    [[nodiscard]] Violation on_error_frame(Bytes body);
    void detach();
    void end_closed();

    LinkId id_;
    std::uint16_t number_ = 0;
    wire::Role role_;
    Phase phase_ = Phase::unattached;
    bool may_create_;
    bool is_closing_ = false;
    std::string name_;
    std::optional<MonotonicTime> retry_at_;
    Duration retry_wait_{};
};

}  // namespace baton::client
