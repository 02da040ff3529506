// `baton send`: pipelines messages into a channel; exit 0 only when the broker has confirmed every one.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include "client/cli/arguments.hpp"
#include "client/cli/command.hpp"
#include "client/cli/inputs.hpp"
#include "client/cli/interrupt.hpp"
#include "client/cli/progress.hpp"
#include "client/cli/times.hpp"
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
    std::string confirm = "durable";
    MessageProperties properties;
    std::vector<std::string> headers;
};

/// After so long without progress the reason is said once.
constexpr auto patience = std::chrono::seconds{1};
constexpr std::uint64_t priority_max = 9;

/// What a line says itself wins over the flags.
MessageProperties with_defaults(MessageProperties own, const MessageProperties& flags) {
    const auto fill = [](std::string& value, const std::string& fallback) {
        if (value.empty()) {
            value = fallback;
        }
    };
    fill(own.key, flags.key);
    fill(own.content_type, flags.content_type);
    fill(own.message_id, flags.message_id);
    const auto fill_value = [](auto& value, const auto& fallback) {
        if (!value) {
            value = fallback;
        }
    };
    fill_value(own.priority, flags.priority);
    fill_value(own.ttl, flags.ttl);
    fill_value(own.delay, flags.delay);
    fill_value(own.not_before, flags.not_before);
    own.headers.insert(own.headers.end(), flags.headers.begin(), flags.headers.end());
    return own;
}

SenderOptions sender_options(const SendOptions& options) {
    SenderOptions wanted;
    wanted.window_messages = options.window;
    wanted.confirm = options.confirm == "received" ? ConfirmLevel::received : ConfirmLevel::durable;
    return wanted;
}

class Sending {
public:
    Sending(const Program& program, const SendOptions& options)
        : program_{program},
          options_{options},
          client_{client_options(program.global)},
          sender_{client_.sender(options.channel, sender_options(options))},
          progress_{program.global, "sent", options.messages.size() * options.count} {}

    int run();

private:
    void post_everything();
    void post_arguments();
    void post_stdin();
    void post_whole_stdin();
    void post_line(std::string_view line);
    void post_file(const std::string& path);
    void post(std::string_view body, const std::optional<MessageProperties>& own = std::nullopt);
    void keep(std::string_view body, const std::optional<MessageProperties>& own = std::nullopt);
    void post_kept();
    void finish();
    void wait_for_broker();
    int conclude();
    void refuse(const ClientError& error, std::uint64_t count);
    /// Runs `attempt(limit)` until it does not run into the limit; says once why it takes so long.
    template <class Attempt>
    auto patiently(Attempt attempt);
    /// The disk of the broker is full: nothing more is read, and what is under way is waited for.
    struct DiskFull {
        ClientError error;
    };
    [[nodiscard]] std::string where() const {
        return "cannot send to \"" + name_text(as_bytes(options_.channel)) + "\" at " + program_.global.url;
    }

    const Program& program_;
    const SendOptions& options_;
    Client client_;
    Sender sender_;
    Progress progress_;
    std::vector<InputMessage> kept_;  // Messages of stdin that are to be repeated.
    std::uint64_t line_ = 0;
    double fraction_ = -1;        // Of stdin, if it is a file.
    std::uint64_t accepted_ = 0;  // By the library.
    std::uint64_t refused_ = 0;   // By the library or the broker.
    std::string first_refusal_;
    std::string refusal_code_;
    bool is_refusal_retryable_ = false;
    ConfirmLevel level_ = ConfirmLevel::none;
    bool has_said_blocked_ = false;
    bool is_cut_short_ = false;  // There may have been more to send.
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
            return std::optional{std::move(*result)};
        }
        const auto code = result.error().code();
        if (code == ClientErrc::message_too_large) {
            refuse(result.error(), 1);
            return decltype(std::optional{std::move(*result)}){};
        }
        if (result.error().status_name() == "disk_full") {
            throw DiskFull{result.error()};
        }
        if (code != ClientErrc::blocked && code != ClientErrc::timed_out) {
            throw failure_of(result.error(), where());
        }
        if (!client_.is_connected()) {
            wait_for_broker();
        }
        if (const auto reason = sender_.blocked(); !reason.empty() && !has_said_blocked_) {
            has_said_blocked_ = true;
            progress_.clear();
            say(program_.global,
                "blocked: " + reason + "; waiting until \"" + name_text(as_bytes(options_.channel)) + "\" has room");
        }
    }
}

void Sending::refuse(const ClientError& error, std::uint64_t count) {
    if (refused_ == 0) {
        first_refusal_ = error.text();
        // The others have theirs in the text.
        first_refusal_ += error.code() == ClientErrc::message_too_large ? next_step(error) : "";
        refusal_code_ = error.status_name();
        is_refusal_retryable_ = error.retryable();
    }
    refused_ += count;
}

