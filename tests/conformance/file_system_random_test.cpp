// Random calls on a real disk and on a simulated one, side by side: every answer and, at the end, everything on them
// must be the same. It finds the cases that nobody thought of for the other files of this suite.
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"
#include "server/storage/posix_file_system.hpp"
#include "tests/sim/disk.hpp"
#include "tests/unit/storage/disk_steps.hpp"

namespace baton::storage {

namespace {

// One call on one of the disks; the answer as text. The same choices for both, as the Prng is copied.
class Caller {
public:
    explicit Caller(FileSystem& files) : files_{files} {}

    std::string call(Prng prng) {
        const std::string a = path(prng);
        const std::string b = path(prng);
        switch (prng.below(14)) {
            case 0:
            case 1:
                return "create " + a + ": " + opened(a, OpenMode::create);
            case 2:
                return "open " + a + ": " + opened(a, prng.chance(1, 4) ? OpenMode::read : OpenMode::read_write);
            case 3:
                return "make_directory " + a + ": " + outcome(files_.make_directory(a));
            case 4:
            case 5:
                return "rename " + a + " to " + b + ": " + outcome(files_.rename(a, b));
            case 6:
                return "link " + a + " to " + b + ": " + outcome(files_.link(a, b));
            case 7:
                return "remove " + a + ": " + outcome(files_.remove(a));
            case 8:
                return "list " + a + ": " + listed(a);
            case 9:
                return "sync_directory " + a + ": " + outcome(files_.sync_directory(a));
            case 10:
                return "read_whole " + a + ": " + content_of(files_, a);
            default:
                return open_.empty() ? "" : on_file(prng);
        }
    }

private:
    static std::string path(Prng& prng) {
        std::string text;
        for (std::uint64_t depth = prng.range(1, 3); depth > 0; --depth) {
            text += (text.empty() ? "" : "/") + std::string(1, static_cast<char>('a' + prng.below(3)));
        }
        return text;
    }

    std::string opened(const std::string& path, OpenMode mode) {
        auto file = files_.open(path, mode);
        if (!file) {
            return outcome(file);
        }
        if (open_.size() > 5) {
            open_.erase(open_.begin());
        }
        open_.push_back(std::move(*file));
        return "ok";
    }

    std::string listed(const std::string& path) {
        const auto names = files_.list(path);
        std::string text = outcome(names);
        for (const std::string& name : names.value_or(std::vector<std::string>{})) {
            text += " " + name;
        }
        return text;
    }

    std::string on_file(Prng& prng) {
        File& file = *open_[prng.below(open_.size())];
        const std::uint64_t position = prng.below(prng.chance(1, 2) ? 20 : 20'000);
        switch (prng.below(6)) {
            case 0:
                return "truncate " + std::to_string(position) + ": " + outcome(file.truncate(position));
            case 1:
                return "allocate " + std::to_string(position) + ": " + outcome(file.allocate(position + 1));
            case 2:
                return "size: " + std::to_string(file.size().value_or(UINT64_MAX));
            case 3:
                return "sync: " + outcome(file.sync());
            case 4: {
                std::string text(prng.below(6'000), '?');
                const auto count = file.read(position, std::as_writable_bytes(std::span{text}));
                return "read: " + text.substr(0, count.value_or(0));
            }
            default: {
                const std::string text(prng.below(6'000), static_cast<char>('A' + prng.below(26)));
                const std::vector<Bytes> parts{as_bytes(text), as_bytes("end")};
                return "write at " + std::to_string(position) + ": " + outcome(file.write(position, parts));
            }
        }
    }

    FileSystem& files_;
    std::vector<std::unique_ptr<File>> open_;
};

TEST(FileSystemRandom, the_simulated_disk_answers_as_the_real_one) {
    std::string pattern = (std::filesystem::temp_directory_path() / "baton-random-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    std::map<std::string, int> successes;
    for (std::uint64_t seed = 1; seed <= 15 && !HasFailure(); ++seed) {
        auto real = PosixFileSystem::open_root(pattern + "/" + std::to_string(seed));
        ASSERT_TRUE(real) << text_of(real);
        sim::SimDisk disk;
        Caller on_real{**real};
        Caller on_sim{disk};
        Prng prng{seed};
        for (int step = 0; step < 400; ++step) {
            const Prng choices{prng.next()};
            const std::string answer = on_real.call(choices);
            ASSERT_EQ(answer, on_sim.call(choices)) << "seed " << seed << ", step " << step;
            if (answer.ends_with(": ok")) {
                ++successes[answer.substr(0, answer.find(' '))];
            }
        }
        for (const std::string& path : disk.all_files()) {
            ASSERT_EQ(content_of(**real, path), content_of(disk, path)) << "seed " << seed << ", " << path;
        }
    }
    for (const char* call : {"create", "open", "make_directory", "rename", "link", "remove", "truncate", "write"}) {
        EXPECT_GT(successes[call], 5) << call << ": the test tries nothing";
    }
    std::error_code ignored;
    std::filesystem::remove_all(pattern, ignored);
}

}  // namespace

}  // namespace baton::storage
