#include "client/cli/command_line.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <sstream>
#include <string_view>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include "client/cli/arguments.hpp"
#include "client/cli/interrupt.hpp"
#include "client/cli/stdout_writer.hpp"
#include "common/base/units.hpp"

namespace baton::cli {

namespace {

/// One line for people, or one object for programs.
int report(const GlobalOptions& global, const Failure& failure) {
    if (global.output == OutputFormat::text) {
        std::fprintf(stderr, "baton: %s\n", one_line(failure.what()).c_str());
    } else {
        nlohmann::json json{{"error",
                             {{"code", failure.code().empty() ? "failed" : failure.code()},
                              {"text", failure.what()},
                              {"retryable", failure.is_retryable()}}}};
        if (const auto details = nlohmann::json::parse(failure.details(), nullptr, false); details.is_object()) {
            json["error"].update(details);
        }
        std::fprintf(stderr, "%s\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    }
    return failure.exit_code();
}

constexpr Duration connect_timeout_min = std::chrono::milliseconds{1};

void add_global_options(Program& program) {
    auto& app = program.app;
    auto& global = program.global;
    app.add_option("--url", global.url,
                   "Broker: baton://HOST[:PORT] or baton+unix:///PATH; tcp:// and unix://, as batond writes them, mean the same.")
        ->envname("BATON_URL")
        ->type_name("URL")
        ->capture_default_str();
    app.add_flag("--quiet", global.quiet, "No information on stderr, errors only.");
    app.add_option_function<std::string>(
           "--output",
           [&global](const std::string& format) {
               global.output = format == "json"    ? OutputFormat::json
                               : format == "jsonl" ? OutputFormat::jsonl
                                                   : OutputFormat::text;
           },
           "text, json or jsonl.")
        ->check(one_of({"text", "json", "jsonl"}))
        ->type_name("FORMAT");
    add_duration(app, "--connect-timeout",
                 "How long to wait for a broker that cannot be reached (default 30s; 5s for verbs that only ask, 2s for ping).",
                 [&global](std::chrono::nanoseconds duration) {
                     if (duration < connect_timeout_min) {
                         throw CLI::ValidationError{"--connect-timeout",
                                                    "\"" + format_duration(duration) + "\" leaves no time to try; it is " +
                                                        format_duration(connect_timeout_min) + " or longer, such as 2s"};
                     }
                     global.connect_timeout = duration;
                     global.has_connect_timeout = true;
                 });
}

/// --output as it was typed: also an error of the command line is reported in the form that was asked for.
OutputFormat output_wished(std::span<const std::string> words) {
    std::string_view wish;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] == "--output" && i + 1 < words.size()) {
            wish = words[i + 1];
        } else if (words[i].starts_with("--output=")) {
            wish = std::string_view{words[i]}.substr(9);
        }
    }
    return wish == "json" ? OutputFormat::json : wish == "jsonl" ? OutputFormat::jsonl : OutputFormat::text;
}

/// "baton channel create".
std::string called_verb(const CLI::App& app) {
    const auto chosen = app.get_subcommands();
    return chosen.empty() ? app.get_name() : app.get_name() + " " + called_verb(*chosen.front());
}

/// "create, list, show".
std::string verb_list(const CLI::App& app) {
    std::string list;
    for (const auto* verb : app.get_subcommands([](const CLI::App* part) { return !part->get_group().empty(); })) {
        list += (list.empty() ? "" : ", ") + verb->get_name();
    }
    return list;
}

/// What is wrong where a verb was to be named and no known one was; empty if that is not it.
std::string unknown_verb(const CLI::App& app) {
    const CLI::App* last = &app;
    while (!last->get_subcommands().empty()) {
        last = last->get_subcommands().front();
    }
    const auto words = app.remaining(true);
    if (last->get_require_subcommand_min() == 0 || words.empty()) {
        return {};
    }
    const auto word = unguarded(words.front());
    return word.starts_with('-') ? "there is no option \"" + word + "\""
                                 : "there is no verb \"" + word + "\", only " + verb_list(*last);
}

/// --help of a verb shows its own options only.
void name_global_options(CLI::App& app) {
    for (auto* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
        name_global_options(*verb);
        verb->footer(verb->get_footer() + std::string{verb->get_footer().empty() ? "" : "\n"} + global_options_line);
    }
}

/// Every value that the parser hands out is the word as it was typed.
void unguard_values(CLI::App& app) {
    for (auto* option : app.get_options()) {
        if (option->get_items_expected_max() == 1) {
            option->transform([](const std::string& word) { return unguarded(word); }, "", "word");
        }
    }
    for (auto* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
        unguard_values(*verb);
    }
}

/// What was printed must have arrived: a full disk is an error, a reader that has seen enough is none. Why an earlier
/// write failed is known only if somebody has kept it: `earlier` is its errno.
int with_flushed_stdout(int exit_code, int earlier = 0) {
    errno = 0;
    if ((std::fflush(stdout) == 0 && std::ferror(stdout) == 0) || errno == EPIPE ||
        stdout_trouble() == std::errc::broken_pipe || exit_code != exit_done) {
        return exit_code;
    }
    const int number = errno != 0 ? errno : earlier;
    const auto cause = number != 0 ? std::generic_category().message(number) : "not everything could be written";
    throw Failure{exit_failed, "cannot write to stdout: " + cause, "cannot_write"};
}

/// --help and --version.
int print_answer(const Program& program, const CLI::ParseError& answer) {
    std::signal(SIGPIPE, SIG_IGN);  // As Interrupt does for verbs.
    std::ostringstream text;
    const int exit_code = program.app.exit(answer, text, text);
    const int earlier = std::fputs(text.str().c_str(), stdout) < 0 ? errno : 0;
    try {
        return with_flushed_stdout(exit_code, earlier);
    } catch (const Failure& failure) {
        return report(program.global, failure);
    }
}

}  // namespace

