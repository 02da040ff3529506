#include "server/runtime/sweeps.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "common/base/text_form.hpp"
#include "server/runtime/job_round.hpp"
#include "server/runtime/message_admin.hpp"

namespace baton::runtime {

using channel::MessageState;

bool Sweeps::is_request(std::string_view op, std::string_view json) {
    if (op == "channel.retry") {
        return parse_object(json)->value("all", Json{}) == true;
    }
    return op == "channel.drop" || op == "channel.purge";
}

void Sweeps::start(const AdminCommand& command) {
    try {
        Job job = job_of(command);
        if (!step(job)) {
            sweeps_.push_back(std::move(job));
        }
    } catch (const Refusal& refusal) {
        host_.answer_command(command.session, command.gathering, command.name, refusal_json(refusal));
    }
}

Sweeps::Job Sweeps::job_of(const AdminCommand& command) {
    Job job;
    job.session = command.session;
    job.gathering = command.gathering;
    job.name = command.name;
    job.request = command.json;
    const Json request = *parse_object(command.json);
    const auto op = text_of(request, "op", "");
    if (op == "channel.purge") {
        job.kind = Kind::purge;
        refuse_unknown_keys(request, {});
    } else if (op == "channel.drop") {
        job.kind = Kind::drop;
        refuse_unknown_keys(request, {"subscription", "state", "offsets", "all"});
    } else {
        refuse_unknown_keys(request, {"subscription", "offsets", "all"});
    }
    auto& channel = existing_channel(directory_, command.name);
    refuse_damaged(channel);
    if (job.kind != Kind::purge) {
        MessageSelection choice = selection_of(request);
        job.kind = job.kind == Kind::drop && !choice.is_all ? Kind::drop_chosen : job.kind;
        job.offsets = std::move(choice.offsets);
        static_cast<void>(reader_of(channel, request));
    }
    if (op == "channel.drop") {
        job.state = droppable_state_of(request);
    }
    job.channel = host_.id_of(command.name);
    job.sweep.end = channel.visible_end();
    job.purge = channel.begin_purge();
    return job;
}

bool Sweeps::go_on() {
    return do_slice_of_first(sweeps_, [this](Job& job) { return step(job); });
}

channel::Channel& Sweeps::channel_of(const Job& job) {
    if (host_.id_of(job.name) != job.channel) {
        throw Refusal{"channel_deleted", "the channel was deleted after " + std::to_string(job.messages) + " messages", {}};
    }
    auto& channel = existing_channel(directory_, job.name);
    refuse_damaged(channel);
    return channel;
}

bool Sweeps::step(Job& job) {
    Json reply{{"ok", true}};
    try {
        auto& channel = channel_of(job);
        do_slice(job, channel);
        channel.subscription_changed();
        directory_.touch(channel);
        refuse_damaged(channel);
        if (!job.sweep.is_over && !job.purge.is_over) {
            return false;
        }
        reply["messages"] = job.messages;
    } catch (const Refusal& refusal) {
        host_.answer_command(job.session, job.gathering, job.name, refusal_json(refusal));
        return true;
    }
    host_.answer_command(job.session, job.gathering, job.name, dump(reply));
    return true;
}

void Sweeps::do_slice(Job& job, channel::Channel& channel) {
    std::uint64_t runs = runs_per_slice;
    const Json request = *parse_object(job.request);
    const channel::BlockReader read = [&](const storage::BlockRef& ref) { return directory_.read_block(channel, ref); };
    switch (job.kind) {
        case Kind::retry:
            job.messages += reader_of(channel, request).retry_some(job.sweep, runs);
            break;
        case Kind::drop:
            job.messages += channel.drop_some(reader_of(channel, request), job.state, job.sweep, runs, read);
            break;
        case Kind::drop_chosen: {
            const std::size_t end = std::min(job.offsets.size(), job.sweep.next + offsets_per_slice);
            const auto some = std::span<const channel::Offset>{job.offsets}.first(end);
            job.messages += channel.drop(reader_of(channel, request), job.state, some, job.sweep, read);
            job.sweep.is_over = job.sweep.next == job.offsets.size();
            break;
        }
        case Kind::purge:
            channel.purge_some(job.purge, runs, read);
            job.messages = job.purge.messages;
            break;
    }
}

}  // namespace baton::runtime
