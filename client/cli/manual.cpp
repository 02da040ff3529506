// `baton manual`: the page baton(1), made from the same definitions as the parser. docs/man/baton.1 is its output.
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/command.hpp"
#include "common/base/roff.hpp"

namespace baton::cli {

namespace {

bool is_shown(const std::string& group) {
    return !group.empty();
}

std::string option_names(const CLI::Option& option) {
    if (option.get_positional()) {
        return option.get_single_name() + (option.get_expected_max() > 1 ? "..." : "");
    }
    std::string names;
    for (const auto& name : option.get_snames()) {
        names += "-" + name + ", ";
    }
    for (const auto& name : option.get_lnames()) {
        names += "--" + name + ", ";
    }
    names.resize(names.size() - 2);
    return option.get_type_name().empty() ? names : names + " " + option.get_type_name();
}

std::string options_part(const CLI::App& app, bool with_positionals) {
    std::string text;
    for (const auto* option : app.get_options()) {
        const bool is_help = option->check_lname("help");
        if (is_shown(option->get_group()) && !is_help && option->get_positional() == with_positionals) {
            text += ".TP\n.B " + roff(option_names(*option)) + "\n" + roff(option->get_description()) + "\n";
        }
    }
    return text;
}

/// The page has the global options itself.
std::string examples_of(const CLI::App& verb) {
    auto text = verb.get_footer();
    if (text.ends_with(global_options_line)) {
        text.resize(text.size() - std::string_view{global_options_line}.size());
    }
    return text.ends_with('\n') ? text.substr(0, text.size() - 1) : text;
}

std::string verb_part(const CLI::App& verb, const std::string& path) {
    const auto parts = verb.get_subcommands([](const CLI::App*) { return true; });
    if (!parts.empty()) {
        std::string text;
        for (const auto* part : parts) {
            text += verb_part(*part, path + " " + part->get_name());
        }
        return text;
    }
    return ".SS " + roff(path) + "\n" + roff(verb.get_description()) + "\n" + options_part(verb, true) +
           options_part(verb, false) + ".PP\n.nf\n" + roff(examples_of(verb)) + "\n.fi\n";
}

std::string page(const CLI::App& app) {
    std::string text = ".TH BATON 1\n.SH NAME\nbaton \\- " + roff(app.get_description()) +
                       "\n.SH SYNOPSIS\n.B baton\n[GLOBAL OPTIONS] VERB ...\n.SH GLOBAL OPTIONS\n" +
                       options_part(app, false) + ".SH VERBS\n";
    for (const auto* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
        if (is_shown(verb->get_group())) {
            text += verb_part(*verb, verb->get_name());
        }
    }
    return text +
           ".SH NOTES\nDurations are written 250ms, 5s, 2m, 1h; sizes 64k, 10m, 1g. In the name of a channel %XX "
           "stands for a byte. What stands behind \\-\\- is never an option. Messages go to stdout, everything "
           "else to stderr.\n.SH EXIT STATUS\n.nf\n" +
           roff(app.get_footer()) +
           "\n.fi\n.SH ENVIRONMENT\n.TP\n.B BATON_URL\nThe broker, unless \\-\\-url is given.\n";
}

}  // namespace

void add_manual(Program& program) {
    auto* verb = program.app.add_subcommand("manual", "Print the manual page baton(1).");
    verb->group("");
    verb->footer("Example: baton manual | man -l -");
    verb->final_callback([&program] {
        program.run = [&program] {
            std::fputs(page(program.app).c_str(), stdout);
            return static_cast<int>(exit_done);
        };
    });
}

}  // namespace baton::cli
