#include "server/commit/joint_record.hpp"

#include <utility>

namespace baton::commit {

namespace {

constexpr std::size_t head_size = 16;
constexpr std::size_t part_head_size = 24;
constexpr std::uint32_t state_version = 1;

}  // namespace

void RecordGatherer::add(const RecordPart& part, Bytes rest) {
    if (bytes_.empty()) {
        bytes_.resize(head_size);
    }
    const std::size_t at = bytes_.size();
    bytes_.resize(at + part_head_size);
    store_u64(&bytes_[at], part.stream.value());
    store_u64(&bytes_[at + 8], part.number);
    store_u32(&bytes_[at + 16], part.shard);
    store_u32(&bytes_[at + 20], static_cast<std::uint32_t>(part.body.size() + rest.size()));
    bytes_.insert(bytes_.end(), part.body.begin(), part.body.end());
    bytes_.insert(bytes_.end(), rest.begin(), rest.end());
    ++parts_;
}

std::vector<std::byte> RecordGatherer::take(ShardRecordType type, std::uint64_t step) {
    bytes_.resize(bytes_.empty() ? head_size : bytes_.size());
    bytes_[0] = static_cast<std::byte>(type);
    store_u32(&bytes_[4], std::exchange(parts_, 0));
    store_u64(&bytes_[8], step);
    return std::exchange(bytes_, {});
}

std::optional<ShardRecord> decode_shard_record(Bytes body) {
    if (body.size() < head_size || body[0] < std::byte{1} || body[0] > std::byte{3} ||
        (load_u32(body.data()) >> 8U) != 0) {
        return std::nullopt;
    }
    ShardRecord record{.type = static_cast<ShardRecordType>(body[0]), .step = load_u64(body.data() + 8), .parts{}};
    std::uint32_t left = load_u32(body.data() + 4);
    if ((record.type == ShardRecordType::finished) != (left == 0) && record.type != ShardRecordType::joint) {
        return std::nullopt;
    }
    body = body.subspan(head_size);
    for (; left > 0 && body.size() >= part_head_size; --left) {
        const std::uint32_t size = load_u32(body.data() + 20);
        RecordPart part{.stream = storage::StreamId{load_u64(body.data())},
                        .number = load_u64(body.data() + 8),
                        .shard = load_u32(body.data() + 16),
                        .body{}};
        if (part.stream == shard_stream || size > body.size() - part_head_size) {
            return std::nullopt;
        }
        part.body = body.subspan(part_head_size, size);
        record.parts.push_back(part);
        body = body.subspan(part_head_size + size);
    }
    return left == 0 && body.empty() ? std::optional{std::move(record)} : std::nullopt;
}

std::vector<std::byte> encode(const StepsState& state) {
    std::vector<std::byte> out;
    ByteWriter writer{out};
    writer.u32(state_version);
    writer.u32(static_cast<std::uint32_t>(state.applied.size()));
    for (const std::uint64_t step : state.applied) {
        writer.u64(step);
    }
    writer.u32(static_cast<std::uint32_t>(state.intents.size()));
    for (const auto& intent : state.intents) {
        writer.u32(static_cast<std::uint32_t>(intent.size()));
        writer.bytes(intent);
    }
    return out;
}

std::optional<StepsState> decode_steps_state(Bytes bytes) {
    ByteReader reader{bytes};
    StepsState state;
    std::uint32_t version = 0;
    std::uint32_t count = 0;
    if (!reader.read_u32(version) || version != state_version || !reader.read_u32(count)) {
        return std::nullopt;
    }
    for (std::uint64_t step = 0; count > 0; --count) {
        if (!reader.read_u64(step)) {
            return std::nullopt;
        }
        state.applied.push_back(step);
    }
    if (!reader.read_u32(count)) {
        return std::nullopt;
    }
    for (; count > 0; --count) {
        std::uint32_t size = 0;
        Bytes intent;
        if (!reader.read_u32(size) || !reader.read_bytes(size, intent)) {
            return std::nullopt;
        }
        const auto record = decode_shard_record(intent);
        if (!record || record->type != ShardRecordType::intent) {
            return std::nullopt;
        }
        state.intents.emplace_back(intent.begin(), intent.end());
    }
    return reader.remaining() == 0 ? std::optional{std::move(state)} : std::nullopt;
}

}  // namespace baton::commit
