// The user threads' side of a client: starts and ends the I/O thread, makes endpoints, asks questions and waits for
// answers. Behind Client, Channel and AsyncClient alike. Any thread. Next file: engine.hpp.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "client/src/engine.hpp"
#include <baton/client.hpp>

namespace baton::client {

// Throws bad_argument.
[[nodiscard]] net::Endpoint check(const ClientOptions& options);

class Core {
public:
    // Throws bad_argument. Starts the thread.
    explicit Core(ClientOptions options);
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;
    // close(close_timeout).
    ~Core();

    [[nodiscard]] std::shared_ptr<SenderEndpoint> open_sender(std::string channel, const SenderOptions& options);
    [[nodiscard]] std::shared_ptr<ReceiverEndpoint> open_receiver(std::string channel, const ReceiverOptions& options);
    // The one that all calls on a Channel share. Made at the first use, and anew after it has failed.
    [[nodiscard]] std::shared_ptr<SenderEndpoint> shared_sender(const std::string& channel);
    [[nodiscard]] std::shared_ptr<ReceiverEndpoint> shared_receiver(const std::string& channel,
                                                                    const ReceiverOptions& options);

    [[nodiscard]] Expected<void> wait_connected(const WaitLimit& limit);
    [[nodiscard]] Expected<std::chrono::nanoseconds> ping(const WaitLimit& limit);
    // `arguments`: the text of a JSON object, or empty.
    [[nodiscard]] Expected<std::string> admin(std::string_view operation, std::string channel,
                                              std::string_view arguments, const WaitLimit& limit);
    // Its producer and number are filled in.
    [[nodiscard]] Expected<void> commit(StepWish wish, const WaitLimit& limit);
    [[nodiscard]] bool owns(const Endpoint& endpoint) const noexcept { return endpoint.belongs_to(*shared_); }
    // Returns the number under which `forget` finds it.
    RequestId admin_async(std::string_view operation, std::string channel, std::string_view arguments,
                          Engine::AdminDone done);

    // Returns the number under which `forget` finds it.
    RequestId notify_connected(Engine::CloseDone done);
    void forget(RequestId id);
    // `done` is called when everything is closed, at the latest after the timeout.
    void begin_close(std::chrono::nanoseconds timeout, Engine::CloseDone done);
    bool close(std::chrono::nanoseconds timeout) noexcept;

    // No thread that waits is lent the event loop.
    void keep_loop() { shared_->loop.keep(); }

    [[nodiscard]] const Board& board() const noexcept { return shared_->board; }
    [[nodiscard]] const ClientOptions& options() const noexcept { return options_; }

private:
    template <class Answer, class Ask>
    [[nodiscard]] Expected<Answer> ask(const WaitLimit& limit, const char* what, Ask begin);
    void end_thread(SteadyTime until) noexcept;

    const ClientOptions options_;
    const pid_t process_;  // That has the thread: not one that was forked.
    const std::shared_ptr<Shared> shared_;
    std::atomic<std::uint64_t> last_request_{0};
    std::mutex mutex_;  // Of the two maps. Before an endpoint's mutex.
    std::map<std::string, std::shared_ptr<SenderEndpoint>> senders_;
    std::map<std::string, std::shared_ptr<ReceiverEndpoint>> receivers_;
    // A producer of steps has one under way at a time; whoever commits takes a free one, or makes one.
    struct StepProducer {
        std::array<std::byte, 16> id{};
        std::uint64_t done = 0;  // The number of its last step.
    };
    [[nodiscard]] StepProducer take_producer();
    std::vector<StepProducer> step_producers_;  // Free ones; guarded by `mutex_`.
    std::shared_ptr<std::atomic<bool>> has_left_over_ = std::make_shared<std::atomic<bool>>(false);  // Closed in disorder.
    std::mutex thread_mutex_;
    std::shared_ptr<std::atomic<bool>> has_exited_ = std::make_shared<std::atomic<bool>>(false);
    std::thread thread_;
};

}  // namespace baton::client
