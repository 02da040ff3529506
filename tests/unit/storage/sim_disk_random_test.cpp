// The simulated disk under random writes, sizes, syncs and crashes, against a model that knows for each byte which
// values it may have: the synced one and those written since.
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"
#include "tests/sim/disk.hpp"
#include "tests/unit/storage/disk_steps.hpp"

namespace baton::sim {

namespace {

using namespace baton::storage;

// What one file may hold after a crash. Bytes behind the end are zeros.
class FileModel {
public:
    void write(std::uint64_t position, std::string_view text) {
        if (now_.size() < position + text.size()) {
            now_.resize(position + text.size());
        }
        now_.replace(position, text.size(), text);
        note();
    }
    void set_size(std::uint64_t size) {
        now_.resize(size);
        note();
    }
    void sync() {
        maybe_.clear();
        note();
    }
    // The file is what it was found to be, and that is durable.
    void settle(const std::string& found) {
        now_ = found;
        sync();
    }

    [[nodiscard]] const std::string& now() const noexcept { return now_; }
    [[nodiscard]] std::string why_not(const std::string& found) const {
        bool is_size_known = false;
        for (const std::string& version : maybe_) {
            is_size_known = is_size_known || version.size() == found.size();
        }
        if (!is_size_known) {
            return "a size that it never had: " + std::to_string(found.size());
        }
        for (std::size_t i = 0; i < found.size(); ++i) {
            bool is_known = false;
            for (const std::string& version : maybe_) {
                is_known = is_known || found[i] == (i < version.size() ? version[i] : '\0');
            }
            if (!is_known) {
                return "byte " + std::to_string(i) + " was never " + std::string(1, found[i]);
            }
        }
        return {};
    }

private:
    void note() { maybe_.push_back(now_); }

    std::string now_;
    std::vector<std::string> maybe_;  // Since the last sync, which is the first one.
};

void change(File& file, FileModel& model, Prng& prng) {
    const std::uint64_t position = prng.below(prng.chance(1, 2) ? 600 : 12'000);
    switch (prng.below(5)) {
        case 0:
            EXPECT_EQ(outcome(file.truncate(position)), "ok");
            model.set_size(position);
            break;
        case 1:
            EXPECT_EQ(outcome(file.allocate(position)), "ok");
            if (position > model.now().size()) {
                model.set_size(position);
            }
            break;
        case 2:
            EXPECT_EQ(outcome(file.sync()), "ok");
            model.sync();
            break;
        default: {
            const std::string text(prng.range(1, 3'000), static_cast<char>('A' + prng.below(26)));
            write_text(file, position, text);
            model.write(position, text);
        }
    }
}

TEST(SimDiskRandom, each_byte_is_what_was_synced_or_written_since) {
    std::set<bool> is_other;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        SCOPED_TRACE(testing::Message{} << "seed " << seed);
        Prng prng{seed};
        SimDisk disk;
        make_file(disk, "a", "", true);
        EXPECT_EQ(outcome(disk.sync_directory("")), "ok");
        FileModel model;
        model.sync();
        for (int crash = 0; crash < 5; ++crash) {
            const auto file = open_file(disk, "a", OpenMode::read_write);
            for (std::uint64_t step = prng.below(12); step > 0; --step) {
                change(*file, model, prng);
            }
            ASSERT_EQ(content_of(disk, "a"), model.now());
            disk.crash(prng);
            const std::string found = content_of(disk, "a");
            ASSERT_EQ(model.why_not(found), "");
            is_other.insert(found != model.now());
            model.settle(found);
            disk.crash_losing_everything();
            ASSERT_EQ(content_of(disk, "a"), found) << "what a crash left is durable";
        }
    }
    EXPECT_EQ(is_other.size(), 2U);
}

}  // namespace

}  // namespace baton::sim
