// `baton move`: sends messages that nobody holds to another channel, and forgets them in the first.
#include "client/cli/selection.hpp"
#include "common/base/text_form.hpp"

namespace baton::cli {

void add_move(Program& program) {
    auto* verb = program.app.add_subcommand("move", "Move messages to another channel; without offsets all.");
    verb->footer("Example: baton move jobs jobs-to-look-at --state quarantined\n         baton move jobs other 17 23");
    const auto selection = std::make_shared<Selection>();
    const auto to = std::make_shared<std::string>();
    add_channel_name(*verb, "FROM", selection->channel, "Channel that they are in.");
    add_channel_name(*verb, "TO", *to, "Channel that they go to; created if it does not exist.");
    add_selection(*verb, *selection);
    add_state(*verb, *selection, "ready, delayed or quarantined; without it all that nobody holds.");
    verb->final_callback([&program, selection, to] {
        program.run = [&program, selection, to] {
            auto wanted = *selection;
            wanted.all = wanted.all || wanted.offset_words.empty();
            return run_on(program, wanted, "channel.move", {{"to", name_text(as_bytes(*to))}}, "moved");
        };
    });
}

}  // namespace baton::cli
