#include "server/inspect/command_line.hpp"

#include <cerrno>
#include <cstdio>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include "server/inspect/verbs.hpp"
#include "server/storage/errc.hpp"

namespace baton::inspect {

namespace {

struct Words {
    std::string directory;
    std::string output = "text";
    bool is_live = false;
    std::vector<std::string> names;
    std::string target;
    std::function<int(Directory&, Format)> verb;
};

/// An empty path is a mistake, such as a variable of a script that is not set.
std::string check_path(const std::string& path) {
    return path.empty() ? "it is \"\", allowed is the path of a directory" : "";
}

/// DIR stands in front of the verb, where the parser would not show it.
class Formatter : public CLI::Formatter {
public:
    std::string make_usage(const CLI::App* app, std::string name) const override {
        constexpr std::string_view program = "baton-inspect";
        if (app->get_parent() != nullptr && name.starts_with(program)) {
            name.insert(program.size(), " DIR");
        }
        return CLI::Formatter::make_usage(app, name);
    }
};

/// "list, verify".
std::string verb_list(const CLI::App& app) {
    std::string list;
    for (const auto* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
        list += (list.empty() ? "" : ", ") + verb->get_name();
    }
    return list;
}

/// The parser takes the first word for DIR, whatever it is, and wants a verb where there is a wrong one.
std::string what_is_wrong(const CLI::App& app, const CLI::ParseError& error, const std::string& directory) {
    const auto* last = &app;
    while (!last->get_subcommands().empty()) {
        last = last->get_subcommands().front();
    }
    const std::string order = "; the order is baton-inspect DIR VERB, with DIR first";
    const auto words = app.remaining(true);
    if (error.get_name() == "RequiredError" && last->get_require_subcommand_min() != 0 && !directory.empty()) {
        const auto before = last == &app ? "DIR (\"" + directory + "\")" : last->get_name();
        return "behind " + before + " one of " + verb_list(*last) + " is missing" +
               (words.empty() ? "" : ", there is \"" + words.front() + "\"") + order;
    }
    return words.empty() ? error.what() : "\"" + words.front() + "\" is not expected there" + order;
}

void add_dump(CLI::App& app, Words& words) {
    auto* dump = app.add_subcommand("dump", "Print what is in files, or the messages of channels; see dump --help.");
    dump->require_subcommand(1)->fallthrough();
    using Dump = int (*)(Directory&, Format, const std::vector<std::string>&);
    const auto add = [&](const char* name, const char* help, Dump run, bool needs_names) {
        auto* what = dump->add_subcommand(name, help)->fallthrough();
        auto* names = what->add_option("NAME", words.names,
                                       needs_names ? "Channels." : "Files as `list` shows them; without names all.");
        names->required(needs_names);
        what->final_callback([&words, run] {
            words.verb = [&words, run](Directory& directory, Format format) {
                return run(directory, format, words.names);
            };
        });
    };
    add("wal", "A row for each record of log files.", &dump_wal, false);
    add("segment", "A row for each block of segment files.", &dump_segments, false);
    add("checkpoint", "A row for each section of checkpoints.", &dump_checkpoints, false);
    add("channel",
        "The living messages of channels, also of quarantined ones. With --output json a line each, as baton send "
        "--jsonl takes it.",
        &dump_channels, true);
}

void add_verbs(CLI::App& app, Words& words) {
    app.add_subcommand("list", "Show manifest, shards with log files and checkpoints, channels with segments, and damage.")
        ->fallthrough()
        ->final_callback([&words] { words.verb = &list; });
    app.add_subcommand("verify", "Read everything; exit 0 if it is sound, 1 if not.")
        ->fallthrough()
        ->final_callback([&words] { words.verb = &verify; });
    add_dump(app, words);
    auto* restored = app.add_subcommand("restore", "Check DIR, a backup, and copy it to a new data directory.");
    restored->fallthrough();
    restored->add_option("TARGET", words.target, "Does not exist, or is empty.")->required()->check(check_path);
    restored->final_callback(
        [&words] { words.verb = [&words](Directory& directory, Format) { return restore(directory, words.target); }; });
}

/// What was printed must have arrived; a reader that has seen enough is no error. `cause`: why an earlier write failed.
int with_flushed_stdout(int exit_code, int cause = 0) {
    errno = cause;
    if ((std::fflush(stdout) == 0 && std::ferror(stdout) == 0) || errno == EPIPE) {
        return exit_code;
    }
    const auto text = errno != 0 ? std::generic_category().message(errno) : "not everything could be written";
    complain("cannot write to stdout: " + text);
    return exit_code == exit_sound ? exit_unreadable : exit_code;
}

/// --help, --version.
int print_help(const CLI::App& app, const CLI::ParseError& error) {
    std::ostringstream text;
    app.exit(error, text, text);
    const int cause = std::fputs(text.str().c_str(), stdout) < 0 ? errno : 0;
    return with_flushed_stdout(exit_sound, cause);
}

int run(const Words& words) {
    auto directory = Directory::open(words.directory, words.is_live);
    if (!directory) {
        complain(directory.error().message());
        return exit_unreadable;
    }
    if ((*directory)->is_live()) {
        complain("a running broker changes these files while they are read: what looks damaged need not be");
    }
    return with_flushed_stdout(words.verb(**directory, words.output == "text" ? Format::text : Format::json));
}

}  // namespace

int run(int argc, const char* const* argv) {
    CLI::App app{"baton-inspect looks at a data directory of batond, or at a backup, and changes nothing in it."};
    app.name("baton-inspect");
    app.formatter(std::make_shared<Formatter>());  // Verbs get it as well.
    app.footer(
        "Example: baton-inspect /var/lib/baton verify\n"
        "         baton-inspect /var/lib/baton dump channel jobs --output json\n"
        "Exit codes: 0 sound, or done, 1 damage was found, 2 usage, or nothing has that name, 3 the directory cannot be read, a "
        "running broker has it, or the output cannot be written.");
    app.set_version_flag("--version", std::string{"baton-inspect "} + BATON_VERSION);
    Words words;
    app.add_option("DIR", words.directory, "Data directory or backup.")->required()->check(check_path);
    app.add_option("--output", words.output,
                   "text, json or jsonl; the last two are the same: each row is a JSON object on a line, list is one object.")
        ->check(CLI::IsMember({"text", "json", "jsonl"}));
    app.add_flag("--live", words.is_live, "Go on although a running broker has the directory.");
    app.require_subcommand(1);
    add_verbs(app, words);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            return print_help(app, error);
        }
        complain(what_is_wrong(app, error, words.directory) + "; see baton-inspect --help");
        return exit_usage;
    }
    return run(words);
}

}  // namespace baton::inspect
