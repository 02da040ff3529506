// Any bytes as the files of a write-ahead log. Every record that is visited has the right checksum where it is said to
// be, indexes only grow, and damage is in order. Corpus: corpus/wal.
//
// If the input begins with a zero, the rest is file 1 as it is. Otherwise it is a list of steps that lay out files with
// right checksums in wrong places, since hardly any mutation of a whole log gets behind its checksums.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/base/assert.hpp"
#include "server/storage/wal_format.hpp"
#include "server/storage/wal_reader.hpp"
#include "tests/sim/disk.hpp"

namespace {

using namespace baton;
using namespace baton::storage;

constexpr std::size_t bytes_max = 1U << 20U;
constexpr std::uint64_t salt = 0x5a17;
const std::string directory = "wal";

using Files = std::map<std::uint64_t, std::vector<std::byte>>;

class Steps {
public:
    explicit Steps(Bytes input) : input_{input} {}

    Files lay_out() {
        begin_file(1, true);
        while (input_.remaining() > 0 && bytes_ < bytes_max) {
            step();
        }
        return std::move(files_);
    }

private:
    std::uint8_t take() {
        std::uint8_t value = 0;
        static_cast<void>(input_.read_u8(value));
        return value;
    }
    void step() {
        std::vector<std::byte>& file = files_[number_];
        const std::uint8_t kind = take();
        switch (kind % 8) {
            case 0:
                begin_file(number_ + take() % 3, (kind & 8) == 0);
                break;
            case 1:
            case 2:
                add_group(take(), take());
                break;
            case 3:  // Like the group header of somebody else, or anything.
                append(file, take(), take());
                break;
            case 4:
                if (!file.empty()) {
                    file[(take() * 256U + take()) % file.size()] ^= static_cast<std::byte>(take());
                }
                break;
            case 5:
                file.resize(std::min<std::size_t>(file.size(), take() * 64U));
                break;
            case 6:
                index_ = index_ + take() - 100;
                break;
            default: {  // A part of this file again, behind it.
                const std::size_t from = std::min<std::size_t>(file.size(), take() * 512U);
                const std::size_t size = std::min<std::size_t>(file.size() - from, take() * 512U);
                const std::vector<std::byte> part{file.begin() + static_cast<std::ptrdiff_t>(from),
                                                  file.begin() + static_cast<std::ptrdiff_t>(from + size)};
                file.insert(file.end(), part.begin(), part.end());
                bytes_ += size;
            }
        }
    }
    void begin_file(std::uint64_t number, bool is_right) {
        number_ = number;
        auto& file = files_[number_];
        file.assign(wal_alignment, std::byte{0});
        bytes_ += wal_alignment;
        encode(WalFileHeader{.generation = is_right ? 7U : 6U,
                             .shard = 2,
                             .file_number = number_,
                             .first_index = index_,
                             .salt = salt},
               file);
    }
    // Bits of `kind` make its header wrong in one respect each.
    void add_group(std::uint8_t kind, std::uint8_t records) {
        std::vector<std::byte>& file = files_[number_];
        file.resize(wal_aligned(file.size()));
        const std::size_t at = file.size();
        file.resize(at + group_header_size);
        const Index first = index_;
        for (std::uint8_t i = 0; i < records; ++i) {
            add_record(file, (kind & 1) != 0 && i == 0);
        }
        encode(GroupHeader{.file_number = number_ - ((kind & 2) != 0 ? 1 : 0),
                           .first_index = first,
                           .synced_index = (kind & 4) != 0 ? 0 : first - 1,
                           .body_size = file.size() - at - group_header_size +
                                        ((kind & 8) != 0 ? static_cast<std::uint64_t>(take()) << (take() % 64) : 0),
                           .records = records + ((kind & 16) != 0 ? take() * 65'536U : 0),
                           .epoch = 0,
                           .salt = salt + ((kind & 32) != 0 ? 1 : 0)},
               MutableBytes{file}.subspan(at));
        file.resize(wal_aligned(file.size()));
        bytes_ += file.size() - at;
    }
    void add_record(std::vector<std::byte>& file, bool is_wrong) {
        const std::size_t size = take();
        const std::size_t at = file.size();
        file.resize(at + record_header_size + size, static_cast<std::byte>(size));
        RecordHeader header{
            .body_size = static_cast<std::uint32_t>(size), .crc = 0, .stream = StreamId{index_ % 3}, .number = index_};
        header.crc = record_crc(salt, index_, header, Bytes{file}.subspan(at + record_header_size));
        if (is_wrong) {
            header.body_size += take();
        }
        encode(header, MutableBytes{file}.subspan(at));
        ++index_;
    }
    void append(std::vector<std::byte>& file, std::uint8_t count, std::uint8_t value) {
        file.resize(file.size() + count * 64U, static_cast<std::byte>(value));
        bytes_ += count * 64U;
    }

    ByteReader input_;
    Files files_;
    std::uint64_t number_ = 1;
    Index index_ = 1;
    std::size_t bytes_ = 0;
};

class Judge final : public WalVisitor {
public:
    explicit Judge(const Files& files) : files_{files} {
        for (const auto& [number, content] : files_) {
            for (std::size_t at = 0; at + group_header_size <= content.size(); at += wal_alignment) {
                WalFileHeader file;
                GroupHeader group;
                if (decode(Bytes{content}.subspan(at), file) == HeaderCheck::ok) {
                    salts_.insert(file.salt);
                }
                if (decode(Bytes{content}.subspan(at), group) == HeaderCheck::ok) {
                    salts_.insert(group.salt);
                }
            }
        }
    }

