#include "server/storage/data_directory.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "common/base/bytes.hpp"
#include "common/base/crc32c.hpp"
#include "server/storage/checkpoint.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/numbered_name.hpp"
#include "server/storage/segment.hpp"
#include "server/storage/wal_format.hpp"

namespace baton::storage {

namespace {

constexpr std::string_view manifest_path = "MANIFEST";
constexpr std::string_view lock_path = "LOCK";
constexpr std::string_view channels_path = "channels";
constexpr std::string_view temporary_suffix = ".tmp";
constexpr std::string_view generation_prefix = "generation-";
constexpr std::string_view damaged_prefix = "damaged-";
constexpr std::string_view shard_prefix = "shard-";
constexpr std::string_view backup_prefix = "backup-";
constexpr std::string_view restore_prefix = "restore-";
constexpr std::size_t generation_width = 16;
constexpr std::size_t shard_width = 4;
constexpr std::size_t backup_width = 16;
constexpr unsigned generation_shift = 32;
constexpr std::uint64_t manifest_size_max = 4096;
constexpr std::uint64_t lock_size_max = 64;
constexpr std::uint64_t line_size_max = 64ULL << 20;

std::string with_checksum(const std::string& line) {
    return line + numbered_name(" ", crc32c(as_bytes(line)), crc_digits, hex_base) + "\n";
}

bool take(std::string_view& text, std::string_view expected) noexcept {
    if (!text.starts_with(expected)) {
        return false;
    }
    text.remove_prefix(expected.size());
    return true;
}

template <class Number>
bool take_number(std::string_view& text, Number& number) noexcept {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return error == std::errc{};
}

Result<void> remove_temporary(FileSystem& files, const std::string& directory) {
    const auto names = files.list(directory);
    if (!names) {
        return fail(names.error());
    }
    bool is_changed = false;
    for (const std::string& name : *names) {
        if (!name.ends_with(temporary_suffix)) {
            continue;
        }
        if (auto removed = files.remove(directory.empty() ? name : directory + "/" + name); !removed) {
            return removed;
        }
        is_changed = true;
    }
    return is_changed ? files.sync_directory(directory) : Result<void>{};
}

}  // namespace

std::string encode(const Manifest& manifest) {
    return with_checksum("{\"format\":" + std::to_string(manifest.format) + ",\"generation\":" +
                         std::to_string(manifest.generation) + ",\"shards\":" + std::to_string(manifest.shards) + "}");
}

Result<Manifest> decode_manifest(std::string_view text) {
    const std::size_t blank = text.rfind(' ');
    if (blank == std::string_view::npos || with_checksum(std::string{text.substr(0, blank)}) != text) {
        return fail(Errc::damaged, "the manifest's checksum is wrong");
    }
    Manifest manifest;
    std::string_view rest = text;
    if (!take(rest, "{\"format\":") || !take_number(rest, manifest.format) || manifest.format == 0) {
        return fail(Errc::damaged, "the manifest does not begin with its format");
    }
    if (manifest.format > data_format) {
        return fail(Errc::newer_version, "the data directory has format " + std::to_string(manifest.format));
    }
    const bool is_complete = take(rest, ",\"generation\":") && take_number(rest, manifest.generation) &&
                             take(rest, ",\"shards\":") && take_number(rest, manifest.shards);
    // One spelling only: no leading zeros, blanks or further keys.
    if (!is_complete || encode(manifest) != text) {
        return fail(Errc::damaged, "the manifest is not well formed");
    }
    if ((manifest.generation == 0) != (manifest.shards == 0)) {
        return fail(Errc::damaged, "the manifest names a generation without shards, or shards without a generation");
    }
    return manifest;
}

Result<std::optional<Manifest>> load_manifest(FileSystem& files) {
    const auto content = read_whole(files, manifest_path, manifest_size_max);
    if (content) {
        auto manifest = decode_manifest(as_text(*content));
        if (!manifest) {
            return fail(with_context(std::move(manifest).error(), std::string{manifest_path}));
        }
        return *manifest;
    }
    if (content.error().code != Errc::not_found) {
        return fail(content.error());
    }
    const auto names = files.list("");
    if (!names) {
        return fail(names.error());
    }
    for (const std::string& name : *names) {
        if (name == channels_path || generation_number(name) ||
            number_in_name(name, damaged_prefix, generation_width)) {
            return fail(Errc::damaged, "there is " + name + ", but no " + std::string{manifest_path});
        }
    }
    return std::nullopt;
}

Result<void> store_manifest(FileSystem& files, const Manifest& manifest) {
    const std::string text = encode(manifest);
    const Bytes parts[] = {as_bytes(text)};
    return write_atomically(files, manifest_path, parts);
}

Result<std::optional<std::string>> load_line(FileSystem& files, const std::string& path) {
    const auto content = read_whole(files, path, line_size_max);
    if (!content) {
        return content.error().code == Errc::not_found ? Result<std::optional<std::string>>{std::nullopt}
                                                       : fail(content.error());
    }
    const std::string text{as_text(*content)};
    const std::size_t blank = text.rfind(' ');
    if (blank == std::string::npos || with_checksum(text.substr(0, blank)) != text) {
        return fail(Errc::damaged, path + ": the checksum is wrong");
    }
    return text.substr(0, blank);
}

Result<void> store_line(FileSystem& files, const std::string& path, const std::string& line) {
    const std::string text = with_checksum(line);
    const Bytes parts[] = {as_bytes(text)};
    return write_atomically(files, path, parts);
}

std::string generation_directory(std::uint64_t generation) {
    return numbered_name(generation_prefix, generation, generation_width);
}

std::string damaged_directory(std::uint64_t generation) {
    return numbered_name(damaged_prefix, generation, generation_width);
}

std::string shard_directory(std::uint64_t generation, std::uint32_t shard) {
    return generation_directory(generation) + "/" + numbered_name(shard_prefix, shard, shard_width);
}

std::optional<std::uint64_t> generation_number(std::string_view name) noexcept {
    return number_in_name(name, generation_prefix, generation_width);
}

std::string backup_directory(std::uint64_t id) {
    return numbered_name(backup_prefix, id, backup_width, hex_base);
}

std::string restore_directory(std::uint64_t id) {
    return numbered_name(restore_prefix, id, backup_width, hex_base);
}

std::optional<std::uint64_t> generation_of_restore(std::string_view name) noexcept {
    const auto id = number_in_name(name, restore_prefix, backup_width, hex_base);
    return id ? std::optional{*id >> generation_shift} : std::nullopt;
}

bool is_data_file(std::string_view path) {
    const auto first = path.find('/');
    const auto last = path.rfind('/');
    if (first == std::string_view::npos) {
        return path == manifest_path;
    }
    const auto folder = path.substr(0, first);
    const auto middle = path.substr(first + 1, last > first ? last - first - 1 : 0);
    const auto name = path.substr(last + 1);
    if (folder == channels_path) {
        return stream_of_directory(middle) && middle.find('/') == std::string_view::npos && segment_file_number(name);
    }
    // Shards are numbered from 0, unlike everything else.
    const bool is_shard = middle == numbered_name(shard_prefix, 0, shard_width) ||
                          number_in_name(middle, shard_prefix, shard_width).has_value();
    return generation_number(folder) && is_shard && (wal_file_number(name) || checkpoint_file_number(name));
}

Result<std::unique_ptr<FileLock>> lock_data_directory(FileSystem& files) {
    auto lock = files.lock(lock_path, std::to_string(::getpid()) + "\n");
    if (lock || lock.error().code != Errc::locked) {
        return lock;
    }
    // Only to say who it is: the file may be empty, or its content may be of an earlier run.
    std::string context{"the data directory is in use"};
    if (const auto content = read_whole(files, lock_path, lock_size_max)) {
        std::string_view text = as_text(*content);
        std::uint64_t owner = 0;
        if (take_number(text, owner)) {
            context += " by process " + std::to_string(owner);
        }
    }
    return fail(Errc::locked, std::move(context));
}

Result<void> remove_leftovers(FileSystem& files, const Manifest& manifest) {
    // The manifest that was read may be visible and yet not durable, if its writer was killed in between. Nothing that
    // the manifest before it names may be removed until it is.
    if (auto synced = files.sync_directory(""); !synced) {
        return synced;
    }
    const auto names = files.list("");
    if (!names) {
        return fail(names.error());
    }
    for (const std::string& name : *names) {
        const auto generation = generation_number(name);
        const bool is_backup = number_in_name(name, backup_prefix, backup_width, hex_base).has_value();
        const auto restored_into = generation_of_restore(name);
        if (is_backup || (generation && *generation != manifest.generation) ||
            (restored_into && *restored_into != manifest.generation)) {
            if (auto removed = remove_tree(files, name); !removed) {
                return removed;
            }
        }
    }
    for (std::uint32_t shard = 0; shard < manifest.shards; ++shard) {
        auto removed = remove_temporary(files, shard_directory(manifest.generation, shard));
        if (!removed && removed.error().code != Errc::not_found) {
            return removed;
        }
    }
    if (auto removed = remove_temporary(files, ""); !removed) {
        return removed;
    }
    return files.sync_directory("");
}

Result<void> remove_restores(FileSystem& files) {
    const auto names = files.list("");
    if (!names) {
        return fail(names.error());
    }
    for (const std::string& name : *names) {
        if (generation_of_restore(name)) {
            if (auto removed = remove_tree(files, name); !removed) {
                return removed;
            }
        }
    }
    return {};
}

}  // namespace baton::storage
