// Conversations with a broker: a Peer says frames and hears lines. A test reads like what went over the wire:
//
//     auto peer = dialogue.greeted();
//     peer.attach_sender(1, "greetings");
//     peer.publish(1, 1, {"hello"});
//     EXPECT_EQ(peer.hears(), (Lines{"ATTACHED 1 created", "CREDIT 1 1024 65536", "CONFIRM 1 up to 1"}));
//
// Control frames overtake data frames within a turn, so `hears` sorts nothing but prints what came, as it came; tests
// that do not care about the order use the sorted form. Next file: broker_world.hpp.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "common/base/batch_builder.hpp"
#include "common/wire/bodies.hpp"
#include "common/wire/frame.hpp"
#include "common/wire/handshake.hpp"
#include "tests/unit/session/broker_world.hpp"

namespace baton::session::test {

using Lines = std::vector<std::string>;
using Json = nlohmann::json;

struct HeardFrame {
    wire::FrameHeader header;
    std::vector<std::byte> body;
};

// --- Frames in words
// ---------------------------------------------------------------------------------------------------

inline std::string range_text(std::uint64_t first, std::uint64_t count) {
    return std::to_string(first) + (count == 1 ? "" : "-" + std::to_string(first + count - 1));
}

inline std::string words_of(Bytes batch) {
    const auto checked = check_batch(batch);
    if (!checked) {
        return "BAD BATCH";
    }
    std::string words;
    MessageCursor cursor{messages_of(batch), checked->has_properties()};
    MessageView message;
    while (cursor.next(message)) {
        const auto text = as_text(message.payload);
        words += (words.empty() ? "" : " ") +
                 (text.size() <= 20 ? std::string{text} : "<" + std::to_string(text.size()) + ">");
    }
    return words;
}

inline std::string deliver_text(Bytes body) {
    const auto deliver = wire::decode_deliver(body);
    if (!deliver) {
        return "BAD BODY";
    }
    const auto header = decode_batch_header(deliver->batch);
    return range_text(header->base_offset, header->count) +
           (deliver->attempt == 1 ? "" : " attempt " + std::to_string(deliver->attempt)) +
           (deliver->redelivered ? " again" : "") + ": " + words_of(deliver->batch);
}

inline std::string line_of(const HeardFrame& frame) {
    using wire::FrameType;
    const Bytes body{frame.body};
    const auto& header = frame.header;
    const auto link = std::to_string(header.link);
    const auto number = std::to_string(header.sequence);
    switch (header.type) {
        case FrameType::welcome:
            return "WELCOME";
        case FrameType::attached:
            return "ATTACHED " + link + (Json::parse(as_text(body)).at("created").get<bool>() ? " created" : "") +
                   (header.sequence == 0 ? "" : " last " + number);
        case FrameType::detached:
            return "DETACHED " + link;
        case FrameType::confirm: {
            auto confirm = wire::decode_confirm(body);
            std::string line = "CONFIRM " + link + " up to " + number;
            for (wire::ConfirmException exception; confirm->exceptions.next(exception);) {
                line += ", " + range_text(exception.first, exception.count) + " " +
                        std::string{to_string(exception.status)};
            }
            return line;
        }
        case FrameType::deliver:
            return "DELIVER " + link + " #" + number + " " + deliver_text(body);
        case FrameType::settled: {
            auto exceptions = wire::decode_settled(body);
            std::string line = "SETTLED " + link + " " + number;
            for (wire::SettleException exception; exceptions->next(exception);) {
                line += ", " + range_text(exception.first, exception.count) + " " +
                        std::string{to_string(exception.status)};
            }
            return line;
        }
        case FrameType::credit: {
            const auto credit = wire::decode_credit(body);
            return "CREDIT " + link + " " + std::to_string(credit->messages) + " " + std::to_string(credit->bytes);
        }
        case FrameType::fragment: {
            if ((header.flags & wire::flag_fragment_first) != 0) {
                return "FRAGMENT " + link + " #" + number + " of " +
                       std::to_string(wire::decode_fragment_head(body)->total);
            }
            return "FRAGMENT " + link + " at " + number + " +" + std::to_string(body.size()) +
                   ((header.flags & wire::flag_fragment_last) != 0 ? " last" : "");
        }
        case FrameType::grant:
            return "GRANT " + link + " " + number;
        case FrameType::state: {
            const auto state = wire::decode_state(body);
            return "STATE " + link + " " + std::string{wire::wait_reason_name(state->reason)} + ", ready " +
                   std::to_string(state->ready) + ", held " + std::to_string(state->in_flight);
        }
        case FrameType::ping:
            return "PING";
        case FrameType::pong:
            return "PONG " + number;
        case FrameType::goaway:
            return "GOAWAY";
        case FrameType::error: {
            const auto error = wire::decode_error(body);
            const auto where = error->severity == wire::Severity::connection ? std::string{"connection"} : link;
            return "ERROR " + where + " " + std::string{to_string(error->status)};
        }
        case FrameType::admin_reply:
            return "ADMIN_REPLY " + number;
        default:
            return "UNEXPECTED " + std::to_string(static_cast<int>(header.type));
    }
}

// --- Peers
// -------------------------------------------------------------------------------------------------------------

class Dialogue;

class Peer {
public:
    Peer(Dialogue& dialogue, std::unique_ptr<Connection> connection)
        : dialogue_{dialogue}, connection_{std::move(connection)}, out_{pool_} {}

