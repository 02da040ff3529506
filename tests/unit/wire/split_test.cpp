// The golden bytes, torn apart in every way: a stream of frames does not depend on how it arrives, and no decoder reads
// beyond what it was given or takes a body that ends too early.

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/wire/frame.hpp"
#include "common/wire/handshake.hpp"
#include "tests/golden/wire_vectors.hpp"
#include "tests/unit/wire/decode_body.hpp"

namespace baton::wire {
namespace {

using golden::WireVector;

// A copy of its own, exactly as long: the address sanitizer sees a read beyond the end.
std::vector<std::byte> exact(Bytes bytes) {
    std::vector<std::byte> copy(bytes.begin(), bytes.end());
    copy.shrink_to_fit();
    return copy;
}

std::string describe(const Frame& frame) {
    return std::string{to_string(frame.header.type)} + "/" + std::to_string(frame.header.flags) + "/" +
           std::to_string(frame.header.link) + "/" + std::to_string(frame.header.sequence) + ": " +
           decode_body(frame.header, frame.body);
}

// What the caller of decode_frame does: keeps what makes no frame yet.
class Stream {
public:
    void write(Bytes bytes) {
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
        for (;;) {
            const auto readable = exact(buffer_);
            const DecodedFrame decoded = decode_frame(readable, frame_size_max_default);
            if (decoded.status != FrameStatus::complete) {
                EXPECT_EQ(decoded.status, FrameStatus::need_more);
                EXPECT_GT(decoded.wanted, readable.size());
                EXPECT_GE(decoded.wanted, frame_header_size);
                return;
            }
            EXPECT_EQ(decoded.wanted, decoded.size());
            frames_.push_back(describe(decoded.frame));
            buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(decoded.size()));
        }
    }

    [[nodiscard]] const std::vector<std::string>& frames() const noexcept { return frames_; }
    [[nodiscard]] bool is_at_boundary() const noexcept { return buffer_.empty(); }

private:
    std::vector<std::byte> buffer_;
    std::vector<std::string> frames_;
};

std::vector<WireVector> frame_vectors() {
    auto vectors = golden::read_wire_vectors();
    std::erase_if(vectors, [](const WireVector& vector) { return !vector.is_frame(); });
    return vectors;
}

std::vector<std::byte> all_frames() {
    std::vector<std::byte> bytes;
    for (const WireVector& vector : frame_vectors()) {
        bytes.insert(bytes.end(), vector.bytes.begin(), vector.bytes.end());
    }
    return bytes;
}

std::vector<std::string> decoded_at_once(Bytes bytes) {
    Stream stream;
    stream.write(bytes);
    EXPECT_TRUE(stream.is_at_boundary());
    return stream.frames();
}

TEST(SplitFrames, ByteByByte) {
    const auto bytes = all_frames();
    Stream stream;
    for (const std::byte& byte : bytes) {
        stream.write({&byte, 1});
    }
    EXPECT_TRUE(stream.is_at_boundary());
    EXPECT_EQ(stream.frames().size(), frame_vectors().size());
    EXPECT_EQ(stream.frames(), decoded_at_once(bytes));
}

TEST(SplitFrames, PiecesOfEverySize) {
    const auto bytes = all_frames();
    const auto expected = decoded_at_once(bytes);
    for (std::size_t size = 2; size <= 400; size += size < 40 ? 1 : 7) {
        Stream stream;
        for (Bytes rest = bytes; !rest.empty();) {
            const Bytes piece = rest.first(std::min(size, rest.size()));
            stream.write(piece);
            rest = rest.subspan(piece.size());
        }
        EXPECT_EQ(stream.frames(), expected) << "pieces of " << size;
    }
}

class EveryVector : public testing::TestWithParam<WireVector> {
protected:
    [[nodiscard]] static Frame frame() {
        return {.header = decode_frame_header(GetParam().bytes.data()),
                .body = Bytes{GetParam().bytes}.subspan(frame_header_size)};
    }
};

TEST_P(EveryVector, InTwoPiecesAtEveryPlace) {
    const Bytes bytes = GetParam().bytes;
    const auto expected = decoded_at_once(bytes);
    ASSERT_EQ(expected.size(), 1U);
    for (std::size_t at = 0; at <= bytes.size(); ++at) {
        Stream stream;
        stream.write(bytes.first(at));
        EXPECT_EQ(stream.frames().size(), at == bytes.size() ? 1U : 0U) << "at " << at;
        stream.write(bytes.subspan(at));
        EXPECT_EQ(stream.frames(), expected) << "split at " << at;
    }
}

// How many bytes are wanted: the header first, then exactly the frame.
TEST_P(EveryVector, SaysHowManyBytesAreWanted) {
    const Bytes bytes = GetParam().bytes;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto readable = exact(bytes.first(size));
        const DecodedFrame decoded = decode_frame(readable, frame_size_max_default);
        EXPECT_EQ(decoded.status, FrameStatus::need_more);
        EXPECT_EQ(decoded.wanted, size < frame_header_size ? frame_header_size : bytes.size());
    }
}

