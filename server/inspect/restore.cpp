// `baton-inspect DIR restore TARGET`: makes a data directory out of a backup, which is checked first. The manifest
// comes last: what was interrupted is no data directory.
#include <filesystem>

#include "server/inspect/verbs.hpp"
#include "server/storage/errc.hpp"

namespace baton::inspect {

namespace {

constexpr std::size_t chunk_size = 1U << 20U;

Result<void> copy_file(storage::FileSystem& from, storage::FileSystem& to, const std::string& path) {
    const auto source = from.open(path, storage::OpenMode::read);
    if (!source) {
        return fail(source.error());
    }
    auto target = to.open(path, storage::OpenMode::create);
    if (!target) {
        return fail(target.error());
    }
    std::vector<std::byte> buffer(chunk_size);
    for (std::uint64_t position = 0;;) {
        const auto count = (*source)->read(position, buffer);
        if (!count) {
            return fail(count.error());
        }
        if (*count == 0) {
            return (*target)->sync();
        }
        const Bytes part = Bytes{buffer}.first(*count);
        if (auto written = (*target)->write(position, {&part, 1}); !written) {
            return written;
        }
        position += *count;
    }
}

/// A directory and everything in it. What cannot be listed is a file.
Result<void> copy_tree(storage::FileSystem& from, storage::FileSystem& to, const std::string& path) {
    const auto names = from.list(path);
    if (!names && names.error().code == storage::Errc::not_a_directory) {
        return copy_file(from, to, path);
    }
    if (!names) {
        return fail(names.error());
    }
    if (auto made = to.make_directory(path); !made) {
        return made;
    }
    for (const auto& name : *names) {
        if (auto copied = copy_tree(from, to, path + "/" + name); !copied) {
            return copied;
        }
    }
    return to.sync_directory(path);
}

Result<void> copy_all(Directory& directory, storage::FileSystem& to) {
    const auto manifest = directory.manifest();
    if (!manifest) {
        return fail(manifest.error());
    }
    auto& from = directory.files();
    if (manifest->generation != 0) {
        if (auto copied = copy_tree(from, to, storage::generation_directory(manifest->generation)); !copied) {
            return copied;
        }
    }
    if (from.list("channels")) {
        if (auto copied = copy_tree(from, to, "channels"); !copied) {
            return copied;
        }
    }
    if (auto synced = to.sync_directory(""); !synced) {
        return synced;
    }
    return storage::store_manifest(to, *manifest);
}

}  // namespace

int restore(Directory& directory, const std::string& target) {
    std::error_code error;
    if (std::filesystem::exists(target, error) && !std::filesystem::is_empty(target, error)) {
        complain(target + " is not empty: name a directory that is new, or move away what is there");
        return exit_usage;
    }
    if (const int code = verify(directory, Format::text); code != exit_sound) {
        complain("nothing was restored; `dump channel` reads what can be read");
        return code;
    }
    auto to = storage::PosixFileSystem::open_root(target);
    auto copied = to ? copy_all(directory, **to) : fail(to.error());
    if (!copied) {
        complain(copied.error().message());
        return exit_unreadable;
    }
    print_line("restored to " + target + ": start batond with --data-dir " + target);
    return exit_sound;
}

}  // namespace baton::inspect
