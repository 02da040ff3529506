// Steps on their way to the broker and back: each is one frame and one answer, and is sent again after a broken
// connection until there is one (docs/protocol.md, section 10b). One thread; owned by ClientProtocol. Next file:
// client_protocol.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "client/src/protocol_context.hpp"
#include "client/src/receiver_link.hpp"
#include "common/wire/step.hpp"

namespace baton::client {

// Everything that a step does.
struct StepPlan {
    struct Sending {
        std::string channel;
        bool must_exist = false;
        std::vector<std::byte> batch;  // With its header.
    };
    struct Settling {
        LinkId link;
        std::uint64_t epoch = 0;
        std::vector<wire::Settlement> ranges;
    };
    std::array<std::byte, 16> producer{};
    std::uint64_t number = 0;
    std::vector<Sending> sendings;
    std::vector<Settling> settlings;
};

class Steps {
public:
    using FindReceiver = std::function<ReceiverLink*(LinkId)>;
    Steps(ProtocolContext& context, FindReceiver find_receiver)
        : context_{context}, find_receiver_{std::move(find_receiver)} {}

    // Waits for a connection, and while as many as the broker allows are without an answer. Answered by on_stepped.
    void commit(RequestId id, StepPlan plan);
    // Nobody waits for it any more. What was sent may be done.
    void forget(RequestId id);

    void on_ready();
    void on_disconnected();
    // False: the body is malformed.
    [[nodiscard]] bool on_stepped(std::uint64_t id, Bytes body);

    [[nodiscard]] bool is_quiet() const noexcept { return asked_.empty(); }

private:
    struct Step {
        StepPlan plan;
        bool was_sent = false;
        bool is_forgotten = false;
    };
    using Waiting = std::pair<RequestId, Step>;

    void pump();
    void send(RequestId id, Step step);
    void answer(RequestId id, wire::Status status, const std::string& text);
    [[nodiscard]] bool still_holds(const StepPlan& plan) const;
    void note_done(const StepPlan& plan);

    ProtocolContext& context_;
    FindReceiver find_receiver_;
    std::deque<Waiting> waiting_;
    std::map<RequestId, Step> asked_;  // Of this connection.
};

}  // namespace baton::client
