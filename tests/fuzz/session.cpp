// Drives the sessions of one broker with a script that the fuzzer writes: well-formed and broken frames on up to three
// connections, time, partial writes, mail that is late, disconnects, drain. What the broker writes is checked as a
// strict client would: whole frames of the agreed size, bodies of the right form, deliveries numbered without gaps and
// never without credit, fragments that add up, nothing behind the last ERROR. At the end nothing may be left: no
// session, no message in flight, no chunk, no promise in the memory budget. A script is a byte of configuration, then
// operations; see Script::step. Corpus: corpus/session.
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/batch_builder.hpp"
#include "common/wire/bodies.hpp"
#include "common/wire/frame.hpp"
#include "common/wire/handshake.hpp"
#include "tests/unit/session/broker_world.hpp"

namespace {

using namespace baton;
using session::test::BrokerWorld;
using session::test::Connection;
using wire::FrameType;

class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : data_{data}, size_{size} {}
    [[nodiscard]] bool empty() const { return at_ == size_; }
    std::uint8_t u8() { return empty() ? std::uint8_t{0} : data_[at_++]; }
    std::uint64_t u16() {
        const std::uint64_t low = u8();
        return low | static_cast<std::uint64_t>(u8()) << 8U;
    }
    /// Small numbers mostly, and all the edges.
    std::uint64_t number() {
        const auto value = u8();
        switch (value) {
            case 255:
                return ~std::uint64_t{0};
            case 254:
                return ~std::uint64_t{0} - u8();
            case 253:
                return std::uint64_t{1} << (u8() % 64U);
            case 252:
                return u16();
            default:
                return value;
        }
    }
    Bytes bytes(std::size_t size) {
        size = std::min(size, size_ - at_);
        const Bytes result{reinterpret_cast<const std::byte*>(data_) + at_, size};
        at_ += size;
        return result;
    }

private:
    const std::uint8_t* data_;
    std::size_t size_;
    std::size_t at_ = 0;
};

/// A client that trusts nobody: reads all that the broker writes on one connection.
class StrictReader {
public:
    void expect_frames_of(std::size_t frame_size_max) { frame_size_max_ = frame_size_max; }
    /// The client has said so much credit for the link, if only once.
    void allow(std::uint16_t link, std::uint64_t messages) { allowed_[link] = std::max(allowed_[link], messages); }
    /// The client has said something that nobody looked at.
    void allow_everything() { is_everything_allowed_ = true; }

    void read(Bytes fresh) {
        unread_.insert(unread_.end(), fresh.begin(), fresh.end());
        if (!has_preamble_) {
            if (unread_.size() < wire::preamble_size || as_text(unread_).starts_with("HTTP")) {
                return;
            }
            BATON_ASSERT(wire::decode_broker_preamble(Bytes{unread_}.first(wire::preamble_size)).has_value());
            has_preamble_ = true;
            unread_.erase(unread_.begin(), unread_.begin() + wire::preamble_size);
        }
        std::size_t at = 0;
        while (true) {
            const auto decoded = wire::decode_frame(Bytes{unread_}.subspan(at), frame_size_max_);
            BATON_ASSERT_MSG(decoded.status != wire::FrameStatus::too_large,
                             "the broker wrote a frame that is too large");
            if (decoded.status != wire::FrameStatus::complete) {
                break;
            }
            BATON_ASSERT_MSG(!is_told_to_go_, "the broker wrote something behind its last ERROR");
            on_frame(decoded.frame);
            at += decoded.size();
        }
        unread_.erase(unread_.begin(), unread_.begin() + static_cast<std::ptrdiff_t>(at));
    }

private:
    struct LinkSeen {
        std::uint64_t delivered = 0;
        std::uint64_t total = 0;  ///< Of the large message that is coming; 0: none.
        std::uint64_t received = 0;
    };

