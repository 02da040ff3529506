// What may be acked when the reader of a pipe reads on, stops reading, or leaves.
#include "client/cli/stdout_writer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>

#include <gtest/gtest.h>

namespace baton::cli {
namespace {

// stdout is a pipe as long as this lives.
class PipeOnStdout : public testing::Test {
protected:
    PipeOnStdout() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        reader_ = ends[0];
        kept_ = ::dup(STDOUT_FILENO);
        ::dup2(ends[1], STDOUT_FILENO);
        ::close(ends[1]);
    }
    ~PipeOnStdout() override {
        leave();
        ::dup2(kept_, STDOUT_FILENO);
        ::close(kept_);
    }
    std::string read_some() const {
        std::array<char, 100> buffer{};
        const auto size = ::read(reader_, buffer.data(), buffer.size());
        return {buffer.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
    }
    void leave() {
        if (reader_ >= 0) {
            ::close(reader_);
            reader_ = -1;
        }
    }

    int reader_ = -1;
    int kept_ = -1;
    Interrupt interrupt_;
};

using Outcome = StdoutWriter::Outcome;

TEST_F(PipeOnStdout, AReaderThatReadsGetsOneByOneAtFirst) {
    StdoutWriter writer{interrupt_};
    ASSERT_TRUE(writer.is_one_by_one());
    std::thread reader{[this] { EXPECT_EQ(read_some(), "one\n"); }};
    const auto written = writer.write("one\n");
    reader.join();
    EXPECT_EQ(written.outcome, Outcome::written);
    EXPECT_EQ(written.size, 4U);
    EXPECT_TRUE(writer.is_one_by_one());
}

TEST_F(PipeOnStdout, WhatALeavingReaderDidNotTakeIsNotWritten) {
    StdoutWriter writer{interrupt_};
    std::thread reader{[this] {
        EXPECT_EQ(read_some(), "one\n");
        leave();
    }};
    EXPECT_EQ(writer.write("one\n").size, 4U);
    reader.join();
    const auto written = writer.write("two\n");
    EXPECT_EQ(written.outcome, Outcome::reader_gone);
    EXPECT_EQ(written.size, 0U);
}

TEST_F(PipeOnStdout, AReaderThatDoesNotReadIsNotWaitedForTwice) {
    StdoutWriter writer{interrupt_};
    const auto written = writer.write("one\n");
    EXPECT_EQ(written.outcome, Outcome::written);
    EXPECT_EQ(written.size, 4U);
    EXPECT_FALSE(writer.is_one_by_one());
    EXPECT_EQ(writer.write("two\nthree\n").size, 10U);
    leave();
    EXPECT_EQ(writer.write("four\n").outcome, Outcome::reader_gone);
}

TEST_F(PipeOnStdout, WhetherAnybodyReadsIsKnownWithoutWriting) {
    EXPECT_FALSE(stdout_trouble());
    leave();
    EXPECT_EQ(stdout_trouble(), std::errc::broken_pipe);
    const int read_only = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::dup2(read_only, STDOUT_FILENO);
    ::close(read_only);
    EXPECT_EQ(stdout_trouble(), std::errc::bad_file_descriptor);
    ::close(STDOUT_FILENO);
    EXPECT_EQ(stdout_trouble(), std::errc::bad_file_descriptor);
}

TEST_F(PipeOnStdout, AReaderMayLeaveWhileItIsIgnored) {
    interrupt_.watch_stdout();
    interrupt_.ignore_stdout();
    leave();
    EXPECT_FALSE(interrupt_.is_requested());
    interrupt_.watch_stdout();
    interrupt_.pause(std::chrono::hours{1});
    EXPECT_TRUE(interrupt_.is_requested());
}

TEST_F(PipeOnStdout, ALeavingReaderEndsAWait) {
    interrupt_.watch_stdout();
    leave();
    std::array<int, 2> never{};
    ASSERT_EQ(::pipe2(never.data(), O_CLOEXEC), 0);
    EXPECT_FALSE(interrupt_.wait_ready(never[0], 1));
    EXPECT_TRUE(interrupt_.is_requested());
    EXPECT_FALSE(interrupt_.has_signal());
    ::close(never[0]);
    ::close(never[1]);
}

}  // namespace
}  // namespace baton::cli
