// How user threads reach the engine: commands and endpoints that have something for it, collected by the next turn.
// Any thread gives; whoever runs the loop (loop.hpp) takes. Lock order: an endpoint's mutex before the inbox's.
// Next file: endpoint.hpp.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace baton::client {

class Endpoint;
class Engine;

class Inbox {
public:
    using Command = std::move_only_function<void(Engine*)>;  // Never null.
    struct Content {
        std::vector<Command> commands;
        std::vector<std::shared_ptr<Endpoint>> endpoints;
        [[nodiscard]] bool empty() const noexcept { return commands.empty() && endpoints.empty(); }
    };

    // False: there is no I/O thread any more; the command is dropped.
    bool post(Command command) {
        const std::lock_guard lock{mutex_};
        if (!wake_) {
            return false;
        }
        content_.commands.push_back(std::move(command));
        wake_once();
        return true;
    }
    // Wakes nobody.
    void mark(std::shared_ptr<Endpoint> endpoint) {
        const std::lock_guard lock{mutex_};
        if (wake_) {
            content_.endpoints.push_back(std::move(endpoint));
        }
    }
    // A turn is to collect what is here, unless that was said before and it has not come yet.
    void wake() {
        const std::lock_guard lock{mutex_};
        if (wake_) {
            wake_once();
        }
    }
    [[nodiscard]] bool has_commands() {
        const std::lock_guard lock{mutex_};
        return !content_.commands.empty();
    }
    [[nodiscard]] bool is_empty() {
        const std::lock_guard lock{mutex_};
        return content_.empty();
    }

    // --- Whoever runs the loop
    // `wake` is called with our mutex held.
    void open(std::function<void()> wake) {
        const std::lock_guard lock{mutex_};
        wake_ = std::move(wake);
    }
    // Gives `content` (which is empty) back as the room for what comes next.
    void take(Content& content) {
        const std::lock_guard lock{mutex_};
        std::swap(content, content_);
        is_woken_ = false;
    }
    // Returns what is in it; what comes later is refused.
    [[nodiscard]] Content shut() {
        const std::lock_guard lock{mutex_};
        wake_ = nullptr;
        return std::exchange(content_, {});
    }

private:
    void wake_once() {
        if (!std::exchange(is_woken_, true)) {
            wake_();
        }
    }

    std::mutex mutex_;
    Content content_;
    std::function<void()> wake_;
    bool is_woken_ = false;
};

}  // namespace baton::client
