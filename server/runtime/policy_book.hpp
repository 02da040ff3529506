// The policies that count: those that were set while the broker ran, in the order in which they were set, then those of the
// configuration. The first one that matches a name counts, alone.
// Thread-safe: every shard looks, the first one and the main thread change. Next files: channel_policy.hpp, policy_admin.hpp.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "server/runtime/channel_policy.hpp"

namespace baton::runtime {

class PolicyBook {
public:
    using Policies = std::vector<ChannelPolicy>;
    struct View {
        Policies set;
        Policies configured;
        Policies effective;  ///< Both, in their order.
    };

    PolicyBook();
    PolicyBook(const PolicyBook&) = delete;
    PolicyBook& operator=(const PolicyBook&) = delete;

    /// As it is now; it does not change.
    [[nodiscard]] std::shared_ptr<const View> view() const;
    /// In the place of those of the configuration.
    void configure(Policies configured);
    /// In the place of those that were set.
    void set(Policies set);

private:
    void publish(Policies set, Policies configured);

    mutable std::mutex mutex_;
    std::shared_ptr<const View> view_;
};

}  // namespace baton::runtime
