// Records that are written and synced together, while they build up and while they are written. Everything but large
// bodies, which are referenced, is copied into one buffer that is used again for the next group: in the steady state a
// record allocates nothing. Not responsible for where the group goes. Thread: its shard's, except that a job may read
// a group that nobody changes meanwhile. Next file: wal_disk.hpp.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "common/base/assert.hpp"
#include "common/base/payload.hpp"
#include "server/storage/wal_format.hpp"

namespace baton::storage {

/// Bytes that are appended and then read. Grows by doubling; unlike a vector it does not clear what is to be written.
class GroupBuffer {
public:
    /// Room for `size` more bytes, to be filled by the caller.
    [[nodiscard]] std::byte* extend(std::size_t size) {
        if (size > capacity_ - size_) {
            grow(size);
        }
        std::byte* const at = bytes_.get() + size_;
        size_ += size;
        return at;
    }

    [[nodiscard]] std::byte* data() noexcept { return bytes_.get(); }
    [[nodiscard]] Bytes bytes() const noexcept { return {bytes_.get(), size_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// Keeps the memory unless a burst made it larger than the steady state needs.
    void clear() noexcept {
        size_ = 0;
        if (capacity_ > kept_max) {
            bytes_.reset();
            capacity_ = 0;
        }
    }

private:
    static constexpr std::size_t capacity_min = 64 * 1024;
    static constexpr std::size_t kept_max = 4U << 20U;

    void grow(std::size_t size) {
        const std::size_t capacity = std::max({capacity_min, capacity_ * 2, size_ + size});
        auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity);
        copy_bytes(larger.get(), bytes());
        bytes_ = std::move(larger);
        capacity_ = capacity;
    }

    std::unique_ptr<std::byte[]> bytes_;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

class WalGroup {
public:
    /// A smaller body is copied: cheaper than a part of its own in the write, and it keeps no chunk alive.
    static constexpr std::size_t reference_size_min = 4 * 1024;

    explicit WalGroup(std::uint64_t salt) noexcept : salt_{salt} {}

    void append(Index index, StreamId stream, std::uint64_t number, Bytes head, const Payload& body) {
        if (records_ == 0) {
            first_index_ = index;
            static_cast<void>(buffer_.extend(group_header_size));
        }
        BATON_ASSERT(index == first_index_ + records_ && head.size() + body.size() <= UINT32_MAX);
        RecordHeader header{.body_size = static_cast<std::uint32_t>(head.size() + body.size()),
                            .crc = 0,
                            .stream = stream,
                            .number = number};
        header.crc = record_crc(salt_, index, header, head, body.bytes());
        const bool is_copied = body.size() < reference_size_min;
        const std::size_t size = record_header_size + head.size() + (is_copied ? body.size() : 0);
        std::byte* const at = buffer_.extend(size);
        encode(header, {at, size});
        copy_bytes(at + record_header_size, head);
        if (is_copied) {
            copy_bytes(at + record_header_size + head.size(), body.bytes());
        } else {
            references_.push_back({buffer_.size(), body});
        }
        ++records_;
        body_size_ += record_header_size + header.body_size;
    }

    [[nodiscard]] bool empty() const noexcept { return records_ == 0; }
    [[nodiscard]] Index first_index() const noexcept { return first_index_; }
    [[nodiscard]] Index last_index() const noexcept { return first_index_ + records_ - 1; }
    [[nodiscard]] std::uint64_t body_size() const noexcept { return body_size_; }
    /// In the file, with header and padding.
    [[nodiscard]] std::uint64_t size() const noexcept { return wal_aligned(group_header_size + body_size_); }

    /// Completes the group; it must not be empty.
    void set_header(std::uint64_t file_number, Index synced_index) noexcept {
        BATON_ASSERT(!empty());
        encode(GroupHeader{.file_number = file_number,
                           .first_index = first_index_,
                           .synced_index = synced_index,
                           .body_size = body_size_,
                           .records = records_,
                           .epoch = 0,
                           .salt = salt_},
               {buffer_.data(), group_header_size});
    }

    /// Adds header and records, in order; without the padding.
    void gather(std::vector<Bytes>& parts) const {
        const Bytes all = buffer_.bytes();
        std::size_t at = 0;
        for (const Reference& reference : references_) {
            parts.push_back(all.subspan(at, reference.behind - at));
            parts.push_back(reference.body.bytes());
            at = reference.behind;
        }
        parts.push_back(all.subspan(at));
    }

    /// Lets go of the bodies.
    void clear() noexcept {
        buffer_.clear();
        references_.clear();
        records_ = 0;
        body_size_ = 0;
    }

private:
    struct Reference {
        std::size_t behind = 0;  // So many bytes of the buffer come before it.
        Payload body;
    };

    std::uint64_t salt_;
    GroupBuffer buffer_;
    std::vector<Reference> references_;
    Index first_index_ = 0;
    std::uint32_t records_ = 0;
    std::uint64_t body_size_ = 0;
};

}  // namespace baton::storage
