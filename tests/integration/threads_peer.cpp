// One client, used by many threads at once in every way that waits, for a few seconds; then what each saw is compared.
// The event loop goes from thread to thread meanwhile (client/src/loop.hpp). Run under ThreadSanitizer by whoever
// changes that. Usage: threads_peer URL SECONDS. Exit 0: nothing lost, nothing hung. Started by threads_test.py.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <baton/client.hpp>

namespace {

using Clock = std::chrono::steady_clock;

// Longer than any call may take here, with sanitizers and a busy machine; a wake-up that is lost lasts for ever.
constexpr auto patience = std::chrono::seconds{20};

std::atomic<bool> is_failed{false};

void fail(const std::string& what) {
    std::fprintf(stderr, "threads_peer: %s\n", what.c_str());
    is_failed = true;
}

template <class Call>
void within_patience(const char* what, Call call) {
    const auto begin = Clock::now();
    call();
    if (Clock::now() - begin > patience) {
        fail(std::string{what} + " took too long");
    }
}

class Peer {
public:
    Peer(const std::string& url, std::chrono::seconds duration)
        : client_{baton::ClientOptions{.url = url, .on_event = [this](const baton::ClientEvent&) { ++events_; }}},
          end_{Clock::now() + duration} {}

    void run() {
        client_.wait_connected(patience);
        std::vector<std::thread> threads;
        const auto start = [&](const char* what, void (Peer::*work)()) {
            threads.emplace_back([this, what, work] {
                try {
                    (this->*work)();
                } catch (const std::exception& error) {
                    fail(std::string{what} + ": " + error.what());
                }
            });
        };
        start("send", &Peer::send_one_by_one);
        start("receive", &Peer::receive_in_order);
        start("post", &Peer::post_in_bursts);
        start("receive for a moment", &Peer::receive_for_moments);
        start("ask", &Peer::ask);
        start("interrupt", &Peer::interrupt);
        start("close", &Peer::close_under_a_waiter);
        for (auto& thread : threads) {
            thread.join();
        }
        check();
    }

private:
    [[nodiscard]] bool is_time_left() const { return Clock::now() < end_ && !is_failed; }

    void send_one_by_one() {
        auto sender = client_.sender("threads.sent");
        while (is_time_left()) {
            within_patience("send", [&] { sender.send(std::to_string(sent_)); });
            ++sent_;
        }
        sender.send("end");
    }

    void receive_in_order() {
        auto receiver = client_.receiver("threads.sent");
        for (std::uint64_t expected = 0;; ++expected) {
            auto delivery = receiver.receive(patience);
            if (!delivery) {
                return fail("nothing received in time");
            }
            const bool is_end = delivery->text() == "end";
            if (!is_end && delivery->text() != std::to_string(expected)) {
                return fail("received " + std::string{delivery->text()} + " instead of " + std::to_string(expected));
            }
            delivery->ack();
            if (is_end) {
                received_ = expected;
                return;
            }
        }
    }

    void post_in_bursts() {
        auto sender = client_.sender("threads.posted");
        std::minstd_rand random{1};
        while (is_time_left()) {
            for (auto count = random() % 300; count != 0; --count) {
                within_patience("post", [&] { sender.post("burst"); });
                ++posted_;
            }
            if (random() % 4 == 0) {
                within_patience("flush", [&] { static_cast<void>(sender.flush()); });
            }
            std::this_thread::sleep_for(std::chrono::microseconds{random() % 3'000});
        }
        sender.close(patience);
        is_all_posted_ = true;
    }

    // Half of the acks wait for the broker.
    void receive_for_moments() {
        auto receiver = client_.receiver("threads.posted");
        while (!is_failed) {
            const bool was_all = is_all_posted_;
            auto delivery = receiver.receive(std::chrono::microseconds{500});
            if (delivery) {
                ++taken_;
                if (taken_ % 2 == 0) {
                    delivery->ack();
                } else {
                    within_patience("ack", [&] { delivery->ack(patience); });
                }
            } else if (was_all && taken_ >= posted_) {
                return;
            }
        }
    }

    void ask() {
        auto receiver = client_.receiver("threads.asked");
        while (is_time_left()) {
            within_patience("ping", [&] { client_.ping(patience); });
            within_patience("is_empty", [&] { static_cast<void>(receiver.is_empty(patience)); });
            std::this_thread::sleep_for(std::chrono::microseconds{200});
        }
    }

    void interrupt() {
        auto receiver = client_.receiver("threads.nothing");
        std::minstd_rand random{2};
        while (is_time_left()) {
            std::stop_source stop;
            std::thread other{[&, pause = random() % 2'000] {
                std::this_thread::sleep_for(std::chrono::microseconds{pause});
                stop.request_stop();
            }};
            within_patience("interrupted receive", [&] {
                if (receiver.receive(stop.get_token())) {
                    fail("received something that nobody sent");
                }
            });
            other.join();
        }
    }

    // Each with a client of its own, which has one thread that waits.
    void close_under_a_waiter() {
        std::minstd_rand random{3};
        while (is_time_left()) {
            baton::Client client{client_.broker_info()->address};
            auto receiver = client.receiver("threads.nothing");
            std::thread waiter{[&] {
                within_patience("receive until closed", [&] {
                    const auto outcome = receiver.receive(baton::WaitLimit::forever(), std::nothrow);
                    if (outcome || outcome.error().code() != baton::ClientErrc::closed) {
                        fail("a receiver that was closed did not say so");
                    }
                });
            }};
            std::this_thread::sleep_for(std::chrono::microseconds{random() % 3'000});
            within_patience("close", [&] {
                if (random() % 2 == 0) {
                    receiver.close(patience);
                } else {
                    client.close();
                }
            });
            waiter.join();
        }
    }

    void check() {
        std::printf("sent %llu, received %llu, posted %llu, taken %llu, events %d\n",
                    static_cast<unsigned long long>(sent_), static_cast<unsigned long long>(received_),
                    static_cast<unsigned long long>(posted_.load()), static_cast<unsigned long long>(taken_),
                    events_.load());
        if (!is_failed && (received_ != sent_ || taken_ != posted_)) {
            fail("not everything was received");
        }
        if (events_ == 0) {
            fail("no event said that it is connected");
        }
    }

    std::atomic<int> events_{0};
    baton::Client client_;
    const Clock::time_point end_;
    std::uint64_t sent_ = 0;
    std::uint64_t received_ = 0;
    std::uint64_t taken_ = 0;
    std::atomic<std::uint64_t> posted_{0};
    std::atomic<bool> is_all_posted_{false};
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: threads_peer URL SECONDS\n");
        return 2;
    }
    try {
        const auto peer = std::make_unique<Peer>(argv[1], std::chrono::seconds{std::atoi(argv[2])});
        peer->run();
    } catch (const std::exception& error) {
        fail(error.what());
    }
    return is_failed ? 1 : 0;
}