void Sending::post(std::string_view body, const std::optional<MessageProperties>& own) {
    const auto* properties = own ? &*own : options_.properties.empty() ? nullptr : &options_.properties;
    const auto message = properties != nullptr ? Message{body, *properties} : Message{body};
    if (patiently([&](const WaitLimit& limit) { return sender_.post(message, limit, std::nothrow); })) {
        ++accepted_;
    }
    progress_.reached(accepted_, fraction_);
}

void Sending::keep(std::string_view body, const std::optional<MessageProperties>& own) {
    post(body, own);
    if (options_.count > 1) {
        kept_.push_back({std::string{body}, own});
    }
}

void Sending::post_kept() {
    for (std::uint64_t i = 1; i < options_.count; ++i) {
        for (const auto& message : kept_) {
            post(message.body, message.properties);
        }
    }
}

void Sending::post_file(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        throw Failure{exit_failed, "cannot read " + path + ": " + std::generic_category().message(errno),
                      "cannot_read"};
    }
    std::string body;
    try {
        if (read_all(file, *program_.interrupt, [&](std::string_view bytes) { body.append(bytes); })) {
            post(body);
            progress_.tick(accepted_);
        }
    } catch (const std::system_error& error) {
        ::close(file);
        throw Failure{exit_failed, "cannot read " + path + ": " + error.code().message(), "cannot_read"};
    }
    ::close(file);
}

void Sending::post_whole_stdin() {
    std::string body;
    if (read_all(STDIN_FILENO, *program_.interrupt, [&](std::string_view bytes) { body.append(bytes); })) {
        keep(body);
        post_kept();
    }
}

void Sending::post_line(std::string_view line) {
    ++line_;
    if (!options_.jsonl) {
        return keep(line);
    }
    InputMessage message;
    try {
        message = parse_json_line(line);
    } catch (const BadLine& error) {
        throw Failure{exit_usage, "line " + std::to_string(line_) + " of the input: " + error.what(), "bad_line"};
    }
    if (message.properties || !options_.properties.empty()) {
        message.properties = with_defaults(message.properties.value_or(MessageProperties{}), options_.properties);
    }
    keep(message.body, message.properties);
}