    // What it says. Each of these is one turn of the broker, and what follows from it.

    void say(Bytes bytes);
    void say(std::string_view text) { say(as_bytes(text)); }
    void say_preamble(std::uint8_t low = 1, std::uint8_t high = 1) {
        say(wire::encode(wire::ClientPreamble{low, high}));
    }
    void say_hello(std::string_view json = "{}") { frame({.type = wire::FrameType::hello}, json); }
    void frame(const wire::FrameHeader& header, std::string_view body = {}) {
        wire::put_frame(out_, header, as_bytes(body));
        say_written();
    }
    void attach(std::uint16_t link, std::string_view name, wire::Role role, std::string_view options = {}) {
        wire::put_attach(out_, link, {role, as_bytes(name), options});
        say_written();
    }
    void attach_sender(std::uint16_t link, std::string_view name, std::string_view options = {}) {
        attach(link, name, wire::Role::sender, options);
    }
    void attach_receiver(std::uint16_t link, std::string_view name, std::string_view options = {}) {
        attach(link, name, wire::Role::receiver, options);
    }
    void detach(std::uint16_t link) {
        wire::put_detach(out_, link);
        say_written();
    }
    void publish(std::uint16_t link, std::uint64_t sequence, const std::vector<std::string>& words) {
        wire::put_publish(out_, link, sequence, batch(words));
        say_written();
    }
    /// Nobody waits for the confirm.
    void publish_unwatched(std::uint16_t link, std::uint64_t sequence, const std::vector<std::string>& words) {
        frame({.type = wire::FrameType::publish, .flags = wire::flag_confirm_later, .link = link, .sequence = sequence},
              as_text(batch(words).bytes()));
    }
    void credit(std::uint16_t link, std::uint64_t messages, std::uint64_t bytes) {
        wire::put_credit(out_, link, {messages, bytes});
        say_written();
    }
    void settle(std::uint16_t link, const std::vector<wire::Settlement>& settlements, std::uint64_t receipt = 0) {
        wire::put_settle(out_, link, receipt, settlements);
        say_written();
    }
    void ask_state(std::uint16_t link) {
        wire::put_state_question(out_, link);
        say_written();
    }
    void announce(std::uint16_t link, std::uint64_t sequence, std::uint64_t total) {
        wire::put_fragment_head(out_, link, sequence, {wire::FrameType::publish, 0, total});
        say_written();
    }
    void fragment(std::uint16_t link, std::uint64_t position, Bytes data, bool is_last) {
        wire::put_fragment(out_, link, position, Payload::copy_of(pool_, data), is_last);
        say_written();
    }
    /// The whole of an announced message.
    void fragments(std::uint16_t link, const Payload& body) {
        for (std::size_t at = 0; at < body.size();) {
            const auto size = std::min(wire::fragment_size_max, body.size() - at);
            fragment(link, at, body.bytes().subspan(at, size), at + size == body.size());
            at += size;
        }
    }
    void admin(std::uint64_t request, std::string_view name, const std::string& json) {
        wire::put_admin(out_, request, {as_bytes(name), json});
        say_written();
    }
    /// Several frames that arrive in one read: `peer.at_once([&] { peer.attach_…; peer.credit(…); });`
    template <class Say>
    void at_once(Say&& frames) {
        is_holding_ = true;
        frames();
        is_holding_ = false;
        say_written();
    }

    [[nodiscard]] Payload batch(const std::vector<std::string>& words) {
        BatchBuilder builder;
        for (const auto& word : words) {
            builder.append(as_bytes(word));
        }
        return builder.take(pool_);
    }

    // What it hears.

    /// Everything since the last time.
    [[nodiscard]] Lines hears() {
        Lines lines;
        for (const auto& heard : take_frames()) {
            lines.push_back(line_of(heard));
        }
        return lines;
    }
    [[nodiscard]] Lines hears_sorted() {
        auto lines = hears();
        std::ranges::sort(lines);
        return lines;
    }
    /// Only frames that begin with the word.
    [[nodiscard]] Lines hears(std::string_view word) {
        auto lines = hears();
        std::erase_if(lines, [&](const std::string& line) { return !line.starts_with(word); });
        return lines;
    }
    [[nodiscard]] std::vector<HeardFrame> take_frames() {
        const auto fresh = connection_->take_written();
        unread_.insert(unread_.end(), fresh.begin(), fresh.end());
        std::vector<HeardFrame> frames;
        while (true) {
            const auto decoded = wire::decode_frame(unread_, frame_size_max);
            EXPECT_NE(decoded.status, wire::FrameStatus::too_large)
                << "the broker wrote a frame beyond the agreed size";
            if (decoded.status != wire::FrameStatus::complete) {
                return frames;
            }
            frames.push_back({decoded.frame.header, {decoded.frame.body.begin(), decoded.frame.body.end()}});
            unread_.erase(unread_.begin(), unread_.begin() + static_cast<std::ptrdiff_t>(decoded.size()));
        }
    }
    [[nodiscard]] std::string hears_raw() {
        const auto fresh = connection_->take_written();
        return std::string{as_text(fresh)};
    }
    /// The one ADMIN_REPLY that came, or the text of an ERROR.
    [[nodiscard]] Json asks(std::string_view name, const Json& request) {
        admin(77, name, request.dump());
        for (const auto& heard : take_frames()) {
            if (heard.header.type == wire::FrameType::admin_reply && heard.header.sequence == 77) {
                return Json::parse(as_text(heard.body));
            }
        }
        return {};
    }

