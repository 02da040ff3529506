#include "tests/sim/wire_tap.hpp"

#include <utility>

#include "common/base/batch.hpp"

namespace baton::sim {

using wire::FrameType;

// --- FrameCutter ----------------------------------------------------------------------------------------------------

void FrameCutter::keep(Bytes bytes) {
    const auto room = kept_max_ - std::min(kept_max_, kept_.size());
    const auto part = bytes.first(std::min(room, bytes.size()));
    kept_.insert(kept_.end(), part.begin(), part.end());
}

void FrameCutter::begin(Part part, std::size_t size) {
    part_ = part;
    missing_ = size;
    kept_max_ = size;
    kept_.clear();
}

bool FrameCutter::next() {
    if (part_ == Part::preamble) {
        begin(Part::header, wire::frame_header_size);
        return false;
    }
    if (part_ == Part::body) {
        return true;
    }
    header_ = wire::decode_frame_header(kept_.data());
    begin(Part::body, header_.length);
    if (header_.type == FrameType::publish || header_.type == FrameType::deliver ||
        header_.type == FrameType::fragment) {
        kept_max_ = std::min(kept_max_, messages_kept);
    }
    return missing_ == 0;
}

// --- WireTap --------------------------------------------------------------------------------------------------------

void WireTap::on_written(Side from, Bytes bytes) {
    if (from == Side::client) {
        client_wrote_.take(bytes, [this](const auto& header, Bytes body) { on_client_wrote(header, body); });
    }
}

void WireTap::on_read(Side reader, Bytes bytes) {
    if (reader == Side::client) {
        client_read_.take(bytes, [this](const auto& header, Bytes body) { on_client_read(header, body); });
    } else {
        broker_read_.take(bytes, [this](const auto& header, Bytes body) { on_broker_read(header, body); });
    }
}

void WireTap::violation(const wire::FrameHeader& header, const std::string& text) {
    report_.violation(name_ + ": " + std::string{wire::to_string(header.type)} + " on link " +
                      std::to_string(header.link) + ": " + text);
}

void WireTap::note(const char* what, const wire::FrameHeader& header) {
    const bool is_about_links = header.type == FrameType::attach || header.type == FrameType::attached ||
                                header.type == FrameType::detach || header.type == FrameType::detached ||
                                header.type == FrameType::error || header.type == FrameType::goaway ||
                                header.type == FrameType::fragment || header.type == FrameType::grant;
    if (is_about_links) {
        report_.note(name_ + ": " + what + " " + std::string{wire::to_string(header.type)} + " " +
                     std::to_string(header.link));
    }
}

void WireTap::on_client_wrote(const wire::FrameHeader& header, Bytes body) {
    note("client writes", header);
    Link& link = links_[header.link];
    switch (header.type) {
        case FrameType::attach:
            link = {};
            link.is_receiver = wire::decode_attach(body)->role == wire::Role::receiver;
            return;
        case FrameType::credit:
            return grant(link, body);
        case FrameType::publish: {
            const auto batch = decode_batch_header(body);
            return spend(header, link, header.sequence, batch->count, header.length);
        }
        case FrameType::fragment:
            if ((header.flags & wire::flag_fragment_first) != 0) {
                spend(header, link, header.sequence, 1, 0);
            }
            return;
        case FrameType::settle: {
            auto ranges = *wire::decode_settle(body);
            for (wire::Settlement range; ranges.next(range);) {
                link.settled += range.outcome != 6 ? range.count : 0;
            }
            return;
        }
        default:
            return;
    }
}

void WireTap::grant(Link& link, Bytes body) {
    const auto limits = wire::decode_credit(body);
    link.allowed.messages = std::max(link.allowed.messages, limits->messages);
    link.allowed.bytes = std::max(link.allowed.bytes, limits->bytes);
}

void WireTap::spend(const wire::FrameHeader& header, Link& link, std::uint64_t first, std::uint64_t count,
                    std::uint64_t bytes) {
    link.used.messages += count;
    link.used.bytes += bytes;
    if (link.used.messages > link.allowed.messages || link.used.bytes > link.allowed.bytes) {
        violation(header, "a sender goes beyond its credit");
    }
    if (link.last_sent != 0 && first != link.last_sent + 1) {
        violation(header, "numbers are not consecutive");
    }
    link.last_sent = first + count - 1;
}

void WireTap::on_client_read(const wire::FrameHeader& header, Bytes body) {
    note("client reads", header);
    Link& link = links_[header.link];
    switch (header.type) {
        case FrameType::credit:
            return grant(link, body);
        case FrameType::attached:
            link.decided_before = header.sequence;
            return;
        case FrameType::confirm:
            if (header.sequence < link.last_confirmed ||
                header.sequence > std::max(link.last_sent, link.decided_before)) {
                violation(header, "confirms " + std::to_string(header.sequence) + " after " +
                                      std::to_string(link.last_confirmed) + ", sent up to " +
                                      std::to_string(link.last_sent));
            }
            link.last_confirmed = header.sequence;
            return;
        case FrameType::deliver: {
            const auto batch = decode_batch_header(body.subspan(wire::deliver_head_size));
            return on_given(header, link, header.sequence, batch->count, batch->messages_size);
        }
        case FrameType::fragment:
            if ((header.flags & wire::flag_fragment_first) != 0) {
                const auto head = wire::decode_fragment_head(body);
                on_given(header, link, header.sequence, 1, head->total - wire::deliver_head_size - batch_header_size);
            }
            return;
        default:
            return;
    }
}

// The broker's view of our credit is older than ours, never newer: what it gives fits into what we have ever granted.
// Only a message that is larger than the window may exceed the bytes, alone, when everything before it is settled.
void WireTap::on_given(const wire::FrameHeader& header, Link& link, std::uint64_t sequence, std::uint64_t count,
                       std::uint64_t bytes) {
    const Totals before = link.used;
    link.used.messages += count;
    link.used.bytes += bytes;
    if (!link.is_receiver || sequence != before.messages + 1) {
        violation(header, "a delivery out of order");
    }
    if (link.used.messages > link.allowed.messages) {
        violation(header, "delivered " + std::to_string(link.used.messages) + " messages, allowed are " +
                              std::to_string(link.allowed.messages));
    }
    const bool is_alone = count == 1 && link.settled == before.messages;
    if (link.used.bytes > link.allowed.bytes && (!is_alone || before.bytes >= link.allowed.bytes)) {
        violation(header, "delivered " + std::to_string(link.used.bytes) + " bytes, allowed are " +
                              std::to_string(link.allowed.bytes));
    }
}

void WireTap::on_broker_read(const wire::FrameHeader& header, Bytes body) {
    note("broker reads", header);
    if (header.type == FrameType::attach) {
        broker_links_[header.link] = ledger_.channel_of(wire::decode_attach(body)->name);
    } else if (header.type == FrameType::settle && !is_given_up_) {
        auto ranges = *wire::decode_settle(body);
        for (wire::Settlement range; ranges.next(range);) {
            const std::uint32_t channel = broker_links_.at(header.link);
            if (range.outcome == 1) {
                ledger_.done_arrived(channel, range.first, range.count);
            } else if (range.outcome == 6) {
                ledger_.start_arrived(channel, range.first, range.count, range.attempt);
            }
        }
    }
}

}  // namespace baton::sim
