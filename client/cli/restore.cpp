// `baton restore DIR`: sends the files of a backup to a running broker, which brings its channels in, all or none.
// Main thread, and a few that send. Next file: backup.cpp.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

#include "client/cli/admin.hpp"
#include "client/cli/file_transfer.hpp"
#include "common/base/text_form.hpp"
#include "common/base/units.hpp"

namespace baton::cli {

namespace {

namespace fs = std::filesystem;

/// As base64 in JSON it fits a frame of any broker's smallest size.
constexpr std::size_t piece_size = 45'000;

struct Wishes {
    std::string directory;
    std::vector<std::string> only;
    std::vector<std::string> renamed;
};

/// A name as it is typed: "%XX" stands for a byte, any other '%' for itself. The broker wants the strict form.
std::string strict_name(const std::string& typed) {
    const auto name = name_from_text(typed);
    return name_text(as_bytes(name ? *name : typed));
}

/// `only` and `as` of restore.end. Throws a usage failure.
Json selection_of(const Wishes& wishes) {
    auto selection = Json::object();
    for (const auto& name : wishes.only) {
        selection["only"].push_back(strict_name(name));
    }
    for (const auto& pair : wishes.renamed) {
        const auto split = pair.find('=');
        if (split == std::string::npos || split == 0 || split + 1 == pair.size()) {
            throw usage("--as " + pair + ": it is NAME=NEWNAME (a '=' in a name is written %3D)");
        }
        const auto name = strict_name(pair.substr(0, split));
        auto& new_name = selection["as"][name];
        if (!new_name.is_null()) {
            throw usage("--as " + pair + ": \"" + name + "\" is to be called \"" + new_name.get<std::string>() +
                        "\" already; a channel is restored once, under one name");
        }
        new_name = strict_name(pair.substr(split + 1));
    }
    return selection;
}

class Restore {
public:
    Restore(const Program& program, const Wishes& wishes)
        : program_{program},
          directory_{wishes.directory},
          last_question_(selection_of(wishes)),  // Complains before anything is done.
          client_{question_options(program.global)} {}

    int run();

private:
    [[nodiscard]] Json question(const std::string& operation, const Json& arguments) {
        return ask(program_, client_, operation, "", arguments);
    }
    void list(const std::string& folder, const std::string& prefix);
    void send(const TransferFile& file, FileTransfer& transfer);

    const Program& program_;
    const fs::path directory_;
    Json last_question_;
    Client client_;
    std::string id_;
    std::uint64_t bytes_total_ = 0;
    std::vector<TransferFile> files_;
};

/// What is not of a data directory by its name is left alone; the broker looks more closely.
void Restore::list(const std::string& folder, const std::string& prefix) {
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator{directory_ / folder, error}) {
        const auto name = entry.path().filename().string();
        if (entry.is_regular_file() && name.starts_with(prefix) && !name.ends_with(".tmp")) {
            files_.push_back({fs::relative(entry.path(), directory_).string(), entry.file_size()});
            bytes_total_ += files_.back().size;
        }
    }
}

void Restore::send(const TransferFile& file, FileTransfer& transfer) {
    std::ifstream in{directory_ / file.path, std::ios::binary};
    std::vector<char> piece(piece_size);
    std::uint64_t offset = 0;
    do {
        in.read(piece.data(), static_cast<std::streamsize>(std::min<std::uint64_t>(piece.size(), file.size - offset)));
        const auto count = static_cast<std::size_t>(in.gcount());
        if (count == 0 && offset < file.size) {
            throw Failure{exit_failed, "cannot read " + (directory_ / file.path).string(), "cannot_read"};
        }
        const Json place{{"id", id_}, {"path", file.path}, {"offset", offset}};
        const auto bytes = std::as_bytes(std::span{piece}.first(count));
        static_cast<void>(ask_text(program_, client_, "restore.write", "", with_body(place.dump(), bytes)));
        offset += count;
        if (!transfer.carried(count)) {
            return;
        }
    } while (offset < file.size);
}

int Restore::run() {
    std::error_code error;
    if (!fs::is_directory(directory_, error)) {
        const auto cause = error ? error : std::make_error_code(std::errc::not_a_directory);
        throw Failure{exit_failed, "cannot read " + directory_.string() + ": " + cause.message(), "cannot_read"};
    }
    const auto manifest = fs::file_size(directory_ / "MANIFEST", error);
    if (error) {
        throw Failure{exit_refused, directory_.string() + " has no MANIFEST: it is no backup, or not a complete one",
                      "bad_backup"};
    }
    files_.push_back({"MANIFEST", manifest});
    list("channels", "segment-");
    for (const auto& entry : fs::directory_iterator{directory_, error}) {
        if (const auto name = entry.path().filename().string(); name.starts_with("generation-")) {
            list(name, "wal-");
            list(name, "checkpoint-");
        }
    }
    id_ = question("restore.begin", Json::object()).at("id").get<std::string>();
    FileTransfer transfer{program_.global, "MiB sent", bytes_total_};
    transfer.run(files_, [&](const TransferFile& file) { send(file, transfer); });
    last_question_["id"] = id_;
    const auto reply = question("restore.end", last_question_);
    client_.close();
    const auto channels = reply.at("channels").get<std::uint64_t>();
    const auto messages = reply.at("messages").get<std::uint64_t>();
    if (program_.global.output == OutputFormat::text) {
        std::printf("%s, %s restored\n", counted(channels, "channel").c_str(), counted(messages, "message").c_str());
    } else {
        print_json({{"directory", directory_.string()}, {"channels", channels}, {"messages", messages}});
    }
    return exit_done;
}

}  // namespace

void add_restore(Program& program) {
    auto* verb = program.app.add_subcommand(
        "restore", "Bring the channels of a backup into a running broker, all or none. Names that it has are refused.");
    verb->footer("Example: baton restore /backups/monday --only jobs --as jobs=jobs-monday");
    const auto wishes = std::make_shared<Wishes>();
    verb->add_option("DIR", wishes->directory, "What `baton backup` wrote.")->required()->check(some_path());
    verb->add_option("--only", wishes->only, "This channel and no other; may be repeated.")
        ->type_name("NAME")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    verb->add_option("--as", wishes->renamed, "Call a channel something else; may be repeated.")
        ->type_name("NAME=NEWNAME")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    verb->final_callback(
        [&program, wishes] { program.run = [&program, wishes] { return Restore{program, *wishes}.run(); }; });
}

}  // namespace baton::cli
