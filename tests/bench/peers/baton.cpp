// The adapter of the load generators for Baton: the ordinary client library, single messages, no batches made by hand.
// Compiled with the generators' main.cpp (tests/bench/peers/run.py). Not part of the tests.
#include <baton/client.hpp>

#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>

#include "lg.hpp"

namespace {

std::string url_of(const Opt& options) {
    return !options.host.empty() && options.host[0] == '/'
               ? "baton+unix://" + options.host
               : "baton://" + options.host + ":" + std::to_string(options.port);
}

baton::ClientOptions client_options(const Opt& options) {
    baton::ClientOptions settings;
    settings.url = url_of(options);
    settings.send_window_messages = options.confirms() ? static_cast<std::size_t>(options.window) : 65'536;
    // What is on its way passes through the caches of two cores four times: more of it is slower, not faster.
    settings.send_window_bytes = options.confirms() ? 32U << 20U : 1U << 20U;
    settings.receive_window_messages = options.work == "tput" ? 8'192 : static_cast<std::size_t>(options.prefetch);
    settings.receive_window_bytes = 1U << 20U;
    return settings;
}

// docs/protocol.md, section 3.
std::string frame(std::uint8_t kind, std::uint16_t link, const std::string& body) {
    std::string bytes(16, '\0');
    const auto size = static_cast<std::uint32_t>(body.size());
    std::memcpy(bytes.data(), &size, sizeof size);
    bytes[4] = static_cast<char>(kind);
    std::memcpy(bytes.data() + 6, &link, sizeof link);
    return bytes + body;
}

class BatonProducer final : public Producer {
public:
    BatonProducer(const Opt& options, const std::string& channel)
        : client_{client_options(options)}, sender_{client_.sender(channel)}, window_(static_cast<std::uint64_t>(options.window)),
          confirms_{options.confirms()} {}

    void send(const char* bytes, std::size_t size) override {
        const baton::Message message{std::string_view{bytes, size}};
        if (confirms_ && window_ == 1) {
            sender_.send(message);
        } else {
            sender_.post(message);
        }
        ++sent_;
    }
    void flush() override {}
    std::uint64_t confirmed(bool wait) override {
        const std::uint64_t done = sender_.confirmed_up_to();
        // When the window is full the next post() waits for a place in it.
        return wait && done + window_ <= sent_ ? sent_ - window_ + 1 : done;
    }

private:
    baton::Client client_;
    baton::Sender sender_;
    std::uint64_t window_;
    bool confirms_;
    std::uint64_t sent_ = 0;
};

class BatonConsumer final : public Consumer {
public:
    BatonConsumer(const Opt& options, const std::string& channel)
        : client_{client_options(options)}, receiver_{client_.receiver(channel)} {
        static_cast<void>(receiver_.is_empty());  // Answered once the subscription is there.
    }

    std::size_t recv(const OnMsg& on_message) override {
        std::size_t count = 0;
        auto first = receiver_.receive(baton::WaitLimit{std::chrono::milliseconds{100}}, std::nothrow);
        if (!first || !*first) {
            return 0;
        }
        auto delivery = std::move(*first);
        while (delivery) {
            on_message(reinterpret_cast<const char*>(delivery->body().data()), delivery->body().size());
            delivery->ack();
            if (++count == 4'096) {
                break;
            }
            delivery = receiver_.try_receive();
        }
        return count;
    }

private:
    baton::Client client_;
    baton::Receiver receiver_;
};

}  // namespace

const char* adapter_name() { return "baton"; }
bool adapter_supports(const Opt&) { return true; }
void adapter_setup(const Opt& options, const std::string& channel) {
    baton::ChannelSettings settings;
    settings.kind = options.fanout ? "topic" : "queue";
    if (options.work == "fill") {
        settings.messages_max = 2 * options.count;
        settings.bytes_max = 2 * options.count * (options.size + 64);
    }
    baton::Client client{client_options(options)};
    client.create_channel(channel, settings);
}
std::unique_ptr<Producer> make_producer(const Opt& options, const std::string& channel) {
    return std::make_unique<BatonProducer>(options, channel);
}
std::unique_ptr<Consumer> make_consumer(const Opt& options, const std::string& channel, int) {
    return std::make_unique<BatonConsumer>(options, channel);
}
// A receiver by hand: a client of the library has a thread, and ten thousand of those are not what is measured.
void open_idle(const Opt& options, std::uint64_t number) {
    static std::deque<Conn> keep;
    Conn& connection = keep.emplace_back();
    connection.open(options, 2000, 4096);
    connection.out = std::string{"BATN\1\1\0\0", 8} + frame(1, 0, R"({"heartbeat_ms":3600000})");  // HELLO
    const std::string channel = "idle." + std::to_string(number);
    const std::string head{static_cast<char>(channel.size()), 0, 2, 0};  // Its length, as a receiver.
    connection.out += frame(3, 1, head + channel);                       // ATTACH
    connection.out += frame(12, 1, std::string{"\xe8\x03\0\0\0\0\0\0\0\0\x10\0\0\0\0\0", 16});  // CREDIT
    connection.flush();
    connection.need(8);  // The broker's preamble.
    connection.eat(8);
    for (std::uint8_t kind = 0; kind != 4;) {  // Until ATTACHED.
        connection.need(16);
        std::uint32_t size = 0;
        std::memcpy(&size, connection.data(), sizeof size);
        kind = static_cast<std::uint8_t>(connection.data()[4]);
        connection.need(16 + size);
        if (kind == 19) {
            throw std::runtime_error("the broker says: " + std::string{connection.data() + 16, size});
        }
        connection.eat(16 + size);
    }
    connection.in = {};
    connection.out = {};
}
std::uint64_t adapter_depth(const Opt&, const std::string&) { return ~0ULL; }
