// Looks for groups where they may be rather than where they should be: the slow half of reading a log, used at its end
// and when something is wrong. Not responsible for what is found (wal_reader.cpp). Blocking. Next file: wal_reader.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/storage/wal_reader.hpp"

namespace baton::storage {

/// One file of the log.
struct WalFile {
    std::uint64_t number = 0;
    std::uint64_t size = 0;
    FileSystem* files = nullptr;
    std::string path;
    bool is_foreign = false;  ///< Its header is right and says that it is one of another generation or shard.

    /// As File::read. Opened for each: a log may have more files than a process may have descriptors.
    [[nodiscard]] Result<std::size_t> read(std::uint64_t position, MutableBytes out) const;
};

/// The files from the source's first one on, in order.
[[nodiscard]] Result<std::vector<WalFile>> list_wal_files(FileSystem& files, const WalSource& source);

/// Something that says which records come next: a group's header, or the header of a file, in front of which
/// everything is durable.
struct WalSignpost {
    std::size_t file = 0;  ///< In the list of files.
    std::uint64_t position = 0;
    Index first_index = 0;
    Index synced_index = 0;
    std::uint64_t group_size = 0;  ///< With header, without padding; 0: a file's header.
};

class WalScan {
public:
    WalScan(const WalSource& source, const std::vector<WalFile>& files) : source_{source}, files_{files} {}

    /// Takes the salt of the log from the first file that tells it, and marks foreign files. `newer_version`, or what
    /// reading says.
    [[nodiscard]] static Result<std::optional<std::uint64_t>> look_at_headers(const WalSource& source,
                                                                              std::vector<WalFile>& files);
    /// Nothing: no file header is right. Then the first group tells it.
    [[nodiscard]] const std::optional<std::uint64_t>& salt() const noexcept { return salt_; }
    void pin_salt(std::uint64_t salt) noexcept { salt_ = salt_.value_or(salt); }

    /// Written to this file, in its present life.
    [[nodiscard]] bool is_ours(const GroupHeader& header, std::size_t file) const noexcept {
        return header.file_number == files_[file].number && header.salt == salt_.value_or(header.salt);
    }

    /// The header of a file if it is one of this log with this number. `newer_version`, or what reading says.
    [[nodiscard]] Result<std::optional<WalFileHeader>> file_header(std::size_t file) const;
    [[nodiscard]] Result<std::optional<WalFileHeader>> check_file_header(std::size_t file, Bytes bytes) const;

    /// The first signpost from this place on whose first index is at least `first` and whose synced index at least
    /// `synced`.
    [[nodiscard]] Result<std::optional<WalSignpost>> find(std::size_t file, std::uint64_t position, Index first,
                                                          Index synced);

private:
    [[nodiscard]] Result<std::optional<WalSignpost>> find_group(std::size_t file, std::uint64_t position, Index first,
                                                                Index synced);

    const WalSource& source_;
    const std::vector<WalFile>& files_;
    std::optional<std::uint64_t> salt_;
    std::vector<std::byte> buffer_;
};

}  // namespace baton::storage
