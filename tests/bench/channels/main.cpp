// Load for very many channels: a sender and a receiver on each, few connections, one message in a frame. Round and round, every
// message goes to the next channel and is acked when it comes. So one channel and 100,000 differ in nothing else: what the
// broker needs for a message is compared, with its processor time from /proc. Not part of the tests.
//
//     many_channels PORT PID --channels 100000 [--connections 8] [--seconds 5] [--rate 100000] [--window 8000] [--size 128]
//
// PID is the broker's. Its limits have to allow it: --limits-links-max 65535 and, since each sender is promised credit,
// --limits-memory-max 16g. Prints one line of JSON.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/batch.hpp"
#include "common/base/bytes.hpp"
#include "common/wire/frame.hpp"

namespace baton::bench {
namespace {

using Clock = std::chrono::steady_clock;
using wire::FrameType;

struct Settings {
    std::uint16_t port = 0;
    int broker = 0;  ///< Its process.
    std::uint64_t channels = 1;
    std::uint64_t connections = 8;
    std::uint64_t seconds = 5;
    std::uint64_t rate = 0;  ///< Messages a second in all; 0: as fast as they can.
    std::uint64_t window = 8000;  ///< Messages on their way.
    std::uint64_t size = 128;
};

/// Seconds of processor time so far: exactly, where /proc/PID/stat counts clock ticks.
double cpu_of(int process) {
    double nanoseconds = 0;
    for (const auto& task : std::filesystem::directory_iterator{"/proc/" + std::to_string(process) + "/task"}) {
        double of_task = 0;
        std::ifstream{task.path() / "schedstat"} >> of_task;
        nanoseconds += of_task;
    }
    return nanoseconds / 1e9;
}

/// One connection with a sender and a receiver for each of its channels: links 2n + 1 and 2n + 2.
class Connection {
public:
    Connection(const Settings& settings, std::string_view prefix, std::uint64_t number) : settings_{settings} {
        connect();
        static constexpr std::string_view hello = R"({"heartbeat_ms":3600000})";
        out_ = {'B', 'A', 'T', 'N', 1, 1, 0, 0};
        put(FrameType::hello, 0, 0, hello);
        std::uint64_t channel = number % settings.channels;  // Each connection has one, if need be together with others.
        do {
            attach(std::string{prefix} + std::to_string(channel));
            channel += settings.connections;
        } while (channel < settings.channels);
        make_batch();
        while (attached_ < 2 * senders_.size()) {
            wait();
            exchange();
        }
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() { ::close(socket_); }

    /// So many messages, if the broker's credit allows it; how many were sent.
    std::uint64_t send(std::uint64_t count) {
        std::uint64_t sent = 0;
        for (; sent < count && out_.size() - written_ < out_max; ++sent) {
            Sender& sender = senders_[next_];
            if (sender.sent >= sender.credit_messages || sender.sent * batch_.size() + batch_.size() > sender.credit_bytes) {
                ++short_;
                break;
            }
            put(FrameType::publish, static_cast<std::uint16_t>(2 * next_ + 1), ++sender.sent, as_text(batch_));
            next_ = next_ + 1 < senders_.size() ? next_ + 1 : 0;
        }
        return sent;
    }
    /// Writes and reads what can be at once.
    void exchange() {
        read();
        handle();
        write();
    }
    void wait() const {
        pollfd one = wanted();
        ::poll(&one, 1, 1000);
    }
    [[nodiscard]] pollfd wanted() const {
        return {.fd = socket_, .events = static_cast<short>(POLLIN | (written_ < out_.size() ? POLLOUT : 0)), .revents = 0};
    }
    [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
    [[nodiscard]] std::uint64_t shorts() const noexcept { return short_; }

private:
    struct Sender {
        std::uint64_t sent = 0;
        std::uint64_t credit_messages = 0;
        std::uint64_t credit_bytes = 0;
    };
    static constexpr std::size_t out_max = 256 * 1024;

    void connect() {
        socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(settings_.port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            throw std::runtime_error{"nobody listens on port " + std::to_string(settings_.port)};
        }
        const int on = 1;
        ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        ::fcntl(socket_, F_SETFL, O_NONBLOCK);
    }

    void put(FrameType type, std::uint16_t link, std::uint64_t sequence, std::string_view body) {
        std::array<std::byte, wire::frame_header_size> header;
        wire::encode({.length = static_cast<std::uint32_t>(body.size()), .type = type, .link = link, .sequence = sequence},
                     header.data());
        const auto* bytes = reinterpret_cast<const char*>(header.data());
        out_.insert(out_.end(), bytes, bytes + header.size());
        out_.insert(out_.end(), body.begin(), body.end());
    }

    void attach(const std::string& name) {
        const auto link = static_cast<std::uint16_t>(2 * senders_.size() + 1);
        for (const char role : std::initializer_list<char>{1, 2}) {
            std::string body{static_cast<char>(name.size() & 0xff), static_cast<char>(name.size() >> 8U), role, 0};
            put(FrameType::attach, static_cast<std::uint16_t>(link + role - 1), 0, body + name);
        }
        std::string credit(16, '\0');
        for (std::size_t i : {6, 14}) {
            credit[i] = 1;  // 2^48.
        }
        put(FrameType::credit, static_cast<std::uint16_t>(link + 1), 0, credit);
        senders_.emplace_back();
    }

    void make_batch() {
        batch_.resize(batch_header_size + 4 + settings_.size);
        encode({.count = 1, .messages_size = static_cast<std::uint32_t>(4 + settings_.size)}, batch_);
        store_u32(batch_.data() + batch_header_size, static_cast<std::uint32_t>(settings_.size));
    }

    void write() {
        while (written_ < out_.size()) {
            const auto n = ::send(socket_, out_.data() + written_, out_.size() - written_, MSG_NOSIGNAL);
            if (n <= 0) {
                break;
            }
            written_ += static_cast<std::size_t>(n);
        }
        if (written_ == out_.size()) {
            out_.clear();
            written_ = 0;
        }
    }

    void read() {
        constexpr std::size_t piece = 256 * 1024;
        const std::size_t had = in_.size();
        in_.resize(had + piece);
        const auto n = ::recv(socket_, in_.data() + had, piece, 0);
        in_.resize(had + (n > 0 ? static_cast<std::size_t>(n) : 0));
        if (n == 0) {
            throw std::runtime_error{"the broker has closed the connection"};
        }
    }

    void handle() {
        std::size_t at = 0;
        if (!is_greeted_ && in_.size() >= 8) {
            is_greeted_ = true;
            at = 8;
        }
        while (is_greeted_ && in_.size() - at >= wire::frame_header_size) {
            const auto header = wire::decode_frame_header(in_.data() + at);
            if (in_.size() - at - wire::frame_header_size < header.length) {
                break;
            }
            on_frame(header, Bytes{in_.data() + at + wire::frame_header_size, header.length});
            at += wire::frame_header_size + header.length;
        }
        in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(at));
    }

    void on_frame(const wire::FrameHeader& header, Bytes body) {
        if (header.type == FrameType::error) {
            throw std::runtime_error{"the broker refuses: " + std::string{as_text(body.subspan(8))}};
        }
        if (header.type == FrameType::attached) {
            ++attached_;
        } else if (header.type == FrameType::credit) {
            Sender& sender = senders_[(header.link - 1U) / 2];
            sender.credit_messages = load_u64(body.data());
            sender.credit_bytes = load_u64(body.data() + 8);
        } else if (header.type == FrameType::deliver) {
            const auto batch = decode_batch_header(body.subspan(8));
            received_ += batch->count;
            std::array<std::byte, 24> range{};
            store_u64(range.data(), batch->base_offset);
            store_u32(range.data() + 8, batch->count);
            store_u32(range.data() + 12, load_u32(body.data()));
            range[16] = std::byte{1};  // Done.
            put(FrameType::settle, header.link, 0, as_text(range));
        }
    }

    const Settings& settings_;
    int socket_ = -1;
    std::vector<char> out_;
    std::size_t written_ = 0;
    std::vector<std::byte> in_;
    std::vector<std::byte> batch_;
    std::vector<Sender> senders_;
    std::size_t next_ = 0;
    std::uint64_t received_ = 0;
    std::uint64_t short_ = 0;
    std::uint64_t attached_ = 0;
    bool is_greeted_ = false;
};

class Load {
public:
    explicit Load(const Settings& settings) : settings_{settings} {
        const std::string prefix = "many." + std::to_string(::getpid()) + ".";
        for (std::uint64_t i = 0; i < settings.connections; ++i) {
            connections_.push_back(std::make_unique<Connection>(settings, prefix, i));
        }
    }

