#include "server/channel/channel_options.hpp"

#include <algorithm>
#include <utility>

namespace baton::channel {

SharedOptions OptionsPool::share(const ChannelOptions& options) {
    auto found = std::ranges::find_if(remembered_, [&](const SharedOptions& one) { return *one == options; });
    if (found == remembered_.end()) {
        if (remembered_.size() == remembered_max) {
            remembered_.pop_back();
        }
        found = remembered_.insert(remembered_.end(), SharedOptions{options});
    }
    std::rotate(remembered_.begin(), found, std::next(found));
    return remembered_.front();
}

}  // namespace baton::channel
