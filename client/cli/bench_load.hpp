// The load of a bench: channels of its own, senders and receivers, each with a connection and a thread.
// Not responsible for what is in the messages and what they tell (BenchWork, one for each verb).
// Everything from the main thread, except BenchWork's calls, which come from the threads. Next file: bench_latency.cpp.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "client/cli/bench.hpp"
#include "client/cli/progress.hpp"

namespace baton::cli {

using BenchClock = std::chrono::steady_clock;

/// Both are called for each message: they must be quick and must not throw.
class BenchWork {
public:
    virtual ~BenchWork() = default;
    /// On the thread of that sender. `sequence` counts its messages from 1; `intended` is when this one was to be sent,
    /// nothing without a rate. Valid until the next call.
    virtual std::string_view body(std::size_t sender, std::uint64_t sequence, BenchClock::time_point intended) = 0;
    /// On the thread of that receiver, before the ack.
    virtual void on_message(std::size_t receiver, const Delivery& delivery) = 0;
};

struct SenderEnd {
    std::size_t channel = 0;
    std::uint64_t posted = 0;  // Without those that are not decided.
    bool is_decided = true;    // Otherwise it was interrupted before the broker had said what became of the last ones.
    std::vector<Refusal> refused{};
    ConfirmLevel level = ConfirmLevel::none;
};

class BenchLoad {
public:
    /// Makes the channels and attaches every receiver. Throws Failure or ClientError; nothing is left behind then.
    BenchLoad(const Program& program, const BenchSettings& settings, BenchWork& work);
    /// Ends all threads and deletes the channels, also after an interruption.
    ~BenchLoad();
    BenchLoad(const BenchLoad&) = delete;
    BenchLoad& operator=(const BenchLoad&) = delete;

    /// Senders begin at `begin` and, with a rate, end when their last message of this time is posted.
    void start(BenchClock::time_point begin, std::chrono::nanoseconds duration);
    [[nodiscard]] BenchClock::time_point started() const noexcept { return started_; }
    /// Lets the load run until then. False: interrupted. Throws what a sender or receiver ran into.
    [[nodiscard]] bool run_until(BenchClock::time_point time, Progress& progress);
    /// True once no sender has anything left to post. As run_until().
    [[nodiscard]] bool wait_posted(std::chrono::nanoseconds timeout);
    /// Ends the senders and waits until everything they posted is decided, or for a moment after an interruption. Throws as the
    /// library.
    std::vector<SenderEnd> end_senders();
    /// Waits until `counter` says as much, or says nothing new for so long, or for a moment after an interruption. Throws as
    /// run_until().
    void wait_received(const std::function<std::uint64_t()>& counter, std::uint64_t count,
                       std::chrono::nanoseconds patience);
    void end_receivers();
    /// Once they have ended: the broker says that it has nothing for any of them. Asks for a moment only.
    [[nodiscard]] bool has_nothing_left();

    [[nodiscard]] std::uint64_t posted() const noexcept;
    [[nodiscard]] std::uint64_t confirmed() const;
    [[nodiscard]] std::uint64_t received() const noexcept;
    /// How many deliveries that makes.
    [[nodiscard]] std::uint64_t deliveries_of(std::span<const SenderEnd> ends) const;
    [[nodiscard]] const std::vector<std::string>& channels() const noexcept { return channels_; }
    [[nodiscard]] std::size_t channel_of(std::size_t peer) const noexcept { return peer % channels_.size(); }
    /// Connections that broke and were made again.
    [[nodiscard]] std::uint64_t disconnects() const noexcept { return disconnects_.load(std::memory_order_relaxed); }
    /// Why the broker took nothing for a while: "full".
    [[nodiscard]] std::set<std::string> blocked_reasons() const;
    [[nodiscard]] std::optional<BrokerInfo> broker() const { return admin_.broker_info(); }

private:
    struct SenderSlot {
        std::size_t index;
        std::unique_ptr<Client> client;
        std::optional<Sender> sender;
        std::thread thread;
        alignas(64) std::atomic<std::uint64_t> posted = 0;  // Alone in its cache line, as `received`.
        std::atomic<bool> is_done = false;
    };
    struct ReceiverSlot {
        std::size_t index;
        std::unique_ptr<Client> client;
        std::optional<Receiver> receiver;
        std::thread thread;
        alignas(64) std::atomic<std::uint64_t> received = 0;
    };

    void make_channels();
    /// Of a receiver; empty: it has one of its own.
    [[nodiscard]] std::string subscription_of(std::size_t receiver) const;
    void delete_channels() noexcept;
    [[nodiscard]] Expected<std::string> delete_channel(const std::string& name) noexcept;
    [[nodiscard]] ConfirmLevel wanted_level() const noexcept {
        return settings_.confirm == "received" ? ConfirmLevel::received : ConfirmLevel::durable;
    }
    void attach();
    void end_threads() noexcept;
    [[nodiscard]] std::unique_ptr<Client> connect();
    void on_event(const ClientEvent& event);
    [[nodiscard]] SenderEnd end_of(SenderSlot& slot);
    [[nodiscard]] Expected<FlushReport> flush(Sender& sender);
    /// Of everything together that is waited for after an interruption.
    [[nodiscard]] BenchClock::time_point patience_end();
    void send(SenderSlot& slot);
    void receive(ReceiverSlot& slot);
    [[nodiscard]] bool wait_for(BenchClock::time_point intended) const;
    template <class Body>
    void guarded_run(Body body) noexcept;
    void rethrow_failure();
    /// One look at the world; false: interrupted.
    [[nodiscard]] bool pause(std::chrono::nanoseconds at_most);

    const Program& program_;
    const BenchSettings& settings_;
    BenchWork& work_;
    std::vector<std::string> channels_;
    std::atomic<std::uint64_t> disconnects_ = 0;
    mutable std::mutex mutex_;  // Guards blocked_ and failure_.
    std::set<std::string> blocked_;
    std::exception_ptr failure_;
    std::shared_ptr<OutageNotice> outage_ = std::make_shared<OutageNotice>();
    std::optional<BenchClock::time_point> patience_end_;
    Client admin_;
    std::stop_source sending_;
    std::stop_source receiving_;
    std::atomic<bool> is_sending_ = false;
    std::atomic<bool> is_receiving_ = false;
    BenchClock::time_point started_{};
    BenchClock::time_point last_intended_{};
    std::vector<std::unique_ptr<SenderSlot>> senders_;
    std::vector<std::unique_ptr<ReceiverSlot>> receivers_;
};

}  // namespace baton::cli
