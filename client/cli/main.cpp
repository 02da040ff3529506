// The command `baton`: parses the command line and runs one verb. Each verb is in a file of its own.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "client/cli/command.hpp"
#include "client/cli/interrupt.hpp"
#include "common/base/units.hpp"

namespace baton::cli {

namespace {

/// One line for people, or one object for programs.
int report(const GlobalOptions& global, const Failure& failure) {
    if (global.output == OutputFormat::text) {
        std::fprintf(stderr, "baton: %s\n", failure.what());
    } else {
        const nlohmann::json json{{"error",
                                   {{"code", failure.code().empty() ? "failed" : failure.code()},
                                    {"text", failure.what()},
                                    {"retryable", failure.is_retryable()}}}};
        std::fprintf(stderr, "%s\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    }
    return failure.exit_code();
}

void add_global_options(Program& program) {
    auto& app = program.app;
    auto& global = program.global;
    app.add_option("--url", global.url, "Broker: baton://HOST[:PORT] or baton+unix:///PATH.")
        ->envname("BATON_URL")
        ->type_name("URL")
        ->capture_default_str();
    app.add_flag("--quiet", global.quiet, "No information on stderr, errors only.");
    app.add_option("--output", global.output, "text, json or jsonl.")
        ->transform(CLI::CheckedTransformer(std::map<std::string, OutputFormat>{{"text", OutputFormat::text},
                                                                               {"json", OutputFormat::json},
                                                                               {"jsonl", OutputFormat::jsonl}})
                        .description(""))
        ->type_name("FORMAT");
    app.add_option_function<std::string>(
           "--connect-timeout",
           [&global](const std::string& text) {
               const auto duration = parse_duration(text);
               if (!duration) {
                   throw CLI::ValidationError{"--connect-timeout", duration.error().context};
               }
               global.connect_timeout = *duration;
               global.has_connect_timeout = true;
           },
           "How long to wait for a broker that cannot be reached (default 30s).")
        ->type_name("DURATION");
}

int run(int argc, char** argv) {
    Program program;
    program.app.set_version_flag("--version", std::string{"baton "} + BATON_VERSION);
    program.app.footer("Example: baton send greetings Hello\n"
                       "Exit codes: 0 done, 1 failed, 2 usage, 3 cannot connect, 4 not authorised, 5 not found,\n"
                       "6 timed out or empty, 7 refused, 8 nobody answered, 9 partly done, 10 unhealthy, 130 interrupted.");
    program.app.require_subcommand(1);
    add_global_options(program);
    add_send(program);
    add_receive(program);
    add_peek(program);
    add_channel(program);
    add_ping(program);
    add_completion(program);
    add_refused(program);
    for (auto* verb : program.app.get_subcommands([](const CLI::App*) { return true; })) {
        verb->fallthrough();
    }
    try {
        program.app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            return program.app.exit(error);  // --help, --version.
        }
        return report(program.global, usage(std::string{error.what()} + "; see baton --help"));
    }
    const Interrupt interrupt;
    program.stop = interrupt.token();
    try {
        return program.run();
    } catch (const Failure& failure) {
        return report(program.global, failure);
    } catch (const ClientError& error) {
        return report(program.global, failure_of(error, "the broker at " + program.global.url));
    }
}

}  // namespace

}  // namespace baton::cli

int main(int argc, char** argv) { return baton::cli::run(argc, argv); }
