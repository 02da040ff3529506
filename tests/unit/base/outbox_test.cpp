// The outbox against a reference that keeps whole frames: every byte, in the right order, and control overtakes data
// only between frames. Also what it costs when idle and when busy.
#include "common/base/outbox.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"

namespace baton {
namespace {

Payload payload_of(ChunkPool& pool, std::string_view text) {
    ChunkRef chunk = pool.allocate(text.size() + 1);
    copy_bytes(chunk.bytes(), as_bytes(text));
    return Payload{std::move(chunk), 0, text.size()};
}

// What gather() returns, as text, and how many buffers it took.
struct Gathered {
    std::string text;
    std::size_t buffer_count = 0;
};

Gathered gather(Outbox& outbox, std::size_t buffers_max = 64, std::size_t bytes_max = SIZE_MAX) {
    std::vector<iovec> buffers(buffers_max);
    Gathered gathered;
    gathered.buffer_count = outbox.gather(buffers, bytes_max);
    for (const iovec& buffer : std::span{buffers}.first(gathered.buffer_count)) {
        EXPECT_GT(buffer.iov_len, 0U);
        gathered.text.append(static_cast<const char*>(buffer.iov_base), buffer.iov_len);
    }
    return gathered;
}

// As a socket that takes everything.
std::string write_all(Outbox& outbox) {
    std::string written;
    while (!outbox.empty()) {
        const Gathered gathered = gather(outbox);
        written += gathered.text;
        outbox.consume(gathered.text.size());
    }
    return written;
}

class OutboxTest : public testing::Test {
protected:
    ChunkPool pool;
    Outbox outbox{pool};

