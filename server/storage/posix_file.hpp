// An open file of the real disk. Made by PosixFileSystem. Blocking; one thread at a time.
// Next file: posix_file_system.hpp.
#pragma once

#include <string>
#include <utility>

#include "server/storage/file_system.hpp"
#include "server/storage/posix_call.hpp"

namespace baton::storage {

class PosixFile final : public File {
public:
    PosixFile(OwnedDescriptor descriptor, std::string path, bool uses_fallocate)
        : descriptor_{std::move(descriptor)}, path_{std::move(path)}, uses_fallocate_{uses_fallocate} {}

    [[nodiscard]] Result<std::size_t> read(std::uint64_t position, MutableBytes out) override;
    [[nodiscard]] Result<void> write(std::uint64_t position, std::span<const Bytes> parts) override;
    [[nodiscard]] Result<void> sync() override;
    [[nodiscard]] Result<void> allocate(std::uint64_t size) override;
    [[nodiscard]] Result<void> truncate(std::uint64_t size) override;
    [[nodiscard]] Result<std::uint64_t> size() override;

private:
    [[nodiscard]] Result<void> fill_with_zeros(std::uint64_t size);

    const OwnedDescriptor descriptor_;
    const std::string path_;  // For people only.
    const bool uses_fallocate_;
};

}  // namespace baton::storage
