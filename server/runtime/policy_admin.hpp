// Administration of policies: what `policy.*` requests (docs/protocol.md, section 11) do, and the file in which those are kept
// that were set while the broker ran. The first shard changes them, one after the other; every shard applies them to its channels.
// Control path. Thread: a shard's; the file: whoever has the data directory. Next file: channel_admin.hpp.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"
#include "server/runtime/admin_json.hpp"
#include "server/runtime/channel_admin.hpp"
#include "server/runtime/policy_book.hpp"
#include "server/storage/file_system.hpp"

namespace baton::runtime {

/// `policy.set` and `policy.delete`.
[[nodiscard]] bool is_policy_change(std::string_view op);

struct PolicyChange {
    PolicyBook::Policies set;  ///< All that were set, afterwards.
    Json reply;
};
/// What such a request makes of those that are set now. Throws Refusal.
[[nodiscard]] PolicyChange change_policies(const Json& request, PolicyBook::Policies set, const BrokerState& state,
                                           bool has_storage);

// These throw Refusal.
[[nodiscard]] Json list_policies(const BrokerState& state, const Json& request, std::size_t reply_size_max);
/// `policy.show` and `policy.apply`: of the channels of this shard. The directory outlives it.
[[nodiscard]] std::unique_ptr<Survey> survey_of_policy(ChannelDirectory& directory, const Json& request);
[[nodiscard]] Json merge_policy_parts(const std::vector<Json>& parts);

/// The file in the data directory (docs/storage.md, section 2). Blocking. No file: none are set.
[[nodiscard]] Result<PolicyBook::Policies> load_policies(storage::FileSystem& files);
[[nodiscard]] Result<void> store_policies(storage::FileSystem& files, const PolicyBook::Policies& policies);

}  // namespace baton::runtime
