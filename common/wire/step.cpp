#include "common/wire/step.hpp"

#include <algorithm>

#include "common/base/utf8.hpp"
#include "common/wire/text_field.hpp"

namespace baton::wire {

namespace {

constexpr std::size_t stepped_head_size = 12;
constexpr std::size_t stepped_text_size_max = 1'000;
constexpr std::size_t sections_at = 24;
constexpr std::uint8_t flag_must_exist = 1;

bool read_messages(Bytes body, StepSection& section) noexcept {
    if (section.link != 0 || body.size() < step_messages_head_size || load_u16(body.data() + 2) != 0) {
        return false;
    }
    const std::size_t name_size = load_u16(body.data());
    if (body.size() - step_messages_head_size < name_size) {
        return false;
    }
    section.name = body.subspan(step_messages_head_size, name_size);
    section.batch = body.subspan(step_messages_head_size + name_size);
    return true;
}

bool read_settlements(Bytes body, StepSection& section) noexcept {
    const auto settle = decode_settle(body);
    if (!settle || section.must_exist) {
        return false;
    }
    section.settlements = *settle;
    return true;
}

}  // namespace

StepBuilder::StepBuilder(const std::array<std::byte, 16>& producer, std::uint64_t number) : body_(step_head_size) {
    std::ranges::copy(producer, body_.begin());
    store_u64(&body_[producer.size()], number);
}

void StepBuilder::begin_section(StepSection::Kind kind, std::uint8_t flags, std::uint16_t link, std::size_t size) {
    const std::size_t at = body_.size();
    body_.resize(at + step_section_head_size);
    body_[at] = static_cast<std::byte>(kind);
    body_[at + 1] = static_cast<std::byte>(flags);
    store_u16(&body_[at + 2], link);
    store_u32(&body_[at + 4], static_cast<std::uint32_t>(size));
    store_u32(&body_[sections_at], ++sections_);
}

void StepBuilder::add_messages(Bytes name, bool must_exist, Bytes batch) {
    begin_section(StepSection::Kind::messages, must_exist ? flag_must_exist : std::uint8_t{0}, 0,
                  step_messages_head_size + name.size() + batch.size());
    const std::size_t at = body_.size();
    body_.resize(at + step_messages_head_size);
    store_u16(&body_[at], static_cast<std::uint16_t>(name.size()));
    body_.insert(body_.end(), name.begin(), name.end());
    body_.insert(body_.end(), batch.begin(), batch.end());
}

void StepBuilder::add_settlements(std::uint16_t link, std::span<const Settlement> settlements) {
    begin_section(StepSection::Kind::settlements, 0, link, settlements.size() * settlement_size);
    for (const Settlement& settlement : settlements) {
        const std::size_t at = body_.size();
        body_.resize(at + settlement_size);
        store_u64(&body_[at], settlement.first);
        store_u32(&body_[at + 8], settlement.count);
        store_u32(&body_[at + 12], settlement.attempt);
        body_[at + 16] = static_cast<std::byte>(settlement.outcome);
        store_u32(&body_[at + 20], settlement.argument);
    }
}

void put_step(Outbox& outbox, std::uint64_t request, Bytes body) noexcept {
    put_frame(outbox, {.type = FrameType::step, .sequence = request}, body);
}

std::optional<Step> decode_step(Bytes body) {
    if (body.size() < step_head_size || load_u32(body.data() + sections_at + 4) != 0) {
        return std::nullopt;
    }
    Step step;
    std::ranges::copy(body.first(step.producer.size()), step.producer.begin());
    step.number = load_u64(body.data() + step.producer.size());
    const std::uint32_t count = load_u32(body.data() + sections_at);
    const bool is_anonymous = std::ranges::all_of(step.producer, [](std::byte byte) { return byte == std::byte{}; });
    if (is_anonymous || step.number == 0 || count == 0 || count > step_sections_max) {
        return std::nullopt;
    }
    body = body.subspan(step_head_size);
    while (step.sections.size() < count) {
        if (body.size() < step_section_head_size) {
            return std::nullopt;
        }
        StepSection section{.kind = static_cast<StepSection::Kind>(body[0]),
                            .must_exist = body[1] == std::byte{flag_must_exist},
                            .link = load_u16(body.data() + 2),
                            .name{},
                            .batch{}};
        const std::size_t size = load_u32(body.data() + 4);
        if (body[1] > std::byte{flag_must_exist} || body.size() - step_section_head_size < size) {
            return std::nullopt;
        }
        const Bytes content = body.subspan(step_section_head_size, size);
        const bool is_sound = section.kind == StepSection::Kind::messages      ? read_messages(content, section)
                              : section.kind == StepSection::Kind::settlements ? read_settlements(content, section)
                                                                               : false;
        if (!is_sound) {
            return std::nullopt;
        }
        step.sections.push_back(section);
        body = body.subspan(step_section_head_size + size);
    }
    return body.empty() ? std::optional{std::move(step)} : std::nullopt;
}

void put_stepped(Outbox& outbox, std::uint64_t request, const Stepped& stepped) noexcept {
    std::array<std::byte, stepped_head_size + stepped_text_size_max> body{};
    const std::size_t text_size = copy_text(stepped.text, MutableBytes{body}.subspan(stepped_head_size));
    store_u32(body.data(), static_cast<std::uint32_t>(stepped.status));
    store_u32(body.data() + 4, stepped.section);
    store_u16(body.data() + 8, static_cast<std::uint16_t>(text_size));
    put_frame(outbox, {.type = FrameType::stepped, .sequence = request},
              Bytes{body}.first(stepped_head_size + text_size));
}

std::optional<Stepped> decode_stepped(Bytes body) noexcept {
    if (body.size() < stepped_head_size || load_u16(body.data() + 8) != body.size() - stepped_head_size ||
        load_u16(body.data() + 10) != 0 || !is_valid_utf8(body.subspan(stepped_head_size))) {
        return std::nullopt;
    }
    return Stepped{.status = static_cast<Status>(load_u32(body.data())),
                   .section = load_u32(body.data() + 4),
                   .text = as_text(body.subspan(stepped_head_size))};
}

}  // namespace baton::wire