    // Its connection.

    /// From now on the socket takes so many bytes a turn.
    void reads_at_most(std::size_t bytes) { read_limit = bytes; }
    void hangs_up();
    [[nodiscard]] Connection& connection() noexcept { return *connection_; }
    [[nodiscard]] bool is_told_to_go() const { return !connection_->close_text().empty(); }

    std::size_t read_limit = BrokerWorld::everything;
    std::size_t frame_size_max = wire::frame_size_max_default;  ///< What was agreed.

private:
    /// Frame by frame, so that none overtakes another.
    void say_written() {
        std::array<iovec, 16> buffers{};
        while (!out_.empty()) {
            const auto count = out_.gather(buffers, BrokerWorld::everything);
            std::size_t size = 0;
            for (const auto& buffer : std::span{buffers}.first(count)) {
                const auto* data = static_cast<const std::byte*>(buffer.iov_base);
                unsaid_.insert(unsaid_.end(), data, data + buffer.iov_len);
                size += buffer.iov_len;
            }
            out_.consume(size);
        }
        if (!is_holding_) {
            say(std::exchange(unsaid_, {}));
        }
    }

    Dialogue& dialogue_;
    std::unique_ptr<Connection> connection_;
    ChunkPool pool_;
    Outbox out_;
    bool is_holding_ = false;
    std::vector<std::byte> unsaid_;
    std::vector<std::byte> unread_;
};

/// A broker and its peers. Declared in a test, or as a member of a fixture.
class Dialogue {
public:
    explicit Dialogue(std::uint32_t shards = 1, const runtime::Limits& limits = {}) : world{shards, limits} {}

    /// A connection that has said nothing yet.
    Peer& connected(std::uint32_t shard = 0, bool is_refused = false) {
        peers_.push_back(std::make_unique<Peer>(*this, world.connect(shard, is_refused)));
        return *peers_.back();
    }
    /// One that has moved from another shard.
    Peer& moved(std::uint32_t shard, SessionProtocol::Greeting greeting) {
        peers_.push_back(std::make_unique<Peer>(
            *this, std::make_unique<Connection>(*world.brokers.at(shard), *world.pools.at(shard), std::move(greeting))));
        return *peers_.back();
    }
    /// A connection that has shaken hands.
    Peer& greeted(std::uint32_t shard = 0, std::string_view hello = "{}") {
        auto& peer = connected(shard);
        peer.say_preamble();
        EXPECT_EQ(peer.hears_raw().size(), wire::preamble_size);
        peer.say_hello(hello);
        EXPECT_EQ(peer.hears(), Lines{"WELCOME"});
        return peer;
    }

    /// Turns of all shards until nothing happens any more. With `hold_mail` nothing passes between shards.
    void run() {
        for (bool worked = true; worked;) {
            worked = false;
            for (std::uint32_t shard = 0; shard < world.state.shard_count; ++shard) {
                worked |= turn(shard, !hold_mail);
            }
        }
    }
    /// One turn of one shard that takes one batch of mail.
    bool turn(std::uint32_t shard, bool with_mail = true) {
        bool worked = world.turn(shard, {}, with_mail);
        for (auto& peer : peers_) {
            if (peer->connection().shard() == shard) {
                worked |= peer->connection().flush(peer->read_limit);
            }
        }
        return worked;
    }
    /// What is under way between shards arrives, and so on.
    void let_mail_through() {
        hold_mail = false;
        run();
    }
    void pass(Duration time) {
        world.clock.advance(time);
        world.tick(connections());
        run();
    }

    BrokerWorld world;
    bool hold_mail = false;

private:
    [[nodiscard]] std::vector<Connection*> connections() {
        std::vector<Connection*> all;
        for (auto& peer : peers_) {
            all.push_back(&peer->connection());
        }
        return all;
    }

    std::vector<std::unique_ptr<Peer>> peers_;
};

inline void Peer::say(Bytes bytes) {
    connection_->arrive(bytes);
    dialogue_.run();
}
inline void Peer::hangs_up() {
    connection_->disconnect();
    dialogue_.run();
}

}  // namespace baton::session::test
