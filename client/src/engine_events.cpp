// What protocol and connection tell the engine, carried to whoever waits for it.
#include <utility>

#include <nlohmann/json.hpp>

#include "client/src/engine.hpp"
#include "client/src/errors.hpp"
#include "client/src/json_text.hpp"
#include "common/base/text_form.hpp"

namespace baton::client {

void Engine::report(ClientEvent::Kind kind, std::string channel, std::string text) {
    events_.push_back({.kind = kind, .channel = std::move(channel), .text = std::move(text)});
}

Engine::Entry* Engine::find(LinkId link) noexcept {
    const auto found = entries_.find(link);
    return found != entries_.end() ? &found->second : nullptr;
}

// --- Connection
// --------------------------------------------------------------------------------------------------------

void Engine::on_ready(const wire::Welcome& welcome) {
    const std::string address = net::to_client_url(connection_.endpoint());
    shared_->board.set_connected({.agent = welcome.agent,
                                  .address = address,
                                  .session = welcome.session,
                                  .heartbeat = Milliseconds{welcome.heartbeat_ms},
                                  .frame_size_max = welcome.frame_size_max,
                                  .message_size_max = welcome.message_size_max,
                                  .channel_name_size_max = welcome.channel_name_size_max,
                                  .draining = welcome.draining});
    report(ClientEvent::Kind::connected, {}, address);
    for (auto& [id, request] : requests_) {
        request.asked_at = clock_.now();  // A ping that waited for the connection is written now.
        if (request.connected) {
            completions_.emplace_back([done = std::move(request.connected)]() mutable { done({}); });
        }
    }
    forget_answered();
    wake_everybody();
}

// Those that waited for a connection and wait no longer.
void Engine::forget_answered() {
    std::erase_if(requests_, [](const auto& entry) {
        const Request& request = entry.second;
        return !request.admin && !request.ping && !request.connected && !request.step;
    });
}

void Engine::on_goaway(const wire::Goaway& goaway) {
    shared_->board.set_draining();
    connection_.stay_away(std::chrono::milliseconds{goaway.reconnect_after_ms});
    report(ClientEvent::Kind::goaway, {}, goaway.text.empty() ? goaway.code : goaway.text);
}

void Engine::on_reached() {
    shared_->board.set_unreachable(
        net::to_client_url(connection_.endpoint()) + ": it accepts connections but does not answer", false);
}

void Engine::on_attempt_failed(const std::string& reason, bool is_hopeless) {
    shared_->board.set_unreachable(reason, is_hopeless);
    report(ClientEvent::Kind::connect_failed, {}, reason);
    const MonotonicTime now = clock_.now();
    for (auto& [id, request] : requests_) {
        if (request.connected && (is_hopeless || now - request.asked_at >= options_.connect_timeout)) {
            completions_.emplace_back([done = std::move(request.connected), reason, is_hopeless]() mutable {
                done(std::unexpected{ClientError{ClientErrc::cannot_connect, reason, !is_hopeless}});
            });
        }
    }
    forget_answered();
    wake_everybody();
}

void Engine::on_connection_lost(const std::string& reason) {
    shared_->board.set_disconnected(reason);
    report(ClientEvent::Kind::disconnected, {}, reason);
    for (const auto& [link, entry] : entries_) {
        if (entry.sender != nullptr) {
            entry.sender->on_connection_lost();
        }
    }
    wake_everybody();
}

// --- Requests
// ----------------------------------------------------------------------------------------------------------

void Engine::end_request(RequestId id, const ClientError& error) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) {
        return;
    }
    completions_.emplace_back([request = std::move(found->second), error]() mutable {
        if (request.admin) {
            request.admin(std::unexpected{error});
        } else if (request.ping) {
            request.ping(std::unexpected{error});
        } else if (request.connected) {
            request.connected(std::unexpected{error});
        } else if (request.step) {
            request.step(std::unexpected{error});
        }
    });
    requests_.erase(found);
}

void Engine::on_request_lost(RequestId id, bool is_too_large) {
    if (is_closing_ && !is_too_large) {
        return end_request(id, closed_error("the client"));
    }
    end_request(id, is_too_large ? ClientError{ClientErrc::bad_argument, "the request does not fit into a frame"}
                                 : ClientError{ClientErrc::disconnected,
                                               "the connection broke before the answer came: outcome unknown", true});
}

namespace {

ClientError error_of_reply(const nlohmann::json& reply) {
    const auto given = reply.find("error");
    auto error = given != reply.end() && given->is_object() ? *given : nlohmann::json::object();
    const auto text_at = [&error](const char* key) {
        const auto at = error.find(key);
        return at != error.end() && at->is_string() ? at->get<std::string>() : std::string{};
    };
    const auto status = wire::status_from_string(text_at("code")).value_or(wire::Status::internal);
    ClientError failure = error_of_status(status, wire::is_retryable(status), text_at("text"));
    for (const char* known : {"code", "text", "retryable"}) {
        error.erase(known);
    }
    if (!error.empty()) {
        failure.set_details(error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    }
    return failure;
}

// Whoever asked takes the text as it came; here is only seen that it is one, and whether it is an error.
Expected<std::string> outcome_of(std::string_view json) {
    const auto shape = nlohmann::json::parse(without_long_strings(json), nullptr, false);
    if (!shape.is_object() || !shape.contains("ok") || !shape["ok"].is_boolean()) {
        return std::unexpected{ClientError{ClientErrc::protocol_error, "the broker's reply has no \"ok\""}};
    }
    if (!shape["ok"].get<bool>()) {
        return std::unexpected{error_of_reply(nlohmann::json::parse(json, nullptr, false))};
    }
    return std::string{json};
}

}  // namespace

void Engine::on_admin_reply(RequestId id, std::string_view json) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) {
        return;
    }
    auto outcome = outcome_of(json);
    completions_.emplace_back(
        [done = std::move(found->second.admin), result = std::move(outcome)]() mutable { done(std::move(result)); });
    requests_.erase(found);
}

