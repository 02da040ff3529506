// The receiving half of a channel: credit, deliveries, settlements.
// Not responsible for who gets a delivery and when it is settled (receiver_endpoint).
// One thread; owned by ClientProtocol. Next file: client_protocol.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "client/src/fragment_assembly.hpp"
#include "client/src/link.hpp"
#include "client/src/settlements.hpp"

namespace baton::client {

struct ReceiverWindow {
    std::uint64_t messages = 64;
    std::uint64_t bytes = 4U << 20U;
    bool is_on_demand = false;  // Credit only for what ask() wants; `messages` does not matter.
};

class ReceiverLink final : public Link {
public:
    ReceiverLink(ProtocolContext& context, LinkId id, std::string name, bool may_create, const ReceiverWindow& window);

    // On demand: so many messages are wanted beyond those that have been delivered. May go down again; what was on its
    // way still comes.
    void ask(std::uint64_t messages) noexcept { wanted_ = messages; }

    // The epoch of deliveries that can still be settled.
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
    // `region_bytes`: what these messages take in their batch's region; ignored for `started`. False: of another epoch.
    bool settle(std::uint64_t epoch, const wire::Settlement& range, std::uint64_t region_bytes) noexcept;
    // As settle, in a frame of its own, answered by on_settled with this receipt (not 0).
    bool settle_with_receipt(std::uint64_t epoch, const wire::Settlement& range, std::uint64_t region_bytes,
                             std::uint64_t receipt) noexcept;
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
    void before_detach() override { flush_settlements(); }
    void on_detached() override;

    [[nodiscard]] Violation on_fragment(const wire::FrameHeader& header, Bytes body);
    [[nodiscard]] Violation on_deliver(std::uint64_t sequence, BorrowedBytes body);
    [[nodiscard]] Violation on_settled_frame(const wire::FrameHeader& header, Bytes body);
    [[nodiscard]] Violation on_state_frame(Bytes body);

    [[nodiscard]] wire::CreditLimits credit() const noexcept;
    [[nodiscard]] bool is_credit_due(const wire::CreditLimits& now) const noexcept;
    void give_back_room(const wire::Settlement& range, std::uint64_t region_bytes) noexcept;
    void flush_settlements() noexcept;

    ReceiverWindow window_;
    std::uint64_t wanted_ = 0;

    std::uint64_t epoch_ = 1;
    wire::CreditLimits received_;  // These three count since ATTACH.
    wire::CreditLimits returned_;  // Settled by us: room that is free again.
    wire::CreditLimits granted_;   // What our last CREDIT said.
    Settlements settlements_;
    FragmentAssembly assembly_;
    std::uint32_t questions_ = 0;
};

}  // namespace baton::client
