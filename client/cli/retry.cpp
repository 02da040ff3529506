// `baton retry`: from quarantine back to ready.
#include "client/cli/selection.hpp"

namespace baton::cli {

void add_retry(Program& program) {
    auto* verb = program.app.add_subcommand("retry", "Make quarantined messages ready again, with a first attempt.");
    verb->footer("Example: baton retry jobs --all\n         baton retry jobs 17 23");
    const auto selection = std::make_shared<Selection>();
    add_channel_name(*verb, "CHANNEL", selection->channel, "Channel.");
    add_selection(*verb, *selection);
    verb->final_callback([&program, selection] {
        program.run = [&program, selection] {
            return run_on(program, *selection, "channel.retry", Json::object(), "ready again");
        };
    });
}

}  // namespace baton::cli
