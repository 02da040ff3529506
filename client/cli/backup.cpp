// `baton backup DIR`: fetches the durable channels of a running broker, as they were at one moment, into a directory
// that is a data directory. Main thread, and a few that fetch. Next file: restore.cpp, the way back.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>
#include <vector>

#include "client/cli/admin.hpp"
#include "client/cli/file_transfer.hpp"
#include "common/base/base64.hpp"

namespace baton::cli {

namespace {

namespace fs = std::filesystem;

/// The last one: without it a directory is no data directory.
constexpr const char* manifest_name = "MANIFEST";

Failure cannot(const std::string& what, const fs::path& path, int error) {
    return Failure{exit_failed, "cannot " + what + " " + path.string() + ": " + std::generic_category().message(error),
                   "cannot_write"};
}

/// A file or directory that is open, and closed again.
class Descriptor {
public:
    Descriptor(const fs::path& path, int flags) : path_{path}, number_{::open(path.c_str(), flags | O_CLOEXEC, 0600)} {
        if (number_ < 0) {
            throw cannot("open", path_, errno);
        }
    }
    ~Descriptor() { ::close(number_); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;

    void write(Bytes bytes) const {
        while (!bytes.empty()) {
            const auto count = ::write(number_, bytes.data(), bytes.size());
            if (count < 0 && errno != EINTR) {
                throw cannot("write", path_, errno);
            }
            bytes = bytes.subspan(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
        }
    }
    void sync() const {
        if (::fsync(number_) != 0) {
            throw cannot("sync", path_, errno);
        }
    }

private:
    const fs::path path_;
    const int number_;
};

/// The broker names files below the directory and nowhere else.
void check_path(const std::string& path) {
    const fs::path parsed{path};
    const bool is_inside =
        !path.empty() && parsed.is_relative() &&
        std::ranges::all_of(parsed, [](const fs::path& part) { return part != "." && part != ".." && !part.empty(); });
    if (!is_inside) {
        throw Failure{exit_failed, "the broker named a file outside of the backup: \"" + path + "\"",
                      "protocol_violation"};
    }
}

class Backup {
public:
    Backup(const Program& program, fs::path directory)
        : program_{program}, directory_{std::move(directory)}, client_{question_options(program.global)} {}

    int run();

private:
    void prepare();
    void fetch_all();
    void leave_nothing_empty() const;
    [[nodiscard]] Json question(const std::string& operation, const Json& arguments) {
        return ask(program_, client_, operation, "", arguments);
    }
    void list();
    void fetch(const TransferFile& file, FileTransfer& transfer);
    void sync_directories() const;

    const Program& program_;
    const fs::path directory_;
    bool is_made_ = false;  // By us.
    Client client_;
    std::string id_;
    std::uint64_t bytes_total_ = 0;
    std::vector<TransferFile> files_;  // Without the manifest.
    std::optional<TransferFile> manifest_;
};

void Backup::prepare() {
    std::error_code error;
    is_made_ = !fs::exists(directory_, error);
    if (!is_made_ && !(fs::is_directory(directory_, error) && fs::is_empty(directory_, error))) {
        throw usage(directory_.string() + " is there and not empty; name a directory that is new");
    }
    fs::create_directories(directory_, error);
    if (error) {
        throw cannot("make", directory_, error.value());
    }
    fs::permissions(directory_, fs::perms::owner_all, error);
}

void Backup::list() {
    for (std::uint64_t from = 0;;) {
        const auto reply = question("backup.list", {{"id", id_}, {"from", from}});
        for (const auto& file : reply.at("files")) {
            TransferFile remote{file.at("path").get<std::string>(), file.at("size").get<std::uint64_t>()};
            check_path(remote.path);
            if (remote.path == manifest_name) {
                manifest_ = std::move(remote);
            } else {
                files_.push_back(std::move(remote));
            }
        }
        if (!reply.at("more").get<bool>()) {
            return;
        }
        from = reply.at("next").get<std::uint64_t>();
    }
}

void Backup::fetch(const TransferFile& file, FileTransfer& transfer) {
    const auto target = directory_ / file.path;
    fs::create_directories(target.parent_path());
    const Descriptor out{target, O_WRONLY | O_CREAT | O_EXCL};
    for (std::uint64_t offset = 0; offset < file.size;) {
        const Json place{{"id", id_}, {"path", file.path}, {"offset", offset}};
        const auto reply = ask_text(program_, client_, "backup.read", "", place.dump());
        const auto bytes = base64_decode(body_in(reply));
        if (!bytes || bytes->empty() || bytes->size() > file.size - offset) {
            throw Failure{exit_failed, "the broker's answer about " + file.path + " makes no sense",
                          "protocol_violation"};
        }
        out.write(*bytes);
        offset += bytes->size();
        if (!transfer.carried(bytes->size())) {
            return;
        }
    }
    out.sync();
}

/// With their names the files are durable.
void Backup::sync_directories() const {
    for (const auto& entry : fs::recursive_directory_iterator{directory_}) {
        if (entry.is_directory()) {
            Descriptor{entry.path(), O_RDONLY | O_DIRECTORY}.sync();
        }
    }
    Descriptor{directory_, O_RDONLY | O_DIRECTORY}.sync();
}

void Backup::fetch_all() {
    const auto begun = question("backup.begin", Json::object());
    id_ = begun.at("id").get<std::string>();
    bytes_total_ = begun.at("bytes").get<std::uint64_t>();
    list();
    FileTransfer transfer{program_.global, "MiB fetched", bytes_total_};
    transfer.run(files_, [&](const TransferFile& file) { fetch(file, transfer); });
    sync_directories();
    if (!manifest_) {
        throw Failure{exit_failed, "the backup has no " + std::string{manifest_name}, "protocol_violation"};
    }
    fetch(*manifest_, transfer);
    sync_directories();
}

/// What was made for nothing goes again; what is in it is not ours to remove.
void Backup::leave_nothing_empty() const {
    std::error_code error;
    if (!fs::is_empty(directory_, error)) {
        say(program_.global, directory_.string() + " is not complete, and no backup: remove it");
    } else if (is_made_) {
        fs::remove(directory_, error);
    }
}

int Backup::run() {
    prepare();
    try {
        fetch_all();
    } catch (...) {
        leave_nothing_empty();
        throw;
    }
    static_cast<void>(question("backup.end", {{"id", id_}}));
    client_.close();
    if (program_.global.output == OutputFormat::text) {
        std::printf("%s, %s, in %s\n", counted(files_.size() + 1, "file").c_str(), counted(bytes_total_, "byte").c_str(),
                    directory_.string().c_str());
        say(program_.global, "check it with `baton-inspect " + directory_.string() + " verify`");
    } else {
        print_json({{"directory", directory_.string()}, {"files", files_.size() + 1}, {"bytes", bytes_total_}});
    }
    return exit_done;
}

}  // namespace

void add_backup(Program& program) {
    auto* verb = program.app.add_subcommand(
        "backup", "Fetch all durable channels of a running broker, as of one moment, into a new directory.");
    verb->footer("Example: baton backup /backups/monday && baton-inspect /backups/monday verify");
    const auto directory = std::make_shared<std::string>();
    verb->add_option("DIR", *directory, "Is made; may be there if it is empty.")->required()->check(some_path());
    verb->final_callback(
        [&program, directory] { program.run = [&program, directory] { return Backup{program, *directory}.run(); }; });
}

}  // namespace baton::cli
