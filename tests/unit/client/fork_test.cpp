// A process that forks: the other one has no I/O thread, and must not wait for it.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <memory>

#include <gtest/gtest.h>

#include <baton/client.hpp>

namespace baton {
namespace {

TEST(Fork, TheOtherProcessIsNotHeldUp) {
    // Nobody listens there, and nobody has to.
    auto client = std::make_unique<Client>(
        ClientOptions{.url = "baton+unix:///nowhere/baton.sock", .close_timeout = std::chrono::milliseconds{50}});
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::alarm(60);  // Ends it if it waits.
        client.reset();
        ::_exit(7);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

}  // namespace
}  // namespace baton
