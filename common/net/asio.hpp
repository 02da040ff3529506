// The pieces of Asio that Baton uses, with the executor typed: no any_executor, no type erasure per operation.
// Whoever needs a name of Asio includes this file and links baton::net, which carries Asio's macros.
// An object made from an IoContext belongs to the one thread that runs it, unless its comment says otherwise.
// Next file: connection_io.hpp.
#pragma once

#include <chrono>
#include <memory>
#include <system_error>

#include <asio/awaitable.hpp>
#include <asio/basic_stream_socket.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/basic_resolver.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/posix/basic_stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

namespace baton::net {

using IoContext = asio::io_context;
using Executor = IoContext::executor_type;
using SteadyTimer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

// A coroutine of the control plane. It stays on one executor for life.
template <class T>
using task = asio::awaitable<T, Executor>;

// Completion token inside a task: `const auto [code, value] = ...` style tuples, nothing throws. Bind the result of
// each co_await to a named variable first.
constexpr asio::experimental::as_tuple_t<asio::use_awaitable_t<Executor>> use_task{};

// The same error in std::system_category, if it is one of the system: Asio's own category for it (1.22) compares
// unequal to std::errc. Every code that leaves this folder has passed through here or was made from errno.
[[nodiscard]] inline std::error_code portable(std::error_code code) noexcept {
    return code.category() == asio::error::get_system_category() ? std::error_code{code.value(), std::system_category()}
                                                                 : code;
}

// Tells a callback whether the object that it was made for still exists. The object holds a LifeToken, its completion
// handlers hold watch() and look before they touch it. Then the object may be destroyed at any time, also from inside
// one of its own callbacks. For objects of the control plane, all on one thread.
class LifeToken {
public:
    class Watch {
    public:
        [[nodiscard]] bool is_gone() const noexcept { return flag_.expired(); }

    private:
        friend class LifeToken;
        explicit Watch(const std::shared_ptr<char>& flag) noexcept : flag_{flag} {}
        std::weak_ptr<char> flag_;
    };

    LifeToken() : flag_{std::make_shared<char>()} {}
    LifeToken(const LifeToken&) = delete;
    LifeToken& operator=(const LifeToken&) = delete;

    [[nodiscard]] Watch watch() const noexcept { return Watch{flag_}; }

private:
    std::shared_ptr<char> flag_;
};

}  // namespace baton::net