    void on_record(const WalRecord& record) override {
        BATON_ASSERT(record.index > last_);
        last_ = record.index;
        const Bytes file = files_.at(record.file_number);
        BATON_ASSERT(record.position + record_header_size + record.body.size() <= file.size());
        const Bytes at = file.subspan(record.position);
        const RecordHeader header = decode_record_header(at);
        BATON_ASSERT(header.stream == record.stream && header.number == record.number);
        BATON_ASSERT(header.body_size == record.body.size());
        BATON_ASSERT(equal(at.subspan(record_header_size, header.body_size), record.body));
        BATON_ASSERT(std::ranges::any_of(salts_, [&](std::uint64_t candidate) {
            return header.crc == record_crc(candidate, record.index, header, record.body);
        }));
    }
    void on_damage(const WalDamage& damage) override {
        BATON_ASSERT(damage.first_index > last_ || damage.first_index == 0);
        BATON_ASSERT(damage.end_index > damage.first_index && !damage.text.empty());
        last_ = damage.end_index - 1;
    }
    void on_progress(std::uint64_t done, std::uint64_t total) override {
        BATON_ASSERT(done > progress_ || done == 0 || files_.size() > 1);
        BATON_ASSERT(done <= total);
        progress_ = done;
    }

private:
    const Files& files_;
    std::set<std::uint64_t> salts_;  // If no file header is right, the first group that is found tells it.
    Index last_ = 0;
    std::uint64_t progress_ = 0;
};

void check(const Files& files, std::uint64_t first_file) {
    sim::SimDisk disk;
    BATON_ASSERT(disk.make_directory(directory).has_value());
    for (const auto& [number, content] : files) {
        const auto file = disk.open(directory + "/" + wal_file_name(number), OpenMode::create);
        const Bytes parts[] = {content};
        BATON_ASSERT(file && (*file)->write(0, parts));
    }
    Judge judge{files};
    const auto report =
        read_wal(disk, {.directory = directory, .generation = 7, .shard = 2, .first_file = first_file}, judge);
    BATON_ASSERT(report.has_value());  // A wrong version would need a right checksum.
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
    if (size > 0 && data[0] == 0) {
        check({{1, {bytes.begin() + 1, bytes.end()}}}, 1);
        return 0;
    }
    const Files files = Steps{bytes}.lay_out();
    check(files, 1);
    check(files, 2);
    return 0;
}
