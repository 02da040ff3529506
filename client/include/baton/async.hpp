// The asynchronous face of the client library: Asio completion tokens, for callbacks, co_await and futures.
//
//   baton::AsyncClient broker{co_await asio::this_coro::executor, "baton://localhost"};
//   co_await broker.async_send("greetings", "Hello", asio::use_awaitable);
//   baton::Delivery delivery = co_await broker.async_receive("greetings", asio::use_awaitable);
//   delivery.ack();
//
// It stands on the same core as client.hpp, with an I/O thread of its own, so that heartbeats do not depend on the
// user's loop. Handlers are called on their associated executor, by default the one given to the constructor; never
// from inside the call that started the operation, and never with a lock held.
//
// An operation waits, through reconnects, until it is done, cancelled, or hopeless; to bound it, cancel it by a timer.
//
// Threads: all functions from any thread; but an operation that has a cancellation slot must be started, cancelled and
// completed on one executor, as with everything in Asio.
//
// Errors come first, as an exception_ptr that holds a ClientError: co_await throws it, callbacks look with error_of().
// Cancellation (per-operation slots, any type) completes with ClientErrc::interrupted.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>

#include <baton/client.hpp>

namespace baton {

// The ClientError inside; nothing for a null pointer. A foreign exception is shown as protocol_error.
[[nodiscard]] std::optional<ClientError> error_of(const std::exception_ptr& error) noexcept;

namespace detail {

template <class T>
using Completion = std::move_only_function<void(Expected<T>)>;
// Gives up waiting, if the operation still waits.
using CancelWait = std::move_only_function<void()>;

// Calls the handler on its executor, and holds that executor's work until then.
template <class T, class Handler, class Executor>
class PostedHandler {
public:
    using HandlerExecutor = asio::associated_executor_t<Handler, Executor>;

    PostedHandler(Handler handler, const Executor& fallback)
        : work_{asio::make_work_guard(asio::get_associated_executor(handler, fallback))},
          handler_{std::move(handler)} {}

    void operator()(Expected<T> result) {
        const auto executor = work_.get_executor();
        asio::post(executor,
                   [handler = std::move(handler_), work = std::move(work_), outcome = std::move(result)]() mutable {
                       if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
                           slot.clear();
                       }
                       work.reset();
                       if constexpr (std::is_void_v<T>) {
                           std::move(handler)(outcome ? std::exception_ptr{}
                                                      : std::make_exception_ptr(std::move(outcome.error())));
                       } else if (outcome) {
                           std::move(handler)(std::exception_ptr{}, std::move(*outcome));
                       } else {
                           std::move(handler)(std::make_exception_ptr(std::move(outcome.error())), T{});
                       }
                   });
    }

private:
    asio::executor_work_guard<HandlerExecutor> work_;
    Handler handler_;
};

}  // namespace detail

class AsyncClient {
public:
    using executor_type = asio::any_io_executor;

    // Starts to connect. Throws bad_argument for a URL or option that cannot work. In ClientOptions,
    // receive_window_messages set to 0 means on demand: a message is asked for only while an async_receive waits for
    // one.
    AsyncClient(asio::any_io_executor executor, ClientOptions options);
    AsyncClient(asio::any_io_executor executor, std::string_view url);
    // Closes within close_timeout; operations that still wait complete with `closed`. To avoid the wait: async_close
    // first.
    ~AsyncClient();
    AsyncClient(const AsyncClient&) = delete;
    AsyncClient& operator=(const AsyncClient&) = delete;

    [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }

    // void(std::exception_ptr): connected, or cannot_connect.
    template <class Token>
    auto async_connect(Token&& token) {
        return start<void>(std::forward<Token>(token), [this](auto done) { return start_connect(std::move(done)); });
    }

    // void(std::exception_ptr, SendReceipt): the broker has confirmed the message. The message is copied before this
    // returns. Messages of one channel are sent in the order of the calls. There is no waiting for the window here:
    // whoever starts more sends than he awaits bounds their number himself; above twice ClientOptions::send_window_*
    // they are `refused`. A cancelled send may still arrive.
    template <class Token>
    auto async_send(std::string_view channel, const Message& message, Token&& token) {
        return start<SendReceipt>(std::forward<Token>(token),
                                  [this, name = std::string{channel}, copy = OwnedMessage{message}](auto done) mutable {
                                      return start_send(name, copy, std::move(done));
                                  });
    }

    // void(std::exception_ptr, Delivery). Several may wait at once. A cancelled receive loses nothing: a message is
    // taken from the channel's window only by an operation that completes with it.
    template <class Token>
    auto async_receive(std::string_view channel, Token&& token) {
        return start<Delivery>(std::forward<Token>(token), [this, name = std::string{channel}](auto done) {
            return start_receive(name, {}, std::move(done));
        });
    }
    // The same with options: calls with the same channel, subscription, from, filter, lease and exclusive share one
    // link, whose windows are those of the first call.
    template <class Token>
    auto async_receive(std::string_view channel, const ReceiverOptions& options, Token&& token) {
        return start<Delivery>(std::forward<Token>(token), [this, name = std::string{channel}, options](auto done) {
            return start_receive(name, options, std::move(done));
        });
    }

