// A view of a data directory through which nothing can be changed, whatever code it is given to. It counts what is
// read, for a line of progress, and can show a generation that was kept as damaged under the name that it had. Not
// responsible for meaning (server/storage, server/runtime). One thread. Next file: directory.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "server/storage/file_system.hpp"

namespace baton::inspect {

class ReadOnlyFiles final : public storage::FileSystem {
public:
    /// `files` outlives the view.
    explicit ReadOnlyFiles(storage::FileSystem& files) noexcept : files_{files} {}

    /// What is asked of the directory `from` in the root is taken from `to`.
    void redirect(std::string from, std::string to) { redirection_ = {std::move(from), std::move(to)}; }
    /// Told of bytes that were read; null: nobody.
    void watch(std::function<void(std::uint64_t)> on_read) { on_read_ = std::move(on_read); }

    [[nodiscard]] Result<std::unique_ptr<storage::File>> open(std::string_view path, storage::OpenMode mode) override;
    [[nodiscard]] Result<std::vector<std::string>> list(std::string_view path) override;
    [[nodiscard]] Result<storage::Space> space() override { return files_.space(); }

    // Refused.
    [[nodiscard]] Result<void> rename(std::string_view from, std::string_view to) override;
    [[nodiscard]] Result<void> link(std::string_view from, std::string_view to) override;
    [[nodiscard]] Result<void> remove(std::string_view path) override;
    [[nodiscard]] Result<void> make_directory(std::string_view path) override;
    [[nodiscard]] Result<void> sync_directory(std::string_view path) override;
    [[nodiscard]] Result<std::unique_ptr<storage::FileLock>> lock(std::string_view path,
                                                                  std::string_view content) override;

private:
    class OpenFile;

    [[nodiscard]] std::string real(std::string_view path) const;

    storage::FileSystem& files_;
    std::pair<std::string, std::string> redirection_;
    std::function<void(std::uint64_t)> on_read_;
};

}  // namespace baton::inspect
