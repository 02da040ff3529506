// `baton receive`: prints what is pushed to it. A message is acked only once stdout has taken its bytes.
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <limits>
#include <optional>
#include <vector>

#include "client/cli/command.hpp"
#include "client/cli/envelope.hpp"
#include "client/cli/execute.hpp"
#include "common/base/text_form.hpp"
#include "common/base/units.hpp"

namespace baton::cli {

namespace {

struct ReceiveOptions {
    std::string channel;
    std::uint64_t count = 0;  ///< 0: no end.
    std::optional<std::chrono::nanoseconds> timeout;
    bool until_empty = false;
    bool ack_early = false;
    bool null = false;
    bool jsonl = false;
    std::size_t window = 64;
    bool has_window = false;
    std::string command;
};

/// Bytes that are written at once, with the deliveries that they came from.
constexpr std::size_t batch_bytes_max = 64 * 1024;

/// False: nobody reads stdout any more.
bool write_stdout(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto size = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0 && errno == EPIPE) {
            return false;
        }
        if (size < 0) {
            throw Failure{exit_failed, "cannot write to stdout: " + std::generic_category().message(errno), "cannot_write"};
        }
        bytes.remove_prefix(static_cast<std::size_t>(size));
    }
    return true;
}

class Receiving {
public:
    Receiving(const Program& program, const ReceiveOptions& options)
        : program_{program},
          options_{options},
          client_{client_options(program.global)},
          receiver_{client_.receiver(options.channel, {.window_messages = window()})} {}

    int run();

private:
    enum class Next : std::uint8_t { message, empty, timeout, interrupted };

    [[nodiscard]] std::size_t window() const {
        if (!options_.command.empty() && !options_.has_window) {
            return 1;  // A command may take long: what waits behind it could be somebody else's.
        }
        return options_.count == 0 ? options_.window : std::min<std::size_t>(options_.window, options_.count);
    }
    [[nodiscard]] bool wants_more() const { return options_.count == 0 || received_ < options_.count; }
    Next take(std::optional<Delivery>& delivery);
    bool print(Delivery first);
    void execute(Delivery delivery);
    [[nodiscard]] int exit_code_at(Next end) const;

    const Program& program_;
    const ReceiveOptions& options_;
    Client client_;
    Receiver receiver_;
    std::uint64_t received_ = 0;
    bool has_warned_ = false;
};

Receiving::Next Receiving::take(std::optional<Delivery>& delivery) {
    if (program_.stop.stop_requested()) {
        return Next::interrupted;
    }
    const auto deadline = options_.timeout ? WaitLimit{*options_.timeout, program_.stop} : WaitLimit{program_.stop};
    delivery = receiver_.try_receive();
    if (!delivery && options_.until_empty) {
        if (receiver_.is_empty(deadline)) {
            return Next::empty;
        }
        delivery = receiver_.try_receive();
        if (!delivery) {
            // Not empty, but others may be faster: ask again soon.
            delivery = receiver_.receive({std::chrono::milliseconds{100}, program_.stop});
            return delivery ? Next::message : program_.stop.stop_requested() ? Next::interrupted : take(delivery);
        }
    }
    if (!delivery) {
        delivery = receiver_.receive(deadline);
    }
    if (delivery) {
        return Next::message;
    }
    return program_.stop.stop_requested() ? Next::interrupted : Next::timeout;
}

/// Prints what is here, up to a batch. False: stdout is closed.
bool Receiving::print(Delivery first) {
    std::vector<Delivery> batch;
    std::string bytes;
    std::optional<Delivery> next{std::move(first)};
    while (next) {
        if (options_.ack_early) {
            next->ack();
        }
        append_output(bytes, *next, options_.jsonl, options_.null);
        batch.push_back(std::move(*next));
        ++received_;
        next = wants_more() && bytes.size() < batch_bytes_max ? receiver_.try_receive() : std::nullopt;
    }
    if (!write_stdout(bytes)) {
        return false;
    }
    for (auto& delivery : batch) {
        delivery.ack();
    }
    return true;
}