    void on_frame(const wire::Frame& frame) {
        auto& link = links_[frame.header.link];
        switch (frame.header.type) {
            case FrameType::welcome:
                BATON_ASSERT(wire::decode_welcome(frame.body).has_value());
                break;
            case FrameType::attached:
                link = {};
                break;
            case FrameType::detached:
                BATON_ASSERT(frame.body.empty());
                break;
            case FrameType::confirm:
                BATON_ASSERT(wire::decode_confirm(frame.body).has_value());
                break;
            case FrameType::deliver:
                on_deliver(link, frame);
                break;
            case FrameType::settled:
                BATON_ASSERT(wire::decode_settled(frame.body).has_value());
                break;
            case FrameType::credit:
                BATON_ASSERT(wire::decode_credit(frame.body).has_value());
                break;
            case FrameType::fragment:
                on_fragment(link, frame);
                break;
            case FrameType::grant:
                BATON_ASSERT(frame.body.empty());
                break;
            case FrameType::state:
                BATON_ASSERT(wire::decode_state(frame.body).has_value());
                break;
            case FrameType::ping:
            case FrameType::pong:
                BATON_ASSERT(frame.body.empty());
                break;
            case FrameType::goaway:
                BATON_ASSERT(wire::decode_goaway(frame.body).has_value());
                break;
            case FrameType::error: {
                const auto error = wire::decode_error(frame.body);
                BATON_ASSERT(error.has_value() && error->status != wire::Status::ok);
                is_told_to_go_ = error->severity == wire::Severity::connection;
                break;
            }
            case FrameType::admin_reply:
                BATON_ASSERT(as_text(frame.body).starts_with("{"));
                break;
            default:
                BATON_ASSERT_MSG(false, "a frame that a broker does not send");
        }
        BATON_ASSERT_MSG(is_everything_allowed_ || link.delivered <= allowed_[frame.header.link],
                         "delivered without credit");
    }

    static void on_deliver(LinkSeen& link, const wire::Frame& frame) {
        BATON_ASSERT_MSG(link.total == 0, "DELIVER between the fragments of its link");
        const auto deliver = wire::decode_deliver(frame.body);
        BATON_ASSERT(deliver.has_value());
        const auto batch = check_batch(deliver->batch);
        BATON_ASSERT(batch.has_value() && deliver->attempt >= 1);
        BATON_ASSERT(frame.header.sequence == link.delivered + 1);
        link.delivered += batch->count;
    }

    static void on_fragment(LinkSeen& link, const wire::Frame& frame) {
        if ((frame.header.flags & wire::flag_fragment_first) != 0) {
            const auto head = wire::decode_fragment_head(frame.body);
            BATON_ASSERT(head.has_value() && head->type == FrameType::deliver && link.total == 0);
            BATON_ASSERT(frame.header.sequence == link.delivered + 1);
            link.total = head->total;
            link.received = 0;
            ++link.delivered;
            return;
        }
        BATON_ASSERT(link.total > 0 && frame.header.sequence == link.received);
        link.received += frame.body.size();
        BATON_ASSERT(link.received <= link.total && frame.body.size() <= wire::fragment_size_max);
        const bool is_last = (frame.header.flags & wire::flag_fragment_last) != 0;
        BATON_ASSERT(is_last == (link.received == link.total));
        if (is_last) {
            link.total = 0;
        }
    }

    std::vector<std::byte> unread_;
    std::size_t frame_size_max_ = wire::frame_size_max_default;
    bool has_preamble_ = false;
    bool is_told_to_go_ = false;
    bool is_everything_allowed_ = false;
    std::map<std::uint16_t, LinkSeen> links_;
    std::map<std::uint16_t, std::uint64_t> allowed_;  ///< Messages, by link; of all that were attached with the number.
};

struct FuzzPeer {
    std::unique_ptr<Connection> connection;
    StrictReader reader;
    std::map<std::uint16_t, std::uint64_t> next_sequence;  ///< By link.
    std::map<std::uint16_t, std::uint64_t> fragment_at;
    std::size_t write_limit = BrokerWorld::everything;
};

