#include "client/cli/admin.hpp"

#include <cstdio>
#include <utility>

#include "common/base/text_form.hpp"

namespace baton::cli {

std::string ask_text(const Program& program, Client& client, const std::string& operation, const std::string& channel,
                     const std::string& arguments) {
    auto reply = client.admin(operation, channel, arguments, {program.stop}, std::nothrow);
    if (!reply) {
        throw failure_of(reply.error(), channel.empty() ? operation + " at " + program.global.url
                                                        : operation + " \"" + name_text(as_bytes(channel)) + "\" at " +
                                                              program.global.url);
    }
    return std::move(*reply);
}

Json ask(const Program& program, Client& client, const std::string& operation, const std::string& channel,
         const Json& arguments) {
    return Json::parse(ask_text(program, client, operation, channel, arguments.dump()));
}

void print_json(const Json& json) {
    const auto text = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    std::fwrite(text.data(), 1, text.size(), stdout);
}

void print(const Program& program, const Json& json, const std::string& text) {
    if (program.global.output == OutputFormat::text) {
        std::fputs(text.c_str(), stdout);
    } else {
        print_json(json);
    }
}

void print_list(const Program& program, const Json& list, const std::string& text) {
    if (program.global.output != OutputFormat::jsonl) {
        return print(program, list, text);
    }
    for (const auto& entry : list) {
        print_json(entry);
    }
}

const char* what_was_done(const Json& reply) {
    if (reply.at("created").get<bool>()) {
        return ": created";
    }
    return reply.value("changed", false) ? ": changed" : ": exists";
}

}  // namespace baton::cli