    void run() {
        const auto begun = Clock::now();
        run_until(begun + std::chrono::seconds{1});
        const auto begin = Clock::now();
        const std::uint64_t before = received();
        const double cpu_before = cpu_of(settings_.broker);
        run_until(begin + std::chrono::seconds{settings_.seconds});
        const double cpu = cpu_of(settings_.broker) - cpu_before;
        const std::chrono::duration<double> time = Clock::now() - begin;
        const auto messages = static_cast<double>(received() - before);
        std::uint64_t shorts = 0;
        for (const auto& connection : connections_) {
            shorts += connection->shorts();
        }
        std::printf(R"({"channels": %llu, "connections": %llu, "messages_per_second": %.0f, "broker_cpu": %.3f, )"
                    R"("broker_us_per_message": %.3f, "short_of_credit": %llu})"
                    "\n",
                    static_cast<unsigned long long>(settings_.channels),
                    static_cast<unsigned long long>(settings_.connections), messages / time.count(), cpu / time.count(),
                    1e6 * cpu / messages, static_cast<unsigned long long>(shorts));
    }

private:
    [[nodiscard]] std::uint64_t received() const {
        std::uint64_t all = 0;
        for (const auto& connection : connections_) {
            all += connection->received();
        }
        return all;
    }

    void run_until(Clock::time_point end) {
        const auto begin = Clock::now();
        const std::uint64_t before = sent_;
        for (auto now = begin; now < end; now = Clock::now()) {
            const std::chrono::duration<double> time = now - begin;
            const double offered = time.count() * static_cast<double>(settings_.rate);
            const std::uint64_t due = settings_.rate == 0 ? UINT64_MAX : before + static_cast<std::uint64_t>(offered);
            send(due);
            std::vector<pollfd> polled;
            for (const auto& connection : connections_) {
                polled.push_back(connection->wanted());
            }
            ::poll(polled.data(), polled.size(), 1);
            for (std::size_t i = 0; i < connections_.size(); ++i) {
                if (polled[i].revents != 0) {
                    connections_[i]->exchange();
                }
            }
        }
    }

