// The real disk where it refuses, is full, or shares with other processes; what it does otherwise is in
// tests/conformance/file_system_test.cpp.
#include "server/storage/posix_file_system.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/storage/errc.hpp"
#include "tests/unit/storage/disk_steps.hpp"

namespace baton::storage {

namespace {

class PosixFileSystemTest : public ::testing::Test {
protected:
    PosixFileSystemTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "baton-posix-XXXXXX").string();
        folder_ = ::mkdtemp(pattern.data());
        ::chmod(folder_.c_str(), 0755);
    }
    ~PosixFileSystemTest() override {
        if (is_mounted_) {
            ::umount2((folder_ + "/small").c_str(), MNT_DETACH);
        }
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

    [[nodiscard]] std::unique_ptr<PosixFileSystem> open_root(const std::string& name = "data") {
        auto opened = PosixFileSystem::open_root(folder_ + "/" + name);
        EXPECT_TRUE(opened) << text_of(opened);
        return opened ? std::move(*opened) : nullptr;
    }

    // A file system of its own at "small". False: only root may do that.
    [[nodiscard]] bool mount_small(unsigned long flags) {
        const std::string target = folder_ + "/small";
        std::filesystem::create_directories(target);
        is_mounted_ = is_mounted_ || ::mount("tmpfs", target.c_str(), "tmpfs", 0, "size=256k,mode=0755") == 0;
        return is_mounted_ &&
               (flags == 0 || ::mount(nullptr, target.c_str(), nullptr, MS_REMOUNT | flags, nullptr) == 0);
    }

    // The targets of the descriptors of this process that lie in the folder, and whether programs inherit one of them.
    struct Descriptors {
        std::vector<std::string> targets;
        bool is_inherited = false;
    };
    [[nodiscard]] Descriptors descriptors() const {
        Descriptors found;
        for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
            std::error_code ignored;
            const std::string target = std::filesystem::read_symlink(entry.path(), ignored).string();
            if (target.starts_with(folder_)) {
                found.targets.push_back(target.substr(folder_.size()));
                const int number = std::stoi(entry.path().filename().string());
                found.is_inherited = found.is_inherited || (::fcntl(number, F_GETFD) & FD_CLOEXEC) == 0;
            }
        }
        std::ranges::sort(found.targets);
        return found;
    }

    std::string folder_;
    bool is_mounted_ = false;
};

// Root may do everything: be nobody for a while. The files are root's.
class AsNobody {
public:
    AsNobody() { is_root_ = ::geteuid() == 0 && ::seteuid(65534) == 0; }
    ~AsNobody() { EXPECT_TRUE(!is_root_ || ::seteuid(0) == 0); }
    AsNobody(const AsNobody&) = delete;
    AsNobody& operator=(const AsNobody&) = delete;

private:
    bool is_root_ = false;
};

TEST_F(PosixFileSystemTest, the_root_is_made_but_not_its_parent) {
    EXPECT_NE(open_root(), nullptr);
    EXPECT_NE(open_root(), nullptr) << "it is there already";
    EXPECT_EQ(outcome(PosixFileSystem::open_root(folder_ + "/missing/data")), "not found");
    make_file(*open_root(), "file", "", false);
    EXPECT_EQ(outcome(PosixFileSystem::open_root(folder_ + "/data/file")), "not a directory");
    EXPECT_EQ(outcome(PosixFileSystem::open_root(folder_ + "/data/file/below")), "not a directory");
}

TEST_F(PosixFileSystemTest, a_directory_that_may_not_be_written) {
    const auto files = open_root();
    make_file(*files, "a", "content", true);
    ::chmod((folder_ + "/data").c_str(), 0555);
    ::chmod((folder_ + "/data/a").c_str(), 0444);
    const AsNobody nobody;
    EXPECT_EQ(outcome(files->open("b", OpenMode::create)), "not permitted");
    EXPECT_EQ(outcome(files->open("a", OpenMode::read_write)), "not permitted");
    EXPECT_EQ(outcome(files->rename("a", "b")), "not permitted");
    EXPECT_EQ(outcome(files->link("a", "b")), "not permitted");
    EXPECT_EQ(outcome(files->remove("a")), "not permitted");
    EXPECT_EQ(outcome(files->make_directory("d")), "not permitted");
    EXPECT_EQ(outcome(files->lock("LOCK", "x")), "not permitted");
    EXPECT_EQ(outcome(PosixFileSystem::open_root(folder_ + "/data/new")), "not permitted");
    EXPECT_EQ(content_of(*files, "a"), "content");
}

TEST_F(PosixFileSystemTest, a_directory_that_may_not_be_read) {
    const auto files = open_root();
    EXPECT_EQ(outcome(files->make_directory("secret")), "ok");
    make_file(*files, "secret/a", "content", true);
    ::chmod((folder_ + "/data/secret").c_str(), 0);
    ::chmod((folder_ + "/data").c_str(), 0755);
    {
        const AsNobody nobody;
        EXPECT_EQ(outcome(files->list("secret")), "not permitted");
        EXPECT_EQ(content_of(*files, "secret/a"), "!not permitted");
    }
    ::chmod((folder_ + "/data/secret").c_str(), 0700);
}

