#include "client/cli/arguments.hpp"

namespace baton::cli {

namespace {

constexpr char mark = '\x01';

bool needs_mark(const std::string& word, bool is_behind_dashes) {
    if (word.empty() || word == "++") {
        return true;
    }
    const char first = word.front();
    return first == '[' || first == '{' || first == mark || (is_behind_dashes && first == '-');
}

}  // namespace

std::vector<std::string> guarded(std::span<const char* const> arguments) {
    std::vector<std::string> words;
    bool is_behind_dashes = false;
    for (const std::string word : arguments) {
        if (word == "--" && !is_behind_dashes) {
            is_behind_dashes = true;
        } else {
            words.push_back(needs_mark(word, is_behind_dashes) ? mark + word : word);
        }
    }
    return words;
}

std::string unguarded(const std::string& word) {
    return word.starts_with(mark) ? word.substr(1) : word;
}

}  // namespace baton::cli
