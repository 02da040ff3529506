// STEP and STEPPED (docs/protocol.md, section 10b): messages and settlements that happen together or not at all.
// Sans-I/O; any thread; decoded spans point into the decoded bytes. Next file: handshake.hpp.
//
//     +-------------------------------+-------------------------------+
//     | producer: 16 bytes                                            |
//     +-------------------------------+---------------+---------------+
//     | number u64                    | sections u32  | 0 u32         |     then the sections:
//     +-------+-------+-------+---------------+-------+---------------+
//     | kind  | flags | link  | size u32      | `size` bytes ...
//     +-------+-------+-------+---------------+------------------------
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/wire/bodies.hpp"

namespace baton::wire {

/// The feature of HELLO and WELCOME.
inline constexpr std::string_view feature_step = "step";
inline constexpr std::size_t step_sections_max = 1'000;
inline constexpr std::size_t steps_pending_max = 64;  ///< Of one session, without an answer.
inline constexpr std::uint32_t no_section = 0xffff'ffff;

inline constexpr std::size_t step_head_size = 32;
inline constexpr std::size_t step_section_head_size = 8;
inline constexpr std::size_t step_messages_head_size = 4;  ///< In front of the name.

struct StepSection {
    enum class Kind : std::uint8_t { messages = 1, settlements = 2 };
    Kind kind = Kind::messages;
    bool must_exist = false;  ///< Messages: the channel is not made.
    std::uint16_t link = 0;   ///< Settlements: of the receiver; 0: of one that is gone.
    Bytes name;               ///< Messages: of the channel. Its length is checked by the session.
    Bytes batch;              ///< Messages: not checked yet (check_batch).
    RecordReader<Settlement> settlements{{}};
};

struct Step {
    std::array<std::byte, 16> producer{};
    std::uint64_t number = 0;
    std::vector<StepSection> sections;
};

/// Makes the body of STEP, section by section.
class StepBuilder {
public:
    StepBuilder(const std::array<std::byte, 16>& producer, std::uint64_t number);
    void add_messages(Bytes name, bool must_exist, Bytes batch);
    void add_settlements(std::uint16_t link, std::span<const Settlement> settlements);
    [[nodiscard]] Bytes body() const noexcept { return body_; }

private:
    void begin_section(StepSection::Kind kind, std::uint8_t flags, std::uint16_t link, std::size_t size);
    std::vector<std::byte> body_;
    std::uint32_t sections_ = 0;
};

/// `body` fits a frame.
void put_step(Outbox& outbox, std::uint64_t request, Bytes body) noexcept;
/// Nothing for a body that has not this form: no section or too many, a kind or flag that is unknown, sizes that do not
/// add up, an anonymous producer, the number 0, reserved fields that are not 0.
[[nodiscard]] std::optional<Step> decode_step(Bytes body);

/// STEPPED: `status u32, section u32, text size u16, 0 u16, text`.
struct Stepped {
    Status status = Status::ok;
    std::uint32_t section = no_section;
    std::string_view text;  ///< For people. Cut at 1,000 bytes, between characters.
};
void put_stepped(Outbox& outbox, std::uint64_t request, const Stepped& stepped) noexcept;
[[nodiscard]] std::optional<Stepped> decode_stepped(Bytes body) noexcept;

}  // namespace baton::wire
