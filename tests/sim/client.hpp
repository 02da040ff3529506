// One client process of a simulation: the real ClientProtocol, around it what client/src/connection.cpp does with a
// socket, and an application that sends and receives by chance. It ends when it is destroyed, as a process that is
// killed; a new one takes up the work (SenderWork lives longer).
// Not responsible for the rules: the ledger is told everything. One thread. Next file: simulation.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/src/client_protocol.hpp"
#include "common/base/batch_builder.hpp"
#include "common/net/read_buffer.hpp"
#include "tests/sim/ledger.hpp"
#include "tests/sim/network.hpp"
#include "tests/sim/options.hpp"
#include "tests/sim/report.hpp"
#include "tests/sim/scheduler.hpp"

namespace baton::sim {

// What one sender has to do; outlives the process.
struct SenderWork {
    std::uint32_t channel = 0;
    std::uint64_t left = 0;         // Not published yet.
    std::uint64_t unconfirmed = 0;  // Published by the living process and not decided.
};

// The world that clients live in.
class ClientWorld {
public:
    // Null: nobody listens.
    [[nodiscard]] virtual std::shared_ptr<Wire> connect(const std::string& client) = 0;
    [[nodiscard]] virtual bool may_receive() const = 0;  // False: receivers hold what they have and do nothing.
    [[nodiscard]] virtual bool is_ending() const = 0;    // Settle everything soon, send nothing new.
    // Grows whenever a broker dies.
    [[nodiscard]] virtual std::uint64_t broker_life() const = 0;
    // A link has ended like this, and that is right: the disk was made to fail.
    [[nodiscard]] virtual bool is_forgivable(wire::Status status, std::uint32_t channel) = 0;

protected:
    ~ClientWorld() = default;
};

class SimClient final : private client::ProtocolEvents, private net::ConnectionEvents {
public:
    SimClient(std::string name, Scheduler& scheduler, Prng& prng, const SimOptions& options, Report& report,
              Ledger& ledger, ClientWorld& world, std::vector<SenderWork*> senders,
              const std::vector<std::uint32_t>& receivers);
    ~SimClient();

    [[nodiscard]] Wire* wire() noexcept { return socket_ ? &socket_->wire() : nullptr; }
    [[nodiscard]] bool holds_messages() const;
    // Something about may_receive or is_ending has changed.
    void wake();

private:
    struct Held {
        MessageRecord* message = nullptr;
        std::uint64_t offset = 0;
        std::uint64_t epoch = 0;
        std::uint64_t region_bytes = 0;
        std::uint32_t attempt = 0;
        bool is_started = false;
    };
    struct Sender {
        SenderWork* work = nullptr;
        client::LinkId link{0};
        ProducerNumber producer = 0;
        std::uint64_t published = 0;
        std::uint64_t decided = 0;
        bool is_careless = false;  // "received" is enough.
        bool is_closing = false;
        bool is_scheduled = false;
    };
    struct Receiver {
        std::uint32_t channel = 0;
        client::LinkId link{0};
        std::deque<Held> held;
        std::uint64_t last_receipt = 0;
        std::uint64_t last_first_offset = 0;                         // Of deliveries that were nobody's before.
        std::vector<std::pair<std::uint64_t, MessageRecord*>> done;  // With the receipt that will cover it.
        std::map<std::uint64_t, std::uint32_t> given_back;           // Offset to the least next attempt.
        bool is_closing = false;
        bool is_scheduled = false;
    };

    // Connection.
    void connect_later();
    void connect();
    void end_turn();
    void check_end();
    void arm_timer();
    void drop_connection();
    [[nodiscard]] std::size_t on_bytes(BorrowedBytes readable) noexcept override;
    [[nodiscard]] std::size_t bytes_wanted() const noexcept override { return protocol_.bytes_wanted(); }
    void on_turn_end() noexcept override { end_turn(); }
    void on_write_progress(std::size_t) noexcept override {}
    void on_closed(std::error_code reason) noexcept override;

    // Application.
    void after(Duration delay, std::function<void()> action);
    void open(Sender& sender);
    void open(Receiver& receiver);
    void schedule(Sender& sender, Duration delay);
    void schedule(Receiver& receiver, Duration delay);
    void act(Sender& sender);
    void act(Receiver& receiver);
    void publish_batch(Sender& sender);
    [[nodiscard]] std::size_t body_size();
    void settle_some(Receiver& receiver);
    void start(Receiver& receiver, Held& held);
    [[nodiscard]] bool settle(Receiver& receiver, const Held& held, client::Outcome outcome);
    [[nodiscard]] Sender* sender_of(client::LinkId link);
    [[nodiscard]] Receiver* receiver_of(client::LinkId link);
    [[nodiscard]] std::string name_of(client::LinkId link) const;
    // The broker that speaks has died, and what it says is of channels that died with it.
    [[nodiscard]] bool is_of_the_dead(std::uint32_t channel) const;
    void open_again(Sender& sender, Duration delay);
    void open_again(Receiver& receiver, Duration delay);

    // ProtocolEvents.
    void on_ready(const wire::Welcome& welcome) override;
    void on_goaway(const wire::Goaway&) override {}
    void on_admin_reply(client::RequestId, std::string_view) override {}
    void on_pong(client::RequestId) override {}
    void on_request_lost(client::RequestId, bool) override {}
    void on_sender_attached(client::LinkId, std::uint64_t) override {}
    void on_takes_messages(client::LinkId link) override;
    void on_refused(client::LinkId link, std::uint64_t first, std::uint64_t count, wire::Status status) override;
    void on_confirmed(client::LinkId link, std::uint64_t up_to, std::uint8_t level) override;
    void on_blocked(client::LinkId link, std::uint16_t reason, Duration waiting) override;
    void on_delivered(client::LinkId link, client::DeliveredBatch&& batch) override;
    void on_deliveries_lost(client::LinkId link) override;
    void on_settled(client::LinkId link, std::uint64_t receipt,
                    wire::RecordReader<wire::SettleException> exceptions) override;
    void on_state(client::LinkId link, const wire::State& state) override;
    void on_link_failed(client::LinkId link, const client::LinkFailure& failure) override;
    void on_link_closed(client::LinkId link) override;

    const std::string name_;
    Scheduler& scheduler_;
    Prng& prng_;
    const SimOptions& options_;
    Report& report_;
    Ledger& ledger_;
    ClientWorld& world_;

    ChunkPool pool_;
    net::ReadBuffer read_buffer_{pool_};
    Outbox outbox_{pool_};
    client::ClientProtocol protocol_;
    BatchBuilder builder_;
    std::optional<SimSocket> socket_;
    std::uint64_t connections_ = 0;
    std::uint64_t broker_life_ = 0;  // Of the broker at the other end.
    std::uint64_t bytes_heard_ = 0;
    bool is_leaving_ = false;
    bool is_in_turn_ = false;
    std::optional<MonotonicTime> timer_at_;
    std::deque<Sender> senders_;
    std::deque<Receiver> receivers_;
    std::shared_ptr<bool> life_ = std::make_shared<bool>(true);
};

}  // namespace baton::sim