void define(Program& program) {
    program.app.name("baton");
    program.app.set_version_flag("--version", std::string{"baton "} + BATON_VERSION);
    program.app.footer(
        "Example: baton send greetings Hello\n"
        "Exit codes: 0 done, 1 failed, 2 usage, 3 cannot connect, 4 not authorised, 5 not found,\n"
        "6 timed out or empty, 7 refused, 8 nobody answered, 9 partly done, 10 unhealthy, 130 interrupted.");
    program.app.require_subcommand(1);
    add_global_options(program);
    add_send(program);
    add_receive(program);
    add_peek(program);
    add_channel(program);
    add_policy(program);
    add_subscription(program);
    add_retry(program);
    add_move(program);
    add_drop(program);
    add_explain(program);
    add_ping(program);
    add_backup(program);
    add_restore(program);
    add_bench(program);
    add_completion(program);
    add_manual(program);
    for (auto* verb : program.app.get_subcommands([](const CLI::App*) { return true; })) {
        verb->fallthrough();
    }
    name_global_options(program.app);
    unguard_values(program.app);
}

std::optional<int> parse(Program& program, std::span<const char* const> arguments) {
    auto words = guarded(arguments);
    program.global.output = output_wished(words);
    try {
        std::ranges::reverse(words);  // The parser takes them from the back.
        program.app.parse(words);
    } catch (const CLI::ParseError& error) {
        const auto unknown = unknown_verb(program.app);
        if (error.get_exit_code() == 0 && unknown.empty()) {
            return print_answer(program, error);
        }
        const auto cause = unknown.empty() ? error.what() : unknown;
        return report(program.global, usage(cause + "; see `" + called_verb(program.app) + " --help`"));
    } catch (const Failure& failure) {
        return report(program.global, failure);
    }
    return std::nullopt;
}

int run(std::span<const char* const> arguments) {
    Program program;
    define(program);
    if (const auto exit_code = parse(program, arguments)) {
        return *exit_code;
    }
    try {
        Interrupt interrupt;
        program.interrupt = &interrupt;
        program.stop = interrupt.token();
        return with_flushed_stdout(program.run());
    } catch (const Failure& failure) {
        return report(program.global, failure);
    } catch (const ClientError& error) {
        return report(program.global, failure_of(error, "the broker at " + program.global.url));
    } catch (const std::exception& error) {
        return report(program.global, Failure{exit_failed, error.what(), "failed"});
    }
}

}  // namespace baton::cli
