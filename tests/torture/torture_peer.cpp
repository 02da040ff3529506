// A sender or a receiver of the torture test (torture.py): works until SIGTERM, whatever happens to the broker, and writes
// down what it was told, line by line, so that the conductor can compare afterwards. Times are CLOCK_MONOTONIC in
// microseconds, which all processes of a machine share.
//
//     torture_peer send URL CHANNEL NAME LOG SIZE_MAX WINDOW SEED
//     torture_peer receive URL CHANNEL NAME LOG RECEIPT_PERCENT CRASH_PER_MILLION SEED
//
// Log of a sender:    C n t name        everything up to n is confirmed as durable, known at t
// Log of a receiver:  R sender n offset attempt redelivered t      received
//                     A offset t        acked without waiting          S offset t   acked, and the receipt was answered
//                     G offset t        given back
#include <baton/client.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

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

int send(char** argv) {
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
        std::string body = name + " " + std::to_string(number + 1) + " ";
        body.resize(body.size() + static_cast<std::size_t>(size), '.');
        const auto posted = sender.post(baton::Message{body}, baton::WaitLimit{std::chrono::milliseconds{100}}, std::nothrow);
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

int receive(char** argv) {
    const Log log{argv[5]};
    const auto receipt_percent = std::strtoull(argv[6], nullptr, 10);
    const auto crash_per_million = std::strtoull(argv[7], nullptr, 10);
    std::mt19937_64 random{std::strtoull(argv[8], nullptr, 10)};
    auto settings = options(argv[2], argv[4]);
    settings.receive_window_messages = 1 + random() % 500;
    baton::Client client{settings};
    auto receiver = client.receiver(argv[3], {.create = false});
    while (is_told_to_stop == 0) {
        auto got = receiver.receive(baton::WaitLimit{std::chrono::milliseconds{100}}, std::nothrow);
        if (!got || !*got) {
            continue;
        }
        auto& delivery = **got;
        const auto text = delivery.text();
        const auto first = text.find(' ');
        const auto second = text.find(' ', first + 1);
        const std::string offset = std::to_string(delivery.offset());
        log.line("R " + std::string{text.substr(0, second)} + " " + offset + " " + std::to_string(delivery.attempt()) +
                 (delivery.redelivered() ? " 1 " : " 0 ") + std::to_string(now_us()));
        if (random() % 1'000'000 < crash_per_million) {
            ::_exit(9);
        }
        if (random() % 200 == 0) {
            delivery.give_back();
            log.line("G " + offset + " " + std::to_string(now_us()));
        } else if (random() % 100 < receipt_percent) {
            const auto settled = delivery.ack(baton::WaitLimit{std::chrono::seconds{20}}, std::nothrow);
            if (settled && *settled == baton::SettleResult::settled) {
                log.line("S " + offset + " " + std::to_string(now_us()));
            }
        } else {
            // The time before: the broker may have it as soon as this is said. False: the connection is gone already.
            const auto at = std::to_string(now_us());
            if (delivery.ack()) {
                log.line("A " + offset + " " + at);
            }
        }
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGTERM, [](int) { is_told_to_stop = 1; });
    if (argc == 9 && std::string_view{argv[1]} == "send") {
        return send(argv);
    }
    if (argc == 9 && std::string_view{argv[1]} == "receive") {
        return receive(argv);
    }
    std::fprintf(stderr, "usage: see the head of torture_peer.cpp\n");
    return 2;
}
