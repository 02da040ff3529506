// The implementations of storage::FileSystem that the suite runs on, each made new for every test.
// Next file: file_system_test.cpp.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "server/storage/errc.hpp"
#include "server/storage/file_system.hpp"
#include "server/storage/posix_file_system.hpp"
#include "tests/sim/disk.hpp"
#include "tests/unit/storage/disk_steps.hpp"

namespace baton::storage {

enum class Kind : std::uint8_t { posix, posix_without_fallocate, sim };

class FileSystemTest : public testing::TestWithParam<Kind> {
protected:
    void SetUp() override {
        if (GetParam() == Kind::sim) {
            made_ = std::make_unique<sim::SimDisk>();
            return;
        }
        std::string pattern = (std::filesystem::temp_directory_path() / "baton-files-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        auto opened = PosixFileSystem::open_root(pattern + "/data", {.uses_fallocate = GetParam() == Kind::posix});
        ASSERT_TRUE(opened) << text_of(opened);
        made_ = std::move(*opened);
    }

    void TearDown() override {
        made_.reset();
        if (!folder_.empty()) {
            std::error_code ignored;
            std::filesystem::remove_all(folder_, ignored);
        }
    }

    [[nodiscard]] FileSystem& files() { return *made_; }

private:
    std::unique_ptr<FileSystem> made_;
    std::filesystem::path folder_;
};

inline std::string name_of(const testing::TestParamInfo<Kind>& parameter) {
    switch (parameter.param) {
        case Kind::posix:
            return "posix";
        case Kind::posix_without_fallocate:
            return "posix_without_fallocate";
        case Kind::sim:
            return "sim";
    }
    return {};
}

#define BATON_ON_EVERY_FILE_SYSTEM(suite)                                                                        \
    INSTANTIATE_TEST_SUITE_P(all, suite, testing::Values(Kind::posix, Kind::posix_without_fallocate, Kind::sim), \
                             name_of)

}  // namespace baton::storage
