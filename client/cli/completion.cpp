// `baton completion bash|zsh|fish`: made from the same definitions as the parser.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "client/cli/command.hpp"

namespace baton::cli {

namespace {

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const auto& word : words) {
        text += (text.empty() ? "" : " ") + word;
    }
    return text;
}

bool is_shown(const std::string& group) {
    return !group.empty();
}

std::vector<const CLI::App*> shown_verbs(const CLI::App& app) {
    return app.get_subcommands([](const CLI::App* verb) { return is_shown(verb->get_group()); });
}

std::vector<std::string> flags_of(const CLI::App& app) {
    std::vector<std::string> flags;
    for (const auto* option : app.get_options()) {
        if (!is_shown(option->get_group())) {
            continue;
        }
        for (const auto& name : option->get_lnames()) {
            flags.push_back("--" + name);
        }
    }
    return flags;
}

// Those of its parts, too: only the first word tells the shell where we are.
std::vector<std::string> all_flags_of(const CLI::App& app) {
    auto flags = flags_of(app);
    for (const auto* part : shown_verbs(app)) {
        for (auto& flag : all_flags_of(*part)) {
            if (std::ranges::find(flags, flag) == flags.end()) {
                flags.push_back(std::move(flag));
            }
        }
    }
    return flags;
}

std::vector<std::string> verbs_of(const CLI::App& app) {
    std::vector<std::string> verbs;
    for (const auto* verb : shown_verbs(app)) {
        verbs.push_back(verb->get_name());
    }
    return verbs;
}

std::string bash(const CLI::App& app) {
    std::string text = "_baton() {\n    local words\n    case \"${COMP_WORDS[1]}\" in\n";
    for (const auto* verb : shown_verbs(app)) {
        auto words = verbs_of(*verb);
        const auto flags = all_flags_of(*verb);
        words.insert(words.end(), flags.begin(), flags.end());
        text += "        " + verb->get_name() + ") words=\"" + joined(words) + "\" ;;\n";
    }
    auto words = verbs_of(app);
    const auto flags = flags_of(app);
    words.insert(words.end(), flags.begin(), flags.end());
    text += "        *) words=\"" + joined(words) + "\" ;;\n    esac\n";
    text += "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n}\n";
    return text + "complete -F _baton baton\n";
}

std::string fish(const CLI::App& app) {
    std::string text;
    for (const auto* verb : shown_verbs(app)) {
        text += "complete -c baton -n __fish_use_subcommand -f -a " + verb->get_name() + " -d '" +
                verb->get_description() + "'\n";
        for (const auto& flag : all_flags_of(*verb)) {
            text += "complete -c baton -n '__fish_seen_subcommand_from " + verb->get_name() + "' -l " + flag.substr(2) +
                    "\n";
        }
    }
    for (const auto& flag : flags_of(app)) {
        text += "complete -c baton -l " + flag.substr(2) + "\n";
    }
    return text;
}

/// zsh can use bash's completions.
std::string zsh(const CLI::App& app) {
    return "#compdef baton\nautoload -U +X bashcompinit && bashcompinit\n" + bash(app);
}

}  // namespace

void add_completion(Program& program) {
    auto* verb = program.app.add_subcommand("completion", "Print a completion script for a shell.");
    verb->footer("Example: baton completion bash >/etc/bash_completion.d/baton");
    const auto shell = std::make_shared<std::string>();
    verb->add_option("SHELL", *shell, "bash, zsh or fish.")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
    verb->final_callback([&program, shell] {
        program.run = [&program, shell] {
            const auto text = *shell == "bash"  ? bash(program.app)
                              : *shell == "zsh" ? zsh(program.app)
                                                : fish(program.app);
            std::fputs(text.c_str(), stdout);
            return static_cast<int>(exit_done);
        };
    });
}

}  // namespace baton::cli
