// `baton send`: pipelines messages into a channel; exit 0 only when the broker has confirmed every one.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "client/cli/command.hpp"
#include "client/cli/inputs.hpp"
#include "common/base/text_form.hpp"

namespace baton::cli {

namespace {

struct SendOptions {
    std::string channel;
    std::vector<std::string> messages;
    std::vector<std::string> files;
    bool whole = false;
    bool null = false;
    bool jsonl = false;
    std::uint64_t count = 1;
    std::size_t window = 1000;
    MessageProperties properties;
    std::vector<std::string> headers;
};

/// After so long without progress the reason is said once.
constexpr auto patience = std::chrono::seconds{1};

class Sending {
public:
    Sending(const Program& program, const SendOptions& options)
        : program_{program},
          options_{options},
          client_{client_options(program.global)},
          sender_{client_.sender(options.channel, {.window_messages = options.window})} {}

    int run();

private:
    bool post_everything();
    bool post_once();
    bool post_stdin();
    void post_file(const std::string& path);
    void post(std::string_view body, const std::optional<MessageProperties>& own = std::nullopt);
    void post_repeated(std::string_view body, const std::optional<MessageProperties>& own = std::nullopt);
    void finish();
    void wait_for_broker();
    /// Runs `attempt(limit)` until it does not run into the limit; says once why it takes so long.
    template <class Attempt>
    auto patiently(Attempt attempt);
    [[nodiscard]] std::string where() const {
        return "cannot send to \"" + name_text(as_bytes(options_.channel)) + "\" at " + program_.global.url;
    }

    const Program& program_;
    const SendOptions& options_;
    Client client_;
    Sender sender_;
    std::uint64_t posted_ = 0;
    std::uint64_t refused_ = 0;
    std::string first_refusal_;
    std::string refusal_code_;
    bool has_said_blocked_ = false;
};

/// The broker has gone: fails when it stays away for the connect timeout.
void Sending::wait_for_broker() {
    if (const auto connected = client_.wait_connected({program_.stop}, std::nothrow); !connected) {
        throw failure_of(connected.error(), where());
    }
}

template <class Attempt>
auto Sending::patiently(Attempt attempt) {
    for (;;) {
        auto result = attempt(WaitLimit{patience, program_.stop});
        if (result) {
            return std::move(*result);
        }
        const auto code = result.error().code();
        if (code != ClientErrc::blocked && code != ClientErrc::timed_out) {
            throw failure_of(result.error(), where());
        }
        if (!client_.is_connected()) {
            wait_for_broker();
        }
        if (const auto reason = sender_.blocked(); !reason.empty() && !has_said_blocked_) {
            has_said_blocked_ = true;
            say(program_.global, "blocked: " + reason + "; waiting");
        }
    }
}

void Sending::post(std::string_view body, const std::optional<MessageProperties>& own) {
    const auto* properties = own ? &*own : options_.properties.empty() ? nullptr : &options_.properties;
    const auto message = properties != nullptr ? Message{body, *properties} : Message{body};
    patiently([&](const WaitLimit& limit) { return sender_.post(message, limit, std::nothrow); });
    ++posted_;
}

void Sending::post_repeated(std::string_view body, const std::optional<MessageProperties>& own) {
    for (std::uint64_t i = 0; i < options_.count; ++i) {
        post(body, own);
    }
}

void Sending::post_file(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        throw Failure{posted_ == 0 ? exit_failed : exit_partly,
                      "cannot read " + path + ": " + std::generic_category().message(errno), "cannot_read"};
    }
    std::string body;
    const bool is_whole = read_all(file, program_.stop, [&](std::string_view bytes) { body.append(bytes); });
    ::close(file);
    if (is_whole) {
        post(body);
    }
}

bool Sending::post_stdin() {
    if (options_.whole) {
        std::string body;
        const bool is_whole =
            read_all(STDIN_FILENO, program_.stop, [&](std::string_view bytes) { body.append(bytes); });
        if (is_whole) {
            post_repeated(body);
        }
        return is_whole;
    }
    Splitter splitter{options_.null ? '\0' : '\n'};
    std::uint64_t line = 0;
    const auto take = [&](std::string_view piece) {
        ++line;
        if (!options_.jsonl) {
            return post_repeated(piece);
        }
        try {
            const auto message = parse_json_line(piece);
            post_repeated(message.body, message.properties);
        } catch (const BadLine& error) {
            finish();
            throw Failure{posted_ == 0 ? exit_usage : exit_partly,
                          "line " + std::to_string(line) + " of the input: " + error.what() + "; " +
                              std::to_string(posted_) + " messages were sent before it",
                          "bad_line"};
        }
    };
    const bool is_whole =
        read_all(STDIN_FILENO, program_.stop, [&](std::string_view bytes) { splitter.feed(bytes, take); });
    if (is_whole) {
        splitter.finish(take);
    }
    return is_whole;
}

bool Sending::post_once() {
    for (const auto& message : options_.messages) {
        post(message);
    }
    for (const auto& file : options_.files) {
        post_file(file);
    }
    return !program_.stop.stop_requested();
}

/// False: interrupted.
bool Sending::post_everything() {
    if (options_.messages.empty() && options_.files.empty()) {
        return post_stdin();
    }
    for (std::uint64_t i = 0; i < options_.count; ++i) {
        if (!post_once()) {
            return false;
        }
    }
    return true;
}

void Sending::finish() {
    const auto report = patiently([&](const WaitLimit& limit) { return sender_.flush(limit, std::nothrow); });
    for (const auto& refusal : report.refused) {
        if (refused_ == 0) {
            first_refusal_ = refusal.error.text();
            refusal_code_ = refusal.error.status_name();
        }
        refused_ += refusal.count;
    }
}

int Sending::run() {
    wait_for_broker();
    const bool is_complete = post_everything();
    if (!is_complete) {
        throw Failure{exit_interrupted, "interrupted; " + std::to_string(sender_.confirmed_up_to()) + " of " +
                                            std::to_string(posted_) + " messages are confirmed",
                      "interrupted"};
    }
    finish();
    if (refused_ > 0) {
        throw Failure{refused_ == posted_ ? exit_refused : exit_partly,
                      where() + ": " + std::to_string(refused_) + " of " + std::to_string(posted_) +
                          " messages were refused: " + first_refusal_,
                      refusal_code_};
    }
    client_.close();
    if (program_.global.output != OutputFormat::text) {
        std::puts(nlohmann::json{{"confirmed", posted_}, {"level", "received"}}.dump().c_str());
    }
    return exit_done;
}

void check(const SendOptions& options) {
    if (options.whole + options.null + options.jsonl > 1) {
        throw usage("--whole, --null and --jsonl exclude each other");
    }
    if ((options.whole || options.null || options.jsonl) && !(options.messages.empty() && options.files.empty())) {
        throw usage("--whole, --null and --jsonl are about stdin, but messages were given");
    }
}

void add_headers(SendOptions& options) {
    for (const auto& header : options.headers) {
        const auto equals = header.find('=');
        if (equals == std::string::npos || equals == 0) {
            throw usage("--header \"" + header + "\" is not NAME=VALUE");
        }
        options.properties.headers.emplace_back(header.substr(0, equals), header.substr(equals + 1));
    }
}

}  // namespace

