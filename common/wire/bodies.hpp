// The binary bodies of frames after the handshake: a struct, a put_* that appends the whole frame to an outbox, and a
// decode_* that answers nothing for a body that has not the form of its type (docs/protocol.md, sections 5 to 12).
// Sans-I/O; any thread; decoded spans point into the decoded bytes. Next file: handshake.hpp (the JSON bodies).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "common/base/batch.hpp"
#include "common/base/bytes.hpp"
#include "common/base/outbox.hpp"
#include "common/base/payload.hpp"
#include "common/wire/frame.hpp"
#include "common/wire/status.hpp"

namespace baton::wire {

// --- Links -----------------------------------------------------------------------------------------------------------

enum class Role : std::uint8_t { sender = 1, receiver = 2 };

/// ATTACH: `name size u16, role u8, 0 u8, name, JSON`.
struct Attach {
    Role role = Role::sender;
    Bytes name;                ///< Channel; any bytes. Length is checked by the session.
    std::string_view options;  ///< JSON object, or empty.
};
struct CreditLimits;
/// With `first_credit` a CREDIT follows in the same piece: nothing gets between the two, and no later CREDIT of the
/// control lane in front of it.
void put_attach(Outbox& outbox, std::uint16_t link, const Attach& attach,
                const CreditLimits* first_credit = nullptr) noexcept;
[[nodiscard]] std::optional<Attach> decode_attach(Bytes body) noexcept;

void put_attached(Outbox& outbox, std::uint16_t link, std::uint64_t last_sequence, std::string_view json) noexcept;
void put_detach(Outbox& outbox, std::uint16_t link) noexcept;
void put_detached(Outbox& outbox, std::uint16_t link) noexcept;

// --- Messages --------------------------------------------------------------------------------------------------------

/// PUBLISH: the body is the batch, header included.
void put_publish(Outbox& outbox, std::uint16_t link, std::uint64_t sequence, const Payload& batch) noexcept;

/// CONFIRM: `level u8, 0 u8, 0 u16, exceptions u32`, then per exception `first u64, count u32, status u32`.
struct ConfirmException {
    std::uint64_t first = 0;
    std::uint32_t count = 0;
    Status status = Status::ok;
    friend bool operator==(const ConfirmException&, const ConfirmException&) = default;
};
inline constexpr std::size_t confirm_exception_size = 16;
void put_confirm(Outbox& outbox, std::uint16_t link, std::uint64_t sequence, std::uint8_t level,
                 std::span<const ConfirmException> exceptions) noexcept;

/// DELIVER: `attempt u32, flags u32 (1 = redelivered)`, then a batch.
struct Deliver {
    std::uint32_t attempt = 1;
    bool redelivered = false;
    Bytes batch;  ///< Header and messages; not checked yet (check_batch).
};
inline constexpr std::size_t deliver_head_size = 8;
/// `sequence` numbers the first message on the link. The batch is `header` followed by `messages`.
void put_deliver(Outbox& outbox, std::uint16_t link, std::uint64_t sequence, std::uint32_t attempt, bool redelivered,
                 const BatchHeader& header, const Payload& messages) noexcept;
[[nodiscard]] std::optional<Deliver> decode_deliver(Bytes body) noexcept;

/// One range of SETTLE, 24 bytes: `first u64, count u32, attempt u32, outcome u8, 0 u8, 0 u16, argument u32`.
struct Settlement {
    std::uint64_t first = 0;
    std::uint32_t count = 0;
    std::uint32_t attempt = 1;
    std::uint8_t outcome = 1;  ///< 1 done, 2 give back, 3 retry, 4 reject, 5 extend, 6 started. Not checked here.
    std::uint32_t argument = 0;
    friend bool operator==(const Settlement&, const Settlement&) = default;
};
inline constexpr std::size_t settlement_size = 24;
inline constexpr std::size_t settle_note_size_max = 1'024;
/// A note (why these are retried or rejected, for people) goes in front, `size u16, text`, and sets flag_settle_note.
/// Longer ones are cut at settle_note_size_max, between characters; bytes that are not UTF-8 become '?'.
void put_settle(Outbox& outbox, std::uint16_t link, std::uint64_t receipt, std::span<const Settlement> settlements,
                std::string_view note = {}) noexcept;

/// One exception of SETTLED, 24 bytes: `first u64, count u32, attempt u32, status u32, 0 u32`.
struct SettleException {
    std::uint64_t first = 0;
    std::uint32_t count = 0;
    std::uint32_t attempt = 1;
    Status status = Status::ok;
    friend bool operator==(const SettleException&, const SettleException&) = default;
};
void put_settled(Outbox& outbox, std::uint16_t link, std::uint64_t receipt,
                 std::span<const SettleException> exceptions) noexcept;

/// Reads fixed-size records out of a body without copying: SETTLE, SETTLED and the exceptions of CONFIRM.
template <class Record>
class RecordReader {
public:
    explicit RecordReader(Bytes records) noexcept : rest_{records} {}
    [[nodiscard]] bool next(Record& record) noexcept;
    [[nodiscard]] std::size_t remaining() const noexcept { return rest_.size() / record_size; }

private:
    static constexpr std::size_t record_size =
        std::is_same_v<Record, ConfirmException> ? confirm_exception_size : settlement_size;
    Bytes rest_;
};
template <>
bool RecordReader<ConfirmException>::next(ConfirmException& record) noexcept;
template <>
bool RecordReader<Settlement>::next(Settlement& record) noexcept;
template <>
bool RecordReader<SettleException>::next(SettleException& record) noexcept;

struct Confirm {
    std::uint8_t level = 1;
    RecordReader<ConfirmException> exceptions{{}};
};
[[nodiscard]] std::optional<Confirm> decode_confirm(Bytes body) noexcept;
/// SETTLE: its ranges, and the note that is about all of them.
struct Settle : RecordReader<Settlement> {
    std::string_view note;  ///< Empty: none.
};
/// `flags` are those of the frame: they say whether a note is there. Nothing for a body without a range, one whose
/// ranges are not a multiple of 24 bytes or whose reserved fields are not 0, or a note that is too long or not UTF-8.
[[nodiscard]] std::optional<Settle> decode_settle(Bytes body, std::uint8_t flags = 0) noexcept;
[[nodiscard]] std::optional<RecordReader<SettleException>> decode_settled(Bytes body) noexcept;

// --- Credit and state ------------------------------------------------------------------------------------------------

/// Absolute totals since ATTACH.
struct CreditLimits {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    friend bool operator==(const CreditLimits&, const CreditLimits&) = default;
};
void put_credit(Outbox& outbox, std::uint16_t link, const CreditLimits& limits) noexcept;
[[nodiscard]] std::optional<CreditLimits> decode_credit(Bytes body) noexcept;

/// STATE from the broker: `reason u16, 0 u16, delayed u32, waiting us u64, ready u64, in flight u64`.
struct State {
    std::uint16_t reason = 0;
    std::uint32_t delayed = 0;
    std::uint64_t waiting_us = 0;
    std::uint64_t ready = 0;
    std::uint64_t in_flight = 0;
    friend bool operator==(const State&, const State&) = default;
};
void put_state(Outbox& outbox, std::uint16_t link, const State& state) noexcept;
void put_state_question(Outbox& outbox, std::uint16_t link) noexcept;
[[nodiscard]] std::optional<State> decode_state(Bytes body) noexcept;
/// "full", "no_receiver"…: the names of docs/protocol.md, section 8; "unknown" for others.
[[nodiscard]] std::string_view wait_reason_name(std::uint16_t reason) noexcept;
// Those that a client acts upon.
inline constexpr std::uint16_t wait_reason_draining = 7;
inline constexpr std::uint16_t wait_reason_disk_full = 13;

// --- Fragments -------------------------------------------------------------------------------------------------------

/// The first FRAGMENT: `type u8, flags u8, 0 u16, 0 u32, total u64`. `sequence` is in the frame header.
struct FragmentHead {
    FrameType type{};
    std::uint8_t flags = 0;
    std::uint64_t total = 0;
    friend bool operator==(const FragmentHead&, const FragmentHead&) = default;
};
void put_fragment_head(Outbox& outbox, std::uint16_t link, std::uint64_t sequence, const FragmentHead& head) noexcept;
[[nodiscard]] std::optional<FragmentHead> decode_fragment_head(Bytes body) noexcept;
/// `data` is referenced, not copied. `position` is that of the data in the whole body.
void put_fragment(Outbox& outbox, std::uint16_t link, std::uint64_t position, const Payload& data,
                  bool is_last) noexcept;
void put_grant(Outbox& outbox, std::uint16_t link, std::uint64_t sequence) noexcept;

// --- Connection ------------------------------------------------------------------------------------------------------

void put_ping(Outbox& outbox, std::uint64_t token) noexcept;
void put_pong(Outbox& outbox, std::uint64_t token) noexcept;

/// ERROR: `status u32, severity u8, retryable u8, text size u16, text`. Longer texts are cut at 1,000 bytes, between
/// characters; bytes that are not UTF-8 become '?'.
struct ErrorBody {
    Status status = Status::ok;  ///< May be a number that this version does not know.
    Severity severity = Severity::connection;
    bool retryable = false;
    std::string_view text;
};
void put_error(Outbox& outbox, std::uint16_t link, std::uint64_t sequence, const ErrorBody& error) noexcept;
[[nodiscard]] std::optional<ErrorBody> decode_error(Bytes body) noexcept;

/// ADMIN: `name size u16, 0 u16, name, JSON`.
struct Admin {
    Bytes name;
    std::string_view json;
};
void put_admin(Outbox& outbox, std::uint64_t request, const Admin& admin) noexcept;
[[nodiscard]] std::optional<Admin> decode_admin(Bytes body) noexcept;
void put_admin_reply(Outbox& outbox, std::uint64_t request, std::string_view json) noexcept;

}  // namespace baton::wire
