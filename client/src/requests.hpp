// Questions to the broker as a whole: ADMIN and PING, each answered once, or lost with its connection.
// Not responsible for what is asked: client.cpp. One thread; owned by ClientProtocol. Next file: client_protocol.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "client/src/protocol_context.hpp"

namespace baton::client {

class Requests {
public:
    explicit Requests(ProtocolContext& context) noexcept : context_{context} {}

    // Both wait until there is a connection.
    void admin(RequestId id, std::string name, std::string json);
    void ping(RequestId id);
    // Nobody waits for it any more; an answer is ignored.
    void forget(RequestId id);

    void on_ready();
    void on_disconnected();
    void on_admin_reply(std::uint64_t id, std::string_view json);
    void on_pong(std::uint64_t token);

    [[nodiscard]] bool is_quiet() const noexcept { return asked_.empty(); }

private:
    struct Request {
        RequestId id;
        bool is_ping = false;
        std::string name;
        std::string json;
    };
    void ask(Request& request);

    ProtocolContext& context_;
    std::vector<Request> waiting_;                   // For a connection.
    std::unordered_map<std::uint64_t, bool> asked_;  // Of this connection; true: PING.
};

}  // namespace baton::client