    void send(std::uint64_t due) {
        constexpr std::uint64_t at_once = 64;
        due = std::min(due, received() + settings_.window);
        for (const auto& connection : connections_) {
            const std::uint64_t count = std::min(at_once, due - std::min(due, sent_));
            if (const std::uint64_t sent = connection->send(count); sent > 0) {
                sent_ += sent;
                connection->exchange();
            }
        }
    }

    const Settings& settings_;
    std::vector<std::unique_ptr<Connection>> connections_;
    std::uint64_t sent_ = 0;
};

Settings settings_of(const std::vector<std::string>& arguments) {
    Settings settings;
    if (arguments.size() < 2 || arguments.size() % 2 != 0) {
        throw std::runtime_error{"usage: many_channels PORT PID [--channels N] [--connections N] [--seconds N] [--rate N] "
                                 "[--window N] [--size BYTES]"};
    }
    settings.port = static_cast<std::uint16_t>(std::stoul(arguments[0]));
    settings.broker = std::stoi(arguments[1]);
    const std::map<std::string, std::uint64_t*> numbers{
        {"--channels", &settings.channels}, {"--connections", &settings.connections}, {"--seconds", &settings.seconds},
        {"--rate", &settings.rate},         {"--window", &settings.window},           {"--size", &settings.size}};
    for (std::size_t i = 2; i < arguments.size(); i += 2) {
        *numbers.at(arguments[i]) = std::stoull(arguments[i + 1]);
    }
    constexpr std::uint64_t channels_of_connection = 32'767;
    if (settings.channels > settings.connections * channels_of_connection) {
        throw std::runtime_error{"a connection has at most " + std::to_string(channels_of_connection) +
                                 " channels: give more --connections"};
    }
    return settings;
}

}  // namespace
}  // namespace baton::bench

int main(int count, char** arguments) {
    try {
        const auto settings = baton::bench::settings_of({arguments + 1, arguments + count});
        baton::bench::Load{settings}.run();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "many_channels: %s\n", error.what());
        return 1;
    }
    return 0;
}
