#include "server/inspect/directory.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "server/storage/errc.hpp"
#include "server/storage/numbered_name.hpp"

namespace baton::inspect {

namespace {

constexpr std::string_view damaged_prefix = "damaged-";
constexpr std::size_t generation_width = 16;

/// Whether somebody has the lock. To try it would keep a broker from starting that wants it in this moment, so the
/// system is asked; where it does not say, nobody has it. By the number of the file alone: some file systems have more
/// than one device number.
bool is_locked(const std::string& lock_path) {
    struct stat status{};
    std::ifstream locks{"/proc/locks"};
    if (::stat(lock_path.c_str(), &status) != 0 || !locks) {
        return false;
    }
    const std::string wanted = ":" + std::to_string(status.st_ino);
    for (std::string line; std::getline(locks, line);) {
        std::istringstream words{line};
        std::string number;
        std::string kind;
        std::string advice;
        std::string mode;
        std::string owner;
        std::string file;
        if (words >> number >> kind >> advice >> mode >> owner >> file && kind == "FLOCK" && file.ends_with(wanted)) {
            return true;
        }
    }
    return false;
}

}  // namespace

Result<std::unique_ptr<Directory>> Directory::open(const std::string& path, bool is_live) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {  // open_root would make it.
        return fail(storage::Errc::not_found, path + ": there is no such directory");
    }
    const bool has_lock = is_locked(path + "/LOCK");
    if (has_lock && !is_live) {
        return fail(storage::Errc::locked, path +
                                               ": a running broker has it; stop it, make a copy with `baton backup`, "
                                               "or go on with --live");
    }
    auto disk = storage::PosixFileSystem::open_root(path);
    if (!disk) {
        return fail(disk.error());
    }
    auto directory = std::make_unique<Directory>(**disk);
    directory->disk_ = std::move(*disk);
    directory->is_live_ = has_lock;
    return directory;
}

Result<storage::Manifest> Directory::manifest() {
    const auto manifest = storage::load_manifest(files_);
    if (!manifest) {
        return fail(manifest.error());
    }
    if (!*manifest) {
        return fail(storage::Errc::not_found, "there is no MANIFEST: this is not a data directory of Baton");
    }
    return **manifest;
}

std::vector<std::string> Directory::roots(std::string_view prefix) {
    auto names = files_.list("");
    if (!names) {
        return {};
    }
    std::erase_if(*names, [&](const std::string& name) { return !name.starts_with(prefix); });
    return *names;
}

std::vector<FileEntry> Directory::files_in(const std::string& directory, std::string_view prefix) {
    std::vector<FileEntry> entries;
    const auto names = files_.list(directory);
    for (const auto& name : names ? *names : std::vector<std::string>{}) {
        if (!name.starts_with(prefix)) {
            continue;
        }
        const auto path = directory + "/" + name;
        const auto file = files_.open(path, storage::OpenMode::read);
        const auto size = file ? (*file)->size() : Result<std::uint64_t>{0};
        entries.push_back({path, size.value_or(0)});
    }
    return entries;
}

std::vector<storage::StreamId> Directory::streams() {
    std::vector<storage::StreamId> streams;
    const auto names = files_.list("channels");
    for (const auto& name : names ? *names : std::vector<std::string>{}) {
        if (const auto stream = storage::stream_of_directory(name)) {
            streams.push_back(*stream);
        }
    }
    return streams;
}

std::vector<std::uint64_t> damaged_generations(Directory& directory) {
    std::vector<std::uint64_t> numbers;
    for (const auto& name : directory.roots(damaged_prefix)) {
        if (const auto number = storage::number_in_name(name, damaged_prefix, generation_width)) {
            numbers.push_back(*number);
        }
    }
    return numbers;
}

}  // namespace baton::inspect
