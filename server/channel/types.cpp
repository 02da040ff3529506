#include "server/channel/types.hpp"

namespace baton::channel {

std::string_view to_string(WaitReason reason) noexcept {
    switch (reason) {
        case WaitReason::none:
            return "none";
        case WaitReason::empty:
            return "empty";
        case WaitReason::no_message_credit:
            return "no message credit";
        case WaitReason::no_byte_credit:
            return "no byte credit";
        case WaitReason::slow_reader:
            return "slow reader";
        case WaitReason::full:
            return "full";
        case WaitReason::memory:
            return "memory";
        case WaitReason::draining:
            return "draining";
        case WaitReason::no_receiver:
            return "no receiver";
        case WaitReason::receivers_busy:
            return "receivers busy";
        case WaitReason::in_flight:
            return "in flight";
        case WaitReason::loading:
            return "loading";
        case WaitReason::committing:
            return "committing";
        case WaitReason::disk_full:
            return "disk full";
        case WaitReason::storage_failed:
            return "storage failed";
        case WaitReason::damaged:
            return "damaged";
        case WaitReason::delayed:
            return "delayed";
        case WaitReason::key_busy:
            return "key busy";
        case WaitReason::standby:
            return "standby";
    }
    return "unknown";
}

}  // namespace baton::channel
