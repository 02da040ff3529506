// Each vector of wire.txt: encoding the values gives exactly its bytes, decoding the bytes gives back the values.
// One TEST a frame type. What is not well formed is tested in tests/unit/wire.

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/batch.hpp"
#include "common/base/batch_builder.hpp"
#include "common/base/hex.hpp"
#include "common/base/properties.hpp"
#include "common/wire/bodies.hpp"
#include "common/wire/frame.hpp"
#include "common/wire/handshake.hpp"
#include "common/wire/step.hpp"
#include "tests/golden/wire_vectors.hpp"

namespace baton::wire {
namespace {

using golden::WireVector;
using std::string_literals::operator""s;

constexpr auto u64_max = std::numeric_limits<std::uint64_t>::max();
constexpr auto u32_max = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint16_t last_link = 65'535;

class GoldenWire : public testing::Test {
protected:
    static void SetUpTestSuite() { vectors() = golden::read_wire_vectors(); }

    static std::vector<WireVector>& vectors() {
        static std::vector<WireVector> all;
        return all;
    }
    static std::set<std::string, std::less<>>& used() {
        static std::set<std::string, std::less<>> names;
        return names;
    }

    // The bytes of a vector; a test that asks for them answers for them.
    static Bytes bytes_of(std::string_view name) {
        used().emplace(name);
        const auto found = std::ranges::find(vectors(), name, &WireVector::name);
        if (found == vectors().end()) {
            ADD_FAILURE() << "there is no vector " << name;
            return {};
        }
        return found->bytes;
    }

    // What is in the outbox is exactly this vector. Returns the frame as it is decoded from the vector.
    Frame expect_frame(std::string_view name) {
        const Bytes bytes = bytes_of(name);
        EXPECT_EQ(hex_encode(golden::drain(outbox)), hex_encode(bytes)) << name;
        return frame_of(name);
    }

    static Frame frame_of(std::string_view name) {
        const Bytes bytes = bytes_of(name);
        const DecodedFrame decoded = decode_frame(bytes, frame_size_max_default);
        EXPECT_EQ(decoded.status, FrameStatus::complete) << name;
        EXPECT_EQ(decoded.size(), bytes.size()) << name;
        return decoded.frame;
    }

    static void expect_header(const Frame& frame, FrameType type, std::uint16_t link, std::uint64_t sequence,
                              std::uint8_t flags = 0) {
        const FrameHeader expected{.length = static_cast<std::uint32_t>(frame.body.size()),
                                   .type = type,
                                   .flags = flags,
                                   .link = link,
                                   .sequence = sequence};
        EXPECT_EQ(frame.header, expected);
    }

    // Empty frames: the header says everything.
    void expect_empty(std::string_view name, FrameType type, std::uint16_t link, std::uint64_t sequence) {
        const Frame frame = expect_frame(name);
        expect_header(frame, type, link, sequence);
        EXPECT_TRUE(frame.body.empty());
    }

    template <class Record>
    static std::vector<Record> records_of(RecordReader<Record> reader) {
        std::vector<Record> records;
        for (Record record; reader.next(record);) {
            records.push_back(record);
        }
        EXPECT_EQ(reader.remaining(), 0U);
        return records;
    }

    static std::vector<std::byte> block_of(const MessageProperties& properties) {
        return encode_properties(properties).value();
    }

    static std::vector<std::string> payloads_of(Bytes batch) {
        const auto header = check_batch(batch);
        EXPECT_TRUE(header.has_value());
        EXPECT_TRUE(check_batch_crc(batch));
        std::vector<std::string> payloads;
        MessageCursor cursor{messages_of(batch), header->has_properties()};
        for (MessageView message; cursor.next(message);) {
            payloads.emplace_back(as_text(message.payload));
        }
        EXPECT_EQ(payloads.size(), header->count);
        return payloads;
    }

    // A batch with these messages as a broker hands it on: header and region apart.
    struct Region {
        BatchHeader header;
        Payload messages;
    };
    Region region_of(BatchBuilder& builder, BatchBuilder::Crc crc) {
        const Payload whole = builder.take(pool, crc);
        return {.header = decode_batch_header(whole.bytes()).value(),
                .messages = whole.slice(batch_header_size, whole.size() - batch_header_size)};
    }

