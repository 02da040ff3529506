// See requests.hpp.
#include "client/src/requests.hpp"

#include <algorithm>
#include <utility>

#include "common/wire/bodies.hpp"

namespace baton::client {

void Requests::admin(RequestId id, std::string name, std::string json) {
    waiting_.push_back({.id = id, .is_ping = false, .name = std::move(name), .json = std::move(json)});
    on_ready();
}

void Requests::ping(RequestId id) {
    waiting_.push_back({.id = id, .is_ping = true, .name = {}, .json = {}});
    on_ready();
}

void Requests::forget(RequestId id) {
    asked_.erase(id.value());
    std::erase_if(waiting_, [id](const Request& request) { return request.id == id; });
}

void Requests::on_ready() {
    if (!context_.is_ready) {
        return;
    }
    for (Request& request : std::exchange(waiting_, {})) {
        ask(request);
    }
}

void Requests::ask(Request& request) {
    constexpr std::size_t head_size = 4;
    if (request.is_ping) {
        wire::put_ping(context_.outbox, request.id.value());
    } else if (head_size + request.name.size() + request.json.size() > context_.body_size_max()) {
        context_.events.on_request_lost(request.id, true);
        return;
    } else {
        wire::put_admin(context_.outbox, request.id.value(), {.name = as_bytes(request.name), .json = request.json});
    }
    asked_.emplace(request.id.value(), request.is_ping);
}

// In the order in which they were asked: the simulation wants the same run for the same seed.
void Requests::on_disconnected() {
    std::vector<std::uint64_t> lost;
    for (const auto& [id, is_ping] : asked_) {
        lost.push_back(id);
    }
    std::ranges::sort(lost);
    asked_.clear();
    for (const std::uint64_t id : lost) {
        context_.events.on_request_lost(RequestId{id}, false);
    }
}

void Requests::on_admin_reply(std::uint64_t id, std::string_view json) {
    if (const auto found = asked_.find(id); found != asked_.end() && !found->second) {
        asked_.erase(found);
        context_.events.on_admin_reply(RequestId{id}, json);
    }
}

void Requests::on_pong(std::uint64_t token) {
    if (const auto found = asked_.find(token); found != asked_.end() && found->second) {
        asked_.erase(found);
        context_.events.on_pong(RequestId{token});
    }
}

}  // namespace baton::client