void Receiving::execute(Delivery delivery) {
    ++received_;
    const int status = run_command(options_.command, delivery);
    constexpr int exit_retry = 75;
    constexpr int exit_reject = 65;
    if (status == 0) {
        delivery.ack();
        return;
    }
    if ((status == exit_retry || status == exit_reject) && !has_warned_) {
        has_warned_ = true;
        say(program_.global, std::string{"this broker knows neither delayed retry nor reject yet: "} +
                                 "the message is given back and may come again at once");
    }
    delivery.give_back();
}

int Receiving::exit_code_at(Next end) const {
    switch (end) {
        case Next::interrupted: return exit_interrupted;
        case Next::timeout:
            return received_ == 0 || (options_.count != 0 && received_ < options_.count) ? exit_empty : exit_done;
        case Next::empty: return options_.count != 0 && received_ < options_.count ? exit_empty : exit_done;
        case Next::message: return exit_done;
    }
    return exit_failed;
}

int Receiving::run() {
    client_.wait_connected({program_.stop});
    Next end = Next::message;
    while (wants_more()) {
        std::optional<Delivery> delivery;
        end = take(delivery);
        if (end != Next::message) {
            break;
        }
        if (!options_.command.empty()) {
            execute(std::move(*delivery));
        } else if (!print(std::move(*delivery))) {
            break;  // Nobody reads any more; what was not written is given back.
        }
    }
    constexpr auto close_timeout = std::chrono::seconds{5};
    receiver_.close(close_timeout);
    client_.close();
    return exit_code_at(end);
}

void add_modes(CLI::App& verb, ReceiveOptions& options) {
    verb.add_option_function<std::string>(
            "--timeout",
            [&options](const std::string& text) {
                const auto duration = parse_duration(text);
                if (!duration) {
                    throw CLI::ValidationError{"--timeout", duration.error().context};
                }
                options.timeout = *duration;
            },
            "Stop after so long without a message; exit 6 if fewer than N came.")
        ->type_name("DURATION");
    verb.add_flag("--until-empty", options.until_empty, "Stop when the channel has nothing ready for us.");
    verb.add_option_function<std::string>(
            "--ack", [&options](const std::string& mode) { options.ack_early = mode == "none"; },
            "after-write: acked once stdout took it (default); none: acked when it arrives.")
        ->check(CLI::IsMember({"after-write", "none"}));
    verb.add_flag("--null", options.null, "NUL instead of a newline behind each body.");
    verb.add_flag("--jsonl", options.jsonl, "An envelope per line: offset, attempt, key, headers, time, body.");
    verb.add_option_function<std::size_t>(
            "--window",
            [&options](std::size_t window) {
                options.window = window;
                options.has_window = true;
            },
            "Unsettled messages at once (default 64; 1 with --exec).")
        ->check(CLI::Range(1, 65'536));
    verb.add_option("--exec", options.command,
                    "Run this for each message, body on stdin: exit 0 acks, anything else gives it back.")
        ->type_name("COMMAND");
}

}  // namespace

void add_receive(Program& program) {
    auto* verb = program.app.add_subcommand("receive", "Print messages as they are pushed; blocks for more.");
    verb->footer("Example: baton receive greetings\n         baton receive jobs -n 10 --timeout 5s");
    const auto options = std::make_shared<ReceiveOptions>();
    verb->add_option("CHANNEL", options->channel, "Channel; created if it does not exist.")->required();
    verb->add_option("-n,--count", options->count, "Stop after so many messages.")->check(CLI::PositiveNumber);
    add_modes(*verb, *options);
    add_refused_option(*verb, "--subscription", "there are no topics and streams yet");
    add_refused_option(*verb, "--from", "there are no topics and streams yet");
    verb->final_callback([&program, options] {
        if (program.global.output != OutputFormat::text) {
            options->jsonl = true;
        }
        program.run = [&program, options] {
            if (options->null && options->jsonl) {
                throw usage("--null and --jsonl exclude each other");
            }
            try {
                return Receiving{program, *options}.run();
            } catch (const ClientError& error) {
                throw failure_of(error, "cannot receive from \"" + name_text(as_bytes(options->channel)) + "\" at " +
                                            program.global.url);
            }
        };
    });
}

}  // namespace baton::cli
