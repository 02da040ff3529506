// `baton completion bash|zsh|fish`: made from the same definitions as the parser.
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
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

std::vector<std::string> verbs_of(const CLI::App& app) {
    std::vector<std::string> verbs;
    for (const auto* verb : shown_verbs(app)) {
        verbs.push_back(verb->get_name());
    }
    return verbs;
}

using Choices = std::map<std::string, std::vector<std::string>>;

/// Of each option that takes a value, by its flag, what that can be; nothing: anything, perhaps a file.
void add_values(const CLI::App& app, Choices& choices) {
    for (const auto* option : app.get_options()) {
        if (option->get_items_expected_max() == 0) {
            continue;
        }
        const auto values = choices_of(*option);
        const auto add = [&](const std::string& flag) {
            for (const auto& value : values) {
                if (auto& list = choices[flag]; std::ranges::find(list, value) == list.end()) {
                    list.push_back(value);
                }
            }
            choices.try_emplace(flag);
        };
        for (const auto& name : option->get_lnames()) {
            add("--" + name);
        }
        for (const auto& name : option->get_snames()) {
            add("-" + name);
        }
    }
    for (const auto* verb : shown_verbs(app)) {
        add_values(*verb, choices);
    }
}

/// What may stand behind it: its parts or what its arguments can be, its flags, and those that every verb has.
std::string words_of(const CLI::App& verb, const CLI::App& app) {
    auto words = verbs_of(verb);
    for (const auto* option : verb.get_options()) {
        if (option->get_positional()) {
            const auto choices = choices_of(*option);
            words.insert(words.end(), choices.begin(), choices.end());
        }
    }
    for (const auto& flags : {flags_of(verb), flags_of(app)}) {
        std::ranges::copy_if(flags, std::back_inserter(words),
                             [&](const auto& flag) { return std::ranges::find(words, flag) == words.end(); });
    }
    return joined(words);
}

/// A line for each verb and each part of one: "channel create".
std::string bash_verbs(const CLI::App& app) {
    std::string text;
    for (const auto* verb : shown_verbs(app)) {
        text += "        \"" + verb->get_name() + "\") words=\"" + words_of(*verb, app) + "\" ;;\n";
        for (const auto* part : shown_verbs(*verb)) {
            text += "        \"" + verb->get_name() + " " + part->get_name() + "\") words=\"" + words_of(*part, app) + "\" ;;\n";
        }
    }
    return text;
}

/// "channel|policy": those that have parts.
std::string verbs_with_parts(const CLI::App& app) {
    std::string names;
    for (const auto* verb : shown_verbs(app)) {
        names += shown_verbs(*verb).empty() ? "" : (names.empty() ? "" : "|") + verb->get_name();
    }
    return names;
}

/// The verb is the first word that is neither an option nor the value of one, with the next one where verbs have parts. Behind an
/// option that takes a value come its values, or files; -o default adds files also where nothing of ours fits.
std::string bash(const CLI::App& app) {
    Choices choices;
    add_values(app, choices);
    std::string with_value;
    std::string values;
    for (const auto& [flag, list] : choices) {
        with_value += (with_value.empty() ? "" : "|") + flag;
        if (!list.empty()) {
            values += "        " + flag + ") words=\"" + joined(list) + "\" ;;\n";
        }
    }
    std::string text =
        "_baton() {\n"
        "    local words verb index\n"
        "    local current=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
        "    # Where '=' breaks words: --output=js is three.\n"
        "    [[ $current == = ]] && current=\n"
        "    [[ $before == = ]] && before=\"${COMP_WORDS[COMP_CWORD-2]}\"\n"
        "    case \"$before\" in\n" + values +
        "        " + with_value + ") return ;;\n"
        "    esac\n"
        "    if [[ -n $words ]]; then\n"
        "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
        "        return\n"
        "    fi\n"
        "    for ((index = 1; index < COMP_CWORD; index++)); do\n"
        "        case \"${COMP_WORDS[index]}\" in\n"
        "            " + with_value + ")\n"
        "                index=$((index + 1))\n"
        "                [[ ${COMP_WORDS[index]} == = ]] && index=$((index + 1)) ;;\n"
        "            -*|=) ;;\n"
        "            *)\n"
        "                verb+=\"${verb:+ }${COMP_WORDS[index]}\"\n"
        "                case \"$verb\" in\n"
        "                    " + verbs_with_parts(app) + ") ;;\n"
        "                    *) break ;;\n"
        "                esac ;;\n"
        "        esac\n"
        "    done\n"
        "    case \"$verb\" in\n" + bash_verbs(app);
    auto words = verbs_of(app);
    const auto flags = flags_of(app);
    words.insert(words.end(), flags.begin(), flags.end());
    text += "        \"\") words=\"" + joined(words) + "\" ;;\n    esac\n";
    text += "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n}\n";
    return text + "complete -o default -F _baton baton\n";
}

/// " -x -a 'text json'", or " -r" for a value that may be a file.
std::string fish_values(const Choices& choices, const std::string& flag) {
    const auto found = choices.find(flag);
    if (found == choices.end()) {
        return {};
    }
    return found->second.empty() ? " -r" : " -x -a '" + joined(found->second) + "'";
}

/// The verb as a word that can follow where `condition` holds.
std::string fish_verb(const CLI::App& verb, const std::string& condition) {
    std::string description;
    for (const char letter : verb.get_description()) {
        description += (letter == '\'' || letter == '\\' ? "\\" : "") + std::string(1, letter);
    }
    return "complete -c baton -n '" + condition + "' -f -a " + verb.get_name() + " -d '" + description + "'\n";
}

std::string fish_flags(const CLI::App& verb, const std::string& condition) {
    Choices choices;
    add_values(verb, choices);
    std::string text;
    for (const auto& flag : flags_of(verb)) {
        text += "complete -c baton -n '" + condition + "' -l " + flag.substr(2) + fish_values(choices, flag) + "\n";
    }
    return text;
}

std::string fish(const CLI::App& app) {
    std::string text;
    for (const auto* verb : shown_verbs(app)) {
        const auto is_it = "__fish_seen_subcommand_from " + verb->get_name();
        text += fish_verb(*verb, "__fish_use_subcommand") + fish_flags(*verb, is_it);
        for (const auto* part : shown_verbs(*verb)) {
            text += fish_verb(*part, is_it + "; and not __fish_seen_subcommand_from " + joined(verbs_of(*verb))) +
                    fish_flags(*part, is_it + "; and __fish_seen_subcommand_from " + part->get_name());
        }
    }
    Choices choices;
    add_values(app, choices);
    for (const auto& flag : flags_of(app)) {
        text += "complete -c baton -l " + flag.substr(2) + fish_values(choices, flag) + "\n";
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
    verb->add_option("SHELL", *shell, "bash, zsh or fish.")->required()->check(one_of({"bash", "zsh", "fish"}))->type_name("");
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
