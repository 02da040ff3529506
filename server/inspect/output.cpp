#include "server/inspect/output.hpp"

#include <algorithm>
#include <cstdio>

namespace baton::inspect {

std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string row_text(const Json& object) {
    std::string text;
    for (const auto& [key, value] : object.items()) {
        text += (text.empty() ? "" : " ") + key + "=";
        const auto* plain = value.get_ptr<const std::string*>();
        const bool is_clear = plain != nullptr && !plain->empty() && std::ranges::all_of(*plain, [](char letter) {
                                  return letter > ' ' && letter < 0x7F && letter != '"' && letter != '\\';
                              });
        text += is_clear ? *plain : dump(value);
    }
    return text;
}

void print_line(const std::string& line) {
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fputc('\n', stdout);
}

void print_row(Format format, const Json& object) {
    print_line(format == Format::text ? row_text(object) : dump(object));
}

void complain(const std::string& text) {
    std::fprintf(stderr, "baton-inspect: %s\n", text.c_str());
}

}  // namespace baton::inspect
