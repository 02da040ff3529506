#include "server/runtime/policy_admin.hpp"

#include <algorithm>
#include <utility>

#include "common/base/text_form.hpp"
#include "common/base/units.hpp"
#include "server/runtime/channel_settings.hpp"
#include "server/runtime/policy_json.hpp"
#include "server/storage/data_directory.hpp"
#include "server/storage/errc.hpp"

namespace baton::runtime {

namespace {

constexpr std::size_t refusals_shown_max = 20;
constexpr std::uint64_t file_format = 1;

std::string shown(const std::string& pattern) { return "\"" + pattern_text(pattern) + "\""; }

std::string pattern_of(const Json& request) {
    const auto pattern = pattern_from_text(text_of(request, "match", ""));
    if (!pattern || pattern->empty()) {
        throw Refusal{"bad_request", "match is missing, or is not the text form of a pattern", {}};
    }
    return *pattern;
}

auto find_policy(const PolicyBook::Policies& policies, const std::string& pattern) {
    return std::ranges::find(policies, pattern, &ChannelPolicy::match);
}

ChannelPolicy wanted_policy(const Json& request, const BrokerState& state, bool has_storage) {
    OrderedJson json = request;
    json.erase("op");
    json.erase("first");
    auto policy = policy_from(json, "the policy");
    if (!policy) {
        throw Refusal{"bad_request", policy.error().context, {}};
    }
    if (policy->is_durable.value_or(false) && !has_storage) {
        throw Refusal{"unsupported", "storage is \"durable\", and this broker has no data directory (--data-dir)", {}};
    }
    if (const auto size = policy->message_size_max.value_or(0); size > state.limits.message_size_max) {
        throw Refusal{"bad_request", "message_size_max is " + format_size(size) + ", allowed is at most the broker's limit of " +
                                         format_size(state.limits.message_size_max), {}};
    }
    return *policy;
}

Json policy_as_json(const ChannelPolicy& policy, const char* origin) {
    Json json = policy_json(policy);
    json["origin"] = origin;
    return json;
}

PolicyChange set_policy(const Json& request, PolicyBook::Policies set, const BrokerState& state, bool has_storage) {
    const bool is_first = flag_of(request, "first");
    auto policy = wanted_policy(request, state, has_storage);
    auto place = find_policy(set, policy.match);
    const bool is_new = place == set.end();
    if (is_new && set.size() >= policies_max) {
        throw Refusal{"full", "there are " + std::to_string(policies_max) + " policies that were set, more are not allowed", {}};
    }
    Json reply{{"ok", true}, {"created", is_new}, {"durable", has_storage}, {"policy", policy_as_json(policy, "set")}};
    if (!is_new && !is_first) {
        set[static_cast<std::size_t>(place - set.begin())] = std::move(policy);
        return {std::move(set), std::move(reply)};
    }
    if (!is_new) {
        set.erase(place);
    }
    set.insert(is_first ? set.begin() : set.end(), std::move(policy));
    return {std::move(set), std::move(reply)};
}

PolicyChange delete_policy(const Json& request, PolicyBook::Policies set, const BrokerState& state) {
    refuse_unknown_keys(request, {"match"});
    const auto pattern = pattern_of(request);
    const auto place = find_policy(set, pattern);
    const auto view = state.policies.view();
    const auto configured = find_policy(view->configured, pattern);
    const bool is_configured = configured != view->configured.end();
    if (place == set.end()) {
        throw Refusal{"not_found", is_configured ? "the policy " + shown(pattern) +
                                                       " is one of the configuration file: it is changed there"
                                                 : "no policy with the pattern " + shown(pattern) + " was set", {}};
    }
    set.erase(place);
    Json reply{{"ok", true}};
    if (is_configured) {
        reply["policy"] = policy_as_json(*configured, "configuration");  // What counts again.
    }
    return {std::move(set), std::move(reply)};
}

/// The channel's options under the policy. Throws Refusal if it cannot have them.
channel::ChannelOptions options_under(const channel::Channel& channel, const ChannelPolicy& policy, const Limits& limits) {
    if (!channel.damage().empty()) {
        throw Refusal{"channel_damaged", "its files are damaged", {}};
    }
    const auto options = with_policy(channel.options(), policy, limits);
    if (policy.is_durable && *policy.is_durable != channel.is_durable()) {
        throw Refusal{"incompatible_options", "its storage cannot change", {}};
    }
    if (options.kind != channel.options().kind) {
        throw Refusal{"incompatible_options", "its kind cannot change", {}};
    }
    return options;
}

}  // namespace

bool is_policy_change(std::string_view op) {
    return op == "policy.set" || op == "policy.delete";
}

PolicyChange change_policies(const Json& request, PolicyBook::Policies set, const BrokerState& state, bool has_storage) {
    return text_of(request, "op", "") == "policy.set" ? set_policy(request, std::move(set), state, has_storage)
                                                      : delete_policy(request, std::move(set), state);
}

Json list_policies(const BrokerState& state, const Json& request, std::size_t reply_size_max) {
    refuse_unknown_keys(request, {"from"});
    const auto view = state.policies.view();
    const auto from = number_of(request, "from", 0, view->effective.size(), 0);
    auto list = Json::array();
    std::size_t size = frame_of_reply;
    for (std::size_t index = from; index < view->effective.size(); ++index) {
        const bool is_set = index < view->set.size();
        const auto& policy = view->effective[index];
        auto json = policy_as_json(policy, is_set ? "set" : "configuration");
        if (!is_set && find_policy(view->set, policy.match) != view->set.end()) {
            json["hidden"] = true;  // One with the same pattern was set.
        }
        size += dump(json).size() + 1;
        if (size > reply_size_max) {
            return {{"ok", true}, {"policies", std::move(list)}, {"more", true}, {"next", index}};
        }
        list.push_back(std::move(json));
    }
    return {{"ok", true}, {"policies", std::move(list)}, {"more", false}};
}

namespace {

class PolicySurvey final : public Survey {
public:
    PolicySurvey(ChannelDirectory& directory, const Json& request)
        : directory_{directory},
          is_applying_{text_of(request, "op", "") == "policy.apply"},
          view_{directory.broker_state().policies.view()} {
        refuse_unknown_keys(request, {"match"});
        const auto pattern = pattern_of(request);
        const auto policy = find_policy(view_->effective, pattern);
        if (policy == view_->effective.end()) {
            throw Refusal{"not_found", "there is no policy with the pattern " + shown(pattern), {}};
        }
        policy_ = &*policy;
    }

