#include "server/storage/wal_scan.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "server/storage/errc.hpp"

namespace baton::storage {

namespace {

constexpr std::size_t scan_step = 1U << 20U;

}  // namespace

Result<std::size_t> WalFile::read(std::uint64_t position, MutableBytes out) const {
    const auto file = files->open(path, OpenMode::read);
    return file ? (*file)->read(position, out) : fail(file.error());
}

Result<std::vector<WalFile>> list_wal_files(FileSystem& files, const WalSource& source) {
    const auto names = files.list(source.directory);
    if (!names) {
        return fail(names.error());
    }
    std::vector<WalFile> found;
    for (const std::string& name : *names) {
        const auto number = wal_file_number(name);
        if (!number || *number < source.first_file) {
            continue;
        }
        std::string path = source.directory + "/" + name;
        auto file = files.open(path, OpenMode::read);
        if (!file) {
            return fail(std::move(file.error()));
        }
        const auto size = (*file)->size();
        if (!size) {
            return fail(size.error());
        }
        found.push_back({.number = *number, .size = *size, .files = &files, .path = std::move(path)});
    }
    std::ranges::sort(found, {}, &WalFile::number);
    return found;
}

Result<std::optional<std::uint64_t>> WalScan::look_at_headers(const WalSource& source, std::vector<WalFile>& files) {
    std::optional<std::uint64_t> salt;
    for (WalFile& file : files) {
        std::array<std::byte, wal_file_header_size> bytes;
        const auto size = file.read(0, bytes);
        if (!size) {
            return fail(size.error());
        }
        WalFileHeader header;
        const HeaderCheck check = *size == bytes.size() ? decode(bytes, header) : HeaderCheck::wrong;
        if (check == HeaderCheck::newer_version) {
            return fail(Errc::newer_version, file.path);
        }
        if (check == HeaderCheck::ok) {
            file.is_foreign = header.generation != source.generation || header.shard != source.shard ||
                              header.salt != salt.value_or(header.salt);
            if (!file.is_foreign) {
                salt = header.salt;
            }
        }
    }
    return salt;
}

Result<std::optional<WalFileHeader>> WalScan::file_header(std::size_t file) const {
    std::array<std::byte, wal_file_header_size> bytes;
    const auto size = files_[file].read(0, bytes);
    if (!size) {
        return fail(size.error());
    }
    return check_file_header(file, Bytes{bytes}.first(*size));
}

Result<std::optional<WalFileHeader>> WalScan::check_file_header(std::size_t file, Bytes bytes) const {
    if (bytes.size() < wal_file_header_size) {
        return std::nullopt;
    }
    WalFileHeader header;
    const HeaderCheck check = decode(bytes, header);
    if (check == HeaderCheck::newer_version) {
        return fail(Errc::newer_version, files_[file].path);
    }
    const bool is_ours = check == HeaderCheck::ok && header.generation == source_.generation &&
                         header.shard == source_.shard && header.salt == salt_.value_or(header.salt) &&
                         header.file_number == files_[file].number && header.first_index > 0;
    return is_ours ? std::optional{header} : std::nullopt;
}

Result<std::optional<WalSignpost>> WalScan::find(std::size_t file, std::uint64_t position, Index first, Index synced) {
    for (; file < files_.size(); ++file, position = 0) {
        if (files_[file].is_foreign) {
            continue;
        }
        if (position == 0) {
            const auto header = file_header(file);
            if (!header) {
                return fail(header.error());
            }
            if (*header && (*header)->first_index >= first && (*header)->first_index - 1 >= synced) {
                return WalSignpost{.file = file,
                                   .position = wal_alignment,
                                   .first_index = (*header)->first_index,
                                   .synced_index = (*header)->first_index - 1};
            }
            position = wal_alignment;
        }
        auto group = find_group(file, position, first, synced);
        if (!group || *group) {
            return group;
        }
    }
    return std::nullopt;
}

Result<std::optional<WalSignpost>> WalScan::find_group(std::size_t file, std::uint64_t position, Index first,
                                                       Index synced) {
    BATON_ASSERT(position % wal_alignment == 0);
    const WalFile& in = files_[file];
    while (position < in.size) {
        buffer_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(scan_step, in.size - position)));
        const auto size = in.read(position, buffer_);
        if (!size) {
            return fail(size.error());
        }
        for (std::size_t at = 0; at + group_header_size <= *size; at += wal_alignment) {
            GroupHeader header;
            if (decode(Bytes{buffer_}.subspan(at), header) == HeaderCheck::ok && is_ours(header, file) &&
                header.first_index >= first && header.synced_index >= synced) {
                return WalSignpost{.file = file,
                                   .position = position + at,
                                   .first_index = header.first_index,
                                   .synced_index = header.synced_index,
                                   .group_size = group_header_size + header.body_size};
            }
        }
        position += scan_step;
    }
    return std::nullopt;
}

}  // namespace baton::storage
