// The asynchronous face: its operations complete on the caller's executor, also those that have nothing to wait for.
#include <string>
#include <vector>

#include <asio/io_context.hpp>
#include <gmock/gmock.h>

#include <baton/async.hpp>

namespace baton {
namespace {

using testing::ElementsAre;

class AsyncClientTest : public testing::Test {
protected:
    auto note(std::string what) {
        return [this, what = std::move(what)](const std::exception_ptr& error, const auto&...) {
            const auto failure = error_of(error);
            ended.push_back(what + ": " + (failure ? std::string{name_of(failure->code())} : "done"));
        };
    }

    asio::io_context context;
    // Nobody listens there, and nobody has to.
    AsyncClient client{context.get_executor(), ClientOptions{.url = "baton+unix:///nowhere/baton.sock",
                                                             .close_timeout = std::chrono::milliseconds{50}}};
    std::vector<std::string> ended;
};

TEST_F(AsyncClientTest, AnEmptyDeliveryIsLost) {
    std::vector<SettleResult> results;
    const auto take = [&results](const std::exception_ptr&, SettleResult result) { results.push_back(result); };
    Delivery kept;
    client.async_ack(Delivery{}, take);
    client.async_give_back(Delivery{}, take);
    client.async_retry(Delivery{}, std::chrono::seconds{1}, "why", take);
    client.async_retry(Delivery{}, std::nullopt, {}, take);
    client.async_reject(Delivery{}, "why", take);
    client.async_extend(kept, std::chrono::seconds{1}, take);
    EXPECT_TRUE(results.empty()) << "never from inside the call";
    context.run();
    EXPECT_EQ(results, std::vector<SettleResult>(6, SettleResult::lost_lease));
}

TEST_F(AsyncClientTest, BadArgumentsAndTheEnd) {
    client.async_receive("a", ReceiverOptions{.lease = std::chrono::milliseconds{1}}, note("lease"));
    client.async_admin("channel.show", "a", "no JSON", note("admin"));
    context.run();
    EXPECT_THAT(ended, ElementsAre("lease: bad_argument", "admin: bad_argument"));
    ended.clear();
    context.restart();
    client.async_receive("b", ReceiverOptions{}, note("without"));  // Another link: what cannot be does not become this one.
    client.async_receive("b", ReceiverOptions{.filter = "a..b"}, note("filter"));
    context.run_one();
    EXPECT_THAT(ended, ElementsAre("filter: bad_argument"));
    ended.clear();
    context.restart();
    client.async_receive("a", ReceiverOptions{.subscription = "s", .from = StartFrom::first()}, note("receive"));
    client.async_admin("channel.show", "a", "", note("admin"));
    client.async_close(note("close"));
    context.run();
    std::ranges::sort(ended);
    EXPECT_THAT(ended, ElementsAre("admin: closed", "close: done", "receive: closed", "without: closed"));
}

}  // namespace
}  // namespace baton
