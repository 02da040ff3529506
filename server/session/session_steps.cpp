// SessionProtocol, part four: steps (docs/protocol.md, section 10b). A frame becomes a request whose sections name
// channels by where they live; the answer becomes a frame.
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "common/base/text_form.hpp"
#include "server/channel/errc.hpp"
#include "server/session/session_protocol.hpp"
#include "server/session/status_mapping.hpp"

namespace baton::session {

using wire::Status;

namespace {

const char* reason_text(Status status) {
    switch (status) {
        case Status::lost_lease:
            return "this receiver does not hold all that was to be settled any more";
        case Status::full:
            return "there is no room, and a step does not wait for it; try again later";
        case Status::bad_name:
            return "the channel's name is empty or longer than the broker allows";
        case Status::unsupported_outcome:
            return "in a step the only outcome is 1 (done)";
        default:
            return nullptr;
    }
}

// Each channel takes its messages of a step as one batch. Nothing: there is none.
std::optional<std::uint32_t> second_section_of_a_channel(const runtime::StepRequest& request) {
    std::set<std::string_view> names;
    for (std::uint32_t i = 0; i < request.sections.size(); ++i) {
        const runtime::StepSection& section = request.sections[i];
        if (section.ranges.empty() && !section.name.empty() && !names.insert(section.name).second) {
            return i;
        }
    }
    return std::nullopt;
}

}  // namespace

bool SessionProtocol::may_step(const wire::Frame& frame, const wire::Step& step) {
    if (steps_.size() == wire::steps_pending_max) {
        fail_connection(Status::protocol_violation,
                        "more than " + std::to_string(wire::steps_pending_max) + " steps without an answer");
        return false;
    }
    const auto is_pending = [&](const auto& pending) {
        return pending->request == frame.header.sequence || pending->producer.bytes == step.producer;
    };
    if (std::ranges::any_of(steps_, is_pending)) {
        fail_connection(Status::protocol_violation,
                        "STEP " + std::to_string(frame.header.sequence) +
                            " before the last one of its producer, or with its request id, is answered");
        return false;
    }
    return true;
}

void SessionProtocol::on_step_frame(const wire::Frame& frame, const BorrowedBytes& body) {
    if (!has_steps_ || frame.header.link != 0) {
        return fail_connection(has_steps_ ? Status::protocol_violation : Status::unknown_frame,
                               has_steps_ ? "STEP on a link" : "STEP without the feature \"step\" in HELLO");
    }
    const auto step = wire::decode_step(body.bytes());
    if (!step) {
        return fail_connection(Status::bad_frame, "the body of STEP is not well formed, or it has more than " +
                                                      std::to_string(wire::step_sections_max) + " sections");
    }
    if (!may_step(frame, *step)) {
        return;
    }
    auto request = std::make_shared<runtime::StepRequest>();
    request->session = id_;
    request->request = frame.header.sequence;
    request->producer.bytes = step->producer;
    request->number = step->number;
    for (const wire::StepSection& section : step->sections) {
        const auto status = take_section(section, body, *request);
        if (!status) {
            return;
        }
        if (*status != Status::ok) {
            return answer_step(frame.header.sequence, *status, static_cast<std::uint32_t>(request->sections.size()),
                               reason_text(*status));
        }
    }
    if (const auto twice = second_section_of_a_channel(*request)) {
        return answer_step(frame.header.sequence, Status::unsupported, *twice,
                           "channel \"" + name_text(as_bytes(request->sections[*twice].name)) +
                               "\": there are messages for it in an earlier section; put them into one batch");
    }
    steps_.push_back(request);
    broker_.step(std::move(request));
}

std::optional<Status> SessionProtocol::take_section(const wire::StepSection& section, const BorrowedBytes& body,
                                                    runtime::StepRequest& request) {
    runtime::StepSection taken;
    if (section.kind == wire::StepSection::Kind::messages) {
        if (section.name.empty() || section.name.size() > limits_.channel_name_size_max) {
            return Status::bad_name;
        }
        if (const auto checked = check_batch(section.batch); !checked) {
            fail_connection(Status::bad_batch, "STEP: " + make_error_code(checked.error()).message());
            return std::nullopt;
        }
        const auto batch = body.sub(static_cast<std::size_t>(section.batch.data() - body.data), section.batch.size());
        taken.name = as_text(section.name);
        taken.must_exist = section.must_exist;
        taken.batch = keep(batch);
        request.sections.push_back(std::move(taken));
        return Status::ok;
    }
    const Link* link = find_link(section.link);
    if (section.link != 0 &&
        (link == nullptr || link->state == Link::State::free || link->role != wire::Role::receiver)) {
        fail_connection(Status::protocol_violation,
                        "STEP settles messages of link " + std::to_string(section.link) + ", which is no receiver");
        return std::nullopt;
    }
    auto settlements = section.settlements;
    for (wire::Settlement settlement; settlements.next(settlement);) {
        if (settlement.outcome != static_cast<std::uint8_t>(channel::Outcome::done)) {
            return Status::unsupported_outcome;
        }
        if (settlement.count == 0 || settlement.first == 0) {
            return Status::lost_lease;
        }
        taken.ranges.push_back({settlement.first, settlement.count, settlement.attempt, channel::Outcome::done, 0});
    }
    taken.link = address(section.link);
    // Of a link that is gone they are lost; but whether the step was done before is asked.
    taken.channel = section.link != 0 && link->state == Link::State::attached ? link->channel : runtime::ChannelRef{};
    request.sections.push_back(std::move(taken));
    return Status::ok;
}

void SessionProtocol::on_step(std::uint64_t request, std::error_code reason, std::uint32_t section) {
    const auto pending = std::ranges::find(steps_, request, [](const auto& step) { return step->request; });
    BATON_ASSERT(pending != steps_.end());
    const auto step = std::move(*pending);
    steps_.erase(pending);
    if (state_ == State::closing) {
        return;
    }
    const Status status = to_status(reason);
    std::string text;
    if (status != Status::ok) {
        const char* const known = reason_text(status);
        text = known != nullptr ? known : reason.message();
        if (section < step->sections.size() && !step->sections[section].name.empty()) {
            text = "channel \"" + name_text(as_bytes(step->sections[section].name)) + "\": " + text;
        }
    }
    answer_step(request, status, section, text);
}

void SessionProtocol::answer_step(std::uint64_t request, Status status, std::uint32_t section,
                                  const std::string& text) {
    wire::put_stepped(outbox_, request, {.status = status, .section = section, .text = text});
    host_.output_ready();
}

}  // namespace baton::session
