// A folder of a file system as a file system of its own: what was written for a data directory reads one that lies in
// another. Thread and errors: those of the file system that it looks into; paths in errors are the whole ones.
// Next file: data_directory.hpp.
#pragma once

#include <string>
#include <utility>

#include "server/storage/file_system.hpp"

namespace baton::storage {

class FolderView final : public FileSystem {
public:
    /// `files` outlives it. `folder` is a path in it, without a '/' at its end.
    FolderView(FileSystem& files, std::string folder) noexcept : files_{files}, folder_{std::move(folder)} {}

    [[nodiscard]] Result<std::unique_ptr<File>> open(std::string_view path, OpenMode mode) override {
        return files_.open(whole(path), mode);
    }
    [[nodiscard]] Result<void> rename(std::string_view from, std::string_view to) override {
        return files_.rename(whole(from), whole(to));
    }
    [[nodiscard]] Result<void> link(std::string_view from, std::string_view to) override {
        return files_.link(whole(from), whole(to));
    }
    [[nodiscard]] Result<void> remove(std::string_view path) override { return files_.remove(whole(path)); }
    [[nodiscard]] Result<void> make_directory(std::string_view path) override {
        return files_.make_directory(whole(path));
    }
    [[nodiscard]] Result<void> sync_directory(std::string_view path) override {
        return files_.sync_directory(whole(path));
    }
    [[nodiscard]] Result<std::vector<std::string>> list(std::string_view path) override {
        return files_.list(whole(path));
    }
    [[nodiscard]] Result<Space> space() override { return files_.space(); }
    [[nodiscard]] Result<std::unique_ptr<FileLock>> lock(std::string_view path, std::string_view content) override {
        return files_.lock(whole(path), content);
    }

private:
    [[nodiscard]] std::string whole(std::string_view path) const {
        return path.empty() ? folder_ : folder_ + "/" + std::string{path};
    }

    FileSystem& files_;
    const std::string folder_;
};

}  // namespace baton::storage
