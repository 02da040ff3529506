// What is made of the calls of a FileSystem, for any implementation. Blocking; any thread.
// Next file: posix_file_system.hpp.
#include "server/storage/file_system.hpp"

#include <utility>

#include "server/storage/errc.hpp"

namespace baton::storage {

namespace {

// "" is the root.
std::string_view parent_of(std::string_view path) noexcept {
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

Result<void> write_and_sync(FileSystem& files, std::string_view path, std::span<const Bytes> parts) {
    auto file = files.open(path, OpenMode::create);
    if (!file && file.error().code == Errc::exists) {
        // Left by a run that died, or by an attempt that failed.
        if (auto removed = files.remove(path); !removed) {
            return removed;
        }
        file = files.open(path, OpenMode::create);
    }
    if (!file) {
        return fail(std::move(file.error()));
    }
    if (auto written = (*file)->write(0, parts); !written) {
        return written;
    }
    return (*file)->sync();
}

}  // namespace

Result<std::vector<std::byte>> read_whole(FileSystem& files, std::string_view path, std::uint64_t size_max) {
    auto file = files.open(path, OpenMode::read);
    if (!file) {
        return fail(std::move(file.error()));
    }
    const auto size = (*file)->size();
    if (!size) {
        return fail(size.error());
    }
    if (*size > size_max) {
        return fail(Errc::damaged, std::string{path} + ": " + std::to_string(*size) + " bytes are too many");
    }
    std::vector<std::byte> content(static_cast<std::size_t>(*size));
    const auto count = (*file)->read(0, content);
    if (!count) {
        return fail(count.error());
    }
    content.resize(*count);
    return content;
}

Result<void> write_atomically(FileSystem& files, std::string_view path, std::span<const Bytes> parts) {
    const std::string temporary = std::string{path} + ".tmp";
    auto done = write_and_sync(files, temporary, parts);
    if (done) {
        done = files.rename(temporary, path);
    }
    if (!done) {
        // Best effort: what stays is removed at the next start, and the first failure is the one to report.
        (void)files.remove(temporary);
        return done;
    }
    return files.sync_directory(parent_of(path));
}

Result<void> remove_tree(FileSystem& files, std::string_view path) {
    const auto ignore_missing = [](Result<void> result) {
        return !result && result.error().code == Errc::not_found ? Result<void>{} : result;
    };
    auto names = files.list(path);
    if (!names) {
        const auto code = names.error().code;
        // A file: it is a tree of one.
        return code == Errc::not_a_directory ? ignore_missing(files.remove(path))
                                             : ignore_missing(fail(std::move(names.error())));
    }
    for (const std::string& name : *names) {
        if (auto removed = remove_tree(files, std::string{path} + "/" + name); !removed) {
            return removed;
        }
    }
    return ignore_missing(files.remove(path));
}

Result<void> ensure_directory(FileSystem& files, std::string_view path) {
    auto made = files.make_directory(path);
    if (made || made.error().code != Errc::exists) {
        return made;
    }
    // A file of that name is no directory: nothing can be in it. Not list(), which reads the names of all that is there.
    auto within = files.open(std::string{path} + "/any", OpenMode::read);
    const bool is_directory = within || within.error().code == Errc::not_found || within.error().code == Errc::not_permitted;
    return is_directory ? Result<void>{} : fail(std::move(within.error()));
}

Result<void> ensure_directories(FileSystem& files, std::string_view path) {
    for (auto end = path.find('/'); end != std::string_view::npos; end = path.find('/', end + 1)) {
        if (auto made = ensure_directory(files, path.substr(0, end)); !made) {
            return made;
        }
    }
    return ensure_directory(files, path);
}

}  // namespace baton::storage
