#include "server/inspect/rescue.hpp"

#include <algorithm>
#include <iterator>

#include "server/channel/message_region.hpp"
#include "server/runtime/recovery.hpp"

namespace baton::inspect {

using channel::ChannelImage;
using channel::Offset;

Rescue::Rescue(Directory& directory, const ChannelImage& image, ChunkPool& pool)
    : directory_{directory}, image_{image}, pool_{pool} {
    if (!image.settings().damage.empty()) {
        add_damaged_generations();
    }
    add_contents(image_);
    for (const auto& other : others_) {
        add_contents(other);
    }
    if (!image.settings().damage.empty()) {
        add_unnamed_blocks();
    }
    std::ranges::stable_sort(pieces_, {}, &Piece::first);
}

void Rescue::add_block(const storage::BlockRef& block) {
    if (blocks_.emplace(block.segment, block.position).second) {
        pieces_.push_back({.first = block.first, .end = block.end, .block = block, .batch = nullptr});
    }
}

void Rescue::add_contents(const ChannelImage& image) {
    for (const auto& [first, block] : image.blocks()) {
        add_block(block);
    }
    for (const auto& [first, batch] : image.batches()) {
        pieces_.push_back({.first = first, .end = first + batch.count, .block = {}, .batch = &batch});
    }
}

// The state that named them may be what is damaged.
void Rescue::add_unnamed_blocks() {
    for (const auto& file : directory_.files_in(storage::stream_directory(image_.stream()), "segment-")) {
        const auto number = storage::segment_file_number(file.path.substr(file.path.rfind('/') + 1));
        if (!number) {
            continue;
        }
        const storage::SegmentVisitor visitor{
            .on_block = [&](const storage::BlockRef& block, std::uint32_t, Bytes) { add_block(block); },
            .on_damage =
                [&](std::uint64_t position, const std::string& text) {
                    complaints_.push_back(file.path + ": position " + std::to_string(position) + ": " + text);
                }};
        if (const auto read = storage::read_segment(directory_.files(), image_.stream(), *number, visitor); !read) {
            complaints_.push_back(read.error().message());
        }
    }
}

// A channel that was damaged at a start has its messages from the log only in the generation that was kept.
void Rescue::add_damaged_generations() {
    for (const auto generation : damaged_generations(directory_)) {
        // How many shards it had its own directory says.
        const auto folders = directory_.files().list(storage::damaged_directory(generation));
        if (!folders) {
            continue;
        }
        storage::Manifest manifest{.generation = generation, .shards = 0};
        manifest.shards = static_cast<std::uint32_t>(
            std::ranges::count_if(*folders, [](const std::string& name) { return name.starts_with("shard-"); }));
        directory_.files().redirect(storage::generation_directory(generation), storage::damaged_directory(generation));
        auto recovery = runtime::recover_generation(directory_.files(), manifest, pool_);
        directory_.files().redirect({}, {});
        if (!recovery) {
            complaints_.push_back(storage::damaged_directory(generation) + ": " + recovery.error().message());
            continue;
        }
        for (auto& image : recovery->channels) {
            if (image.stream() == image_.stream()) {
                others_.push_back(std::move(image));
            }
        }
    }
}

// Of a damaged channel it is not certain where it ends.
std::uint32_t Rescue::attempt_of(Offset offset) const { return image_.attempt_of(offset); }

bool Rescue::mark(Offset offset) {
    auto after = visited_.upper_bound(offset);
    if (after != visited_.begin()) {
        const auto before = std::prev(after);
        if (offset < before->second) {
            return false;
        }
        if (offset == before->second) {
            ++before->second;
            if (after != visited_.end() && after->first == before->second) {
                before->second = after->second;
                visited_.erase(after);
            }
            return true;
        }
    }
    if (after != visited_.end() && after->first == offset + 1) {
        const Offset end = after->second;
        visited_.erase(after);
        visited_.emplace(offset, end);
    } else {
        visited_.emplace(offset, offset + 1);
    }
    return true;
}

void Rescue::visit_batch(Offset first, bool has_properties, WallTime time, Bytes messages, const Visitor& visitor) {
    MessageCursor cursor{messages, has_properties};
    Envelope envelope{.channel = image_.settings().name, .offset = first, .attempt = 1, .time = time, .message = {}};
    for (; cursor.next(envelope.message); ++envelope.offset) {
        envelope.attempt = attempt_of(envelope.offset);
        if (envelope.attempt != 0 && mark(envelope.offset)) {
            visitor(envelope);
        }
    }
}

void Rescue::visit_block(const storage::BlockRef& block, const Visitor& visitor) {
    std::vector<std::byte> body(block.size);
    if (const auto read = storage::read_block(directory_.files(), image_.stream(), block, body); !read) {
        complaints_.push_back(read.error().message());
        return;
    }
    Bytes rest = body;
    while (!rest.empty()) {
        const auto header = channel::front_batch(rest);
        if (!header) {
            complaints_.push_back(storage::segment_path(image_.stream(), block.segment) + ": block at " +
                                  std::to_string(block.position) + ": a batch in it is not well formed");
            return;
        }
        visit_batch(header->base_offset, header->has_properties(), {header->time_us},
                    rest.subspan(batch_header_size, header->messages_size), visitor);
        rest = rest.subspan(batch_header_size + header->messages_size);
    }
}

// Living messages, by what the channel knows, that were not visited.
std::uint64_t Rescue::count_missing() const {
    std::uint64_t living = 0;
    std::uint64_t found = 0;
    const auto add = [&](Offset first, Offset end) {
        living += end - first;
        auto run = visited_.upper_bound(first);
        if (run != visited_.begin()) {
            --run;
        }
        for (; run != visited_.end() && run->first < end; ++run) {
            const Offset low = std::max(run->first, first);
            const Offset high = std::min(run->second, end);
            found += low < high ? high - low : 0;
        }
    };
    for (const auto& [first, end] : image_.live_ranges()) {
        add(first, end);
    }
    return living - found;
}

bool Rescue::visit(const Visitor& visitor) {
    for (const auto& piece : pieces_) {
        if (piece.batch == nullptr) {
            visit_block(piece.block, visitor);
        } else {
            visit_batch(piece.first, (piece.batch->flags & batch_has_properties) != 0, piece.batch->time,
                        piece.batch->messages.bytes(), visitor);
        }
    }
    missing_ = count_missing();
    return missing_ == 0 && complaints_.empty();
}

}  // namespace baton::inspect
