// The real disk: a FileSystem below one directory, by plain system calls. Not responsible for what is written, nor for
// trying again. Blocking; any thread, a File one at a time. Next file: io_worker.hpp.
//
// A full file system or quota is no_space; a refused or read-only one not_permitted; everything unexpected io_error.
// The context of an error has the whole path, the call and the system's own text.
#pragma once

#include <memory>
#include <string>

#include "server/storage/file_system.hpp"

namespace baton::storage {

struct PosixOptions {
    bool uses_fallocate = true;  ///< False: allocate() writes zeros, as where the file system knows nothing else.
};

class PosixFileSystem final : public FileSystem {
public:
    /// Makes the directory if need be; its parent must exist. Later changes of the working directory do not matter.
    [[nodiscard]] static Result<std::unique_ptr<PosixFileSystem>> open_root(const std::string& root,
                                                                            const PosixOptions& options = {});
    ~PosixFileSystem() override;

    [[nodiscard]] Result<std::unique_ptr<File>> open(std::string_view path, OpenMode mode) override;
    [[nodiscard]] Result<void> rename(std::string_view from, std::string_view to) override;
    [[nodiscard]] Result<void> link(std::string_view from, std::string_view to) override;
    [[nodiscard]] Result<void> remove(std::string_view path) override;
    [[nodiscard]] Result<void> make_directory(std::string_view path) override;
    [[nodiscard]] Result<void> sync_directory(std::string_view path) override;
    [[nodiscard]] Result<std::vector<std::string>> list(std::string_view path) override;
    [[nodiscard]] Result<Space> space() override;
    [[nodiscard]] Result<std::unique_ptr<FileLock>> lock(std::string_view path, std::string_view content) override;

private:
    PosixFileSystem(std::string root, int descriptor, const PosixOptions& options);

    [[nodiscard]] std::string full(std::string_view path) const;  // For people only.

    const std::string root_;
    const int directory_;
    const PosixOptions options_;
};

}  // namespace baton::storage