void Sending::post_stdin() {
    if (options_.whole) {
        return post_whole_stdin();
    }
    struct stat status{};
    const bool is_file = ::fstat(STDIN_FILENO, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0;
    std::uint64_t bytes_read = 0;
    Splitter splitter{options_.null ? '\0' : '\n'};
    const auto take = [this](std::string_view piece) { post_line(piece); };
    const bool is_whole = read_all(STDIN_FILENO, *program_.interrupt, [&](std::string_view bytes) {
        bytes_read += bytes.size();
        if (is_file && options_.count == 1) {
            fraction_ = static_cast<double>(bytes_read) / static_cast<double>(status.st_size);
        }
        splitter.feed(bytes, take);
        progress_.tick(accepted_, fraction_);  // Who writes slowly is not counted in dozens.
    });
    if (is_whole) {
        splitter.finish(take);
        post_kept();
    }
}

void Sending::post_arguments() {
    for (std::uint64_t i = 0; i < options_.count && !program_.interrupt->is_requested(); ++i) {
        for (const auto& message : options_.messages) {
            post(message);
        }
        for (const auto& file : options_.files) {
            post_file(file);
        }
    }
}

void Sending::post_everything() {
    wait_for_broker();
    try {
        if (options_.messages.empty() && options_.files.empty()) {
            post_stdin();
        } else {
            post_arguments();
        }
    } catch (const DiskFull& full) {
        refuse(full.error, 1);
        is_cut_short_ = true;
    }
}

void Sending::finish() {
    try {
        const auto report = patiently([&](const WaitLimit& limit) { return sender_.flush(limit, std::nothrow); });
        level_ = report->level;
        for (const auto& refusal : report->refused) {
            refuse(refusal.error, refusal.count);
            accepted_ -= refusal.count;
        }
    } catch (const DiskFull& full) {
        throw failure_of(full.error, where());  // Of the link: the channel cannot be made.
    }
}

/// Everything is decided: what it amounts to.
int Sending::conclude() {
    progress_.clear();
    if (refused_ != 0) {
        throw Failure{accepted_ == 0 ? exit_refused : exit_partly,
                      where() + ": " + std::to_string(refused_) + " of " + counted(accepted_ + refused_, "message") +
                          (refused_ == 1 ? " was" : " were") + " refused" +
                          (is_cut_short_ ? ", and nothing behind them was sent: " : ": ") +
                          first_refusal_,
                      refusal_code_, is_refusal_retryable_};
    }
    client_.close();
    if (program_.global.output != OutputFormat::text) {
        std::puts(nlohmann::json{{"confirmed", accepted_}, {"level", name_of(level_)}}.dump().c_str());
    }
    return exit_done;
}

int Sending::run() {
    try {
        try {
            post_everything();
        } catch (const Failure& failure) {
            // Bad input: what came before it is sent all the same, and said.
            if (failure.exit_code() != exit_usage && failure.code() != "cannot_read") {
                throw;
            }
            finish();
            progress_.clear();
            throw Failure{accepted_ == 0 ? failure.exit_code() : exit_partly,
                          std::string{failure.what()} + "; " + counted(accepted_, "message") + " before it " +
                              (accepted_ == 1 ? "was" : "were") + " sent, nothing behind it",
                          failure.code()};
        }
        if (!program_.interrupt->is_requested()) {
            finish();
            return conclude();
        }
    } catch (const Failure& failure) {
        progress_.clear();
        if (failure.exit_code() != exit_interrupted) {
            throw;
        }
    }
    if (accepted_ == 0) {
        throw Failure{exit_interrupted, "interrupted: nothing was sent" +
                                            (client_.is_connected() ? std::string{} : ", " + program_.global.url +
                                                                                          " was not reached"),
                      "interrupted"};
    }
    throw Failure{exit_interrupted,
                  "interrupted: " + std::to_string(sender_.confirmed_up_to()) + " of " + counted(accepted_, "message") +
                      " confirmed, the others may still arrive",
                  "interrupted"};
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

void add_life(CLI::App& verb, MessageProperties& properties) {
    const auto to_us = [](std::chrono::nanoseconds duration) {
        return std::chrono::duration_cast<std::chrono::microseconds>(duration);
    };
    add_duration(verb, "--ttl", "It expires so long after the broker took it.",
                 [&properties, to_us](std::chrono::nanoseconds ttl) { properties.ttl = to_us(ttl); });
    add_duration(verb, "--delay", "Nobody gets it before so long after the broker took it.",
                 [&properties, to_us](std::chrono::nanoseconds delay) { properties.delay = to_us(delay); });
    verb.add_option_function<std::string>(
            "--at",
            [&properties](const std::string& text) {
                properties.not_before = parse_time(text);
                if (!properties.not_before) {
                    throw CLI::ValidationError{
                        "--at", "\"" + text + "\" is not a time such as 2026-01-31T12:00:00Z or seconds since 1970"};
                }
            },
            "Nobody gets it before this time: RFC 3339, or seconds since 1970 UTC.")
        ->type_name("TIME");
    add_number(verb, "--priority", "0 (default) to 9: those with a higher one are given first.", 0, priority_max,
               [&properties](std::uint64_t priority) { properties.priority = static_cast<std::uint8_t>(priority); });
}

}  // namespace

void add_send(Program& program) {
    auto* verb = program.app.add_subcommand("send", "Send messages; exit 0 means that all of them are confirmed.");
    verb->footer(
        "Example: baton send greetings Hello\n         seq 1 1000 | baton send numbers\n"
        "         baton send jobs clean-up --delay 10m --priority 9");
    const auto options = std::make_shared<SendOptions>();
    add_channel_name(*verb, "CHANNEL", options->channel, "Channel; created if it does not exist.");
    verb->add_option("MESSAGE", options->messages, "Messages; with none, each line of stdin is one.")->expected(0, -1);
    verb->add_flag("--whole", options->whole, "All of stdin is one message.");
    verb->add_flag("--null", options->null, "Messages on stdin are separated by NUL.");
    verb->add_flag("--jsonl", options->jsonl,
                   R"(Each line of stdin is {"body":…,"key":…,"headers":{…},"ttl":"5m","delay":"30s","priority":9}.)");
    verb->add_option("--file", options->files, "The file is a message; may be repeated.")
        ->check(some_path())
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->type_name("FILE");
    add_number(*verb, "--count", "Send everything so many times, 1 (default) to 1000000000000.", 1, 1'000'000'000'000,
               [options](std::uint64_t count) { options->count = count; });
    verb->add_option("--key", options->properties.key, "Key of each message.");
    verb->add_option("--header", options->headers, "NAME=VALUE; may be repeated.")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    verb->add_option("--content-type", options->properties.content_type, "Content type of each message.");
    verb->add_option("--id", options->properties.message_id, "Message id.");
    add_number(*verb, "--window", "Unconfirmed messages at once, 1 to 1000000 (default 1000).", 1, 1'000'000,
               [options](std::uint64_t window) { options->window = window; });
    verb->add_option(
            "--confirm", options->confirm,
            "A message of a durable channel counts when it is received in memory, or durable on the disk (default).")
        ->check(one_of({"received", "durable"}))
        ->type_name("LEVEL");
    add_life(*verb, options->properties);
    verb->final_callback([&program, options] {
        program.run = [&program, options] {
            std::ranges::transform(options->messages, options->messages.begin(), unguarded);
            check(*options);
            add_headers(*options);
            return Sending{program, *options}.run();
        };
    });
}

}  // namespace baton::cli