TEST_F(PosixFileSystemTest, a_read_only_file_system) {
    if (!mount_small(0)) {
        GTEST_SKIP() << "mounting needs root: " << std::strerror(errno);
    }
    const auto files = open_root("small");
    make_file(*files, "a", "content", true);
    ASSERT_TRUE(mount_small(MS_RDONLY));
    EXPECT_EQ(outcome(files->open("b", OpenMode::create)), "not permitted");
    EXPECT_EQ(outcome(files->open("a", OpenMode::read_write)), "not permitted");
    EXPECT_EQ(outcome(files->remove("a")), "not permitted");
    EXPECT_EQ(outcome(files->lock("LOCK", "x")), "not permitted");
    EXPECT_EQ(content_of(*files, "a"), "content");
    EXPECT_NE(open_root("small"), nullptr) << "for baton-inspect";
}

TEST_F(PosixFileSystemTest, a_full_file_system_is_no_space_until_there_is_some) {
    if (!mount_small(0)) {
        GTEST_SKIP() << "mounting needs root: " << std::strerror(errno);
    }
    const auto files = open_root("small");
    EXPECT_EQ(files->space().value_or(Space{}).total, 256U * 1024);
    make_file(*files, "LOCK", "old", true);
    const auto file = open_file(*files, "a", OpenMode::create);
    EXPECT_EQ(outcome(file->allocate(1 << 20)), "no space left");
    const std::string content(512 * 1024, 'x');
    const Bytes part = as_bytes(content);
    const auto written = file->write(0, {&part, 1});
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().message(), folder_ + "/small/a: write: No space left on device: no space left");
    EXPECT_EQ(files->space().value_or(Space{1, 1}).available, 0U);
    const auto lock = files->lock("LOCK", "new and longer");
    EXPECT_EQ(outcome(lock), "ok") << "a file that is there can be locked on a full disk";
    write_text(*file, 0, "y");  // What is there can be overwritten.
    EXPECT_EQ(outcome(file->truncate(1)), "ok");
    const Bytes less = part.first(1'000);
    EXPECT_EQ(outcome(file->write(0, {&less, 1})), "ok");
}

// A limit on the size of files makes the system take less than it is given.
TEST_F(PosixFileSystemTest, a_short_write_goes_on_where_it_stopped) {
    const auto files = open_root();
    const auto file = open_file(*files, "a", OpenMode::create);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const rlimit small{.rlim_cur = 10'000, .rlim_max = before.rlim_max};
    const auto handler = ::signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const std::string content(3'000, 'x');
    const std::vector<Bytes> parts(4, as_bytes(content));
    const auto written = file->write(0, parts);
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, handler);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().message(),
              folder_ + "/data/a: write: File too large: the system could not read or write");
    EXPECT_EQ(content_of(*files, "a"), std::string(10'000, 'x'));
}

TEST_F(PosixFileSystemTest, descriptors_are_closed_and_no_program_inherits_them) {
    {
        const auto files = open_root();
        const auto lock = files->lock("LOCK", "x");
        const auto file = open_file(*files, "a", OpenMode::create);
        (void)files->list("");
        (void)files->sync_directory("");
        (void)files->open("missing", OpenMode::read);
        (void)files->open("a", OpenMode::create);
        (void)files->lock("LOCK", "y");
        const Descriptors open = descriptors();
        EXPECT_EQ(open.targets, (std::vector<std::string>{"/data", "/data/LOCK", "/data/a"}));
        EXPECT_FALSE(open.is_inherited);
    }
    EXPECT_TRUE(descriptors().targets.empty());
}

TEST_F(PosixFileSystemTest, the_working_directory_does_not_matter) {
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(folder_);
    auto files = PosixFileSystem::open_root("data");
    std::filesystem::current_path(before);
    ASSERT_TRUE(files) << text_of(files);
    make_file(**files, "a", "content", false);
    EXPECT_EQ(std::filesystem::file_size(folder_ + "/data/a"), 7U);
}

TEST_F(PosixFileSystemTest, a_pipe_is_no_file_and_holds_nobody_up) {
    const auto files = open_root();
    ASSERT_EQ(::mkfifo((folder_ + "/data/pipe").c_str(), 0600), 0);
    EXPECT_EQ(outcome(files->open("pipe", OpenMode::read)), "not permitted");
    EXPECT_EQ(outcome(files->open("pipe", OpenMode::read_write)), "not permitted");
}

TEST_F(PosixFileSystemTest, a_name_that_is_too_long) {
    const auto files = open_root();
    EXPECT_EQ(outcome(files->open(std::string(300, 'x'), OpenMode::create)), "the system could not read or write");
}

TEST_F(PosixFileSystemTest, others_may_not_read) {
    const auto files = open_root();
    const mode_t mask = ::umask(0);
    make_file(*files, "a", "", false);
    EXPECT_EQ(outcome(files->make_directory("d")), "ok");
    ::umask(mask);
    struct stat status{};
    ASSERT_EQ(::stat((folder_ + "/data/a").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0640U);
    ASSERT_EQ(::stat((folder_ + "/data/d").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0700U);
}

TEST_F(PosixFileSystemTest, a_lock_ends_with_its_process) {
    const auto files = open_root();
    int ready[2];
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        const auto lock = files->lock("LOCK", "child");
        const char answer = lock ? 'y' : 'n';
        (void)!::write(ready[1], &answer, 1);
        for (;;) {
            ::pause();
        }
    }
    char answer = '?';
    EXPECT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    EXPECT_EQ(outcome(files->lock("LOCK", "parent")), "locked by another process");
    EXPECT_EQ(content_of(*files, "LOCK"), "child");
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_EQ(outcome(files->lock("LOCK", "parent")), "ok");
    EXPECT_EQ(content_of(*files, "LOCK"), "parent");
    ::close(ready[0]);
    ::close(ready[1]);
}

}  // namespace

}  // namespace baton::storage
