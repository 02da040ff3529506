// The asynchronous face: the same endpoints, with completions in place of waits.
#include <utility>

#include "client/src/access.hpp"
#include "client/src/core.hpp"
#include <baton/async.hpp>

namespace baton {

using client::Core;

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
    : executor_{std::move(executor)}, core_{std::make_shared<Core>(std::move(options))} {}

AsyncClient::AsyncClient(asio::any_io_executor executor, std::string_view url)
    : AsyncClient{std::move(executor), ClientOptions{.url = std::string{url}}} {}

AsyncClient::~AsyncClient() {
    core_->close(core_->options().close_timeout);
}

std::optional<BrokerInfo> AsyncClient::broker_info() const {
    return core_->board().broker();
}

detail::CancelWait AsyncClient::start_connect(detail::Completion<void> done) {
    // Called once, by whichever of answer and cancellation comes first; the other finds it empty.
    struct Once {
        std::mutex mutex;
        detail::Completion<void> done;
        void operator()(Expected<void> outcome) {
            detail::Completion<void> call;
            {
                const std::lock_guard lock{mutex};
                call = std::exchange(done, nullptr);
            }
            if (call) {
                call(std::move(outcome));
            }
        }
    };
    const auto once = std::make_shared<Once>();
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

detail::CancelWait AsyncClient::start_receive(const std::string& channel, detail::Completion<Delivery> done) {
    const auto endpoint = core_->shared_receiver(channel, {.on_demand = core_->options().receive_window_messages == 0});
    const std::uint64_t id = endpoint->receive_async(endpoint, std::move(done));
    return [endpoint, id] { endpoint->cancel_receive(endpoint, id); };
}

detail::CancelWait AsyncClient::start_ack(Delivery delivery, detail::Completion<SettleResult> done) {
    const auto slice = client_access::slice(delivery);
    if (delivery.is_settled()) {
        done(SettleResult::lost_lease);
        return [] {};
    }
    client_access::set_settled(delivery);
    const std::uint64_t receipt = slice->owner->settle_async(*slice, delivery.offset(), client::Outcome::done,
                                                             client_access::region_bytes(delivery), std::move(done));
    return [owner = slice->owner, receipt] { owner->cancel_settle(receipt); };
}

detail::CancelWait AsyncClient::start_close(detail::Completion<void> done) {
    core_->begin_close(core_->options().close_timeout, std::move(done));
    return [] {};
}

}  // namespace baton
