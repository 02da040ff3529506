// One body through the decoder of its frame type, as a text that says all that came out: so that a test can compare two
// decodings without knowing the types.
#pragma once

#include <sstream>
#include <string>

#include "common/base/hex.hpp"
#include "common/wire/bodies.hpp"
#include "common/wire/frame.hpp"
#include "common/wire/handshake.hpp"
#include "common/wire/step.hpp"

namespace baton::wire {

// "refused" if the decoder of the type does not take the body; for types without a decoder the body itself.
inline std::string decode_body(const FrameHeader& header, Bytes body) {
    std::ostringstream out;
    const auto number = [](auto value) { return std::to_string(static_cast<std::uint64_t>(value)); };
    const auto say = [&](const auto&... parts) { ((out << parts << ' '), ...); };
    const auto refused = [&] { return std::string{"refused"}; };
    switch (header.type) {
        case FrameType::hello: {
            const auto hello = decode_hello(body);
            return hello ? encode(*hello) : refused();
        }
        case FrameType::welcome: {
            const auto welcome = decode_welcome(body);
            return welcome ? encode(*welcome) : refused();
        }
        case FrameType::goaway: {
            const auto goaway = decode_goaway(body);
            return goaway ? encode(*goaway) : refused();
        }
        case FrameType::attach: {
            const auto attach = decode_attach(body);
            if (!attach) {
                return refused();
            }
            say(number(attach->role), hex_encode(attach->name), attach->options);
            break;
        }
        case FrameType::publish: {
            const auto batch = check_batch(body);
            if (!batch) {
                return refused();
            }
            say(batch->count, batch->flags, hex_encode(messages_of(body)));
            break;
        }
        case FrameType::confirm: {
            auto confirm = decode_confirm(body);
            if (!confirm) {
                return refused();
            }
            say(number(confirm->level));
            for (ConfirmException record; confirm->exceptions.next(record);) {
                say(record.first, record.count, number(record.status));
            }
            break;
        }
        case FrameType::deliver: {
            const auto deliver = decode_deliver(body);
            if (!deliver) {
                return refused();
            }
            say(deliver->attempt, deliver->redelivered, hex_encode(deliver->batch));
            break;
        }
        case FrameType::step: {
            const auto step = decode_step(body);
            if (!step) {
                return refused();
            }
            say(hex_encode(step->producer), step->number);
            for (const StepSection& section : step->sections) {
                say(number(section.kind), section.must_exist, section.link, hex_encode(section.name),
                    hex_encode(section.batch));
                auto settlements = section.settlements;
                for (Settlement record; settlements.next(record);) {
                    say(record.first, record.count, record.attempt, number(record.outcome), record.argument);
                }
            }
            break;
        }
        case FrameType::stepped: {
            const auto stepped = decode_stepped(body);
            if (!stepped) {
                return refused();
            }
            say(number(stepped->status), stepped->section, stepped->text);
            break;
        }
        case FrameType::settle: {
            auto settle = decode_settle(body, header.flags);
            if (!settle) {
                return refused();
            }
            for (Settlement record; settle->next(record);) {
                say(record.first, record.count, record.attempt, number(record.outcome), record.argument);
            }
            break;
        }
        case FrameType::settled: {
            auto settled = decode_settled(body);
            if (!settled) {
                return refused();
            }
            for (SettleException record; settled->next(record);) {
                say(record.first, record.count, record.attempt, number(record.status));
            }
            break;
        }
        case FrameType::credit: {
            const auto credit = decode_credit(body);
            if (!credit) {
                return refused();
            }
            say(credit->messages, credit->bytes);
            break;
        }
        case FrameType::fragment: {
            if ((header.flags & flag_fragment_first) == 0) {
                say(hex_encode(body));
                break;
            }
            const auto head = decode_fragment_head(body);
            if (!head) {
                return refused();
            }
            say(to_string(head->type), number(head->flags), head->total);
            break;
        }
        case FrameType::state: {
            const auto state = decode_state(body);
            if (!state) {
                return refused();
            }
            say(state->reason, state->delayed, state->waiting_us, state->ready, state->in_flight);
            break;
        }
        case FrameType::error: {
            const auto error = decode_error(body);
            if (!error) {
                return refused();
            }
            say(number(error->status), number(error->severity), error->retryable, error->text);
            break;
        }
        case FrameType::admin: {
            const auto admin = decode_admin(body);
            if (!admin) {
                return refused();
            }
            say(hex_encode(admin->name), admin->json);
            break;
        }
        case FrameType::attached:
        case FrameType::detach:
        case FrameType::detached:
        case FrameType::grant:
        case FrameType::ping:
        case FrameType::pong:
        case FrameType::admin_reply:
            say(hex_encode(body));
            break;
    }
    return out.str();
}

}  // namespace baton::wire
