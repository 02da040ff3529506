// The asynchronous face: the same endpoints, with completions in place of waits.
#include <utility>

#include "client/src/access.hpp"
#include "client/src/core.hpp"
#include <baton/async.hpp>

namespace baton {

using client::Core;
using client::RequestId;

std::optional<ClientError> error_of(const std::exception_ptr& error) noexcept {
    if (error == nullptr) {
        return std::nullopt;
    }
    try {
        std::rethrow_exception(error);
    } catch (const ClientError& ours) {
        return ours;
    } catch (const std::exception& other) {
        return ClientError{ClientErrc::protocol_error, other.what()};
    } catch (...) {
        return ClientError{ClientErrc::protocol_error, "an unknown exception"};
    }
}

AsyncClient::OwnedMessage::OwnedMessage(const Message& message) : body{as_text(message.body())} {
    if (message.properties() != nullptr) {
        properties = *message.properties();
    }
}

AsyncClient::AsyncClient(asio::any_io_executor executor, ClientOptions options)
    : executor_{std::move(executor)}, core_{std::make_shared<Core>(std::move(options))} {
    core_->keep_loop();  // Nobody waits, and completions are not for just any thread.
}

AsyncClient::AsyncClient(asio::any_io_executor executor, std::string_view url)
    : AsyncClient{std::move(executor), ClientOptions{.url = std::string{url}}} {}

AsyncClient::~AsyncClient() {
    core_->close(core_->options().close_timeout);
}

std::optional<BrokerInfo> AsyncClient::broker_info() const {
    return core_->board().broker();
}

namespace {

// Called once, by whichever of answer and cancellation comes first; the other finds it empty.
template <class T>
struct Once {
    std::mutex mutex;
    detail::Completion<T> done;
    void operator()(Expected<T> outcome) {
        detail::Completion<T> call;
        {
            const std::lock_guard lock{mutex};
            call = std::exchange(done, nullptr);
        }
        if (call) {
            call(std::move(outcome));
        }
    }
};

}  // namespace

detail::CancelWait AsyncClient::start_connect(detail::Completion<void> done) {
    const auto once = std::make_shared<Once<void>>();
    once->done = std::move(done);
    core_->notify_connected([once](Expected<void> outcome) { (*once)(std::move(outcome)); });
    return [once] {
        (*once)(std::unexpected{ClientError{ClientErrc::interrupted, "no longer waiting for a connection", true}});
    };
}

detail::CancelWait AsyncClient::start_send(const std::string& channel, const OwnedMessage& message,
                                           detail::Completion<SendReceipt> done) {
    const auto endpoint = core_->shared_sender(channel);
    const Bytes body = as_bytes(message.body);
    const std::uint64_t sequence = endpoint->send_async(
        endpoint, message.properties ? Message{body, *message.properties} : Message{body}, std::move(done));
    return [endpoint, sequence] { endpoint->cancel_send(sequence); };
}

detail::CancelWait AsyncClient::start_receive(const std::string& channel, ReceiverOptions options,
                                              detail::Completion<Delivery> done) {
    options.on_demand = options.on_demand || core_->options().receive_window_messages == 0;
    const auto endpoint = core_->shared_receiver(channel, options);
    const std::uint64_t id = endpoint->receive_async(endpoint, std::move(done));
    return [endpoint, id] { endpoint->cancel_receive(endpoint, id); };
}

detail::CancelWait AsyncClient::start_settle(Delivery& delivery, const client::Decision& decision,
                                             detail::Completion<SettleResult> done) {
    if (delivery.is_settled()) {
        done(SettleResult::lost_lease);
        return [] {};
    }
    const client::SliceRef slice{*client_access::slice(delivery)};  // `done` may end the delivery.
    if (client::ends_delivery(static_cast<std::uint8_t>(decision.outcome))) {
        client_access::set_settled(delivery);
    }
    const std::uint64_t receipt = slice->owner->settle_async(*slice, delivery.offset(), decision, std::move(done));
    return [owner = slice->owner, receipt] { owner->cancel_settle(receipt); };
}

detail::CancelWait AsyncClient::start_ack(Delivery delivery, detail::Completion<SettleResult> done) {
    return start_settle(delivery, {.outcome = client::Outcome::done}, std::move(done));
}

detail::CancelWait AsyncClient::start_give_back(Delivery delivery, detail::Completion<SettleResult> done) {
    return start_settle(delivery, {.outcome = client::Outcome::give_back}, std::move(done));
}

detail::CancelWait AsyncClient::start_retry(Delivery delivery, std::optional<Milliseconds> after,
                                            const std::string& note, detail::Completion<SettleResult> done) {
    return start_settle(delivery, client::retry_decision(after, note), std::move(done));
}

detail::CancelWait AsyncClient::start_reject(Delivery delivery, const std::string& note,
                                             detail::Completion<SettleResult> done) {
    return start_settle(delivery, {.outcome = client::Outcome::reject, .note = note}, std::move(done));
}

detail::CancelWait AsyncClient::start_extend(Delivery& delivery, Milliseconds lease,
                                             detail::Completion<SettleResult> done) {
    return start_settle(delivery, client::extend_decision(lease), std::move(done));
}

detail::CancelWait AsyncClient::start_admin(const std::string& operation, const std::string& channel,
                                            const std::string& arguments, detail::Completion<std::string> done) {
    const auto once = std::make_shared<Once<std::string>>();
    once->done = std::move(done);
    const RequestId id = core_->admin_async(operation, channel, arguments,
                                            [once](Expected<std::string> reply) { (*once)(std::move(reply)); });
    return [once, id, core = core_] {
        core->forget(id);
        (*once)(std::unexpected{ClientError{ClientErrc::interrupted, "no longer waiting for an answer", true}});
    };
}

detail::CancelWait AsyncClient::start_close(detail::Completion<void> done) {
    core_->begin_close(core_->options().close_timeout, std::move(done));
    return [] {};
}

}  // namespace baton
