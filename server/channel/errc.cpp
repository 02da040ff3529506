#include "server/channel/errc.hpp"

#include <string>

namespace baton::channel {

namespace {

const char* text_of(Errc code) noexcept {
    switch (code) {
        case Errc::sequence_gap:
            return "the sender skipped sequence numbers";
        case Errc::superseded:
            return "another link attached with the same producer id";
        case Errc::too_large:
            return "the message is larger than the channel allows";
        case Errc::bad_batch:
            return "the batch is not well formed";
        case Errc::over_credit:
            return "the sender went on without credit";
        case Errc::lost_lease:
            return "the receiver does not hold the message with this attempt number";
        case Errc::unsupported_outcome:
            return "the channel does not support this outcome";
        case Errc::channel_deleted:
            return "the channel was deleted";
        case Errc::draining:
            return "the broker is going down and takes no new messages";
        case Errc::too_many_producers:
            return "too many producers are attached to the channel";
        case Errc::disk_full:
            return "the broker's disk is full: durable channels take nothing until there is space again";
        case Errc::storage_failed:
            return "the broker's disk failed: durable channels take nothing until the broker is started again";
        case Errc::damaged:
            return "the channel's files are damaged: it takes and gives nothing (see baton-inspect)";
        case Errc::full:
            return "the channel is full, and its overflow is \"reject\"";
        case Errc::slow_subscriber:
            return "the subscription has more waiting messages than its backlog_max, and its overflow is \"disconnect\"";
        case Errc::incompatible_options:
            return "the subscription exists with another filter: delete it first, or use another name";
        case Errc::not_supported:
            return "a channel of this kind does not have that: subscriptions, where they begin and filters are for topics and "
                   "streams, and one of a topic begins at \"new\"";
        case Errc::not_found:
            return "there is no such subscription";
        case Errc::bad_filter:
            return "the filter is not a pattern: words separated by '.', '*' for one word, '>' at the end for one or more";
        case Errc::step_known:
            return "the step was done before";
        case Errc::step_under_way:
            return "the step is under way";
        case Errc::too_many_subscriptions:
            return "the channel has as many subscriptions as it can have";
    }
    return "unknown channel error";
}

class ChannelCategory final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "baton.channel"; }
    [[nodiscard]] std::string message(int code) const override { return text_of(static_cast<Errc>(code)); }
};

}  // namespace

const std::error_category& channel_category() noexcept {
    static const ChannelCategory category;
    return category;
}

}  // namespace baton::channel
