#include "server/storage/posix_file_system.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/storage/posix_call.hpp"
#include "server/storage/posix_file.hpp"

namespace baton::storage {

namespace {

constexpr mode_t file_mode = 0640;
constexpr mode_t directory_mode = 0700;

// What the system is given, relative to the root.
std::string relative(std::string_view path) {
    BATON_ASSERT(!path.starts_with('/'));
    return path.empty() ? "." : std::string{path};
}

OwnedDescriptor open_at(int directory, const std::string& path, int flags) {
    return OwnedDescriptor{
        uninterrupted([&] { return ::openat(directory, path.c_str(), flags | O_CLOEXEC, file_mode); })};
}

Result<void> sync_names(const OwnedDescriptor& directory, const std::string& path) {
    if (!directory) {
        return fail_errno(path, "open");
    }
    // EINVAL: the file system has nothing to sync there (some network ones).
    if (uninterrupted([&] { return ::fsync(directory.number()); }) != 0 && errno != EINVAL) {
        return fail_errno(path, "fsync");
    }
    return {};
}

class PosixLock final : public FileLock {
public:
    explicit PosixLock(std::unique_ptr<PosixFile> file) : file_{std::move(file)} {}

private:
    const std::unique_ptr<PosixFile> file_;  // Closing it gives the lock up.
};

struct CloseDirectory {
    void operator()(DIR* stream) const noexcept { ::closedir(stream); }
};

// Not so if it was removed, or replaced, before it was locked.
bool is_still_there(int directory, const std::string& path, const OwnedDescriptor& file) {
    struct stat named{};
    struct stat opened{};
    return ::fstatat(directory, path.c_str(), &named, 0) == 0 && ::fstat(file.number(), &opened) == 0 &&
           named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

}  // namespace

Result<std::unique_ptr<PosixFileSystem>> PosixFileSystem::open_root(const std::string& root,
                                                                    const PosixOptions& options) {
    BATON_ASSERT(!root.empty());
    const bool is_new = ::mkdir(root.c_str(), directory_mode) == 0;
    // Whatever else mkdir has to say: if the directory is there it does not matter (exists, read-only file system).
    const int mkdir_errno = errno;
    OwnedDescriptor directory = open_at(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
    if (!directory) {
        const int number = errno;
        return number == ENOENT && mkdir_errno != EEXIST ? fail_errno(root, "mkdir", mkdir_errno)
                                                         : fail_errno(root, "open", number);
    }
    if (is_new) {
        const OwnedDescriptor parent = open_at(directory.number(), "..", O_RDONLY | O_DIRECTORY);
        if (auto synced = sync_names(parent, root + "/.."); !synced) {
            return fail(std::move(synced.error()));
        }
    }
    return std::unique_ptr<PosixFileSystem>{new PosixFileSystem{root, directory.release(), options}};
}

PosixFileSystem::PosixFileSystem(std::string root, int descriptor, const PosixOptions& options)
    : root_{std::move(root)}, directory_{descriptor}, options_{options} {}

PosixFileSystem::~PosixFileSystem() {
    ::close(directory_);
}

std::string PosixFileSystem::full(std::string_view path) const {
    return path.empty() ? root_ : root_ + "/" + std::string{path};
}

Result<std::unique_ptr<File>> PosixFileSystem::open(std::string_view path, OpenMode mode) {
    int flags = O_RDONLY;
    switch (mode) {
        case OpenMode::read:
            break;
        case OpenMode::read_write:
            flags = O_RDWR;
            break;
        case OpenMode::create:
            flags = O_RDWR | O_CREAT | O_EXCL;
            break;
    }
    // O_NONBLOCK: the open itself must not wait if somebody put a pipe there. It means nothing for files.
    OwnedDescriptor file = open_at(directory_, relative(path), flags | O_NONBLOCK);
    struct stat status{};
    if (!file || ::fstat(file.number(), &status) != 0) {
        return fail_errno(full(path), "open");
    }
    if (!S_ISREG(status.st_mode)) {
        return fail(Errc::not_permitted, full(path) + ": open: not a file");
    }
    return std::make_unique<PosixFile>(std::move(file), full(path), options_.uses_fallocate);
}

Result<void> PosixFileSystem::rename(std::string_view from, std::string_view to) {
    if (::renameat(directory_, relative(from).c_str(), directory_, relative(to).c_str()) != 0) {
        return fail_errno(full(from) + " to " + std::string{to}, "rename");
    }
    return {};
}

Result<void> PosixFileSystem::link(std::string_view from, std::string_view to) {
    if (::linkat(directory_, relative(from).c_str(), directory_, relative(to).c_str(), 0) != 0) {
        return fail_errno(full(from) + " to " + std::string{to}, "link");
    }
    return {};
}

Result<void> PosixFileSystem::remove(std::string_view path) {
    const std::string name = relative(path);
    if (::unlinkat(directory_, name.c_str(), 0) == 0) {
        return {};
    }
    if (errno == EISDIR && ::unlinkat(directory_, name.c_str(), AT_REMOVEDIR) == 0) {
        return {};
    }
    return fail_errno(full(path), "remove");
}

Result<void> PosixFileSystem::make_directory(std::string_view path) {
    if (::mkdirat(directory_, relative(path).c_str(), directory_mode) != 0) {
        return fail_errno(full(path), "mkdir");
    }
    return {};
}

Result<void> PosixFileSystem::sync_directory(std::string_view path) {
    return sync_names(open_at(directory_, relative(path), O_RDONLY | O_DIRECTORY), full(path));
}

Result<std::vector<std::string>> PosixFileSystem::list(std::string_view path) {
    OwnedDescriptor directory = open_at(directory_, relative(path), O_RDONLY | O_DIRECTORY);
    if (!directory) {
        return fail_errno(full(path), "open");
    }
    const std::unique_ptr<DIR, CloseDirectory> stream{::fdopendir(directory.number())};
    if (!stream) {
        return fail_errno(full(path), "list");
    }
    (void)directory.release();  // The stream's now.
    std::vector<std::string> names;
    for (;;) {
        errno = 0;
        const dirent* entry = ::readdir(stream.get());
        if (entry == nullptr) {
            break;
        }
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") {
            names.emplace_back(name);
        }
    }
    if (errno != 0) {
        return fail_errno(full(path), "list");
    }
    std::ranges::sort(names);
    return names;
}

Result<Space> PosixFileSystem::space() {
    struct statvfs status{};
    if (uninterrupted([&] { return ::fstatvfs(directory_, &status); }) != 0) {
        return fail_errno(root_, "statvfs");
    }
    return Space{.total = std::uint64_t{status.f_blocks} * status.f_frsize,
                 .available = std::uint64_t{status.f_bavail} * status.f_frsize};
}

Result<std::unique_ptr<FileLock>> PosixFileSystem::lock(std::string_view path, std::string_view content) {
    const std::string name = relative(path);
    for (;;) {
        OwnedDescriptor file = open_at(directory_, name, O_RDWR | O_CREAT);
        if (!file) {
            return fail_errno(full(path), "open");
        }
        if (uninterrupted([&] { return ::flock(file.number(), LOCK_EX | LOCK_NB); }) != 0) {
            return errno == EWOULDBLOCK ? fail(Errc::locked, full(path)) : fail_errno(full(path), "flock");
        }
        if (!is_still_there(directory_, name, file)) {
            continue;
        }
        // In this order: a file that is there already has its block, even on a full disk.
        auto locked = std::make_unique<PosixFile>(std::move(file), full(path), options_.uses_fallocate);
        const Bytes part = as_bytes(content);
        auto written = locked->write(0, {&part, 1});
        if (written) {
            written = locked->truncate(content.size());
        }
        if (!written) {
            return fail(std::move(written.error()));
        }
        return std::make_unique<PosixLock>(std::move(locked));
    }
}

}  // namespace baton::storage
