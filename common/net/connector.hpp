// Connects to an endpoint: resolves the name, tries each address in turn, keeps a deadline.
// Not responsible for trying again later: the client's reconnect does that.
// On the thread of its executor; names are resolved on Asio's resolver thread, so destroying the IoContext waits for a
// look-up that is still running. Next file: stream.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "common/net/asio.hpp"
#include "common/net/endpoint.hpp"
#include "common/net/stream.hpp"

namespace baton::net {

// One attempt at a time; may be used again after it.
class Connector {
public:
    // A prepared socket, or why there is none: "cannot connect to baton://h:22866: Connection refused".
    using Done = std::function<void(Result<Socket>)>;

    explicit Connector(const Executor& executor);
    Connector(const Connector&) = delete;
    Connector& operator=(const Connector&) = delete;
    // Cancels. Allowed at any time, also from inside `done`.
    ~Connector();

    // Calls `done` exactly once from the event loop, unless cancel() comes first. Nothing may be in progress. Addresses
    // share what is left of the time evenly, so one that does not answer leaves some for the others.
    void connect(const Endpoint& endpoint, Duration timeout, Done done);

    // `done` will not be called any more. Without an attempt in progress nothing happens.
    void cancel() noexcept;

    [[nodiscard]] bool is_connecting() const noexcept { return static_cast<bool>(done_); }

private:
    using Resolver = asio::ip::basic_resolver<asio::ip::tcp, Executor>;
    using Address = asio::generic::stream_protocol::endpoint;
    using TimePoint = std::chrono::steady_clock::time_point;

    void resolve();
    void try_address();
    void try_unix();
    void on_address_failed(std::error_code code);
    void finish(std::error_code code);
    // Replaces what the timer was set to.
    void set_timer(TimePoint when, void (Connector::*then)());
    void on_overall_timeout();
    void on_address_timeout();

    Executor executor_;
    Resolver resolver_;
    SteadyTimer timer_;
    Socket socket_;
    std::vector<Address> addresses_;
    std::size_t next_address_ = 0;
    Endpoint endpoint_;
    TimePoint deadline_;
    std::error_code last_error_;
    std::uint64_t step_ = 0;  // Completions of an earlier step are ignored.
    Done done_;
    LifeToken life_;
};

}  // namespace baton::net
