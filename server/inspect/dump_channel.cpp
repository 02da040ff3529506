// `baton-inspect DIR dump channel NAME...`: the living messages of channels, so that they can be read or sent again,
// also of one that is quarantined.
#include <algorithm>

#include "common/base/text_form.hpp"
#include "server/inspect/rescue.hpp"
#include "server/inspect/verbs.hpp"
#include "server/runtime/recovery.hpp"

namespace baton::inspect {

namespace {

constexpr std::size_t complaints_max = 20;

/// A channel whose name the disk has lost is called by its stream.
bool is_called(const channel::ChannelImage& image, const std::string& text) {
    const auto name = name_from_text(text);
    return (name && *name == image.settings().name) || stream_text(image.stream()) == text;
}

int dump_channel(Directory& directory, Format format, const channel::ChannelImage& image, ChunkPool& pool) {
    Rescue rescue{directory, image, pool};
    const bool is_whole = rescue.visit([&](const Envelope& envelope) { print_row(format, envelope_json(envelope, format)); });
    const auto name = "channel \"" + name_text(as_bytes(image.settings().name)) + "\"";
    if (!image.settings().damage.empty()) {
        complain(name + " is damaged (" + image.settings().damage +
                 "): some of these messages may have been settled, some may be missing");
    }
    const auto& complaints = rescue.complaints();
    for (std::size_t i = 0; i < std::min(complaints.size(), complaints_max); ++i) {
        complain(complaints[i]);
    }
    if (complaints.size() > complaints_max) {
        complain("and " + std::to_string(complaints.size() - complaints_max) + " more like these");
    }
    if (rescue.missing() > 0) {
        complain(name + ": " + std::to_string(rescue.missing()) + " living message(s) cannot be read");
    }
    return is_whole && image.settings().damage.empty() ? exit_sound : exit_damaged;
}

}  // namespace

int dump_channels(Directory& directory, Format format, const std::vector<std::string>& names) {
    const auto manifest = directory.manifest();
    if (!manifest) {
        complain(manifest.error().message());
        return exit_unreadable;
    }
    ChunkPool pool;
    const auto recovery = runtime::recover_generation(directory.files(), *manifest, pool);
    if (!recovery) {
        complain(recovery.error().message());
        return exit_damaged;
    }
    int code = exit_sound;
    for (const auto& name : names) {
        const auto image = std::ranges::find_if(
            recovery->channels, [&](const channel::ChannelImage& candidate) { return is_called(candidate, name); });
        if (image == recovery->channels.end()) {
            complain("there is no channel \"" + name + "\"; `baton-inspect DIR list` shows what there is");
            code = std::max<int>(code, exit_usage);
        } else {
            code = std::max(code, dump_channel(directory, format, *image, pool));
        }
    }
    return code;
}

}  // namespace baton::inspect