    // void(std::exception_ptr, SettleResult): the broker has settled it. (Delivery::ack() alone does not wait.)
    template <class Token>
    auto async_ack(Delivery delivery, Token&& token) {
        return start<SettleResult>(std::forward<Token>(token), [this, held = std::move(delivery)](auto done) mutable {
            return start_ack(std::move(held), std::move(done));
        });
    }
    // The same for the other decisions; see Delivery.
    template <class Token>
    auto async_give_back(Delivery delivery, Token&& token) {
        return start<SettleResult>(std::forward<Token>(token), [this, held = std::move(delivery)](auto done) mutable {
            return start_give_back(std::move(held), std::move(done));
        });
    }
    template <class Token>
    auto async_retry(Delivery delivery, std::optional<Milliseconds> after, std::string_view note, Token&& token) {
        return start<SettleResult>(std::forward<Token>(token), [this, held = std::move(delivery), after,
                                                                text = std::string{note}](auto done) mutable {
            return start_retry(std::move(held), after, text, std::move(done));
        });
    }
    template <class Token>
    auto async_reject(Delivery delivery, std::string_view note, Token&& token) {
        return start<SettleResult>(std::forward<Token>(token),
                                   [this, held = std::move(delivery), text = std::string{note}](auto done) mutable {
                                       return start_reject(std::move(held), text, std::move(done));
                                   });
    }
    // No decision: the delivery stays with the caller, and must live until this has been started. (With a lazy token
    // such as asio::use_awaitable that is when it is awaited.)
    template <class Token>
    auto async_extend(Delivery& delivery, Milliseconds lease, Token&& token) {
        return start<SettleResult>(std::forward<Token>(token), [this, held = &delivery, lease](auto done) {
            return start_extend(*held, lease, std::move(done));
        });
    }

    // void(std::exception_ptr, std::string): as Client::admin, of which it is the asynchronous form.
    template <class Token>
    auto async_admin(std::string_view operation, std::string_view channel, std::string_view arguments, Token&& token) {
        return start<std::string>(
            std::forward<Token>(token),
            [this, op = std::string{operation}, name = std::string{channel}, text = std::string{arguments}](
                auto done) mutable { return start_admin(op, name, text, std::move(done)); });
    }

    // void(std::exception_ptr): as Client::close(close_timeout), which it does not wait for. Other operations complete
    // with `closed`; so does this one if something had to be abandoned.
    template <class Token>
    auto async_close(Token&& token) {
        return start<void>(std::forward<Token>(token), [this](auto done) { return start_close(std::move(done)); });
    }

    [[nodiscard]] std::optional<BrokerInfo> broker_info() const;

private:
    struct OwnedMessage {
        explicit OwnedMessage(const Message& message);
        std::string body;
        std::optional<MessageProperties> properties;
    };

    template <class T>
    struct Signature {
        using type = void(std::exception_ptr, T);
    };

    template <class T, class Token, class Begin>
    auto start(Token&& token, Begin begin) {
        return asio::async_initiate<Token, typename Signature<T>::type>(
            [executor = executor_](auto handler, Begin operation) {
                using Handler = std::decay_t<decltype(handler)>;
                auto slot = asio::get_associated_cancellation_slot(handler);
                detail::PostedHandler<T, Handler, executor_type> posted{std::move(handler), executor};
                detail::CancelWait cancel = operation(detail::Completion<T>{std::move(posted)});
                if (slot.is_connected()) {
                    // The handler has been posted at most, not called: the slot is ours until this returns.
                    slot.assign([give_up = std::move(cancel)](asio::cancellation_type) mutable { give_up(); });
                }
            },
            token, std::move(begin));
    }

    [[nodiscard]] detail::CancelWait start_connect(detail::Completion<void> done);
    [[nodiscard]] detail::CancelWait start_send(const std::string& channel, const OwnedMessage& message,
                                                detail::Completion<SendReceipt> done);
    [[nodiscard]] detail::CancelWait start_receive(const std::string& channel, ReceiverOptions options,
                                                   detail::Completion<Delivery> done);
    [[nodiscard]] detail::CancelWait start_ack(Delivery delivery, detail::Completion<SettleResult> done);
    [[nodiscard]] detail::CancelWait start_give_back(Delivery delivery, detail::Completion<SettleResult> done);
    [[nodiscard]] detail::CancelWait start_retry(Delivery delivery, std::optional<Milliseconds> after,
                                                 const std::string& note, detail::Completion<SettleResult> done);
    [[nodiscard]] detail::CancelWait start_reject(Delivery delivery, const std::string& note,
                                                  detail::Completion<SettleResult> done);
    [[nodiscard]] detail::CancelWait start_extend(Delivery& delivery, Milliseconds lease,
                                                  detail::Completion<SettleResult> done);
    [[nodiscard]] static detail::CancelWait start_settle(Delivery& delivery, const client::Decision& decision,
                                                         detail::Completion<SettleResult> done);
    [[nodiscard]] detail::CancelWait start_admin(const std::string& operation, const std::string& channel,
                                                 const std::string& arguments, detail::Completion<std::string> done);
    [[nodiscard]] detail::CancelWait start_close(detail::Completion<void> done);

    executor_type executor_;
    std::shared_ptr<client::Core> core_;
};

template <>
struct AsyncClient::Signature<void> {
    using type = void(std::exception_ptr);
};

}  // namespace baton
