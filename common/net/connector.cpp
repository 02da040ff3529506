// The steps of connecting. Each step has a number; a completion that comes with the number of an earlier one is late.
#include "common/net/connector.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/assert.hpp"
#include "common/net/errc.hpp"

namespace baton::net {

namespace {

// Until a listener whose queue was full may have accepted somebody.
constexpr std::chrono::milliseconds unix_retry_delay{10};

// A port of the local machine on which nobody listens can be connected to itself, if the system happens to choose it as
// the local port too.
[[nodiscard]] bool is_connected_to_itself(const Socket& socket) {
    std::error_code local_error;
    std::error_code remote_error;
    const auto local = socket.local_endpoint(local_error);
    const auto remote = socket.remote_endpoint(remote_error);
    return !local_error && !remote_error && local == remote;
}

}  // namespace

Connector::Connector(const Executor& executor)
    : executor_{executor}, resolver_{executor}, timer_{executor}, socket_{executor} {}

Connector::~Connector() {
    cancel();
}

void Connector::connect(const Endpoint& endpoint, Duration timeout, Done done) {
    BATON_ASSERT(!is_connecting() && done);
    endpoint_ = endpoint;
    done_ = std::move(done);
    deadline_ =
        std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(timeout);
    addresses_.clear();
    next_address_ = 0;
    last_error_ = {};

    auto first_step = &Connector::resolve;
    std::error_code not_numeric;
    if (endpoint_.transport == Transport::unix_socket) {
        first_step = &Connector::try_unix;
    } else if (const auto address = asio::ip::make_address(endpoint_.host, not_numeric); !not_numeric) {
        addresses_.emplace_back(asio::ip::tcp::endpoint{address, endpoint_.port});
        first_step = &Connector::try_address;
    }
    asio::post(executor_, [this, watch = life_.watch(), step = ++step_, first_step] {
        if (!watch.is_gone() && step == step_) {
            (this->*first_step)();
        }
    });
}

void Connector::cancel() noexcept {
    ++step_;
    resolver_.cancel();
    timer_.cancel();
    std::error_code ignored;
    socket_.close(ignored);
    done_ = {};
}

void Connector::set_timer(TimePoint when, void (Connector::*then)()) {
    timer_.expires_at(when);
    timer_.async_wait([this, watch = life_.watch(), step = step_, then](std::error_code code) {
        if (!watch.is_gone() && step == step_ && !code) {
            (this->*then)();
        }
    });
}

void Connector::resolve() {
    ++step_;
    set_timer(deadline_, &Connector::on_overall_timeout);
    resolver_.async_resolve(
        endpoint_.host, std::to_string(endpoint_.port), Resolver::numeric_service,
        [this, watch = life_.watch(), step = step_](std::error_code code, const Resolver::results_type& results) {
            if (watch.is_gone() || step != step_) {
                return;
            }
            if (code) {
                finish(code);
                return;
            }
            for (const auto& each : results) {
                addresses_.emplace_back(each.endpoint());
            }
            last_error_ = make_error_code(Errc::host_not_found);
            try_address();
        });
}

void Connector::on_overall_timeout() {
    finish(make_error_code(Errc::connect_timeout));
}

void Connector::try_address() {
    ++step_;
    std::error_code code;
    socket_.close(code);
    const auto now = std::chrono::steady_clock::now();
    if (next_address_ == addresses_.size()) {
        finish(last_error_);
        return;
    }
    if (now >= deadline_) {
        finish(make_error_code(Errc::connect_timeout));
        return;
    }
    const auto left = static_cast<TimePoint::rep>(addresses_.size() - next_address_);
    const auto address = addresses_[next_address_];
    ++next_address_;
    socket_.open(address.protocol(), code);
    if (code) {
        on_address_failed(code);
        return;
    }
    set_timer(now + (deadline_ - now) / left, &Connector::on_address_timeout);
    socket_.async_connect(address, [this, watch = life_.watch(), step = step_](std::error_code connect_code) {
        if (watch.is_gone() || step != step_) {
            return;
        }
        if (!connect_code && is_connected_to_itself(socket_)) {
            connect_code = asio::error::connection_refused;
        }
        if (connect_code) {
            on_address_failed(connect_code);
        } else {
            finish({});
        }
    });
}

void Connector::on_address_timeout() {
    on_address_failed(make_error_code(Errc::connect_timeout));
}

void Connector::on_address_failed(std::error_code code) {
    last_error_ = code;
    try_address();
}

// By the system call itself: it never waits, and Asio 1.22 reports a full queue as lack of memory.
void Connector::try_unix() {
    ++step_;
    std::error_code code;
    if (endpoint_.path.size() > unix_path_max) {
        finish(make_error_code(Errc::path_too_long));
        return;
    }
    const asio::local::stream_protocol::endpoint address{endpoint_.path};
    if (!socket_.is_open()) {
        socket_.open(address.protocol(), code);
        if (!code) {
            socket_.native_non_blocking(true, code);
        }
        if (code) {
            finish(code);
            return;
        }
    }
    if (::connect(socket_.native_handle(), static_cast<const sockaddr*>(address.data()),
                  static_cast<socklen_t>(address.size())) == 0) {
        finish({});
        return;
    }
    const int error = errno;
    if (error != EAGAIN && error != ENOBUFS && error != EINTR) {
        finish(system_error(error));
        return;
    }
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline_) {
        finish(make_error_code(Errc::connect_timeout));
        return;
    }
    set_timer(std::min(deadline_, now + unix_retry_delay), &Connector::try_unix);
}

void Connector::finish(std::error_code code) {
    ++step_;
    timer_.cancel();
    if (!code) {
        code = prepare(socket_);
    }
    auto result = code ? Result<Socket>{fail(portable(code), "cannot connect to " + to_client_url(endpoint_))}
                       : Result<Socket>{std::move(socket_)};
    if (code) {
        std::error_code ignored;
        socket_.close(ignored);
    }
    const auto done = std::exchange(done_, {});
    done(std::move(result));  // May have destroyed this.
}

}  // namespace baton::net
