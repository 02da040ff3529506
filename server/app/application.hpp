// The broker process: the only place that wires things. Listeners and signals live on the main thread, everything else
// on shards. start, run until a signal, drain, stop.
// Thread: main. Next files: options.hpp, server/runtime/shard.hpp, server/session/session.hpp.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/net/asio.hpp"
#include "common/net/listener.hpp"
#include "common/net/ticker.hpp"
#include "server/app/command_line.hpp"
#include "server/app/data_store.hpp"
#include "server/app/ready.hpp"
#include "server/runtime/broker_state.hpp"
#include "server/runtime/shard.hpp"

namespace baton::app {

class Application final : private net::ListenerEvents {
public:
    explicit Application(const CommandLine& command_line);
    ~Application();

    /// Serves until it is told to stop and has drained. Returns the exit code.
    [[nodiscard]] int run();

private:
    // Start.
    [[nodiscard]] int open_store();
    [[nodiscard]] int start_store(const std::vector<runtime::Shard*>& shards);
    [[nodiscard]] bool listen();
    [[nodiscard]] bool announce_ready();

    // Signals.
    void wait_for_signal();
    void on_signal(int signal);
    void reload_configuration();

    // Drain: the steps, in order; each begins when the one before it is done.
    void drain();
    void wait_for_settlements();
    void close_connections();
    void wait_for_connections();
    void stop_shards();

    // net::ListenerEvents
    void on_accepted(net::Descriptor socket) noexcept override;
    void on_accept_trouble(std::error_code reason) noexcept override;

    CommandLine command_line_;
    SystemClock clock_;
    runtime::BrokerState state_;
    std::unique_ptr<DataStore> store_;  ///< Null: no data directory. Outlives the shards.
    net::IoContext io_{1};
    asio::basic_signal_set<net::Executor> signals_{io_.get_executor()};
    std::vector<std::unique_ptr<net::Listener>> listeners_;
    std::vector<std::unique_ptr<runtime::Shard>> shards_;
    std::size_t next_shard_ = 0;
    std::optional<ReadyFile> ready_file_;  ///< As it was written.
    enum class Phase : std::uint8_t { serving, settling, closing, stopped } phase_ = Phase::serving;
    MonotonicTime phase_deadline_{};
    net::Ticker drain_ticker_;
};

}  // namespace baton::app
