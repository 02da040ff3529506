// A sender that speaks frames itself and, after each reconnect, sends again what it need not: from some message before
// the first unconfirmed one, cut into other batches. ClientProtocol is too polite to need the broker's memory of
// producers for more than ATTACHED; this one makes duplicates.
// One thread. Next file: simulation.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/batch_builder.hpp"
#include "common/net/read_buffer.hpp"
#include "common/wire/bodies.hpp"
#include "tests/sim/client.hpp"
#include "tests/sim/ledger.hpp"
#include "tests/sim/network.hpp"

namespace baton::sim {

class RawSender final : private net::ConnectionEvents {
public:
    RawSender(std::string name, std::uint32_t channel, Scheduler& scheduler, Prng& prng, const SimOptions& options,
              Report& report, Ledger& ledger, ClientWorld& world);

    [[nodiscard]] Wire* wire() noexcept { return socket_ ? &socket_->wire() : nullptr; }
    [[nodiscard]] bool is_done() const { return confirmed_ == options_.messages || ledger_.is_abandoned(channel_); }

private:
    static constexpr std::uint16_t link = 1;

    void connect_later();
    void connect();
    void act();
    void publish();
    void on_frame(const wire::Frame& frame);
    void on_confirm(const wire::Frame& frame);
    void after(Duration delay, std::function<void()> action);

    [[nodiscard]] std::size_t on_bytes(BorrowedBytes readable) noexcept override;
    [[nodiscard]] std::size_t bytes_wanted() const noexcept override { return wanted_; }
    void on_turn_end() noexcept override { socket_->flush(); }
    void on_write_progress(std::size_t) noexcept override {}
    void on_closed(std::error_code reason) noexcept override;

    const std::string name_;
    const std::uint32_t channel_;
    Scheduler& scheduler_;
    Prng& prng_;
    const SimOptions& options_;
    Report& report_;
    Ledger& ledger_;
    ClientWorld& world_;
    const ProducerNumber producer_;
    const std::string producer_id_;

    ChunkPool pool_;
    net::ReadBuffer read_buffer_{pool_};
    Outbox outbox_{pool_};
    BatchBuilder builder_;
    std::optional<SimSocket> socket_;
    std::uint64_t connections_ = 0;
    std::size_t wanted_ = 0;
    bool has_preamble_ = false;
    bool is_attached_ = false;
    bool is_failed_ = false;
    MonotonicTime last_heard_{};
    wire::CreditLimits limit_;
    wire::CreditLimits used_;
    std::uint64_t next_ = 1;          // To be written to this connection.
    std::vector<std::size_t> sizes_;  // Of all messages that were ever sent, by number - 1.
    std::uint64_t confirmed_ = 0;
    std::uint64_t refused_ = 0;  // The last one. It is not sent again: another broker might take it.
    std::uint64_t broker_life_ = 0;
    std::shared_ptr<bool> life_ = std::make_shared<bool>(true);
};

}  // namespace baton::sim
