// `baton drop`: forgets messages that nobody holds.
#include "client/cli/selection.hpp"

namespace baton::cli {

void add_drop(Program& program) {
    auto* verb = program.app.add_subcommand("drop", "Forget messages: quarantined ones, unless told otherwise.");
    verb->footer("Example: baton drop jobs 17 23\n         baton drop jobs --all --state delayed");
    const auto selection = std::make_shared<Selection>();
    add_channel_name(*verb, "CHANNEL", selection->channel, "Channel.");
    add_selection(*verb, *selection);
    add_state(*verb, *selection, "ready, delayed or quarantined (default).");
    verb->final_callback([&program, selection] {
        program.run = [&program, selection] {
            return run_on(program, *selection, "channel.drop", Json::object(), "dropped");
        };
    });
}

}  // namespace baton::cli