    ChunkPool pool;
    Outbox outbox{pool};
};

// The list of all properties in publish.properties.
MessageProperties all_properties() {
    const auto trace = hex_decode("00 4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7 01").value();
    return {.key = "k1",
            .priority = std::uint8_t{9},
            .ttl = std::chrono::seconds{30},
            .delay = std::chrono::milliseconds{250},
            .content_type = "text/plain",
            .reply_to = "replies",
            .correlation_id = "c-17",
            .trace_context = std::string{as_text(trace)},
            .message_id = "id-1",
            .headers = {{"user", "ada"}, {"", ""}}};
}

// --- Handshake -------------------------------------------------------------------------------------------------------

TEST_F(GoldenWire, Preamble) {
    const auto expect_client = [](std::string_view name, ClientPreamble preamble) {
        const Bytes bytes = bytes_of(name);
        EXPECT_EQ(hex_encode(encode(preamble)), hex_encode(bytes));
        const auto decoded = decode_client_preamble(bytes);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(decoded->low, preamble.low);
        EXPECT_EQ(decoded->high, preamble.high);
    };
    const auto expect_broker = [](std::string_view name, BrokerPreamble preamble) {
        const Bytes bytes = bytes_of(name);
        EXPECT_EQ(hex_encode(encode(preamble)), hex_encode(bytes));
        const auto decoded = decode_broker_preamble(bytes);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(decoded->chosen, preamble.chosen);
        EXPECT_EQ(decoded->low, preamble.low);
        EXPECT_EQ(decoded->high, preamble.high);
    };
    expect_client("preamble.client", {.low = 1, .high = 1});
    expect_client("preamble.client.range", {.low = 1, .high = 3});
    expect_broker("preamble.broker", {.chosen = 1, .low = 1, .high = 1});
    expect_broker("preamble.broker.none", {.chosen = 0, .low = 1, .high = 1});
}

TEST_F(GoldenWire, Hello) {
    put_frame(outbox, {.type = FrameType::hello}, as_bytes(encode(Hello{})));
    const Frame empty = expect_frame("hello.empty");
    expect_header(empty, FrameType::hello, 0, 0);
    const auto nothing = decode_hello(empty.body);
    ASSERT_TRUE(nothing) << nothing.error();
    EXPECT_EQ(nothing->agent, "");
    EXPECT_EQ(nothing->name, "");
    EXPECT_FALSE(nothing->heartbeat_ms);
    EXPECT_FALSE(nothing->frame_size_max);
    EXPECT_TRUE(nothing->features.empty());

    const Hello full{.agent = "baton-cpp/0.1.0",
                     .name = "worker \"7\"",
                     .heartbeat_ms = 100,
                     .frame_size_max = 65'552,
                     .features = {"alpha", "beta"}};
    put_frame(outbox, {.type = FrameType::hello}, as_bytes(encode(full)));
    const auto decoded = decode_hello(expect_frame("hello.full").body);
    ASSERT_TRUE(decoded) << decoded.error();
    EXPECT_EQ(decoded->agent, full.agent);
    EXPECT_EQ(decoded->name, full.name);
    EXPECT_EQ(decoded->heartbeat_ms, full.heartbeat_ms);
    EXPECT_EQ(decoded->frame_size_max, full.frame_size_max);
    EXPECT_EQ(decoded->features, full.features);
}

TEST_F(GoldenWire, Welcome) {
    const auto expect = [this](std::string_view name, const Welcome& welcome) {
        put_frame(outbox, {.type = FrameType::welcome}, as_bytes(encode(welcome)));
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::welcome, 0, 0);
        const auto decoded = decode_welcome(frame.body);
        ASSERT_TRUE(decoded) << decoded.error();
        EXPECT_EQ(decoded->agent, welcome.agent);
        EXPECT_EQ(decoded->session, welcome.session);
        EXPECT_EQ(decoded->heartbeat_ms, welcome.heartbeat_ms);
        EXPECT_EQ(decoded->frame_size_max, welcome.frame_size_max);
        EXPECT_EQ(decoded->fragment_size_max, welcome.fragment_size_max);
        EXPECT_EQ(decoded->message_size_max, welcome.message_size_max);
        EXPECT_EQ(decoded->links_max, welcome.links_max);
        EXPECT_EQ(decoded->channel_name_size_max, welcome.channel_name_size_max);
        EXPECT_EQ(decoded->features, welcome.features);
        EXPECT_EQ(decoded->draining, welcome.draining);
        EXPECT_EQ(decoded->time_us, welcome.time_us);
    };
    expect("welcome", {.agent = "batond/0.1.0", .session = 7, .features = {}, .time_us = 1'700'000'000'123'456});
    expect("welcome.draining", {.agent = "",
                                .session = u64_max,
                                .heartbeat_ms = 3'600'000,
                                .frame_size_max = 65'552,
                                .fragment_size_max = 1'024,
                                .message_size_max = u64_max,
                                .links_max = 65'535,
                                .channel_name_size_max = 65'535,
                                .features = {"alpha"},
                                .draining = true,
                                .time_us = -1});
}

TEST_F(GoldenWire, Goaway) {
    const Goaway goaway{.text = "the broker is going down in order", .reconnect_after_ms = 1'000};
    put_frame(outbox, {.type = FrameType::goaway}, as_bytes(encode(goaway)));
    const Frame frame = expect_frame("goaway");
    expect_header(frame, FrameType::goaway, 0, 0);
    const auto decoded = decode_goaway(frame.body);
    ASSERT_TRUE(decoded) << decoded.error();
    EXPECT_EQ(decoded->code, "draining");
    EXPECT_EQ(decoded->text, goaway.text);
    EXPECT_EQ(decoded->reconnect_after_ms, 1'000U);
}

// --- Links -----------------------------------------------------------------------------------------------------------

TEST_F(GoldenWire, Attach) {
    const auto expect = [this](std::string_view name, std::uint16_t link, const Attach& attach) {
        put_attach(outbox, link, attach);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::attach, link, 0);
        const auto decoded = decode_attach(frame.body);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(decoded->role, attach.role);
        EXPECT_EQ(as_text(decoded->name), as_text(attach.name));
        EXPECT_EQ(decoded->options, attach.options);
    };
    expect("attach.sender", 1, {.role = Role::sender, .name = as_bytes("orders"), .options = {}});
    expect("attach.sender.producer", 1,
           {.role = Role::sender,
            .name = as_bytes("orders"),
            .options = R"({"producer":"000102030405060708090a0b0c0d0e0f"})"});
    expect("attach.sender.confirm", 1,
           {.role = Role::sender, .name = as_bytes("orders"), .options = R"({"confirm":"received"})"});
    const std::string any_bytes = "a\0\xff%/"s;
    expect("attach.receiver", last_link,
           {.role = Role::receiver, .name = as_bytes(any_bytes), .options = R"({"create":false})"});
}

TEST_F(GoldenWire, Attached) {
    constexpr std::string_view created =
        R"({"created":true,"kind":"queue","message_size_max":67108864,"storage":"memory"})";
    put_attached(outbox, last_link, 0, created);
    const Frame frame = expect_frame("attached");
    expect_header(frame, FrameType::attached, last_link, 0);
    EXPECT_EQ(as_text(frame.body), created);

    constexpr std::string_view resumed =
        R"({"created":false,"kind":"queue","message_size_max":1048576,"storage":"memory"})";
    put_attached(outbox, 1, 41, resumed);
    expect_header(expect_frame("attached.resumed"), FrameType::attached, 1, 41);

    constexpr std::string_view durable =
        R"({"created":false,"kind":"queue","message_size_max":1048576,"storage":"durable"})";
    put_attached(outbox, 1, 0, durable);
    expect_header(expect_frame("attached.durable"), FrameType::attached, 1, 0);
}

TEST_F(GoldenWire, Detach) {
    put_detach(outbox, 1);
    expect_empty("detach", FrameType::detach, 1, 0);
    put_detached(outbox, 1);
    expect_empty("detached", FrameType::detached, 1, 0);
}

// --- Messages --------------------------------------------------------------------------------------------------------

TEST_F(GoldenWire, Publish) {
    BatchBuilder builder;
    builder.append(as_bytes("hello"));
    put_publish(outbox, 1, 1, builder.take(pool, BatchBuilder::Crc::off));
    const Frame one = expect_frame("publish");
    expect_header(one, FrameType::publish, 1, 1);
    EXPECT_EQ(payloads_of(one.body), std::vector{"hello"s});

    for (const std::string_view payload : {"one", "", "three"}) {
        builder.append(as_bytes(payload));
    }
    put_publish(outbox, 1, 2, builder.take(pool));
    EXPECT_EQ(payloads_of(expect_frame("publish.crc").body), (std::vector{"one"s, ""s, "three"s}));

    const auto key = block_of({.key = "k"});
    builder.append(as_bytes("x"), key);
    put_publish(outbox, last_link, u64_max, builder.take(pool, BatchBuilder::Crc::off));
    expect_header(expect_frame("publish.properties.no_crc"), FrameType::publish, last_link, u64_max);
}

TEST_F(GoldenWire, PublishWithProperties) {
    const auto all = block_of(all_properties());
    const auto unknown = hex_decode("c8 0500 6c61746572").value();
    BatchBuilder builder;
    builder.append(as_bytes("with all"), all);
    builder.append(as_bytes("none"));
    builder.append({}, unknown);
    put_publish(outbox, 1, 5, builder.take(pool));
    const Bytes batch = expect_frame("publish.properties").body;
    EXPECT_EQ(payloads_of(batch), (std::vector{"with all"s, "none"s, ""s}));

    MessageCursor cursor{messages_of(batch), true};
    MessageView message;
    ASSERT_TRUE(cursor.next(message));
    const auto decoded = decode_properties(message.properties);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, all_properties());
    ASSERT_TRUE(cursor.next(message));
    EXPECT_TRUE(message.properties.empty());
    ASSERT_TRUE(cursor.next(message));
    EXPECT_EQ(hex_encode(message.properties), hex_encode(unknown));
}

TEST_F(GoldenWire, PublishWithTime) {
    const MessageProperties properties{.not_before = std::chrono::sys_time<std::chrono::microseconds>{
                                           std::chrono::microseconds{1'700'000'000'123'456}}};
    const auto block = block_of(properties);
    BatchBuilder builder;
    builder.append(as_bytes("later"), block);
    put_publish(outbox, 1, 8, builder.take(pool, BatchBuilder::Crc::off));
    const Bytes batch = expect_frame("publish.not_before").body;
    MessageCursor cursor{messages_of(batch), true};
    MessageView message;
    ASSERT_TRUE(cursor.next(message));
    EXPECT_EQ(decode_properties(message.properties).value(), properties);
}

TEST_F(GoldenWire, Confirm) {
    const auto expect = [this](std::string_view name, std::uint16_t link, std::uint64_t sequence, std::uint8_t level,
                               const std::vector<ConfirmException>& exceptions) {
        put_confirm(outbox, link, sequence, level, exceptions);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::confirm, link, sequence);
        const auto decoded = decode_confirm(frame.body);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(decoded->level, level);
        EXPECT_EQ(decoded->exceptions.remaining(), exceptions.size());
        EXPECT_EQ(records_of(decoded->exceptions), exceptions);
    };
    expect("confirm", 1, 1'000, 1, {});
    expect("confirm.exceptions", 1, 1'000, 3,
           {{.first = 990, .count = 2, .status = Status::message_too_large},
            {.first = 1'000, .count = 1, .status = Status::draining}});
    expect("confirm.durable", 1, 1'000, 2,
           {{.first = 990, .count = 2, .status = Status::disk_full},
            {.first = 1'000, .count = 1, .status = Status::storage_failed}});
    expect("confirm.max", last_link, u64_max, 2,
           {{.first = u64_max, .count = u32_max, .status = static_cast<Status>(u32_max)}});
}

TEST_F(GoldenWire, Deliver) {
    const auto expect = [this](std::string_view name, std::uint64_t sequence, std::uint32_t attempt, bool redelivered,
                               const Region& region, const std::vector<std::string>& payloads) {
        put_deliver(outbox, 2, sequence, attempt, redelivered, region.header, region.messages);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::deliver, 2, sequence);
        const auto decoded = decode_deliver(frame.body);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(decoded->attempt, attempt);
        EXPECT_EQ(decoded->redelivered, redelivered);
        EXPECT_EQ(check_batch(decoded->batch), region.header);
        EXPECT_EQ(payloads_of(decoded->batch), payloads);
    };
    BatchBuilder builder;
    builder.append(as_bytes("hello"));
    Region region = region_of(builder, BatchBuilder::Crc::off);
    region.header.base_offset = 41;
    region.header.time_us = 1'700'000'000'123'456;
    expect("deliver", 1, 1, false, region, {"hello"});

    const auto key = block_of({.key = "k"});
    builder.append(as_bytes("none"));
    builder.append(as_bytes("x"), key);
    region = region_of(builder, BatchBuilder::Crc::off);
    region.header.base_offset = std::uint64_t{1} << 63U;
    region.header.time_us = 1;
    expect("deliver.redelivered", 17, 3, true, region, {"none", "x"});

    for (const std::string_view payload : {"one", "", "three"}) {
        builder.append(as_bytes(payload));
    }
    region = region_of(builder, BatchBuilder::Crc::on);
    region.header.base_offset = 2;
    region.header.time_us = 1'700'000'000'123'456;
    expect("deliver.crc", 2, 1, false, region, {"one", "", "three"});
}

TEST_F(GoldenWire, Settle) {
    const auto expect = [this](std::string_view name, std::uint16_t link, std::uint64_t receipt,
                               const std::vector<Settlement>& settlements) {
        put_settle(outbox, link, receipt, settlements);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::settle, link, receipt);
        const auto decoded = decode_settle(frame.body);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(records_of(*decoded), settlements);
    };
    expect("settle", 2, 0, {{.first = 41, .count = 1, .attempt = 1, .outcome = 1, .argument = 0}});
    expect("settle.outcomes", 2, 99,
           {{.first = 2, .count = 3, .attempt = 1, .outcome = 1, .argument = 0},
            {.first = 5, .count = 1, .attempt = 2, .outcome = 2, .argument = 0},
            {.first = 6, .count = 1, .attempt = 1, .outcome = 3, .argument = 1'500},
            {.first = 7, .count = 1, .attempt = 1, .outcome = 4, .argument = 0},
            {.first = 8, .count = 1, .attempt = 1, .outcome = 5, .argument = 30'000},
            {.first = 9, .count = 2, .attempt = 1, .outcome = 6, .argument = 0}});
    expect("settle.max", last_link, u64_max,
           {{.first = u64_max, .count = u32_max, .attempt = u32_max, .outcome = 255, .argument = u32_max}});

    const std::vector<Settlement> rejected{{.first = 41, .count = 2, .attempt = 3, .outcome = 4, .argument = 0},
                                           {.first = 50, .count = 1, .attempt = 1, .outcome = 3, .argument = u32_max}};
    put_settle(outbox, 2, 100, rejected, "no such customer: \u00e4");
    const Frame frame = expect_frame("settle.note");
    expect_header(frame, FrameType::settle, 2, 100, flag_settle_note);
    const auto decoded = decode_settle(frame.body, frame.header.flags);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->note, "no such customer: \u00e4");
    EXPECT_EQ(records_of(*decoded), rejected);
}

TEST_F(GoldenWire, Settled) {
    const auto expect = [this](std::string_view name, const std::vector<SettleException>& exceptions) {
        put_settled(outbox, 2, 99, exceptions);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::settled, 2, 99);
        const auto decoded = decode_settled(frame.body);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(records_of(*decoded), exceptions);
    };
    expect("settled", {});
    expect("settled.exceptions", {{.first = 5, .count = 1, .attempt = 2, .status = Status::lost_lease},
                                  {.first = 6, .count = 3, .attempt = 1, .status = Status::unsupported_outcome}});
}

// --- Credit, state, fragments ----------------------------------------------------------------------------------------

TEST_F(GoldenWire, Credit) {
    const auto expect = [this](std::string_view name, std::uint16_t link, const CreditLimits& limits) {
        put_credit(outbox, link, limits);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::credit, link, 0);
        EXPECT_EQ(decode_credit(frame.body), limits);
    };
    expect("credit", 1, {.messages = 1'000, .bytes = 1'048'576});
    expect("credit.max", last_link, {.messages = u64_max, .bytes = u64_max});
}

TEST_F(GoldenWire, State) {
    put_state_question(outbox, 2);
    expect_empty("state.question", FrameType::state, 2, 0);

    const auto expect = [this](std::string_view name, std::uint16_t link, const State& state, std::string_view reason) {
        put_state(outbox, link, state);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::state, link, 0);
        const auto decoded = decode_state(frame.body);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(*decoded, state);
        EXPECT_EQ(wait_reason_name(decoded->reason), reason);
    };
    expect("state.none", 1, {}, "none");
    expect("state.full", 1, {.reason = 5, .waiting_us = 1'500'000, .ready = 1'000, .in_flight = 0}, "full");
    expect("state.delayed", 2, {.reason = 16, .delayed = u32_max, .waiting_us = 2'000'000, .ready = 0, .in_flight = 1},
           "delayed");
    expect("state.in_flight", 2, {.reason = 10, .waiting_us = u64_max, .ready = u64_max, .in_flight = 3}, "in_flight");
}

TEST_F(GoldenWire, Fragment) {
    const auto expect_head = [this](std::string_view name, std::uint16_t link, std::uint64_t sequence,
                                    const FragmentHead& head) {
        put_fragment_head(outbox, link, sequence, head);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::fragment, link, sequence, flag_fragment_first);
        EXPECT_EQ(decode_fragment_head(frame.body), head);
    };
    expect_head("fragment.first.publish", 1, 5, {.type = FrameType::publish, .flags = 0, .total = 100'000});
    expect_head("fragment.first.deliver", 2, 17, {.type = FrameType::deliver, .flags = 0x80, .total = u64_max});

    put_fragment(outbox, 1, 65'536, Payload::copy_of(pool, as_bytes("some of the data")), false);
    const Frame middle = expect_frame("fragment");
    expect_header(middle, FrameType::fragment, 1, 65'536);
    EXPECT_EQ(as_text(middle.body), "some of the data");

    put_fragment(outbox, 1, 99'999, Payload::copy_of(pool, as_bytes("!")), true);
    expect_header(expect_frame("fragment.last"), FrameType::fragment, 1, 99'999, flag_fragment_last);
}

TEST_F(GoldenWire, EmptyFrames) {
    put_grant(outbox, 1, 5);
    expect_empty("grant", FrameType::grant, 1, 5);
    put_ping(outbox, 0x0123456789abcdef);
    expect_empty("ping", FrameType::ping, 0, 0x0123456789abcdef);
    put_pong(outbox, 0x0123456789abcdef);
    expect_empty("pong", FrameType::pong, 0, 0x0123456789abcdef);
}

// --- Errors and administration ---------------------------------------------------------------------------------------

TEST_F(GoldenWire, Error) {
    const auto expect = [this](std::string_view name, std::uint16_t link, std::uint64_t sequence,
                               const ErrorBody& error) {
        put_error(outbox, link, sequence, error);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::error, link, sequence);
        const auto decoded = decode_error(frame.body);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(decoded->status, error.status);
        EXPECT_EQ(decoded->severity, error.severity);
        EXPECT_EQ(decoded->retryable, error.retryable);
        EXPECT_EQ(decoded->text, error.text);
    };
    expect("error.message", 1, 12,
           {.status = Status::message_too_large,
            .severity = Severity::message,
            .retryable = false,
            .text = "70000000 bytes, allowed are 67108864"});
    expect("error.link", 1, 0,
           {.status = Status::bad_name, .severity = Severity::link, .retryable = false, .text = ""});
    expect("error.connection", 0, 0,
           {.status = Status::draining,
            .severity = Severity::connection,
            .retryable = true,
            .text = "the broker is going down \u2013 in order"});
    expect("error.damaged", 1, 0,
           {.status = Status::channel_damaged,
            .severity = Severity::link,
            .retryable = false,
            .text = "the files are damaged"});
    expect(
        "error.unknown", 0, 0,
        {.status = static_cast<Status>(u32_max), .severity = Severity::connection, .retryable = true, .text = "later"});
}

TEST_F(GoldenWire, Admin) {
    const auto expect = [this](std::string_view name, std::uint64_t request, const Admin& admin) {
        put_admin(outbox, request, admin);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::admin, 0, request);
        const auto decoded = decode_admin(frame.body);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(as_text(decoded->name), as_text(admin.name));
        EXPECT_EQ(decoded->json, admin.json);
    };
    expect("admin.list", 1, {.name = {}, .json = {}});
    const std::string name = "a\0\xff"s;
    expect("admin", u64_max, {.name = as_bytes(name), .json = R"({"op":"channel.show"})"});

    put_admin_reply(outbox, 1, R"({"channels":[],"more":false,"ok":true})");
    expect_header(expect_frame("admin_reply"), FrameType::admin_reply, 0, 1);
    constexpr std::string_view refused =
        R"({"error":{"code":"not_found","retryable":false,"text":"there is no channel 'a%00%FF'"},"ok":false})";
    put_admin_reply(outbox, u64_max, refused);
    EXPECT_EQ(as_text(expect_frame("admin_reply.error").body), refused);
}

TEST_F(GoldenWire, Step) {
    std::array<std::byte, 16> producer{};
    for (std::size_t i = 0; i < producer.size(); ++i) {
        producer[i] = static_cast<std::byte>(i + 1);
    }
    BatchBuilder batch;
    batch.append(as_bytes("hi"));
    const Payload messages = batch.take(pool, BatchBuilder::Crc::off);
    const Settlement done{.first = 7, .count = 2, .attempt = 1, .outcome = 1, .argument = 0};
    StepBuilder builder{producer, 9};
    builder.add_messages(as_bytes("out"), true, messages.bytes());
    builder.add_settlements(3, {&done, 1});
    put_step(outbox, 5, builder.body());
    const Frame frame = expect_frame("step");
    expect_header(frame, FrameType::step, 0, 5);
    const auto step = decode_step(frame.body);
    ASSERT_TRUE(step);
    EXPECT_EQ(step->producer, producer);
    EXPECT_EQ(step->number, 9U);
    ASSERT_EQ(step->sections.size(), 2U);
    EXPECT_EQ(step->sections[0].kind, StepSection::Kind::messages);
    EXPECT_TRUE(step->sections[0].must_exist);
    EXPECT_EQ(as_text(step->sections[0].name), "out");
    EXPECT_TRUE(std::ranges::equal(step->sections[0].batch, messages.bytes()));
    EXPECT_EQ(step->sections[1].kind, StepSection::Kind::settlements);
    EXPECT_EQ(step->sections[1].link, 3U);
    auto settlements = step->sections[1].settlements;
    Settlement settlement;
    ASSERT_TRUE(settlements.next(settlement));
    EXPECT_EQ(settlement, done);
    EXPECT_EQ(settlements.remaining(), 0U);
}

TEST_F(GoldenWire, Stepped) {
    const auto expect = [this](std::string_view name, const Stepped& stepped) {
        put_stepped(outbox, 5, stepped);
        const Frame frame = expect_frame(name);
        expect_header(frame, FrameType::stepped, 0, 5);
        const auto decoded = decode_stepped(frame.body);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(decoded->status, stepped.status);
        EXPECT_EQ(decoded->section, stepped.section);
        EXPECT_EQ(decoded->text, stepped.text);
    };
    expect("stepped", {});
    expect("stepped.lost", {.status = Status::lost_lease, .section = 1, .text = "the lease is lost"});
}

TEST_F(GoldenWire, UnknownTypes) {
    const Frame optional = frame_of("unknown.optional");
    EXPECT_FALSE(is_known(optional.header.type));
    EXPECT_TRUE(optional.header.is_optional());
    put_frame(outbox, optional.header, optional.body);
    EXPECT_EQ(expect_frame("unknown.optional").header.link, 9);

    const Frame required = frame_of("unknown");
    EXPECT_FALSE(is_known(required.header.type));
    EXPECT_FALSE(required.header.is_optional());
}

// --- Completeness: these come last -----------------------------------------------------------------------------------

TEST_F(GoldenWire, EveryVectorIsTested) {
    if (testing::UnitTest::GetInstance()->test_to_run_count() != testing::UnitTest::GetInstance()->total_test_count()) {
        GTEST_SKIP() << "only some of the tests run";
    }
    std::set<std::string> names;
    for (const WireVector& vector : vectors()) {
        EXPECT_TRUE(names.insert(vector.name).second) << vector.name << " is there twice";
        EXPECT_TRUE(used().contains(vector.name)) << "no test asks for " << vector.name;
    }
}

TEST_F(GoldenWire, EveryFrameTypeHasAVector) {
    std::set<FrameType> types;
    for (const WireVector& vector : vectors()) {
        if (vector.is_frame()) {
            types.insert(decode_frame_header(vector.bytes.data()).type);
        }
    }
    for (int number = 0; number < 256; ++number) {
        const auto type = static_cast<FrameType>(number);
        EXPECT_TRUE(!is_known(type) || types.contains(type)) << to_string(type);
    }
}

}  // namespace
}  // namespace baton::wire
