#include "common/wire/bodies.hpp"

#include <algorithm>
#include <array>

#include "common/base/assert.hpp"
#include "common/base/utf8.hpp"
#include "common/wire/text_field.hpp"

namespace baton::wire {

namespace {

/// Writes the header of a frame and leaves it open for its body.
void begin(Outbox& outbox, Lane lane, const FrameHeader& header) noexcept {
    std::array<std::byte, frame_header_size> bytes;
    encode(header, bytes.data());
    outbox.begin_frame(lane);
    outbox.append(Bytes{bytes});
}

void begin(Outbox& outbox, FrameType type, std::uint16_t link, std::uint64_t sequence, std::size_t length,
           std::uint8_t flags = 0) noexcept {
    begin(outbox, lane_of(type),
          {.length = static_cast<std::uint32_t>(length),
           .type = type,
           .flags = flags,
           .link = link,
           .sequence = sequence});
}

void put_empty(Outbox& outbox, FrameType type, std::uint16_t link, std::uint64_t sequence = 0) noexcept {
    begin(outbox, type, link, sequence, 0);
    outbox.end_frame();
}

}  // namespace

// --- Links -----------------------------------------------------------------------------------------------------------

namespace {
constexpr std::size_t attach_head_size = 4;
constexpr std::size_t admin_head_size = 4;
constexpr std::size_t credit_size = 16;
}  // namespace

void put_attach(Outbox& outbox, std::uint16_t link, const Attach& attach, const CreditLimits* first_credit) noexcept {
    BATON_ASSERT(attach.name.size() <= 0xffff);
    std::array<std::byte, attach_head_size> head{};
    store_u16(head.data(), static_cast<std::uint16_t>(attach.name.size()));
    head[2] = static_cast<std::byte>(attach.role);
    begin(outbox, FrameType::attach, link, 0, head.size() + attach.name.size() + attach.options.size());
    outbox.append(Bytes{head});
    outbox.append(attach.name);
    outbox.append(as_bytes(attach.options));
    if (first_credit != nullptr) {
        std::array<std::byte, frame_header_size + credit_size> credit{};
        encode(FrameHeader{.length = credit_size, .type = FrameType::credit, .link = link}, credit.data());
        store_u64(credit.data() + frame_header_size, first_credit->messages);
        store_u64(credit.data() + frame_header_size + 8, first_credit->bytes);
        outbox.append(Bytes{credit});
    }
    outbox.end_frame();
}

std::optional<Attach> decode_attach(Bytes body) noexcept {
    if (body.size() < attach_head_size) {
        return std::nullopt;
    }
    const std::size_t name_size = load_u16(body.data());
    const auto role = load_u8(body.data() + 2);
    if ((role != 1 && role != 2) || load_u8(body.data() + 3) != 0 || body.size() - attach_head_size < name_size) {
        return std::nullopt;
    }
    return Attach{.role = static_cast<Role>(role),
                  .name = body.subspan(attach_head_size, name_size),
                  .options = as_text(body.subspan(attach_head_size + name_size))};
}

void put_attached(Outbox& outbox, std::uint16_t link, std::uint64_t last_sequence, std::string_view json) noexcept {
    put_frame(outbox, {.type = FrameType::attached, .link = link, .sequence = last_sequence}, as_bytes(json));
}

void put_detach(Outbox& outbox, std::uint16_t link) noexcept {
    put_empty(outbox, FrameType::detach, link);
}
void put_detached(Outbox& outbox, std::uint16_t link) noexcept {
    put_empty(outbox, FrameType::detached, link);
}

// --- Messages --------------------------------------------------------------------------------------------------------

void put_publish(Outbox& outbox, std::uint16_t link, std::uint64_t sequence, const Payload& batch) noexcept {
    begin(outbox, FrameType::publish, link, sequence, batch.size());
    outbox.append(batch);
    outbox.end_frame();
}

namespace {
constexpr std::size_t confirm_head_size = 8;
constexpr std::uint8_t confirm_level_min = 1;
constexpr std::uint8_t confirm_level_max = 3;
constexpr std::size_t settled_head_size = 8;
constexpr std::size_t settle_note_head_size = 2;
}  // namespace

void put_confirm(Outbox& outbox, std::uint16_t link, std::uint64_t sequence, std::uint8_t level,
                 std::span<const ConfirmException> exceptions) noexcept {
    begin(outbox, FrameType::confirm, link, sequence, confirm_head_size + exceptions.size() * confirm_exception_size);
    std::array<std::byte, confirm_head_size> head{};
    head[0] = static_cast<std::byte>(level);
    store_u32(head.data() + 4, static_cast<std::uint32_t>(exceptions.size()));
    outbox.append(Bytes{head});
    for (const auto& exception : exceptions) {
        std::array<std::byte, confirm_exception_size> record{};
        store_u64(record.data(), exception.first);
        store_u32(record.data() + 8, exception.count);
        store_u32(record.data() + 12, static_cast<std::uint32_t>(exception.status));
        outbox.append(Bytes{record});
    }
    outbox.end_frame();
}

void put_deliver(Outbox& outbox, std::uint16_t link, std::uint64_t sequence, std::uint32_t attempt, bool redelivered,
                 const BatchHeader& header, const Payload& messages) noexcept {
    std::array<std::byte, deliver_head_size + batch_header_size> head{};
    store_u32(head.data(), attempt);
    store_u32(head.data() + 4, redelivered ? 1U : 0U);
    baton::encode(header, MutableBytes{head}.subspan(deliver_head_size));
    begin(outbox, FrameType::deliver, link, sequence, head.size() + messages.size());
    outbox.append(Bytes{head});
    outbox.append(messages);
    outbox.end_frame();
}

std::optional<Deliver> decode_deliver(Bytes body) noexcept {
    if (body.size() < deliver_head_size + batch_header_size) {
        return std::nullopt;
    }
    return Deliver{.attempt = load_u32(body.data()),
                   .redelivered = (load_u32(body.data() + 4) & 1U) != 0,
                   .batch = body.subspan(deliver_head_size)};
}

void put_settle(Outbox& outbox, std::uint16_t link, std::uint64_t receipt, std::span<const Settlement> settlements,
                std::string_view note) noexcept {
    BATON_ASSERT(!settlements.empty());
    std::array<std::byte, settle_note_head_size + settle_note_size_max> head;
    std::size_t head_size = 0;
    if (!note.empty()) {
        const std::size_t note_size = copy_text(note, MutableBytes{head}.subspan(settle_note_head_size));
        store_u16(head.data(), static_cast<std::uint16_t>(note_size));
        head_size = settle_note_head_size + note_size;
    }
    begin(outbox, FrameType::settle, link, receipt, head_size + settlements.size() * settlement_size,
          note.empty() ? std::uint8_t{0} : flag_settle_note);
    outbox.append(Bytes{head}.first(head_size));
    for (const auto& settlement : settlements) {
        std::array<std::byte, settlement_size> record{};
        store_u64(record.data(), settlement.first);
        store_u32(record.data() + 8, settlement.count);
        store_u32(record.data() + 12, settlement.attempt);
        record[16] = static_cast<std::byte>(settlement.outcome);
        store_u32(record.data() + 20, settlement.argument);
        outbox.append(Bytes{record});
    }
    outbox.end_frame();
}

void put_settled(Outbox& outbox, std::uint16_t link, std::uint64_t receipt,
                 std::span<const SettleException> exceptions) noexcept {
    begin(outbox, FrameType::settled, link, receipt, settled_head_size + exceptions.size() * settlement_size);
    std::array<std::byte, settled_head_size> head{};
    store_u32(head.data(), static_cast<std::uint32_t>(exceptions.size()));
    outbox.append(Bytes{head});
    for (const auto& exception : exceptions) {
        std::array<std::byte, settlement_size> record{};
        store_u64(record.data(), exception.first);
        store_u32(record.data() + 8, exception.count);
        store_u32(record.data() + 12, exception.attempt);
        store_u32(record.data() + 16, static_cast<std::uint32_t>(exception.status));
        outbox.append(Bytes{record});
    }
    outbox.end_frame();
}

template <>
bool RecordReader<ConfirmException>::next(ConfirmException& record) noexcept {
    if (rest_.size() < record_size) {
        return false;
    }
    record = {.first = load_u64(rest_.data()),
              .count = load_u32(rest_.data() + 8),
              .status = static_cast<Status>(load_u32(rest_.data() + 12))};
    rest_ = rest_.subspan(record_size);
    return true;
}

template <>
bool RecordReader<Settlement>::next(Settlement& record) noexcept {
    if (rest_.size() < record_size) {
        return false;
    }
    record = {.first = load_u64(rest_.data()),
              .count = load_u32(rest_.data() + 8),
              .attempt = load_u32(rest_.data() + 12),
              .outcome = load_u8(rest_.data() + 16),
              .argument = load_u32(rest_.data() + 20)};
    rest_ = rest_.subspan(record_size);
    return true;
}

template <>
bool RecordReader<SettleException>::next(SettleException& record) noexcept {
    if (rest_.size() < record_size) {
        return false;
    }
    record = {.first = load_u64(rest_.data()),
              .count = load_u32(rest_.data() + 8),
              .attempt = load_u32(rest_.data() + 12),
              .status = static_cast<Status>(load_u32(rest_.data() + 16))};
    rest_ = rest_.subspan(record_size);
    return true;
}

namespace {

bool is_count_of(std::size_t count, Bytes records, std::size_t record_size) noexcept {
    return records.size() % record_size == 0 && records.size() / record_size == count;
}

bool has_reserved_zero(Bytes settlement) noexcept {
    return load_u8(settlement.data() + 17) == 0 && load_u16(settlement.data() + 18) == 0;
}

}  // namespace

std::optional<Confirm> decode_confirm(Bytes body) noexcept {
    if (body.size() < confirm_head_size) {
        return std::nullopt;
    }
    const std::uint8_t level = load_u8(body.data());
    if (level < confirm_level_min || level > confirm_level_max || load_u8(body.data() + 1) != 0 ||
        load_u16(body.data() + 2) != 0) {
        return std::nullopt;
    }
    const auto records = body.subspan(confirm_head_size);
    if (!is_count_of(load_u32(body.data() + 4), records, confirm_exception_size)) {
        return std::nullopt;
    }
    return Confirm{.level = level, .exceptions = RecordReader<ConfirmException>{records}};
}

std::optional<Settle> decode_settle(Bytes body, std::uint8_t flags) noexcept {
    std::string_view note;
    if ((flags & flag_settle_note) != 0) {
        if (body.size() < settle_note_head_size) {
            return std::nullopt;
        }
        const std::size_t note_size = load_u16(body.data());
        if (note_size > settle_note_size_max || body.size() - settle_note_head_size < note_size ||
            !is_valid_utf8(body.subspan(settle_note_head_size, note_size))) {
            return std::nullopt;
        }
        note = as_text(body.subspan(settle_note_head_size, note_size));
        body = body.subspan(settle_note_head_size + note_size);
    }
    if (body.empty() || body.size() % settlement_size != 0) {
        return std::nullopt;
    }
    for (std::size_t at = 0; at < body.size(); at += settlement_size) {
        if (!has_reserved_zero(body.subspan(at, settlement_size))) {
            return std::nullopt;
        }
    }
    return Settle{RecordReader<Settlement>{body}, note};
}

std::optional<RecordReader<SettleException>> decode_settled(Bytes body) noexcept {
    if (body.size() < settled_head_size || load_u32(body.data() + 4) != 0) {
        return std::nullopt;
    }
    const auto records = body.subspan(settled_head_size);
    if (!is_count_of(load_u32(body.data()), records, settlement_size)) {
        return std::nullopt;
    }
    for (std::size_t at = 0; at < records.size(); at += settlement_size) {
        if (load_u32(records.data() + at + 20) != 0) {
            return std::nullopt;
        }
    }
    return RecordReader<SettleException>{records};
}

// --- Credit and state ------------------------------------------------------------------------------------------------

namespace {
constexpr std::size_t state_size = 32;
constexpr std::size_t fragment_head_size = 16;
}  // namespace

void put_credit(Outbox& outbox, std::uint16_t link, const CreditLimits& limits) noexcept {
    std::array<std::byte, credit_size> body{};
    store_u64(body.data(), limits.messages);
    store_u64(body.data() + 8, limits.bytes);
    begin(outbox, FrameType::credit, link, 0, credit_size);
    outbox.append(Bytes{body});
    outbox.end_frame();
}

std::optional<CreditLimits> decode_credit(Bytes body) noexcept {
    if (body.size() != credit_size) {
        return std::nullopt;
    }
    return CreditLimits{.messages = load_u64(body.data()), .bytes = load_u64(body.data() + 8)};
}

void put_state(Outbox& outbox, std::uint16_t link, const State& state) noexcept {
    std::array<std::byte, state_size> body{};
    store_u16(body.data(), state.reason);
    store_u32(body.data() + 4, state.delayed);
    store_u64(body.data() + 8, state.waiting_us);
    store_u64(body.data() + 16, state.ready);
    store_u64(body.data() + 24, state.in_flight);
    put_frame(outbox, {.type = FrameType::state, .link = link}, body);
}

void put_state_question(Outbox& outbox, std::uint16_t link) noexcept {
    put_empty(outbox, FrameType::state, link);
}

std::optional<State> decode_state(Bytes body) noexcept {
    if (body.size() != state_size || load_u16(body.data() + 2) != 0) {
        return std::nullopt;
    }
    return State{.reason = load_u16(body.data()),
                 .delayed = load_u32(body.data() + 4),
                 .waiting_us = load_u64(body.data() + 8),
                 .ready = load_u64(body.data() + 16),
                 .in_flight = load_u64(body.data() + 24)};
}

std::string_view wait_reason_name(std::uint16_t reason) noexcept {
    static constexpr std::array<std::string_view, 19> names{
        "none",      "empty",   "no_message_credit", "no_byte_credit", "slow_reader",
        "full",      "memory",  "draining",          "no_receiver",    "receivers_busy",
        "in_flight", "loading", "committing",        "disk_full",      "storage_failed",
        "damaged",   "delayed", "key_busy",          "standby"};
    return reason < names.size() ? names[reason] : "unknown";
}

// --- Fragments -------------------------------------------------------------------------------------------------------

void put_fragment_head(Outbox& outbox, std::uint16_t link, std::uint64_t sequence, const FragmentHead& head) noexcept {
    std::array<std::byte, fragment_head_size> body{};
    body[0] = static_cast<std::byte>(head.type);
    body[1] = static_cast<std::byte>(head.flags);
    store_u64(body.data() + 8, head.total);
    put_frame(outbox, {.type = FrameType::fragment, .flags = flag_fragment_first, .link = link, .sequence = sequence},
              body);
}

std::optional<FragmentHead> decode_fragment_head(Bytes body) noexcept {
    if (body.size() != fragment_head_size || load_u16(body.data() + 2) != 0 || load_u32(body.data() + 4) != 0) {
        return std::nullopt;
    }
    const auto type = static_cast<FrameType>(body[0]);
    if (type != FrameType::publish && type != FrameType::deliver) {
        return std::nullopt;
    }
    return FragmentHead{.type = type, .flags = load_u8(body.data() + 1), .total = load_u64(body.data() + 8)};
}

void put_fragment(Outbox& outbox, std::uint16_t link, std::uint64_t position, const Payload& data,
                  bool is_last) noexcept {
    begin(outbox, FrameType::fragment, link, position, data.size(), is_last ? flag_fragment_last : std::uint8_t{0});
    outbox.append(data);
    outbox.end_frame();
}

void put_grant(Outbox& outbox, std::uint16_t link, std::uint64_t sequence) noexcept {
    put_empty(outbox, FrameType::grant, link, sequence);
}

// --- Connection ------------------------------------------------------------------------------------------------------

void put_ping(Outbox& outbox, std::uint64_t token) noexcept {
    put_empty(outbox, FrameType::ping, 0, token);
}
void put_pong(Outbox& outbox, std::uint64_t token) noexcept {
    put_empty(outbox, FrameType::pong, 0, token);
}

namespace {
constexpr std::size_t error_head_size = 8;
constexpr std::size_t error_text_size_max = 1'000;
}  // namespace

void put_error(Outbox& outbox, std::uint16_t link, std::uint64_t sequence, const ErrorBody& error) noexcept {
    std::array<std::byte, error_head_size + error_text_size_max> body{};
    const std::size_t text_size = copy_text(error.text, MutableBytes{body}.subspan(error_head_size));
    store_u32(body.data(), static_cast<std::uint32_t>(error.status));
    body[4] = static_cast<std::byte>(error.severity);
    body[5] = static_cast<std::byte>(error.retryable ? 1 : 0);
    store_u16(body.data() + 6, static_cast<std::uint16_t>(text_size));
    put_frame(outbox, {.type = FrameType::error, .link = link, .sequence = sequence},
              Bytes{body}.first(error_head_size + text_size));
}

std::optional<ErrorBody> decode_error(Bytes body) noexcept {
    if (body.size() < error_head_size) {
        return std::nullopt;
    }
    const auto severity = load_u8(body.data() + 4);
    if (severity < 1 || severity > 3 || load_u8(body.data() + 5) > 1 ||
        load_u16(body.data() + 6) != body.size() - error_head_size) {
        return std::nullopt;
    }
    if (!is_valid_utf8(body.subspan(error_head_size))) {
        return std::nullopt;
    }
    return ErrorBody{.status = static_cast<Status>(load_u32(body.data())),
                     .severity = static_cast<Severity>(severity),
                     .retryable = load_u8(body.data() + 5) == 1,
                     .text = as_text(body.subspan(error_head_size))};
}

void put_admin(Outbox& outbox, std::uint64_t request, const Admin& admin) noexcept {
    BATON_ASSERT(admin.name.size() <= 0xffff);
    std::array<std::byte, admin_head_size> head{};
    store_u16(head.data(), static_cast<std::uint16_t>(admin.name.size()));
    begin(outbox, FrameType::admin, 0, request, head.size() + admin.name.size() + admin.json.size());
    outbox.append(Bytes{head});
    outbox.append(admin.name);
    outbox.append(as_bytes(admin.json));
    outbox.end_frame();
}

std::optional<Admin> decode_admin(Bytes body) noexcept {
    if (body.size() < admin_head_size || load_u16(body.data() + 2) != 0) {
        return std::nullopt;
    }
    const std::size_t name_size = load_u16(body.data());
    if (body.size() - admin_head_size < name_size) {
        return std::nullopt;
    }
    return Admin{.name = body.subspan(admin_head_size, name_size),
                 .json = as_text(body.subspan(admin_head_size + name_size))};
}

void put_admin_reply(Outbox& outbox, std::uint64_t request, std::string_view json) noexcept {
    put_frame(outbox, {.type = FrameType::admin_reply, .sequence = request}, as_bytes(json));
}

}  // namespace baton::wire
