// Errors of the broker's folders become statuses of the protocol.
#include "server/session/status_mapping.hpp"

#include <gtest/gtest.h>

#include "server/channel/errc.hpp"
#include "server/runtime/errc.hpp"

namespace baton::session {
namespace {

using wire::Status;

TEST(StatusMapping, KnowsEveryErrorOfChannelsAndRuntime) {
    EXPECT_EQ(to_status({}), Status::ok);
    EXPECT_EQ(to_status(channel::Errc::sequence_gap), Status::sequence_gap);
    EXPECT_EQ(to_status(channel::Errc::superseded), Status::superseded);
    EXPECT_EQ(to_status(channel::Errc::too_large), Status::message_too_large);
    EXPECT_EQ(to_status(channel::Errc::bad_batch), Status::bad_batch);
    EXPECT_EQ(to_status(channel::Errc::over_credit), Status::over_credit);
    EXPECT_EQ(to_status(channel::Errc::lost_lease), Status::lost_lease);
    EXPECT_EQ(to_status(channel::Errc::unsupported_outcome), Status::unsupported_outcome);
    EXPECT_EQ(to_status(channel::Errc::channel_deleted), Status::channel_deleted);
    EXPECT_EQ(to_status(channel::Errc::draining), Status::draining);
    EXPECT_EQ(to_status(channel::Errc::too_many_producers), Status::too_many_producers);
    EXPECT_EQ(to_status(channel::Errc::disk_full), Status::disk_full);
    EXPECT_EQ(to_status(channel::Errc::storage_failed), Status::storage_failed);
    EXPECT_EQ(to_status(channel::Errc::damaged), Status::channel_damaged);
    EXPECT_EQ(to_status(runtime::Errc::not_found), Status::not_found);
    EXPECT_EQ(to_status(runtime::Errc::too_many_channels), Status::too_many_channels);
    EXPECT_EQ(to_status(runtime::Errc::draining), Status::draining);
}

TEST(StatusMapping, StrangersAreInternal) {
    EXPECT_EQ(to_status(std::make_error_code(std::errc::no_space_on_device)), Status::internal);
    EXPECT_EQ(to_status({999, channel::channel_category()}), Status::internal);
}

}  // namespace
}  // namespace baton::session
