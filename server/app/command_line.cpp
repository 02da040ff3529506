#include "server/app/command_line.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <utility>

#include "common/base/one_line.hpp"
#include "server/app/manual.hpp"
#include "server/app/ready.hpp"

namespace baton::app {

namespace {

using Flags = std::map<std::string, std::vector<std::string>>;  ///< Values by key.

Result<Configuration> configure(const std::string& config_file, const Flags& flags) {
    Configuration configuration;
    const auto lookup = [](const std::string& name) { return std::getenv(name.c_str()); };
    configuration.options.data_dir = default_data_dir(lookup);
    if (!config_file.empty()) {
        if (auto applied = apply_file(configuration, config_file); !applied) {
            return std::unexpected{applied.error()};
        }
    }
    if (auto applied = apply_environment(configuration, lookup); !applied) {
        return std::unexpected{applied.error()};
    }
    for (const auto& setting : settings_table()) {
        if (const auto found = flags.find(setting.key); found != flags.end() && !found->second.empty()) {
            if (auto applied = apply(configuration, setting, found->second, Origin::flag, setting.flag()); !applied) {
                return std::unexpected{applied.error()};
            }
        }
    }
    complete(configuration.options);
    if (auto checked = check(configuration.options); !checked) {
        return std::unexpected{checked.error()};
    }
    return configuration;
}

Flags flags_of(const Configuration& configuration) {
    Flags flags;
    for (const auto& setting : settings_table()) {
        const auto origin = configuration.origins.find(setting.key);
        if (origin != configuration.origins.end() && origin->second == Origin::flag) {
            flags[setting.key] = setting.show(configuration.options);
        }
    }
    return flags;
}

int complain(const std::string& text) {
    std::fprintf(stderr, "batond: %s\n", one_line(text).c_str());
    return exit_usage;
}

/// By flag, else by the environment; empty: neither names one. One that is there and empty is a mistake: whoever wrote it
/// does not want the defaults.
Result<std::string> config_file_of(const CLI::Option& flag, const std::string& value) {
    const char* variable = std::getenv("BATON_CONFIG");
    const bool has_flag = flag.count() > 0;
    if (!has_flag && variable == nullptr) {
        return std::string{};
    }
    auto file = has_flag ? value : std::string{variable};
    if (file.empty()) {
        return fail(std::make_error_code(std::errc::invalid_argument),
                    std::string{has_flag ? "--config" : "environment BATON_CONFIG"} +
                        ": config is \"\", allowed is the path of a file; leave it out to have none");
    }
    return file;
}

/// The parser names all words that it did not understand, the last one first; and it wants a verb where there is a wrong one.
std::string what_is_wrong(const CLI::App& app, const CLI::ParseError& error) {
    const auto words = app.remaining(true);
    return words.empty() ? error.what() : "\"" + words.front() + "\" is not expected there";
}

/// In reverse, as the parser takes them. It would take the next word for the value of "--data-dir=".
std::vector<std::string> words_of(int argc, const char* const* argv) {
    std::vector<std::string> words;
    for (int index = argc - 1; index > 0; --index) {
        std::string word{argv[index]};
        if (word.starts_with("--") && word.ends_with('=')) {
            word.pop_back();
            words.emplace_back();
        }
        words.push_back(std::move(word));
    }
    return words;
}

/// Groups keep the common flags in front of the many limits in --help.
void add_settings(CLI::App& app, Flags& flags) {
    for (const auto& setting : settings_table()) {
        auto* option = app.add_option(setting.flag(), flags[setting.key], setting.help + " Allowed: " + setting.allowed);
        option->group(setting.key.starts_with("limits.") ? "Limits" : "Options");
        option->expected(1)->allow_extra_args(false);
        option->multi_option_policy(setting.is_list ? CLI::MultiOptionPolicy::TakeAll : CLI::MultiOptionPolicy::TakeLast);
        option->type_name(setting.is_list ? "URL ..." : "VALUE");
    }
}

}  // namespace

int print(const std::string& text) {
    if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
        std::perror("batond: cannot write to stdout");
        return exit_failed;
    }
    return exit_done;
}

ParsedCommandLine parse_command_line(int argc, const char* const* argv) {
    CLI::App app{description};
    app.name("batond");
    app.footer(footer);
    app.set_version_flag("--version", std::string{"batond "} + BATON_VERSION);
    CommandLine line;
    Flags flags;
    const auto* config_flag = app.add_option("--config", line.config_file, config_help)->type_name("FILE");
    add_settings(app, flags);
    app.add_flag_callback("--memory", [&flags] { flags["default_storage"] = {"memory"}; }, memory_help)
        ->excludes("--default-storage")
        ->group("Options");
    auto* manual = app.add_subcommand("manual", "Print the manual page batond(8).")->group("");
    auto* config = app.add_subcommand("config", "Validate or print the configuration.");
    config->require_subcommand(1);
    config->fallthrough();
    config->add_subcommand("check", "Validate it, with the place of the ready file, and exit with 0 or 2.")->fallthrough();
    auto* show_command = config->add_subcommand("show", "Print the effective settings as JSON.")->fallthrough();
    show_command->add_flag("--origin", line.with_origin, "With where each value came from.");
    try {
        app.parse(words_of(argc, argv));
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            std::ostringstream text;
            app.exit(error, text, text);
            return {std::nullopt, print(text.str())};  // --help, --version.
        }
        return {std::nullopt, complain(what_is_wrong(app, error) + "; see batond --help")};
    }
    if (manual->parsed()) {
        line.command = Command::manual;
    } else if (config->parsed()) {
        line.command = show_command->parsed() ? Command::config_show : Command::config_check;
    }
    const auto config_file = config_file_of(*config_flag, line.config_file);
    auto configuration = config_file ? configure(*config_file, flags) : fail(config_file.error());
    if (!configuration) {
        return {std::nullopt, complain(configuration.error().context)};
    }
    line.config_file = *config_file;
    line.configuration = std::move(*configuration);
    return {std::move(line), exit_done};
}

int check_configuration(const Options& options) {
    for (const auto& name : unknown_variables(environ)) {
        static_cast<void>(complain("warning: " + unknown_variable_text(name)));
    }
    if (!options.ready_file.empty()) {
        if (const auto checked = check_ready_file(options.ready_file); !checked) {
            return complain(checked.error().message());
        }
    }
    std::fputs("the configuration is valid\n", stderr);
    return exit_done;
}

Result<Configuration> reload(const CommandLine& command_line) {
    return configure(command_line.config_file, flags_of(command_line.configuration));
}

}  // namespace baton::app
