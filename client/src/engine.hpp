// What moves in a client's event loop: the connection, the protocol, and the I/O sides of all endpoints.
// Carries what the protocol tells to whoever waits for it, and what users want to the protocol.
// On whichever thread is in a turn (loop.hpp), except the constructor and run(). Comments of this folder call that thread
// the I/O thread, which it is unless the loop is lent. Next file: core.hpp.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/src/client_protocol.hpp"
#include "client/src/connection.hpp"
#include "client/src/endpoint.hpp"
#include "client/src/receiver_endpoint.hpp"
#include "client/src/sender_endpoint.hpp"
#include "common/base/clock.hpp"
#include "common/net/asio.hpp"
#include <baton/options.hpp>

namespace baton::client {

// What the broker said of a step.
struct StepAnswer {
    wire::Status status = wire::Status::ok;
    std::string text;
};
// A step as a user's thread wants it.
struct StepWish {
    struct Settling {
        SliceRef slice;
        std::uint64_t offset = 0;
    };
    std::array<std::byte, 16> producer{};
    std::uint64_t number = 0;
    std::vector<StepPlan::Sending> sendings;
    std::vector<Settling> settlings;
};

class Engine final : private ProtocolEvents, private ConnectionOwner, private LoopWork {
public:
    using AdminDone = std::move_only_function<void(Expected<std::string>)>;
    using PingDone = std::move_only_function<void(Expected<std::chrono::nanoseconds>)>;
    using StepDone = std::move_only_function<void(Expected<StepAnswer>)>;
    using CloseDone = std::move_only_function<void(Expected<void>)>;

    Engine(const ClientOptions& options, net::Endpoint endpoint, std::shared_ptr<Shared> shared);
    ~Engine();

    // The whole life of the I/O thread; returns after begin_close.
    void run();

    // --- Commands; through the inbox.
    void open_sender(std::shared_ptr<SenderEndpoint> endpoint, bool may_create, ConfirmLevel confirm);
    void open_receiver(std::shared_ptr<ReceiverEndpoint> endpoint, bool may_create, const ReceiverWindow& window,
                       std::string options);
    void admin(RequestId id, std::string channel, std::string json, AdminDone done);
    void ping(RequestId id, PingDone done);
    void commit(RequestId id, StepWish wish, StepDone done);
    void forget(RequestId id);
    // Completes everything, at the latest after `timeout`, and ends run(). `done` gets an error if something was left.
    void begin_close(Duration timeout, CloseDone done);
    // When connected next, or at once if we are. Errors: hopeless, closed.
    void notify_connected(RequestId id, CloseDone done);

private:
    struct Entry {
        std::shared_ptr<Endpoint> endpoint;
        SenderEndpoint* sender = nullptr;
        ReceiverEndpoint* receiver = nullptr;
    };
    struct Request {
        AdminDone admin;
        PingDone ping;
        CloseDone connected;
        StepDone step{};
        MonotonicTime asked_at{};
    };

    // LoopWork
    void take_turn() noexcept override;
    bool is_ready_for_turn() const noexcept override;
    bool has_uncollected() noexcept override { return has_events_ || !shared_->inbox.is_empty(); }

    // ConnectionOwner
    std::unique_lock<std::mutex> enter_turn() override { return shared_->loop.enter_turn(); }
    void collect() override;
    bool has_more() const noexcept override { return !takers_.empty(); }
    void on_turn_done() override;
    void on_reached() override;
    void on_attempt_failed(const std::string& reason, bool is_hopeless) override;
    void on_connection_lost(const std::string& reason) override;
    void on_finished() override;

    // ProtocolEvents
    void on_ready(const wire::Welcome& welcome) override;
    void on_goaway(const wire::Goaway& goaway) override;
    void on_admin_reply(RequestId request, std::string_view json) override;
    void on_pong(RequestId request) override;
    void on_request_lost(RequestId request, bool is_too_large) override;
    void on_stepped(RequestId request, const wire::Stepped& stepped) override;
    void on_sender_attached(LinkId link, std::uint64_t message_size_max) override;
    void on_takes_messages(LinkId link) override { takers_.push_back(link); }
    void on_refused(LinkId link, std::uint64_t first, std::uint64_t count, wire::Status status) override;
    void on_confirmed(LinkId link, std::uint64_t up_to, std::uint8_t level) override;
    void on_blocked(LinkId link, std::uint16_t reason, Duration waiting) override;
    void on_receiver_attached(LinkId link, const ReceiverTerms& terms) override;
    void on_delivered(LinkId link, DeliveredBatch&& batch) override;
    void on_deliveries_lost(LinkId link) override;
    void on_settled(LinkId link, std::uint64_t receipt, wire::RecordReader<wire::SettleException> exceptions) override;
    void on_state(LinkId link, const wire::State& state) override;
    void on_attach_refused(LinkId link, const LinkFailure& failure) override;
    void on_link_failed(LinkId link, const LinkFailure& failure) override;
    void on_link_closed(LinkId link) override;

    void add(LinkId link, Entry entry);
    [[nodiscard]] Entry* find(LinkId link) noexcept;
    void hand_over(const std::shared_ptr<Endpoint>& endpoint);
    void wait_for_pace();
    void on_pace();
    // Looks after the leases of all receivers by then, and goes on as long as anything is held.
    void renew_leases_within(Duration interval);
    void on_lease_timer();
    void end_endpoint(LinkId link, ClientError error);
    void forget_answered();
    void end_request(RequestId id, const ClientError& error);
    void end_everything();
    void on_close_timeout();
    void wake_everybody();
    void report(ClientEvent::Kind kind, std::string channel, std::string text);
    void run_completions();
    void wake();
    [[nodiscard]] std::string left_over() const;

    const ClientOptions options_;
    const std::shared_ptr<Shared> shared_;
    net::IoContext context_{1};
    asio::executor_work_guard<net::Executor> work_{context_.get_executor()};
    SystemClock clock_;
    Prng prng_;
    ChunkPool pool_;
    Outbox outbox_{pool_};
    net::ReadBuffer read_buffer_{pool_};
    ClientProtocol protocol_;

    std::unordered_map<LinkId, Entry> entries_;
    std::unordered_map<RequestId, Request> requests_;
    std::optional<LinkFailure> unclaimed_failure_;  // Of a link that failed while it was being opened.
    Inbox::Content content_;
    std::vector<LinkId> takers_;
    std::vector<LinkId> paced_;
    bool is_pace_running_ = false;
    net::SteadyTimer pace_timer_;
    std::optional<MonotonicTime> leases_due_;  // When the timer below ends; nothing: it does not run.
    net::SteadyTimer lease_timer_;

    Completions completions_;
    std::vector<ClientEvent> events_;
    std::atomic<bool> has_events_{false};  // Left for the I/O thread by another one.
    bool is_closing_ = false;
    bool is_finished_ = false;
    CloseDone close_done_;
    net::SteadyTimer close_timer_;
    Connection connection_;
};

}  // namespace baton::client
