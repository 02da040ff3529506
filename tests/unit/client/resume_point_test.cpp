// Where a stream goes on: against a set of numbers under random operations.
#include "client/src/resume_point.hpp"

#include <set>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"

namespace baton::client {
namespace {

TEST(ResumePoint, IsTheFirstThatIsNotDone) {
    ResumePoint resume;
    EXPECT_EQ(resume.offset(), std::nullopt);
    resume.on_delivered(10, 5);
    EXPECT_EQ(resume.offset(), 10U);
    resume.on_done(11, 2);
    EXPECT_EQ(resume.offset(), 10U);
    resume.on_done(10, 1);
    EXPECT_EQ(resume.offset(), 13U);
    resume.on_done(13, 2);
    EXPECT_EQ(resume.offset(), 15U);  // Nothing is open: behind all.
    resume.on_delivered(20, 1);
    EXPECT_EQ(resume.offset(), 20U);
    resume.on_delivered(12, 1);  // Given back, and given again.
    EXPECT_EQ(resume.offset(), 12U);
}

TEST(ResumePoint, IsNotBehindWhatWasGivenOutOfItsTurn) {
    using Turn = ResumePoint::Turn;
    ResumePoint resume;
    resume.on_delivered(21, 1, Turn::other);
    EXPECT_EQ(resume.offset(), std::nullopt) << "what is in front of it may not have been given";
    EXPECT_EQ(resume.lowest(), 21U);
    resume.on_done(21, 1);
    EXPECT_EQ(resume.offset(), std::nullopt);
    resume.on_delivered(1, 3);
    EXPECT_EQ(resume.offset(), 1U);
    resume.on_done(1, 3);
    EXPECT_EQ(resume.offset(), 4U) << "not 22";
    resume.on_delivered(30, 1, Turn::other);
    EXPECT_EQ(resume.offset(), 4U);
    resume.on_delivered(2, 1, Turn::other);  // It was delayed.
    EXPECT_EQ(resume.offset(), 2U);
    EXPECT_EQ(resume.lowest(), 1U);
}

TEST(ResumePoint, AgreesWithASet) {
    Prng prng{7};
    for (int round = 0; round < 200; ++round) {
        ResumePoint resume;
        std::set<std::uint64_t> open;
        std::uint64_t end = 0;
        for (int step = 0; step < 60; ++step) {
            const std::uint64_t first = prng.range(1, 50);
            const std::uint64_t count = prng.range(1, 8);
            if (prng.range(0, 1) == 0) {
                resume.on_delivered(first, count);
                end = std::max(end, first + count);
                for (std::uint64_t offset = first; offset < first + count; ++offset) {
                    open.insert(offset);
                }
            } else {
                resume.on_done(first, count);
                for (std::uint64_t offset = first; offset < first + count; ++offset) {
                    open.erase(offset);
                }
            }
            if (end != 0) {
                ASSERT_EQ(resume.offset(), open.empty() ? end : *open.begin()) << round << "/" << step;
            }
        }
    }
}

}  // namespace
}  // namespace baton::client