// A body that ends early is refused, except where its last field takes all that is left; then what came out fits into
// what is there. Nothing is read beyond the end (address sanitizer).
TEST_P(EveryVector, BodyCutAtEveryLength) {
    const Frame whole = frame();
    for (std::size_t size = 0; size < whole.body.size(); ++size) {
        const auto body = exact(whole.body.first(size));
        const std::string decoded = decode_body(whole.header, body);
        switch (whole.header.type) {
            case FrameType::attach:
                if (size >= 4 && size >= std::size_t{4} + load_u16(body.data())) {
                    EXPECT_EQ(decode_attach(body)->options.size(), size - 4 - load_u16(body.data()));
                } else {
                    EXPECT_EQ(decoded, "refused") << size;
                }
                break;
            case FrameType::admin:
                if (size >= 4 && size >= std::size_t{4} + load_u16(body.data())) {
                    EXPECT_EQ(decode_admin(body)->json.size(), size - 4 - load_u16(body.data()));
                } else {
                    EXPECT_EQ(decoded, "refused") << size;
                }
                break;
            case FrameType::deliver:  // The batch is checked by check_batch.
                if (size >= deliver_head_size + batch_header_size) {
                    EXPECT_FALSE(check_batch(decode_deliver(body)->batch)) << size;
                } else {
                    EXPECT_EQ(decoded, "refused") << size;
                }
                break;
            case FrameType::settle:
                if ((whole.header.flags & flag_settle_note) == 0) {
                    EXPECT_EQ(decoded == "refused", size == 0 || size % settlement_size != 0) << size;
                } else {
                    const std::size_t head = std::size_t{2} + load_u16(whole.body.data());
                    EXPECT_EQ(decoded == "refused", size <= head || (size - head) % settlement_size != 0) << size;
                }
                break;
            case FrameType::fragment:
                EXPECT_EQ(decoded == "refused", (whole.header.flags & flag_fragment_first) != 0) << size;
                break;
            case FrameType::attached:
            case FrameType::admin_reply:
                break;  // JSON that is read by somebody else.
            default:
                if (is_known(whole.header.type)) {
                    EXPECT_EQ(decoded, "refused") << size;
                }
        }
    }
}

// And one that goes on behind its end.
TEST_P(EveryVector, BodyWithOneByteMore) {
    const Frame whole = frame();
    auto longer = exact(whole.body);
    longer.push_back(std::byte{1});
    switch (whole.header.type) {
        case FrameType::hello:
        case FrameType::welcome:
        case FrameType::goaway:
        case FrameType::publish:
        case FrameType::confirm:
        case FrameType::settle:
        case FrameType::settled:
        case FrameType::credit:
        case FrameType::state:
        case FrameType::error:
            EXPECT_EQ(decode_body(whole.header, longer), "refused");
            break;
        case FrameType::deliver:
            EXPECT_FALSE(check_batch(decode_deliver(longer)->batch));
            break;
        case FrameType::fragment:
            EXPECT_EQ(decode_body(whole.header, longer) == "refused", (whole.header.flags & flag_fragment_first) != 0);
            break;
        default:
            break;  // Ends with bytes that are somebody else's.
    }
}

// Whatever one flipped bit makes of a body, no decoder reads astray (sanitizers) or fails an assertion.
TEST_P(EveryVector, EveryBitFlipped) {
    const Frame whole = frame();
    for (std::size_t bit = 0; bit < whole.body.size() * 8; ++bit) {
        auto body = exact(whole.body);
        body[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        static_cast<void>(decode_body(whole.header, body));
    }
}

INSTANTIATE_TEST_SUITE_P(Golden, EveryVector, testing::ValuesIn(frame_vectors()),
                         [](const auto& vector) { return golden::test_name(vector.param.name); });

TEST(SplitPreamble, EveryBeginning) {
    for (const WireVector& vector : golden::read_wire_vectors()) {
        if (vector.is_frame()) {
            continue;
        }
        for (std::size_t size = 0; size <= vector.bytes.size(); ++size) {
            const auto beginning = exact(Bytes{vector.bytes}.first(size));
            EXPECT_TRUE(may_be_preamble(beginning)) << vector.name << ", " << size;
            EXPECT_FALSE(looks_like_http(beginning)) << vector.name << ", " << size;
        }
    }
}

}  // namespace
}  // namespace baton::wire
