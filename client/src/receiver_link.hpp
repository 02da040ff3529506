// The receiving half of a channel: credit, deliveries, settlements.
// Not responsible for who gets a delivery and when it is settled (receiver_endpoint).
// One thread; owned by ClientProtocol. Next file: client_protocol.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "client/src/fragment_assembly.hpp"
#include "client/src/link.hpp"
#include "client/src/resume_point.hpp"
#include "client/src/settlements.hpp"

namespace baton::client {

struct ReceiverWindow {
    std::uint64_t messages = 64;
    std::uint64_t bytes = 4U << 20U;
    bool is_on_demand = false;  // Credit only for what ask() wants; `messages` does not matter.
};

class ReceiverLink final : public Link {
public:
    // `options`: of ATTACH, the text of a JSON object or empty (receiver_options.hpp).
    ReceiverLink(ProtocolContext& context, LinkId id, std::string name, bool may_create, const ReceiverWindow& window,
                 std::string options);

    // On demand: so many messages are wanted beyond those that have been delivered. May go down again; what was on its
    // way still comes.
    void ask(std::uint64_t messages) noexcept { wanted_ = messages; }

    // The epoch of deliveries that can still be settled.
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
    // `region_bytes`: what these messages take in their batch's region; ignored for `started` and `extend`. With a note
    // in a frame of its own. False: of another epoch.
    bool settle(std::uint64_t epoch, const wire::Settlement& range, std::uint64_t region_bytes,
                std::string_view note = {}) noexcept;
    // As settle, in a frame of its own, answered by on_settled with this receipt (not 0).
    bool settle_with_receipt(std::uint64_t epoch, const wire::Settlement& range, std::uint64_t region_bytes,
                             std::uint64_t receipt, std::string_view note = {}) noexcept;
    // The broker has taken these back: there is nothing to settle, but there is room again.
    bool give_room(std::uint64_t epoch, std::uint64_t messages, std::uint64_t region_bytes) noexcept;
    // A step has settled these, of whatever epoch.
    void note_done(const wire::Settlement& range) noexcept;
    // Answered by on_state, once for each question, also if the connection is replaced meanwhile.
    void ask_state() noexcept;

    // Writes settlements and then credit; the end of a turn.
    void flush() noexcept;

    [[nodiscard]] bool is_quiet() const noexcept override { return received_.messages == returned_.messages; }

    bool is_scheduled = false;  // In ClientProtocol's list; its own.

private:
    [[nodiscard]] Violation on_message_frame(const wire::FrameHeader& header, BorrowedBytes body) override;
    [[nodiscard]] std::optional<wire::CreditLimits> first_credit() override;
    [[nodiscard]] Violation on_attached(std::uint64_t sequence, const ChannelTerms& terms) override;
    [[nodiscard]] std::string options() const override;
    void before_detach() override { flush_settlements(); }
    void on_detached() override;

    [[nodiscard]] Violation on_fragment(const wire::FrameHeader& header, Bytes body);
    [[nodiscard]] Violation on_deliver(std::uint64_t sequence, BorrowedBytes body);
    void note_delivered(const BatchHeader& header, Bytes messages);
    [[nodiscard]] Violation on_settled_frame(const wire::FrameHeader& header, Bytes body);
    [[nodiscard]] Violation on_state_frame(Bytes body);

    [[nodiscard]] wire::CreditLimits credit() const noexcept;
    [[nodiscard]] bool is_credit_due(const wire::CreditLimits& now) const noexcept;
    void on_decided(const wire::Settlement& range, std::uint64_t region_bytes) noexcept;
    void flush_settlements() noexcept;

    ReceiverWindow window_;
    std::string options_;
    std::uint64_t wanted_ = 0;

    std::uint64_t epoch_ = 1;
    wire::CreditLimits received_;  // These three count since ATTACH.
    wire::CreditLimits returned_;  // Settled by us: room that is free again.
    wire::CreditLimits granted_;   // What our last CREDIT said.
    Settlements settlements_;
    FragmentAssembly assembly_;
    std::uint32_t questions_ = 0;
    bool is_resuming_ = false;  // A stream, and no name under which the broker would remember our place.
    ResumePoint resume_;
};

}  // namespace baton::client
