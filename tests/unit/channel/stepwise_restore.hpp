// Makes a channel of an image in steps of few units, as a restore out of a backup does: what comes out does not depend on them.
#pragma once

#include <algorithm>

#include "server/channel/channel_restore.hpp"

namespace baton::channel::test {

/// False: it is damaged. `step_units`: of each step, at least 1.
inline bool restore_in_steps(Channel& channel, const ChannelImage& image, const BlockReader& read, std::uint64_t step_units) {
    ChannelRestore restore{channel, image, read};
    for (std::uint64_t units = 0; !restore.go_on(units);) {
        units = std::max<std::uint64_t>(step_units, 1);
    }
    return restore.is_sound();
}

}  // namespace baton::channel::test
