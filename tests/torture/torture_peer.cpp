// A sender or a receiver of the torture test (torture.py): works until SIGTERM, whatever happens to the broker, and
// writes down what it was told, line by line, so that the conductor can compare afterwards. Times are CLOCK_MONOTONIC
// in microseconds, which all processes of a machine share.
//
//     torture_peer send URL CHANNEL NAME LOG SIZE_MAX WINDOW SEED [plain|keys|late]
//     torture_peer receive URL CHANNEL NAME LOG RECEIPT_PERCENT CRASH_PER_MILLION SEED [plain|fail [SUBSCRIPTION]]
//     torture_peer fill|drain URL CHANNEL COUNT                    for backlog.py: fast, and without a log
//
// Log of a sender:    C n t name        everything up to n is confirmed as durable, known at t
// Log of a receiver:  R sender n offset attempt redelivered t      received
//                     A offset t        acked without waiting          S offset t   acked, and the receipt was answered
//                     G offset t        given back             T offset t   to be tried again
//                     J offset t        rejected, and the receipt was answered
//                     X text            something that must not be
//
// Styles. keys: one of 16 keys each. late: half of the messages have a delay, and say when they may come. fail: the receiver
// has some tried again and rejects a few.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <baton/client.hpp>

namespace {

volatile std::sig_atomic_t is_told_to_stop = 0;

long long now_us() {
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

class Log {
public:
    // "-" is standard output.
    explicit Log(const char* path)
        : descriptor_{std::string_view{path} == "-" ? STDOUT_FILENO
                                                    : ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)} {
        if (descriptor_ < 0) {
            std::perror(path);
            std::exit(2);
        }
    }
    // One system call a line: a process that is killed leaves whole lines.
    void line(const std::string& text) const {
        const std::string whole = text + "\n";
        if (::write(descriptor_, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) {
            std::abort();
        }
    }

private:
    int descriptor_;
};

baton::ClientOptions options(const char* url, const std::string& name) {
    baton::ClientOptions settings;
    settings.url = url;
    settings.name = name;
    settings.connect_timeout = std::chrono::hours{1};
    settings.reconnect_wait_first = baton::Milliseconds{10};
    settings.reconnect_wait_max = baton::Milliseconds{100};
    return settings;
}

// Slack between the clocks and roundings of broker and peers.
constexpr long long early_us = 20'000;

struct Outgoing {
    std::string body;
    baton::MessageProperties properties;
};

Outgoing message_of(const std::string& name, std::uint64_t number, std::string_view style, std::mt19937_64& random) {
    Outgoing message{.body = name + " " + std::to_string(number) + " ", .properties = {}};
    if (style == "late" && random() % 2 == 0) {
        const auto delay = std::chrono::milliseconds{random() % 2000};
        message.body += "@" + std::to_string(now_us() + delay.count() * 1000) + " ";
        message.properties.delay = delay;
    } else if (style == "keys") {
        message.properties.key = "k" + std::to_string(number % 16);
    }
    return message;
}

int send(char** argv, std::string_view style) {
    const std::string name = argv[4];
    const Log log{argv[5]};
    const auto size_max = std::strtoull(argv[6], nullptr, 10);
    std::mt19937_64 random{std::strtoull(argv[8], nullptr, 10)};
    auto settings = options(argv[2], name);
    settings.send_window_messages = std::strtoull(argv[7], nullptr, 10);
    baton::Client client{settings};
    auto sender = client.sender(argv[3], {.create = false});
    std::uint64_t number = 0;
    std::uint64_t logged = 0;
    const auto note = [&] {
        const auto confirmed = sender.confirmed_up_to();
        if (confirmed > logged) {
            logged = confirmed;
            log.line("C " + std::to_string(confirmed) + " " + std::to_string(now_us()) + " " + name);
        }
    };
    while (is_told_to_stop == 0) {
        const auto size = random() % 50 == 0 ? random() % size_max : random() % 300;
        auto message = message_of(name, number + 1, style, random);
        message.body.resize(message.body.size() + static_cast<std::size_t>(size), '.');
        const auto posted = sender.post(baton::Message{message.body, message.properties},
                                        baton::WaitLimit{std::chrono::milliseconds{100}}, std::nothrow);
        if (posted) {
            ++number;
        }
        if (random() % 64 == 0 || !posted) {
            note();
        }
        if (random() % 200 == 0) {
            ::usleep(static_cast<useconds_t>(random() % 20'000));
        }
    }
    for (int tries = 0; tries < 300; ++tries) {
        const auto report = sender.flush(baton::WaitLimit{std::chrono::milliseconds{100}}, std::nothrow);
        note();
        if (report) {
            if (!report->refused.empty()) {
                log.line("X refused " + std::to_string(report->refused.front().first));
            }
            break;
        }
    }
    log.line("E " + std::to_string(number) + " " + std::to_string(now_us()));
    return 0;
}

// A receiver of the torture: what it does with each message is thrown with dice.
class Worker {
public:
    Worker(const Log& log, std::uint64_t receipt_percent, std::uint64_t crash_per_million, std::uint64_t seed, bool fails)
        : log_{log}, receipt_percent_{receipt_percent}, crash_per_million_{crash_per_million}, fails_{fails}, random_{seed} {
        batch_max_ = random_() % 3 == 0 ? 2 + random_() % 100 : 1;
    }
    [[nodiscard]] std::size_t window() { return batch_max_ + 1 + random_() % 500; }

    void take(baton::Delivery delivery) {
        note_received(delivery);
        if (random_() % 1'000'000 < crash_per_million_) {
            ::_exit(9);
        }
        if (random_() % 200 == 0) {
            const auto offset = delivery.offset();
            delivery.give_back();
            note('G', offset, now_us());
            return;
        }
        if (fails_ && random_() % 8 == 0) {
            fail(delivery);
            return;
        }
        held_.push_back(std::move(delivery));
        if (held_.size() >= batch_max_) {
            settle();
        }
    }
    // In a batch the last one alone asks for a receipt, which covers those before it.
    void settle() {
        const bool asks_for_receipt = random_() % 100 < receipt_percent_;
        std::vector<std::uint64_t> sure;
        for (std::size_t i = 0; i < held_.size(); ++i) {
            baton::Delivery& delivery = held_[i];
            if (asks_for_receipt && i + 1 == held_.size()) {
                const auto settled = delivery.ack(baton::WaitLimit{std::chrono::seconds{20}}, std::nothrow);
                if (settled && *settled == baton::SettleResult::settled) {
                    sure.push_back(delivery.offset());
                    std::ranges::for_each(sure, [this, at = now_us()](auto offset) { note('S', offset, at); });
                }
                break;
            }
            // The time before: the broker may have it as soon as this is said. False: the connection is gone already.
            const auto at = now_us();
            if (delivery.ack()) {
                note('A', delivery.offset(), at);
                sure.push_back(delivery.offset());
            }
        }
        held_.clear();
    }

private:
    void fail(baton::Delivery& delivery) {
        const auto offset = delivery.offset();
        if (random_() % 5 != 0) {
            if (delivery.retry(std::chrono::milliseconds{random_() % 300}, "torture")) {
                note('T', offset, now_us());
            }
            return;
        }
        const auto settled = delivery.reject("torture", baton::WaitLimit{std::chrono::seconds{20}}, std::nothrow);
        if (settled && *settled == baton::SettleResult::settled) {
            note('J', offset, now_us());
        }
    }
    void note(char what, std::uint64_t offset, long long at) const {
        log_.line(std::string{what} + " " + std::to_string(offset) + " " + std::to_string(at));
    }
    void note_received(const baton::Delivery& delivery) const {
        const auto text = delivery.text();
        const auto end = text.find(' ', text.find(' ') + 1);
        log_.line("R " + std::string{text.substr(0, end)} + " " + std::to_string(delivery.offset()) + " " +
                  std::to_string(delivery.attempt()) + (delivery.redelivered() ? " 1 " : " 0 ") +
                  std::to_string(now_us()));
        const auto word = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
        if (word.starts_with('@') && now_us() + early_us < std::strtoll(std::string{word.substr(1, 20)}.c_str(), nullptr, 10)) {
            log_.line("X came early: " + std::string{text.substr(0, end)});
        }
    }

    const Log& log_;
    const std::uint64_t receipt_percent_;
    const std::uint64_t crash_per_million_;
    const bool fails_;
    std::mt19937_64 random_;
    std::size_t batch_max_ = 1;
    std::vector<baton::Delivery> held_;
};

int receive(char** argv, std::string_view style, const char* subscription) {
    const Log log{argv[5]};
    Worker worker{log, std::strtoull(argv[6], nullptr, 10), std::strtoull(argv[7], nullptr, 10),
                  std::strtoull(argv[8], nullptr, 10), style == "fail"};
    auto settings = options(argv[2], argv[4]);
    settings.receive_window_messages = worker.window();
    baton::Client client{settings};
    baton::ReceiverOptions wanted;
    wanted.create = false;
    wanted.subscription = subscription;
    auto receiver = client.receiver(argv[3], wanted);
    while (is_told_to_stop == 0) {
        auto got = receiver.receive(baton::WaitLimit{std::chrono::milliseconds{100}}, std::nothrow);
        if (got && *got) {
            worker.take(std::move(**got));
        } else {
            worker.settle();  // Nothing more comes: those that are held may be the last.
        }
    }
    return 0;
}

// Sends that many messages of 1 KiB with their numbers.
int fill(char** argv) {
    auto settings = options(argv[2], "fill");
    settings.send_window_messages = 20'000;
    settings.send_window_bytes = 32U << 20U;
    baton::Client client{settings};
    auto sender = client.sender(argv[3], {.create = false});
    const auto count = std::strtoull(argv[4], nullptr, 10);
    std::string body(1024, '.');
    for (std::uint64_t number = 1; number <= count; ++number) {
        std::memcpy(body.data(), &number, sizeof number);
        sender.post(baton::Message{body});
    }
    return sender.flush().all_stored() ? 0 : 1;
}

// Receives them: each once, and in order.
int drain(char** argv) {
    auto settings = options(argv[2], "drain");
    settings.receive_window_messages = 20'000;
    settings.receive_window_bytes = 16U << 20U;
    baton::Client client{settings};
    auto receiver = client.receiver(argv[3], {.create = false});
    const auto count = std::strtoull(argv[4], nullptr, 10);
    for (std::uint64_t number = 1; number <= count; ++number) {
        auto delivery = receiver.receive();
        std::uint64_t found = 0;
        if (delivery.body().size() == 1024) {
            std::memcpy(&found, delivery.body().data(), sizeof found);
        }
        if (found != number) {
            std::fprintf(stderr, "expected message %llu, got %llu\n", static_cast<unsigned long long>(number),
                         static_cast<unsigned long long>(found));
            return 1;
        }
        if (number < count) {
            delivery.ack();
        } else {
            delivery.ack(baton::WaitLimit{std::chrono::seconds{60}});
        }
    }
    return receiver.is_empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGTERM, [](int) { is_told_to_stop = 1; });
    const std::string_view style = argc >= 10 ? argv[9] : "plain";
    if ((argc == 9 || argc == 10) && std::string_view{argv[1]} == "send") {
        return send(argv, style);
    }
    if (argc >= 9 && argc <= 11 && std::string_view{argv[1]} == "receive") {
        return receive(argv, style, argc == 11 ? argv[10] : "");
    }
    if (argc == 5 && std::string_view{argv[1]} == "fill") {
        return fill(argv);
    }
    if (argc == 5 && std::string_view{argv[1]} == "drain") {
        return drain(argv);
    }
    std::fprintf(stderr, "usage: see the head of torture_peer.cpp\n");
    return 2;
}