void add_send(Program& program) {
    auto* verb = program.app.add_subcommand("send", "Send messages; exit 0 means that all of them are confirmed.");
    verb->footer("Example: baton send greetings Hello\n         seq 1 1000 | baton send numbers");
    const auto options = std::make_shared<SendOptions>();
    verb->add_option("CHANNEL", options->channel, "Channel; created if it does not exist.")->required();
    verb->add_option("MESSAGE", options->messages, "Messages; with none, each line of stdin is one.")->expected(0, -1);
    verb->add_flag("--whole", options->whole, "All of stdin is one message.");
    verb->add_flag("--null", options->null, "Messages on stdin are separated by NUL.");
    verb->add_flag("--jsonl", options->jsonl, R"(Each line of stdin is {"body":…,"key":…,"headers":{…}}.)");
    verb->add_option("--file", options->files, "The file is a message; may be repeated.")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->type_name("FILE");
    verb->add_option("--count", options->count, "Send everything so many times.")->check(CLI::PositiveNumber);
    verb->add_option("--key", options->properties.key, "Key of each message.");
    verb->add_option("--header", options->headers, "NAME=VALUE; may be repeated.")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    verb->add_option("--content-type", options->properties.content_type, "Content type of each message.");
    verb->add_option("--id", options->properties.message_id, "Message id.");
    verb->add_option("--window", options->window, "Unconfirmed messages at once.")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    add_refused_option(*verb, "--ttl", "messages do not expire yet");
    add_refused_option(*verb, "--delay", "messages cannot be delayed yet");
    add_refused_option(*verb, "--priority", "there are no priorities yet");
    add_refused_option(*verb, "--confirm", "channels live in memory only, the level is always \"received\"");
    verb->final_callback([&program, options] {
        program.run = [&program, options] {
            check(*options);
            add_headers(*options);
            return Sending{program, *options}.run();
        };
    });
}

}  // namespace baton::cli