    void add(const std::string& name, channel::Channel& channel) override {
        if (policy_for(name, view_->effective) != policy_) {
            return;
        }
        ++channels_;
        try {
            compare(channel);
        } catch (const Refusal& refusal) {
            ++refused_;
            if (refusals_.size() < refusals_shown_max) {
                refusals_.push_back({{"name", name_text(as_bytes(name))}, {"code", refusal.code}, {"text", refusal.text}});
            }
        }
    }
    Json result() override {
        const bool is_set = static_cast<std::size_t>(policy_ - view_->effective.data()) < view_->set.size();
        return {{"ok", true},
                {"policy", policy_as_json(*policy_, is_set ? "set" : "configuration")},
                {"channels", channels_},
                {is_applying_ ? "changed" : "different", different_},
                {"refused", refused_},
                {"refusals", std::move(refusals_)}};
    }

private:
    void compare(channel::Channel& channel) {
        const auto options = options_under(channel, *policy_, directory_.broker_state().limits);
        if (options == channel.options()) {
            return;
        }
        if (is_applying_ && channel.is_durable() && directory_.storage()->condition() == commit::Condition::failed) {
            throw Refusal{"storage_failed", "the disk failed", {}};
        }
        ++different_;
        if (is_applying_) {
            directory_.reconfigure(channel, options);
        }
    }

    ChannelDirectory& directory_;
    const bool is_applying_;
    const std::shared_ptr<const PolicyBook::View> view_;
    const ChannelPolicy* policy_ = nullptr;  // In the view.
    std::uint64_t channels_ = 0;
    std::uint64_t different_ = 0;
    std::uint64_t refused_ = 0;
    Json refusals_ = Json::array();
};

}  // namespace

std::unique_ptr<Survey> survey_of_policy(ChannelDirectory& directory, const Json& request) {
    return std::make_unique<PolicySurvey>(directory, request);
}

Json merge_policy_parts(const std::vector<Json>& parts) {
    Json merged = parts.front();
    for (std::size_t i = 1; i < parts.size(); ++i) {
        for (const auto& [key, value] : parts[i].items()) {
            if (value.is_number_unsigned()) {
                merged[key] = merged[key].get<std::uint64_t>() + value.get<std::uint64_t>();
            }
        }
        for (const auto& refusal : parts[i].at("refusals")) {
            if (merged["refusals"].size() < refusals_shown_max) {
                merged["refusals"].push_back(refusal);
            }
        }
    }
    return merged;
}

// --- The file ------------------------------------------------------------------------------------------------------------

Result<PolicyBook::Policies> load_policies(storage::FileSystem& files) {
    const auto line = storage::load_line(files, storage::policies_path);
    if (!line) {
        return fail(line.error());
    }
    if (!*line) {
        return PolicyBook::Policies{};
    }
    const auto json = OrderedJson::parse(**line, nullptr, false);
    const auto format = json.is_object() && json.contains("format") ? json["format"] : OrderedJson{};
    if (format.is_number_unsigned() && format.get<std::uint64_t>() > file_format) {
        return fail(storage::Errc::newer_version, std::string{storage::policies_path} + " has format " + format.dump());
    }
    if (format != file_format || !json.contains("policies")) {
        return fail(storage::Errc::damaged, std::string{storage::policies_path} + " is not well formed");
    }
    auto policies = policies_from(json["policies"], std::string{storage::policies_path});
    if (!policies) {
        return fail(storage::Errc::damaged, policies.error().context);
    }
    return *policies;
}

Result<void> store_policies(storage::FileSystem& files, const PolicyBook::Policies& policies) {
    OrderedJson json{{"format", file_format}};
    json["policies"] = policies_json(policies);
    return storage::store_line(files, storage::policies_path, json.dump());
}

}  // namespace baton::runtime
