// The client's protocol in a conversation: the test plays the broker, frame by frame, with a clock that it moves
// itself. What the client says is read back as frames; what it reports is kept as lines of text.
#pragma once

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "client/src/client_protocol.hpp"
#include "common/base/batch_builder.hpp"
#include "common/base/clock.hpp"
#include "common/wire/bodies.hpp"
#include "common/wire/handshake.hpp"

namespace baton::client {

struct Said {
    wire::FrameHeader header;
    std::vector<std::byte> body;

    [[nodiscard]] Bytes bytes() const noexcept { return body; }
};

class Dialogue : public ProtocolEvents {
public:
    explicit Dialogue(std::uint64_t seed = 1) : prng{seed} {}
    virtual ~Dialogue() = default;

    // --- The broker speaks: feed([](Outbox& out) { wire::put_...(out, ...); });
    void feed(const std::function<void(Outbox&)>& speak) {
        Outbox out{pool};
        speak(out);
        receive(drain(out));
    }
    // In pieces of `piece_size`, if that is set.
    void receive(const std::vector<std::byte>& bytes) {
        const std::size_t step = piece_size == 0 ? bytes.size() : piece_size;
        for (std::size_t at = 0; at < bytes.size(); at += step) {
            const std::size_t size = std::min(step, bytes.size() - at);
            unread_.insert(unread_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
                           bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
            if (unread_.size() < protocol.bytes_wanted()) {
                continue;
            }
            ChunkRef chunk = pool.allocate(unread_.size());
            copy_bytes(chunk.bytes(), unread_);
            const std::size_t used = protocol.on_bytes(clock.now(), {&chunk, chunk.bytes(), unread_.size()});
            unread_.erase(unread_.begin(), unread_.begin() + static_cast<std::ptrdiff_t>(used));
        }
        finish();
    }

    // --- The client has spoken.
    void finish() { protocol.finish_turn(clock.now()); }
    [[nodiscard]] std::vector<Said> said() {
        finish();
        std::vector<std::byte> bytes = drain(outbox);
        if (std::exchange(is_preamble_due_, false)) {
            EXPECT_GE(bytes.size(), wire::preamble_size);
            bytes.erase(bytes.begin(), bytes.begin() + wire::preamble_size);
        }
        finish();
        std::vector<Said> frames;
        Bytes rest{bytes};
        while (!rest.empty()) {
            const auto decoded = wire::decode_frame(rest, wire::frame_size_max_default);
            EXPECT_EQ(decoded.status, wire::FrameStatus::complete);
            if (decoded.status != wire::FrameStatus::complete) {
                break;
            }
            frames.push_back({decoded.frame.header, {decoded.frame.body.begin(), decoded.frame.body.end()}});
            rest = rest.subspan(decoded.size());
        }
        return frames;
    }
    // "PUBLISH 1#5" for each: type, link, sequence.
    [[nodiscard]] std::vector<std::string> said_in_short() {
        std::vector<std::string> lines;
        for (const Said& frame : said()) {
            lines.push_back(std::string{wire::to_string(frame.header.type)} + " " + std::to_string(frame.header.link) +
                            "#" + std::to_string(frame.header.sequence));
        }
        return lines;
    }
    [[nodiscard]] Said said_one(wire::FrameType type) {
        Said found;
        int count = 0;
        for (const Said& frame : said()) {
            if (frame.header.type == type) {
                found = frame;
                ++count;
            }
        }
        EXPECT_EQ(count, 1) << wire::to_string(type);
        return found;
    }

    // --- Common passages
    void open_connection() {
        protocol.on_connected(clock.now());
        is_preamble_due_ = true;
        (void)said();
    }
    void welcome() {
        const auto preamble = wire::encode(wire::BrokerPreamble{.chosen = 1});
        receive({preamble.begin(), preamble.end()});
        feed([this](Outbox& out) { put_json(out, wire::FrameType::welcome, wire::encode(welcome_body)); });
    }
    void connect() {
        open_connection();
        welcome();
    }
    void disconnect() {
        protocol.on_disconnected(clock.now());
        unread_.clear();
    }
    static void put_json(Outbox& out, wire::FrameType type, const std::string& json, std::uint64_t sequence = 0) {
        wire::put_frame(out,
                        {.length = static_cast<std::uint32_t>(json.size()),
                         .type = type,
                         .flags = 0,
                         .link = 0,
                         .sequence = sequence},
                        as_bytes(json));
    }
    void attached(std::uint16_t link, std::uint64_t sequence = 0, std::string_view json = "{}") {
        feed([&](Outbox& out) { wire::put_attached(out, link, sequence, json); });
    }
    void credit(std::uint16_t link, std::uint64_t messages, std::uint64_t bytes = 1U << 30U) {
        feed([&](Outbox& out) { wire::put_credit(out, link, {.messages = messages, .bytes = bytes}); });
    }
    void confirm(std::uint16_t link, std::uint64_t sequence, std::vector<wire::ConfirmException> exceptions = {},
                 std::uint8_t level = 1) {
        feed([&](Outbox& out) { wire::put_confirm(out, link, sequence, level, exceptions); });
    }
    // A batch of these messages from `offset` on; `sequence`: the number of the first on this link.
    void deliver(std::uint16_t link, std::uint64_t sequence, std::uint64_t offset,
                 const std::vector<std::string>& messages, std::uint32_t attempt = 1) {
        feed([&](Outbox& out) {
            const Payload whole = batch(messages);
            BatchHeader header = *decode_batch_header(whole.bytes());
            header.base_offset = offset;
            header.time_us = 1'000'000;
            wire::put_deliver(out, link, sequence, attempt, attempt > 1, header,
                              whole.slice(batch_header_size, whole.size() - batch_header_size));
        });
    }
    void error(std::uint16_t link, wire::Status status, wire::Severity severity, bool is_retryable = false) {
        feed([&](Outbox& out) {
            wire::put_error(out, link, 0,
                            {.status = status, .severity = severity, .retryable = is_retryable, .text = "because"});
        });
    }

    // A sender (or receiver) that is attached, with everything said so far read.
    LinkId sender(const std::string& channel, std::uint64_t messages = 1'000) {
        const LinkId id = protocol.open_sender(channel, true);
        const std::uint16_t link = said_one(wire::FrameType::attach).header.link;
        attached(link);
        credit(link, messages);
        (void)said();
        return id;
    }
    LinkId receiver(const std::string& channel, const ReceiverWindow& window = {}, std::string_view settings = "{}") {
        const LinkId id = protocol.open_receiver(channel, true, window);
        const std::uint16_t link = said_one(wire::FrameType::attach).header.link;
        attached(link, 0, settings);
        (void)said();
        return id;
    }

    [[nodiscard]] Payload batch(const std::vector<std::string>& messages) {
        BatchBuilder builder;
        for (const std::string& message : messages) {
            builder.append(as_bytes(message));
        }
        return builder.take(pool);
    }
    [[nodiscard]] static std::vector<std::string> messages_of(Bytes whole) {
        const auto header = check_batch(whole);
        EXPECT_TRUE(header.has_value());
        EXPECT_TRUE(check_batch_crc(whole));
        std::vector<std::string> bodies;
        MessageCursor cursor{messages_of_region(whole), header->has_properties()};
        for (MessageView message; cursor.next(message);) {
            bodies.emplace_back(as_text(message.payload));
        }
        return bodies;
    }
    [[nodiscard]] static Bytes messages_of_region(Bytes whole) { return whole.subspan(batch_header_size); }

    [[nodiscard]] std::vector<std::string> reported() { return std::exchange(reports, {}); }

    ManualClock clock;
    ChunkPool pool;
    Outbox outbox{pool};
    Prng prng;
    ClientProtocol protocol{
        {.agent = "test", .name = "me", .heartbeat = std::chrono::seconds{10}}, pool, outbox, *this, prng};
    wire::Welcome welcome_body = [] {
        wire::Welcome body;
        body.agent = "broker";
        return body;
    }();
    std::size_t piece_size = 0;
    std::vector<std::string> reports;
    std::vector<DeliveredBatch> delivered;
    ReceiverTerms terms;  // Of the receiver that was attached last.

private:
    static std::vector<std::byte> drain(Outbox& from) {
        std::vector<std::byte> bytes;
        std::array<iovec, 64> buffers{};
        while (const std::size_t count = from.gather(buffers, SIZE_MAX)) {
            std::size_t size = 0;
            for (std::size_t i = 0; i < count; ++i) {
                const auto* data = static_cast<const std::byte*>(buffers[i].iov_base);
                bytes.insert(bytes.end(), data, data + buffers[i].iov_len);
                size += buffers[i].iov_len;
            }
            from.consume(size);
        }
        return bytes;
    }
    template <class... Parts>
    void note(Parts&&... parts) {
        std::string line;
        ((line += (line.empty() ? "" : " ") + text(parts)), ...);
        reports.push_back(std::move(line));
    }
    static std::string text(const std::string& value) { return value; }
    static std::string text(std::string_view value) { return std::string{value}; }
    static std::string text(const char* value) { return value; }
    static std::string text(LinkId id) { return "L" + std::to_string(id.value()); }
    static std::string text(RequestId id) { return "R" + std::to_string(id.value()); }
    static std::string text(std::uint64_t value) { return std::to_string(value); }

    void on_ready(const wire::Welcome& welcome) override { note("ready", welcome.agent); }
    void on_goaway(const wire::Goaway& goaway) override { note("goaway", goaway.code); }
    void on_admin_reply(RequestId request, std::string_view json) override { note("reply", request, json); }
    void on_pong(RequestId request) override { note("pong", request); }
    void on_request_lost(RequestId request, bool is_too_large) override {
        note(is_too_large ? "too_large" : "lost", request);
    }
    void on_stepped(RequestId request, const wire::Stepped& stepped) override {
        note("stepped", request, wire::to_string(stepped.status));
    }
    void on_sender_attached(LinkId link, std::uint64_t message_size_max) override {
        note("attached", link, message_size_max);
    }
    void on_takes_messages(LinkId link) override { note("takes", link); }
    void on_refused(LinkId link, std::uint64_t first, std::uint64_t count, wire::Status status) override {
        note("refused", link, first, count, wire::to_string(status));
    }
    void on_confirmed(LinkId link, std::uint64_t up_to, std::uint8_t level) override {
        note("confirmed", link, up_to, std::uint64_t{level});
    }
    void on_blocked(LinkId link, std::uint16_t reason, Duration waiting) override {
        note("blocked", link, wire::wait_reason_name(reason), static_cast<std::uint64_t>(waiting.count()));
    }
    void on_delivered(LinkId link, DeliveredBatch&& batch) override {
        note("delivered", link, batch.header.base_offset, std::uint64_t{batch.header.count});
        delivered.push_back(std::move(batch));
    }
    void on_deliveries_lost(LinkId link) override { note("deliveries_lost", link); }
    void on_settled(LinkId link, std::uint64_t receipt, wire::RecordReader<wire::SettleException> exceptions) override {
        note("settled", link, receipt, std::uint64_t{exceptions.remaining()});
    }
    void on_state(LinkId link, const wire::State& state) override {
        note("state", link, state.ready, std::uint64_t{state.delayed});
    }
    void on_receiver_attached(LinkId /*link*/, const ReceiverTerms& given) override { terms = given; }
    void on_link_failed(LinkId link, const LinkFailure& failure) override {
        note("failed", link, wire::to_string(failure.status));
    }
    void on_link_closed(LinkId link) override { note("closed", link); }

    std::vector<std::byte> unread_;
    bool is_preamble_due_ = false;
};

}  // namespace baton::client
