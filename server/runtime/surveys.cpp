#include "server/runtime/surveys.hpp"

#include <utility>

#include "server/runtime/job_round.hpp"
#include "server/runtime/policy_admin.hpp"

namespace baton::runtime {

bool Surveys::is_request(std::string_view op) {
    return op == "broker.show" || op == "policy.show" || op == "policy.apply";
}

void Surveys::start(const AdminCommand& command) {
    try {
        const Json request = *parse_object(command.json);
        const auto op = text_of(request, "op", "");
        Job job{.session = command.session,
                .gathering = command.gathering,
                .survey = op == "broker.show" ? survey_of_broker(directory_, request) : survey_of_policy(directory_, request),
                .after{},
                .has_changes = admin_changes(op)};
        if (!step(job)) {
            jobs_.push_back(std::move(job));
        }
    } catch (const Refusal& refusal) {
        host_.answer_at_once(command.session, command.gathering, refusal_json(refusal));
    }
}

bool Surveys::go_on() {
    return do_slice_of_first(jobs_, [this](Job& job) { return step(job); });
}

bool Surveys::step(Job& job) {
    std::size_t left = channels_per_slice;
    bool is_over = true;
    directory_.visit(job.after, [&](const std::string& name, channel::Channel& channel) {
        if (left-- == 0) {
            return is_over = false;
        }
        job.after = name;
        job.survey->add(name, channel);
        return true;
    });
    if (!is_over) {
        return false;
    }
    std::string reply = dump(job.survey->result());
    job.has_changes ? host_.answer_command(job.session, job.gathering, {}, std::move(reply))
                    : host_.answer_at_once(job.session, job.gathering, std::move(reply));
    return true;
}

}  // namespace baton::runtime