void Engine::on_stepped(RequestId id, const wire::Stepped& stepped) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) {
        return;
    }
    completions_.emplace_back(
        [done = std::move(found->second.step),
         answer = StepAnswer{stepped.status, std::string{stepped.text}}]() mutable { done(std::move(answer)); });
    requests_.erase(found);
}

void Engine::on_pong(RequestId id) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) {
        return;
    }
    const std::chrono::nanoseconds trip = clock_.now() - found->second.asked_at;
    completions_.emplace_back([done = std::move(found->second.ping), trip]() mutable { done(trip); });
    requests_.erase(found);
}

// --- Senders
// -----------------------------------------------------------------------------------------------------------

void Engine::on_sender_attached(LinkId link, std::uint64_t message_size_max) {
    if (Entry* entry = find(link)) {
        entry->sender->on_attached(message_size_max);
        takers_.push_back(link);
    }
}

void Engine::on_refused(LinkId link, std::uint64_t first, std::uint64_t count, wire::Status status) {
    if (Entry* entry = find(link)) {
        entry->sender->on_refused(first, count, status);
    }
}

void Engine::on_confirmed(LinkId link, std::uint64_t up_to, std::uint8_t level) {
    if (Entry* entry = find(link)) {
        entry->sender->on_confirmed(up_to, level, completions_);
    }
}

void Engine::on_blocked(LinkId link, std::uint16_t reason, Duration waiting) {
    Entry* entry = find(link);
    if (entry == nullptr) {
        return;
    }
    if (reason == wire::wait_reason_disk_full) {
        takers_.push_back(link);  // What waits is refused; the protocol must not be called from here.
    }
    if (!entry->sender->on_blocked(reason, waiting)) {
        return;
    }
    report(reason != 0 ? ClientEvent::Kind::blocked : ClientEvent::Kind::unblocked,
           name_text(as_bytes(entry->sender->channel())), std::string{wire::wait_reason_name(reason)});
}

// --- Receivers
// ---------------------------------------------------------------------------------------------------------

void Engine::on_receiver_attached(LinkId link, const ReceiverTerms& terms) {
    if (Entry* entry = find(link)) {
        entry->receiver->on_attached(terms);
    }
}

void Engine::on_delivered(LinkId link, DeliveredBatch&& batch) {
    if (Entry* entry = find(link)) {
        renew_leases_within(entry->receiver->renewal_interval());
        entry->receiver->on_delivered(std::static_pointer_cast<ReceiverEndpoint>(entry->endpoint), std::move(batch),
                                      completions_);
    }
}

void Engine::on_deliveries_lost(LinkId link) {
    if (Entry* entry = find(link)) {
        entry->receiver->on_deliveries_lost(completions_);
    }
}

void Engine::on_settled(LinkId link, std::uint64_t receipt, wire::RecordReader<wire::SettleException> exceptions) {
    if (Entry* entry = find(link)) {
        entry->receiver->on_settled(std::static_pointer_cast<ReceiverEndpoint>(entry->endpoint), receipt, exceptions,
                                    completions_);
    }
}

void Engine::on_state(LinkId link, const wire::State& state) {
    if (Entry* entry = find(link)) {
        entry->receiver->on_state(state);
    }
}

// --- Links
// -------------------------------------------------------------------------------------------------------------

// Receivers hear of it by the event alone: there is nothing that they could ask about.
void Engine::on_attach_refused(LinkId link, const LinkFailure& failure) {
    Entry* entry = find(link);
    if (entry == nullptr) {
        return;
    }
    const std::string name{wire::to_string(failure.status)};
    const std::string text = failure.text.empty() ? name : name + ": " + failure.text;
    if (entry->sender == nullptr || entry->sender->on_attach_refused(text)) {
        report(ClientEvent::Kind::blocked, name_text(as_bytes(entry->endpoint->channel())), text);
    }
}

void Engine::on_link_failed(LinkId link, const LinkFailure& failure) {
    Entry* entry = find(link);
    if (entry == nullptr) {
        unclaimed_failure_ = failure;
        return;
    }
    report(ClientEvent::Kind::link_failed, name_text(as_bytes(entry->endpoint->channel())), failure.text);
    end_endpoint(link, error_of(failure));
}

void Engine::on_link_closed(LinkId link) {
    if (Entry* entry = find(link)) {
        end_endpoint(link, closed_error("channel " + name_text(as_bytes(entry->endpoint->channel()))));
    }
}

void Engine::end_endpoint(LinkId link, ClientError error) {
    const auto found = entries_.find(link);
    const std::shared_ptr<Endpoint> endpoint = std::move(found->second.endpoint);
    entries_.erase(found);
    endpoint->end(std::move(error), completions_);
}

}  // namespace baton::client