runtime::Limits limits_of(std::uint8_t config) {
    runtime::Limits limits;
    limits.links_max = 12;
    limits.channels_max = 6;
    limits.channel_name_size_max = 40;
    limits.message_size_max = 200'000;
    limits.outbox_low_water = 16 * 1024;
    limits.outbox_high_water = 64 * 1024;
    limits.outbox_max = 256 * 1024;
    limits.memory_max = (config & 2U) != 0 ? 1U << 20U : 64U << 20U;
    limits.channel_defaults.messages_max = (config & 4U) != 0 ? 8 : 100'000;
    limits.channel_defaults.bytes_max = (config & 8U) != 0 ? 4096 : 16U << 20U;
    limits.channel_defaults.message_size_max = (config & 16U) != 0 ? 300 : 200'000;
    limits.channel_defaults.producers_max = 2;
    limits.channel_defaults.sender_window = {64, 256 * 1024};
    return limits;
}

class Script {
public:
    explicit Script(Input& input)
        : input_{input}, config_{input.u8()}, world_{1 + (config_ & 1U), limits_of(config_), 16 * 1024}, out_{pool_} {
        for (std::uint32_t i = 0; i < 3; ++i) {
            connect(i);
        }
    }

    void play() {
        for (int steps = 0; !input_.empty() && steps < 400; ++steps) {
            step();
        }
    }

    /// Everybody goes; nothing may be left.
    void end() {
        for (auto& peer : peers_) {
            peer.connection->disconnect();
        }
        has_late_mail_ = false;
        run();
        for (auto& broker : world_.brokers) {
            BATON_ASSERT(broker->session_count() == 0);
            BATON_ASSERT_MSG(broker->in_flight() == 0, "a message is held by nobody");
        }
        peers_.clear();
        world_.brokers.clear();
        BATON_ASSERT(world_.state.channels.load() <= limits_of(config_).channels_max);
        for (auto& pool : world_.pools) {
            BATON_ASSERT_MSG(pool->outstanding_bytes() <= pool->chunk_size(), "only the pool's own copy chunk is left");
        }
        world_.pools.clear();
        BATON_ASSERT_MSG(world_.state.memory.used() == 0, "a promise of memory is left");
    }

private:
    void connect(std::size_t index) {
        if (peers_.size() <= index) {
            peers_.resize(index + 1);
        }
        auto& peer = peers_[index];
        peer = {};
        peer.connection = world_.connect(static_cast<std::uint32_t>(index) % world_.state.shard_count);
    }

    FuzzPeer& peer() { return peers_[who_]; }
    std::uint16_t link() { return static_cast<std::uint16_t>(input_.u8() % 16U); }

    void say() {
        std::vector<std::byte> bytes;
        std::array<iovec, 16> buffers{};
        while (!out_.empty()) {
            const auto count = out_.gather(buffers, BrokerWorld::everything);
            std::size_t size = 0;
            for (const auto& buffer : std::span{buffers}.first(count)) {
                const auto* data = static_cast<const std::byte*>(buffer.iov_base);
                bytes.insert(bytes.end(), data, data + buffer.iov_len);
                size += buffer.iov_len;
            }
            out_.consume(size);
        }
        peer().connection->arrive(bytes);
    }

    void read_all() {
        for (auto& each : peers_) {
            const auto fresh = each.connection->take_written();
            each.reader.read(fresh);
        }
    }

    bool turn(std::uint32_t shard, bool with_mail) {
        bool worked = world_.turn(shard, {}, with_mail);
        for (auto& each : peers_) {
            if (each.connection->shard() == shard) {
                worked |= each.connection->flush(each.write_limit);
            }
        }
        return worked;
    }

    void run() {
        for (int round = 0; round < 1000; ++round) {
            bool worked = false;
            for (std::uint32_t shard = 0; shard < world_.state.shard_count; ++shard) {
                worked |= turn(shard, !has_late_mail_);
            }
            if (!worked) {
                read_all();
                return;
            }
        }
        BATON_ASSERT_MSG(false, "turns without an end");
    }

