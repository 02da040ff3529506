// The flags of `baton channel create`: one for every setting of a channel (docs/protocol.md, section 11).
// Next file: channel.cpp.
#pragma once

#include <string>
#include <vector>

#include "client/cli/admin.hpp"

namespace baton::cli {

struct ChannelFlags {
    Json settings = Json::object();  ///< As the broker wants them; only what was given.
    std::vector<std::string> fair_weights;
};

void add_channel_settings(CLI::App& verb, ChannelFlags& flags);
/// With what is only known at the end. Throws a usage failure.
[[nodiscard]] Json finished_settings(const ChannelFlags& flags);

}  // namespace baton::cli
