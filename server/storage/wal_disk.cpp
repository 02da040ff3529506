#include "server/storage/wal_disk.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "server/storage/errc.hpp"

namespace baton::storage {

namespace {

constexpr std::size_t zeros_size = 64 * 1024;
constexpr std::size_t zero_parts_max = 8;  // In one write.
alignas(wal_alignment) const std::array<std::byte, zeros_size> zeros{};

}  // namespace

Result<void> WalDisk::write(FileSystem& system, const WalGroup& group, std::uint64_t position, const WalFilePlan* plan,
                            bool& is_final) {
    is_final = false;
    if (plan != nullptr && number_ != plan->header.file_number) {
        if (auto opened = open_next(system, *plan); !opened) {
            return opened;
        }
    }
    const std::uint64_t end = position + group.size();
    if (auto filled = fill_ahead(end); !filled) {
        return filled;
    }
    if (auto put_there = put(group, position, plan); !put_there) {
        return put_there;
    }
    auto synced = sync(system);
    is_final = !synced;
    if (synced) {
        written_ = std::max(written_, end);
    }
    return synced;
}

// The file that was open stays open until the next one is ready: it is only closed once, however often this is tried.
Result<void> WalDisk::open_next(FileSystem& system, const WalFilePlan& plan) {
    const std::string next = path(plan.header.file_number);
    std::uint64_t written = 0;
    if (plan.spare) {
        const auto renamed = system.rename(path(plan.spare->number), next);
        if (!renamed && renamed.error().code != Errc::not_found) {
            return renamed;
        }
        written = plan.spare->written;
    }
    auto file = system.open(next, OpenMode::read_write);
    if (!file && file.error().code == Errc::not_found) {
        file = system.open(next, OpenMode::create);
        written = 0;
    }
    if (!file) {
        return fail(std::move(file.error()));
    }
    const auto size = (*file)->size();
    if (!size) {
        return fail(size.error());
    }
    if (auto sized = *size > plan.size ? (*file)->truncate(plan.size) : (*file)->allocate(plan.size); !sized) {
        return sized;
    }
    file_ = std::move(*file);
    file_->prefer_direct();
    number_ = plan.header.file_number;
    size_ = plan.size;
    written_ = std::clamp<std::uint64_t>(written, wal_alignment, plan.size);
    is_named_ = false;
    return {};
}

// Writing to space that was only allocated makes the file system note at the sync that it is written now. So what comes
// next is written once in advance, in large steps; the sync of the group is one for the zeros too.
Result<void> WalDisk::fill_ahead(std::uint64_t end) {
    if (end <= written_ || end >= size_) {
        return {};
    }
    const std::uint64_t filled = std::min(end + zero_step_, size_);
    for (std::uint64_t at = end; at < filled;) {
        parts_.clear();
        std::uint64_t size = 0;
        while (at + size < filled && parts_.size() < zero_parts_max) {
            const std::uint64_t part = std::min<std::uint64_t>(zeros_size, filled - at - size);
            parts_.push_back(Bytes{zeros}.first(static_cast<std::size_t>(part)));
            size += part;
        }
        if (auto done = file_->write(at, parts_); !done) {
            return done;
        }
        at += size;
        zeroed_ += size;
    }
    written_ = filled;
    return {};
}

Result<void> WalDisk::put(const WalGroup& group, std::uint64_t position, const WalFilePlan* plan) {
    parts_.clear();
    std::array<std::byte, wal_alignment> header;
    if (plan != nullptr) {
        BATON_ASSERT(position == wal_alignment);
        header.fill(std::byte{0});
        encode(plan->header, header);
        parts_.emplace_back(header);
        position = 0;
    }
    group.gather(parts_);
    const std::uint64_t padding = group.size() - group_header_size - group.body_size();
    parts_.push_back(Bytes{zeros}.first(static_cast<std::size_t>(padding)));
    return file_->write(position, parts_);
}

Result<void> WalDisk::sync(FileSystem& system) {
    if (auto synced = file_->sync(); !synced) {
        return synced;
    }
    if (!is_named_) {
        if (auto named = system.sync_directory(directory_); !named) {
            return named;
        }
        is_named_ = true;
    }
    return {};
}

// Nobody waits for that; what stays is removed with its generation.
void WalDisk::remove(FileSystem& system, const std::string& path) {
    static_cast<void>(system.remove(path));
}

}  // namespace baton::storage
