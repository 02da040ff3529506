// Any bytes as a stream of frames: torn in two places it gives the same frames, no body leads its decoder astray, and
// what a decoder takes is written back as the same bytes. JSON bodies: handshake.cpp. Corpus: corpus/frame.

#include "common/wire/frame.hpp"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <utility>
#include <vector>

#include "common/base/assert.hpp"
#include "common/base/utf8.hpp"
#include "common/wire/bodies.hpp"
#include "common/wire/step.hpp"
#include "tests/golden/wire_vectors.hpp"

namespace {

using namespace baton;
using namespace baton::wire;

constexpr std::size_t error_text_size_max = 1'000;

template <class Record>
std::vector<Record> records_of(RecordReader<Record> reader) {
    std::vector<Record> records;
    records.reserve(reader.remaining());
    for (Record record; reader.next(record);) {
        records.push_back(record);
    }
    BATON_ASSERT(reader.remaining() == 0);
    return records;
}

// Writes the frame again from what its decoder understood. False if the decoder refused the body, or if the body may be
// taken and yet be written differently.
bool put_again(Outbox& outbox, ChunkPool& pool, const Frame& frame) {
    const FrameHeader& header = frame.header;
    switch (header.type) {
        case FrameType::attach:
            if (const auto attach = decode_attach(frame.body)) {
                put_attach(outbox, header.link, *attach);
                return true;
            }
            return false;
        case FrameType::confirm:
            if (const auto confirm = decode_confirm(frame.body)) {
                put_confirm(outbox, header.link, header.sequence, confirm->level, records_of(confirm->exceptions));
                return true;
            }
            return false;
        case FrameType::publish:
            if (check_batch(frame.body)) {
                put_publish(outbox, header.link, header.sequence, Payload::copy_of(pool, frame.body));
                return true;
            }
            return false;
        case FrameType::deliver: {
            const auto deliver = decode_deliver(frame.body);
            const auto batch = deliver ? check_batch(deliver->batch) : std::unexpected{BatchErrc::header_truncated};
            if (!batch || load_u32(frame.body.data() + 4) > 1) {
                return false;
            }
            put_deliver(outbox, header.link, header.sequence, deliver->attempt, deliver->redelivered, *batch,
                        Payload::copy_of(pool, messages_of(deliver->batch)));
            return true;
        }
        case FrameType::settle:
            if (const auto settle = decode_settle(frame.body, header.flags)) {
                BATON_ASSERT(is_valid_utf8(as_bytes(settle->note)));
                put_settle(outbox, header.link, header.sequence, records_of<Settlement>(*settle), settle->note);
                return !settle->note.empty() || (header.flags & flag_settle_note) == 0;
            }
            return false;
        case FrameType::step:
            if (const auto step = decode_step(frame.body)) {
                StepBuilder builder{step->producer, step->number};
                for (const StepSection& section : step->sections) {
                    section.kind == StepSection::Kind::messages
                        ? builder.add_messages(section.name, section.must_exist, section.batch)
                        : builder.add_settlements(section.link, records_of(section.settlements));
                }
                put_step(outbox, header.sequence, builder.body());
                return header.link == 0;
            }
            return false;
        case FrameType::stepped:
            if (const auto stepped = decode_stepped(frame.body)) {
                put_stepped(outbox, header.sequence, *stepped);
                return header.link == 0 && stepped->text.size() <= error_text_size_max;
            }
            return false;
        case FrameType::settled:
            if (const auto settled = decode_settled(frame.body)) {
                put_settled(outbox, header.link, header.sequence, records_of(*settled));
                return true;
            }
            return false;
        case FrameType::credit:
            if (const auto limits = decode_credit(frame.body)) {
                put_credit(outbox, header.link, *limits);
                return true;
            }
            return false;
        case FrameType::state:
            if (const auto state = decode_state(frame.body)) {
                BATON_ASSERT(!wait_reason_name(state->reason).empty());
                put_state(outbox, header.link, *state);
                return true;
            }
            return false;
        case FrameType::fragment: {
            const auto head = decode_fragment_head(frame.body);
            if (!head || (header.flags & flag_fragment_first) == 0) {
                return false;
            }
            put_fragment_head(outbox, header.link, header.sequence, *head);
            return true;
        }
        case FrameType::error: {
            const auto error = decode_error(frame.body);
            if (!error) {
                return false;
            }
            BATON_ASSERT(is_valid_utf8(as_bytes(error->text)));
            put_error(outbox, header.link, header.sequence, *error);
            return error->text.size() <= error_text_size_max;
        }
        case FrameType::admin:
            if (const auto admin = decode_admin(frame.body)) {
                put_admin(outbox, header.sequence, *admin);
                return true;
            }
            return false;
        default:
            put_frame(outbox, header, frame.body);
            return true;
    }
}

void check_frame(const Frame& frame) {
    ChunkPool pool{64 * 1024, 1};
    Outbox outbox{pool};
    const bool is_same = put_again(outbox, pool, frame);
    const auto bytes = golden::drain(outbox);
    if (is_same) {
        BATON_ASSERT(bytes.size() == frame_header_size + frame.body.size());
        const FrameHeader written = decode_frame_header(bytes.data());
        BATON_ASSERT(written.type == frame.header.type && written.length == frame.header.length);
        BATON_ASSERT(equal(Bytes{bytes}.subspan(frame_header_size), frame.body));
    }
}

// Decodes frames from the front of `bytes`, which are all that has come so far. Returns how many bytes they took.
std::size_t take_frames(Bytes bytes, std::vector<FrameHeader>& headers, bool& is_dead) {
    std::size_t used = 0;
    while (!is_dead) {
        const Bytes readable = bytes.subspan(used);
        const DecodedFrame decoded = decode_frame(readable, frame_size_max_default);
        switch (decoded.status) {
            case FrameStatus::need_more:
                BATON_ASSERT(decoded.wanted > readable.size() && decoded.wanted <= frame_size_max_default);
                return used;
            case FrameStatus::too_large:
                BATON_ASSERT(decoded.frame.header.length > frame_size_max_default - frame_header_size);
                is_dead = true;
                return used;
            case FrameStatus::complete:
                BATON_ASSERT(decoded.size() <= readable.size());
                headers.push_back(decoded.frame.header);
                used += decoded.size();
                break;
        }
    }
    return used;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};

    std::vector<FrameHeader> whole;
    bool is_dead = false;
    const std::size_t used = take_frames(bytes, whole, is_dead);

    // The same in three pieces; where they are torn follows from the bytes themselves.
    std::size_t first = size == 0 ? 0 : (data[size / 2] * 7U + data[size - 1]) % (size + 1);
    std::size_t second = size == 0 ? 0 : (data[size / 3] * 13U + data[0]) % (size + 1);
    if (first > second) {
        std::swap(first, second);
    }
    std::vector<FrameHeader> torn;
    bool is_torn_dead = false;
    std::size_t torn_used = 0;
    for (const std::size_t there : {first, second, size}) {
        torn_used += take_frames(bytes.first(there).subspan(torn_used), torn, is_torn_dead);
    }
    BATON_ASSERT(torn == whole && torn_used == used && is_torn_dead == is_dead);

    for (std::size_t at = 0; at < used;) {
        const DecodedFrame decoded = decode_frame(bytes.subspan(at), frame_size_max_default);
        check_frame(decoded.frame);
        at += decoded.size();
    }
    return 0;
}