    void control(std::string_view text) { outbox.frame(Lane::control, as_bytes(text)); }
    void data(std::string_view text) { outbox.frame(Lane::data, as_bytes(text)); }
};

TEST_F(OutboxTest, idle_it_is_small_and_holds_nothing) {
    static_assert(sizeof(Outbox) <= 2 * sizeof(void*));
    EXPECT_TRUE(outbox.empty());
    EXPECT_EQ(gather(outbox).buffer_count, 0U);
    outbox.consume(0);
    outbox.clear();
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
}

TEST_F(OutboxTest, nearly_idle_it_costs_one_small_chunk_and_gives_it_back) {
    control("ping");
    data("message");
    EXPECT_EQ(pool.outstanding_bytes(), ChunkPool::small_chunk_size);
    EXPECT_EQ(outbox.size_bytes(), 11U);
    EXPECT_EQ(outbox.data_bytes(), 7U);
    EXPECT_EQ(write_all(outbox), "pingmessage");
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
    EXPECT_EQ(outbox.size_bytes(), 0U);
    EXPECT_EQ(outbox.data_bytes(), 0U);
}

TEST_F(OutboxTest, copied_frames_of_a_lane_become_one_buffer) {
    for (int i = 0; i < 30; ++i) {
        data("frame;");
    }
    EXPECT_EQ(gather(outbox).buffer_count, 1U);
    EXPECT_EQ(gather(outbox).text.size(), 180U);
}

TEST_F(OutboxTest, control_overtakes_data_that_was_not_begun) {
    data("D1");
    data("D2");
    control("C1");
    EXPECT_EQ(gather(outbox).text, "C1D1D2");
}

TEST_F(OutboxTest, control_waits_for_the_end_of_a_frame_that_was_begun) {
    data("[first]");
    data("[second]");
    ASSERT_EQ(gather(outbox).text, "[first][second]");
    outbox.consume(3);
    control("!");
    EXPECT_EQ(gather(outbox).text, "rst]![second]");
    outbox.consume(4);
    EXPECT_EQ(gather(outbox).text, "![second]");
    outbox.consume(2);
    control("?");
    EXPECT_EQ(gather(outbox).text, "second]?");
    EXPECT_EQ(outbox.data_bytes(), 7U);
}

TEST_F(OutboxTest, after_the_last_byte_of_a_frame_control_goes_first) {
    data("[first]");
    data("[second]");
    ASSERT_EQ(gather(outbox).text.size(), 15U);
    outbox.consume(7);
    control("!");
    EXPECT_EQ(gather(outbox).text, "![second]");
}

TEST_F(OutboxTest, half_written_control_is_finished_before_data) {
    data("[data]");
    control("(control)");
    ASSERT_EQ(gather(outbox).text, "(control)[data]");
    outbox.consume(4);
    control("(more)");
    EXPECT_EQ(gather(outbox).text, "trol)(more)[data]");
}

TEST_F(OutboxTest, what_was_gathered_stays_though_frames_are_appended) {
    data("[first]");
    data("[second]");
    std::array<iovec, 4> buffers{};
    ASSERT_EQ(outbox.gather(buffers, SIZE_MAX), 1U);
    control("!");
    data("[third]");
    EXPECT_EQ(as_text({static_cast<const std::byte*>(buffers[0].iov_base), buffers[0].iov_len}), "[first][second]");
    outbox.consume(9);  // Of what was gathered: the first frame and "[s".
    EXPECT_EQ(gather(outbox).text, "econd]![third]");
}

TEST_F(OutboxTest, limits_of_gather_are_kept) {
    const Payload large = payload_of(pool, std::string(1000, 'p'));
    for (int i = 0; i < 3; ++i) {
        outbox.begin_frame(Lane::data);
        outbox.append(as_bytes("header"));
        outbox.append(large);
        outbox.end_frame();
    }
    EXPECT_EQ(gather(outbox).buffer_count, 6U);
    EXPECT_EQ(gather(outbox, 2).text.size(), 1006U);
    EXPECT_EQ(gather(outbox, 3).buffer_count, 3U);
    EXPECT_EQ(gather(outbox, 64, 1010).text, "header" + std::string(1000, 'p') + "head");
    EXPECT_EQ(gather(outbox, 64, 0).buffer_count, 0U);
    EXPECT_EQ(gather(outbox, 0).buffer_count, 0U);
    EXPECT_EQ(gather(outbox, 64, 1).text, "h");
}

TEST_F(OutboxTest, large_payloads_are_referenced_and_small_ones_copied) {
    Payload large = payload_of(pool, std::string(Outbox::reference_size_min, 'L'));
    const Payload small = payload_of(pool, std::string(Outbox::reference_size_min - 1, 's'));
    const std::byte* const large_address = large.data();
    const std::byte* const small_address = small.data();
    outbox.begin_frame(Lane::data);
    outbox.append(large);
    outbox.append(small);
    outbox.append(std::move(large));
    outbox.end_frame();
    EXPECT_TRUE(large.empty());  // NOLINT(bugprone-use-after-move): taken over.
    std::array<iovec, 4> buffers{};
    ASSERT_EQ(outbox.gather(buffers, SIZE_MAX), 3U);
    EXPECT_EQ(buffers[0].iov_base, large_address);
    EXPECT_NE(buffers[1].iov_base, small_address);
    EXPECT_EQ(buffers[2].iov_base, large_address);
}

TEST_F(OutboxTest, payloads_live_until_their_last_byte_is_written) {
    {
        const Payload large = payload_of(pool, std::string(1000, 'p'));
        outbox.begin_frame(Lane::data);
        outbox.append(large);
        outbox.append(as_bytes("tail"));
        outbox.end_frame();
    }
    const std::size_t with_payload = pool.outstanding_bytes();
    ASSERT_EQ(gather(outbox).text.size(), 1004U);
    outbox.consume(999);
    EXPECT_EQ(pool.outstanding_bytes(), with_payload);
    EXPECT_EQ(gather(outbox).text, "ptail");
    outbox.consume(1);
    EXPECT_EQ(pool.outstanding_bytes(), with_payload - 1001);
    EXPECT_EQ(write_all(outbox), "tail");
}

TEST_F(OutboxTest, clear_lets_everything_go_even_an_open_frame) {
    data("half written");
    (void)gather(outbox);
    outbox.consume(3);
    outbox.begin_frame(Lane::control);
    outbox.append(payload_of(pool, std::string(5000, 'x')));
    outbox.append(as_bytes(std::string(100'000, 'y')));
    outbox.clear();
    EXPECT_TRUE(outbox.empty());
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
    data("again");
    EXPECT_EQ(write_all(outbox), "again");
}

TEST_F(OutboxTest, a_long_backlog_is_kept_and_given_back) {
    std::string expected;
    for (int i = 0; i < 3000; ++i) {
        const std::string header = "<" + std::to_string(i) + ">";
        const std::string body(static_cast<std::size_t>(i % 700), static_cast<char>('a' + i % 26));
        outbox.begin_frame(Lane::data);
        outbox.append(as_bytes(header));
        outbox.append(payload_of(pool, body));
        outbox.end_frame();
        expected += header + body;
    }
    EXPECT_EQ(outbox.data_bytes(), expected.size());
    EXPECT_EQ(write_all(outbox), expected);
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
}

TEST_F(OutboxTest, a_copy_larger_than_any_chunk_is_kept_whole) {
    std::string text(ChunkPool::medium_chunk_size * 3 + 17, '\0');
    for (std::size_t i = 0; i < text.size(); ++i) {
        text[i] = static_cast<char>('a' + i % 23);
    }
    data(text);
    control(text);
    EXPECT_EQ(write_all(outbox), text + text);
}

TEST_F(OutboxTest, busy_it_takes_no_new_memory) {
    const Payload large = payload_of(pool, std::string(2000, 'p'));
    const auto turn = [&] {
        for (int i = 0; i < 200; ++i) {
            outbox.begin_frame(Lane::data);
            outbox.append(as_bytes(std::string(60, 'h')));
            outbox.append(large);
            outbox.end_frame();
            control("confirm");
        }
        EXPECT_EQ(write_all(outbox).size(), 200U * (2060 + 7));
    };
    turn();
    const std::size_t free_chunks = pool.free_chunks();
    for (int i = 0; i < 20; ++i) {
        turn();
        EXPECT_EQ(pool.free_chunks(), free_chunks);  // The chunks of the first turn, again and again.
    }
}

TEST_F(OutboxTest, never_empty_it_does_not_grow) {
    data("seed");
    std::size_t peak = 0;
    for (int i = 0; i < 20'000; ++i) {
        data(std::string(100, 'x'));
        control("c");
        (void)gather(outbox, 64, 101);
        outbox.consume(101);
        if (i == 10'000) {
            peak = pool.outstanding_bytes();
        }
    }
    EXPECT_LE(pool.outstanding_bytes(), peak + ChunkPool::medium_chunk_size);
    EXPECT_LE(peak, 4 * ChunkPool::medium_chunk_size);
}

using OutboxDeathTest = OutboxTest;

TEST_F(OutboxDeathTest, calls_out_of_order_are_bugs) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(outbox.append(as_bytes("x")), "no frame");
    EXPECT_DEATH(outbox.end_frame(), "no frame");
    EXPECT_DEATH((outbox.begin_frame(Lane::data), outbox.end_frame()), "open_size > 0");
    data("x");
    EXPECT_DEATH(outbox.append(as_bytes("x")), "assertion failed");
    EXPECT_DEATH(outbox.consume(1), "more than was gathered");
    (void)gather(outbox);
    EXPECT_DEATH(outbox.consume(2), "more than was gathered");
    data("y");
    (void)gather(outbox);
    outbox.consume(1);
    EXPECT_DEATH(outbox.consume(1), "more than was gathered");  // What remains is gathered anew.
    outbox.begin_frame(Lane::data);
    EXPECT_DEATH(outbox.begin_frame(Lane::control), "open already");
    EXPECT_DEATH((void)gather(outbox), "frame is open");
}

// Whole frames in two queues, and the one that was begun.
class ReferenceOutbox {
public:
    void frame(Lane lane, std::string text) { (lane == Lane::control ? control_ : data_).push_back(std::move(text)); }

    // Everything, in the order in which it would be written now.
    [[nodiscard]] std::string order() const {
        std::string text = begun_;
        for (const std::deque<std::string>* lane : {&control_, &data_}) {
            for (const std::string& frame : *lane) {
                text += frame;
            }
        }
        return text;
    }

    // `size` bytes of what order() returned when `control_count` control frames were waiting.
    void consume(std::size_t size, std::size_t control_count) {
        while (size > 0) {
            if (begun_.empty()) {
                std::deque<std::string>& lane = control_count > 0 ? control_ : data_;
                control_count -= control_count > 0 ? 1 : 0;
                begun_ = lane.front();
                lane.pop_front();
            }
            const std::size_t length = std::min(size, begun_.size());
            begun_.erase(0, length);
            size -= length;
        }
    }

    [[nodiscard]] std::size_t control_count() const { return control_.size(); }

private:
    std::string begun_;
    std::deque<std::string> control_;
    std::deque<std::string> data_;
};

class RandomTraffic {
public:
    explicit RandomTraffic(std::uint64_t seed) : prng_{seed} {}

    void run(int steps) {
        for (int step = 0; step < steps && !testing::Test::HasFailure(); ++step) {
            // Bursts and calms, so that it often runs empty and sometimes has a long backlog.
            const std::uint64_t load = step / 100 % 3 == 0 ? 5 : 2;
            if (prng_.chance(load, 6)) {
                append_frame();
            } else {
                write();
            }
            ASSERT_EQ(outbox_.size_bytes(), reference_.order().size());
        }
        ASSERT_EQ(write_all(outbox_), reference_.order());
        ASSERT_EQ(pool_.outstanding_bytes(), 0U);
    }

private:
    std::string random_text() {
        const std::size_t size_max = prng_.chance(1, 50) ? 100'000 : prng_.chance(1, 5) ? 3000 : 100;
        std::string text(prng_.range(1, size_max), '\0');
        for (char& letter : text) {
            letter = static_cast<char>(letter_++);
        }
        return text;
    }

    void append_frame() {
        const Lane lane = prng_.chance(1, 3) ? Lane::control : Lane::data;
        std::string whole;
        outbox_.begin_frame(lane);
        for (std::uint64_t parts = prng_.range(1, 3); parts > 0; --parts) {
            const std::string text = random_text();
            whole += text;
            switch (prng_.below(3)) {
                case 0:
                    outbox_.append(as_bytes(text));
                    break;
                case 1: {
                    const Payload payload = payload_of(pool_, "ab" + text + "c");
                    outbox_.append(payload.slice(2, text.size()));
                    break;
                }
                default: {
                    const Payload payload = payload_of(pool_, text);
                    outbox_.append(payload);
                }
            }
        }
        outbox_.end_frame();
        reference_.frame(lane, std::move(whole));
    }

    void write() {
        const std::size_t bytes_max = prng_.chance(1, 2) ? SIZE_MAX : prng_.below(5000);
        const std::size_t buffers_max = prng_.range(1, 20);
        const std::string expected = reference_.order();
        const std::size_t control_count = reference_.control_count();
        const Gathered gathered = gather(outbox_, buffers_max, bytes_max);
        ASSERT_LE(gathered.text.size(), std::min(bytes_max, expected.size()));
        ASSERT_EQ(gathered.text, expected.substr(0, gathered.text.size()));
        // It stops for one of three reasons.
        ASSERT_TRUE(gathered.text.size() == std::min(bytes_max, expected.size()) ||
                    gathered.buffer_count == buffers_max);
        if (prng_.chance(1, 4)) {
            append_frame();  // While the socket is busy with what was gathered.
        }
        const std::size_t written = prng_.chance(1, 3) ? gathered.text.size() : prng_.range(0, gathered.text.size());
        outbox_.consume(written);
        reference_.consume(written, control_count);
    }

    Prng prng_;
    ChunkPool pool_;
    Outbox outbox_{pool_};
    ReferenceOutbox reference_;
    unsigned letter_ = 0;
};

TEST(outbox_random, every_byte_in_the_right_order) {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        RandomTraffic{seed}.run(600);
    }
}

}  // namespace
}  // namespace baton
