// The ready file and the notification socket.
#include "server/app/ready.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "common/net/descriptor.hpp"
#include "tests/unit/app/scratch.hpp"

namespace baton::app {
namespace {

using test::EnvironmentVariable;
using test::Scratch;

TEST(ReadyFile, HoldsProcessAndListeners) {
    Scratch scratch;
    ASSERT_TRUE(write_ready_file(scratch.path("ready"), {"tcp://127.0.0.1:5", "unix:///tmp/x"}));
    const auto text = scratch.read("ready");
    EXPECT_TRUE(text.ends_with("\n"));
    const auto json = nlohmann::json::parse(text);
    EXPECT_EQ(json["pid"], ::getpid());
    EXPECT_EQ(json["listen"], (nlohmann::json{"tcp://127.0.0.1:5", "unix:///tmp/x"}));
    EXPECT_EQ(scratch.file_count(), 1U);  // No temporary file is left.
}

TEST(ReadyFile, ReplacesAnOldOneAsAWhole) {
    Scratch scratch;
    scratch.write("ready", std::string(100'000, 'x'));
    ASSERT_TRUE(write_ready_file(scratch.path("ready"), {"tcp://127.0.0.1:5"}));
    EXPECT_TRUE(nlohmann::json::accept(scratch.read("ready")));
}

TEST(ReadyFile, LeavesNothingBehindWhenItFails) {
    Scratch scratch;
    std::filesystem::create_directory(scratch.path("ready"));
    const auto written = write_ready_file(scratch.path("ready"), {});
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().message().find("ready"), std::string::npos);
    EXPECT_EQ(scratch.file_count(), 1U);
    EXPECT_FALSE(write_ready_file(scratch.path("no/such/folder"), {}));
}

TEST(ReadyFile, TakesPathsThatAreNotText) {
    Scratch scratch;
    EXPECT_TRUE(write_ready_file(scratch.path("ready"), {"unix:///tmp/\xff"}));
    EXPECT_TRUE(nlohmann::json::accept(scratch.read("ready")));
}

TEST(ReadyFile, ReplacesOnlyARegularFile) {
    Scratch scratch;
    ASSERT_EQ(::mkfifo(scratch.path("fifo").c_str(), 0600), 0);
    std::filesystem::create_symlink(scratch.write("target", "precious"), scratch.path("link"));
    for (const auto* name : {"fifo", "link"}) {
        const auto checked = check_ready_file(scratch.path(name));
        ASSERT_FALSE(checked) << name;
        EXPECT_NE(checked.error().message().find("not a regular file; choose another --ready-file"), std::string::npos);
        EXPECT_FALSE(write_ready_file(scratch.path(name), {}));
        remove_ready_file(scratch.path(name));
    }
    EXPECT_TRUE(std::filesystem::is_fifo(scratch.path("fifo")));
    EXPECT_TRUE(std::filesystem::is_symlink(scratch.path("link")));
    EXPECT_EQ(scratch.read("target"), "precious");
    EXPECT_EQ(scratch.file_count(), 3U);
    EXPECT_TRUE(check_ready_file(scratch.path("target")));
    EXPECT_TRUE(check_ready_file(scratch.path("new")));
}

TEST(ReadyFile, IsRemovedOnlyWhileItIsTheOneThatWasWritten) {
    Scratch scratch;
    const auto path = scratch.path("ready");
    const auto ours = write_ready_file(path, {"tcp://127.0.0.1:5"});
    ASSERT_TRUE(ours);
    const auto next = write_ready_file(path, {"tcp://127.0.0.1:5"});
    ASSERT_TRUE(next);
    EXPECT_EQ(ours->text, next->text);
    remove_own_ready_file(*ours);
    EXPECT_EQ(scratch.read("ready"), next->text);  // Another broker's, which may well say the same.
    scratch.write("ready", "somebody's");          // The same file, with another content.
    remove_own_ready_file(*next);
    EXPECT_EQ(scratch.read("ready"), "somebody's");
    std::filesystem::remove(path);
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    remove_own_ready_file(*next);  // Nor does it wait for a writer.
    EXPECT_TRUE(std::filesystem::is_fifo(path));
    std::filesystem::remove(path);
    remove_own_ready_file(*next);
    const auto last = write_ready_file(path, {});
    ASSERT_TRUE(last);
    remove_own_ready_file(*last);
    EXPECT_EQ(scratch.file_count(), 0U);
}

class NotifySocket {
public:
    explicit NotifySocket(const std::string& path) : socket_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)} {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
        EXPECT_EQ(::bind(socket_.number(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    }
    std::string hears() {
        std::array<char, 100> buffer{};
        const auto size = ::recv(socket_.number(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        return size < 0 ? "" : std::string(buffer.data(), static_cast<std::size_t>(size));
    }

private:
    net::Descriptor socket_;
};

TEST(NotifySocket, IsToldTheState) {
    Scratch scratch;
    NotifySocket manager{scratch.path("notify")};
    const EnvironmentVariable variable{"NOTIFY_SOCKET", scratch.path("notify").c_str()};
    notify_service_manager("READY=1");
    EXPECT_EQ(manager.hears(), "READY=1");
}

TEST(NotifySocket, MayBeAbstract) {
    const auto name = "baton-notify-test-" + std::to_string(::getpid());
    NotifySocket manager{std::string{'\0'} + name};
    const EnvironmentVariable variable{"NOTIFY_SOCKET", ("@" + name).c_str()};
    notify_service_manager("STOPPING=1");
    EXPECT_EQ(manager.hears(), "STOPPING=1");
}

TEST(NotifySocket, NobodyNeedListen) {
    notify_service_manager("READY=1");
    const EnvironmentVariable missing{"NOTIFY_SOCKET", "/does/not/exist"};
    notify_service_manager("READY=1");
    const EnvironmentVariable too_long{"NOTIFY_SOCKET", ("/" + std::string(200, 'x')).c_str()};
    notify_service_manager("READY=1");
    const EnvironmentVariable empty{"NOTIFY_SOCKET", ""};
    notify_service_manager("READY=1");
}

}  // namespace
}  // namespace baton::app
