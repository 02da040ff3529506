// See board.hpp.
#include "client/src/board.hpp"

#include <array>
#include <cstdio>

namespace baton::client {

std::string age_text(std::chrono::nanoseconds age) {
    std::array<char, 48> text{};
    const double seconds = std::chrono::duration<double>{age}.count();
    std::snprintf(text.data(), text.size(), "%.1fs", seconds < 0 ? 0.0 : seconds);
    return text.data();
}

void Board::set_connected(BrokerInfo info) {
    const std::lock_guard lock{mutex_};
    is_connected_ = true;
    is_hopeless_ = false;
    since_ = WaitLimit::Clock::now();
    message_size_max_.store(info.message_size_max, std::memory_order_relaxed);
    broker_ = std::move(info);
}

void Board::set_disconnected(std::string reason) {
    const std::lock_guard lock{mutex_};
    if (is_connected_) {
        since_ = WaitLimit::Clock::now();
    }
    is_connected_ = false;
    reason_ = std::move(reason);
}

void Board::set_unreachable(std::string reason, bool is_hopeless) {
    const std::lock_guard lock{mutex_};
    is_hopeless_ = is_hopeless;
    reason_ = std::move(reason);
}

void Board::set_draining() {
    const std::lock_guard lock{mutex_};
    if (broker_) {
        broker_->draining = true;
    }
}

void Board::set_closed() {
    const std::lock_guard lock{mutex_};
    is_connected_ = false;
    is_closed_ = true;
}

void Board::set_ended() {
    {
        const std::lock_guard lock{mutex_};
        is_ended_ = true;
    }
    wake_waits();
}

bool Board::is_ended() const {
    const std::lock_guard lock{mutex_};
    return is_ended_;
}

bool Board::is_connected() const {
    const std::lock_guard lock{mutex_};
    return is_connected_;
}

bool Board::is_closed() const {
    const std::lock_guard lock{mutex_};
    return is_closed_;
}

std::optional<BrokerInfo> Board::broker() const {
    const std::lock_guard lock{mutex_};
    return broker_;
}

Board::Verdict Board::judge(SteadyTime begin, SteadyTime now) const {
    const std::lock_guard lock{mutex_};
    if (is_closed_) {
        return {.give_up_at = now, .error = ClientError{ClientErrc::closed, "the client is closed"}};
    }
    if (is_connected_) {
        return {};
    }
    const SteadyTime from = std::max(begin, since_);
    const SteadyTime give_up_at = connect_timeout_ >= SteadyTime::max() - from
                                      ? SteadyTime::max()
                                      : from + std::chrono::duration_cast<WaitLimit::Clock::duration>(connect_timeout_);
    if (!is_hopeless_ && now < give_up_at) {
        return {.give_up_at = give_up_at, .error = {}};
    }
    return {.give_up_at = now, .error = ClientError{ClientErrc::cannot_connect, reason_, !is_hopeless_}};
}

std::string Board::connection_text() const {
    const std::lock_guard lock{mutex_};
    return is_connected_ ? std::string{}
                         : "; not connected for " + age_text(WaitLimit::Clock::now() - since_) + ": " + reason_;
}

}  // namespace baton::client