    void step() {
        const auto op = input_.u8();
        who_ = (op >> 5U) % peers_.size();
        switch (op & 31U) {
            case 0:
                raw();
                break;
            case 1:
                greet();
                break;
            case 2:
                any_frame();
                break;
            case 3:
            case 4:
                attach(op & 1U);
                break;
            case 5:
            case 6:
                publish();
                break;
            case 7:
                credit();
                break;
            case 8:
            case 9:
                settle();
                break;
            case 10:
                wire::put_state_question(out_, link());
                say();
                break;
            case 11:
                wire::put_detach(out_, link());
                say();
                break;
            case 12:
                announce();
                break;
            case 13:
                fragment();
                break;
            case 14:
                pass();
                break;
            case 15:
                write_some();
                break;
            case 16:
                hang_up();
                break;
            case 17:
                admin();
                break;
            case 18:
                has_late_mail_ = true;
                break;
            case 19:
                has_late_mail_ = false;
                break;
            case 20:
                turn(input_.u8() % world_.state.shard_count, true);
                return;
            case 21:
                drain();
                break;
            case 22:
                wire::put_ping(out_, input_.number());
                say();
                break;
            case 23:
                peer().write_limit = input_.u16();
                break;
            case 24:
                peer().write_limit = BrokerWorld::everything;
                break;
            case 25:
                return;  // Goes on in the same turn.
            case 26:
                error();
                break;
            default:
                break;
        }
        if ((input_.u8() & 7U) != 7U) {
            run();
        }
    }

    void raw() {
        const auto bytes = input_.bytes(input_.u8());
        peer().reader.allow_everything();
        peer().connection->arrive(bytes);
    }

