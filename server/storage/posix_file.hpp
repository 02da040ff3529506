// An open file of the real disk. Made by PosixFileSystem. Blocking; one thread at a time.
// Next file: posix_file_system.hpp.
#pragma once

#include <cstdlib>
#include <memory>
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
    void prefer_direct() override;
    [[nodiscard]] Result<void> truncate(std::uint64_t size) override;
    [[nodiscard]] Result<std::uint64_t> size() override;

private:
    [[nodiscard]] Result<void> fill_with_zeros(std::uint64_t size);
    [[nodiscard]] Result<void> write_cached(std::uint64_t position, std::span<const Bytes> parts);
    [[nodiscard]] Result<void> write_direct(std::uint64_t position, std::span<const Bytes> parts);
    [[nodiscard]] bool set_direct(bool is_direct) noexcept;

    const OwnedDescriptor descriptor_;
    const std::string path_;  // For people only.
    const bool uses_fallocate_;
    struct Freed {
        void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
    };
    std::unique_ptr<std::byte, Freed> staging_;  // Aligned; there if writes may go past the page cache.
};

}  // namespace baton::storage
