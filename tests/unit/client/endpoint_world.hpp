// Endpoints as users have them, with the I/O thread played by the test: what it would do happens when the test says so.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/src/endpoint.hpp"
#include "client/src/receiver_endpoint.hpp"
#include "client/src/sender_endpoint.hpp"
#include "tests/unit/client/dialogue.hpp"

namespace baton::client {

// One connected client with one sender or receiver, on link 1.
class EndpointWorld {
public:
    EndpointWorld() {
        shared->inbox.open([this] { ++wakes; });
        shared->board.set_connected({.agent = "broker",
                                     .address = "here",
                                     .session = 1,
                                     .heartbeat = Milliseconds{10'000},
                                     .frame_size_max = 262'144,
                                     .message_size_max = 1'000'000,
                                     .channel_name_size_max = 255,
                                     .draining = false});
        dialogue.connect();
    }
    ~EndpointWorld() { (void)shared->inbox.shut(); }
    EndpointWorld(const EndpointWorld&) = delete;
    EndpointWorld& operator=(const EndpointWorld&) = delete;

    // What the I/O thread does when it is woken.
    void run_io() {
        Inbox::Content content;
        shared->inbox.take(content);
        for (const auto& endpoint : content.endpoints) {
            endpoint->hand_over(dialogue.protocol, completions);
        }
        run_completions();
    }
    void run_completions() {
        for (auto& complete : std::exchange(completions, {})) {
            complete();
        }
    }

    std::shared_ptr<Shared> shared = std::make_shared<Shared>(std::chrono::seconds{30});
    Dialogue dialogue;
    Completions completions;
    std::atomic<int> wakes{0};
};

}  // namespace baton::client