    void greet() {
        const auto kind = input_.u8();
        peer().connection->arrive(wire::encode(wire::ClientPreamble{}));
        std::string hello = "{}";
        if ((kind & 3U) == 1) {
            hello = R"({"frame_size_max":65552,"heartbeat_ms":100})";
            peer().reader.expect_frames_of(65'552);
        }
        wire::put_frame(out_, {.type = FrameType::hello}, as_bytes(hello));
        say();
    }

    void any_frame() {
        const auto type = static_cast<FrameType>(input_.u8());
        const auto flags = input_.u8();
        const auto number = link();
        const auto sequence = input_.number();
        const auto size = input_.u8();
        if (type == FrameType::credit) {
            peer().reader.allow_everything();
        }
        wire::put_frame(out_, {.type = type, .flags = flags, .link = number, .sequence = sequence}, input_.bytes(size));
        say();
    }

    void attach(bool is_sender) {
        static constexpr std::string_view names[] = {"a", "b", "c", "d", "e", "f", "g", ""};
        static constexpr std::string_view options[] = {
            "",
            R"({"create":false})",
            R"({"producer":"000102030405060708090a0b0c0d0e0f"})",
            R"({"producer":"100102030405060708090a0b0c0d0e0f"})",
            R"({"producer":"200102030405060708090a0b0c0d0e0f"})",
            R"({"nonsense":1})",
        };
        const auto number = link();
        const auto choice = input_.u8();
        wire::put_attach(out_, number,
                         {is_sender ? wire::Role::sender : wire::Role::receiver, as_bytes(names[choice % 8U]),
                          options[(choice >> 3U) % std::size(options)]});
        peer().next_sequence[number] = 1;
        peer().fragment_at[number] = 0;
        say();
    }

    void credit() {
        const auto number = link();
        const auto messages = input_.number();
        const auto bytes = input_.number();
        peer().reader.allow(number, messages);
        wire::put_credit(out_, number, {messages, bytes});
        say();
    }

    Payload batch(std::uint32_t count, std::size_t size, bool has_properties) {
        BatchBuilder builder;
        const std::vector<std::byte> body(size);
        static constexpr std::string_view properties{"\x01\x03\x00key", 6};
        for (std::uint32_t i = 0; i < count; ++i) {
            builder.append(body, has_properties ? as_bytes(properties) : Bytes{});
        }
        return builder.take(pool_);
    }

    void publish() {
        const auto number = link();
        const auto count = 1 + input_.u8() % 70U;
        const auto kind = input_.u8();
        std::size_t size = kind & 63U;
        if (size == 63) {
            size = input_.u16();
        }
        auto& next = peer().next_sequence[number];
        const auto first = (kind & 64U) != 0 ? input_.number() : next;
        next = first + count;
        wire::put_publish(out_, number, first, batch(count, size, (kind & 128U) != 0));
        say();
    }

    void settle() {
        const auto number = link();
        std::vector<wire::Settlement> settlements(1 + input_.u8() % 3U);
        for (auto& settlement : settlements) {
            settlement.first = input_.number();
            settlement.count = static_cast<std::uint32_t>(input_.number());
            const auto kind = input_.u8();
            settlement.attempt = 1 + (kind >> 4U) % 3U;
            settlement.outcome = kind % 8U;
        }
        wire::put_settle(out_, number, input_.u8() % 4U, settlements);
        say();
    }

    void announce() {
        const auto number = link();
        const auto kind = input_.u8();
        const std::uint64_t total = kind == 0 ? input_.number() : kind * std::uint64_t{1000};
        wire::put_fragment_head(out_, number, peer().next_sequence[number]++, {FrameType::publish, 0, total});
        peer().fragment_at[number] = 0;
        say();
    }

    /// A piece of a batch of one message of `kind` thousand bytes, at the right place mostly.
    void fragment() {
        const auto number = link();
        const auto kind = input_.u8();
        const auto whole =
            batch(1, kind * std::size_t{1000} - std::min<std::size_t>(kind * std::size_t{1000}, 36), false);
        auto& at = peer().fragment_at[number];
        if ((input_.u8() & 15U) == 15U) {
            at = input_.number();
        }
        const auto from = std::min<std::size_t>(at, whole.size());
        const auto size = std::min<std::size_t>(wire::fragment_size_max, whole.size() - from);
        wire::put_fragment(out_, number, at, whole.slice(from, size), from + size == whole.size());
        at = from + size;
        say();
    }

    void pass() {
        world_.clock.advance(std::chrono::milliseconds{input_.number() % 20'000});
        std::vector<Connection*> all;
        for (auto& each : peers_) {
            all.push_back(each.connection.get());
        }
        world_.tick(all);
    }

    void write_some() { peer().connection->write(input_.u16()); }

    void hang_up() {
        peer().connection->disconnect();
        connect(who_);
    }

    void admin() {
        static constexpr std::string_view requests[] = {
            R"({"op":"channel.create"})",
            R"({"op":"channel.create","messages_max":2,"bytes_max":100})",
            R"({"op":"channel.show"})",
            R"({"op":"channel.list","limit":2})",
            R"({"op":"channel.list","after":"b"})",
            R"({"op":"channel.delete","force":true})",
            R"({"op":"channel.purge"})",
            R"({"op":"channel.peek","count":1000})",
            R"({"op":"channel.peek","state":"ready","from":3})",
            R"({"op":"broker.show"})",
            R"({"op":"nonsense"})",
        };
        static constexpr std::string_view names[] = {"a", "b", "c", "d", "e", "f", "g", ""};
        const auto choice = input_.u8();
        const auto request = input_.u8() % 3U;
        if ((choice >> 3U) % 16U < std::size(requests)) {
            wire::put_admin(out_, request, {as_bytes(names[choice % 8U]), requests[(choice >> 3U) % 16U]});
        } else {
            wire::put_admin(out_, request, {as_bytes(names[choice % 8U]), as_text(input_.bytes(input_.u8()))});
        }
        say();
    }

    void error() {
        const auto number = link();
        wire::put_error(out_, number, 0,
                        {.status = wire::Status::internal,
                         .severity = static_cast<wire::Severity>(1 + input_.u8() % 3U),
                         .retryable = false,
                         .text = "no"});
        say();
    }

    void drain() {
        if (input_.u8() % 4U != 0) {
            return;  // Rarely: afterwards little else happens.
        }
        world_.state.is_draining.store(true);
        for (auto& broker : world_.brokers) {
            broker->begin_drain();
        }
        for (auto& each : peers_) {
            if (each.connection->is_connected()) {
                each.connection->protocol().begin_drain(500);
            }
        }
    }

    Input& input_;
    const std::uint8_t config_;
    BrokerWorld world_;
    ChunkPool pool_{64 * 1024, 4};  ///< Of the clients.
    Outbox out_;
    std::vector<FuzzPeer> peers_;
    std::size_t who_ = 0;
    bool has_late_mail_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input{data, size};
    Script script{input};
    script.play();
    script.end();
    return 0;
}
