#include "server/storage/wal_reader.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "server/storage/errc.hpp"

namespace baton::storage {

namespace {

struct LoadedFile {
    std::uint64_t number = 0;
    std::vector<std::byte> content;
};

/// A group whose header is right. Its records may not be.
struct FoundGroup {
    GroupHeader header;
    std::uint64_t position = 0;
    bool is_cut = false;  ///< The file ends inside it.
};

/// A record inside a group: where, and whether its checksum is right.
struct FoundRecord {
    RecordHeader header;
    std::uint64_t position = 0;
    bool is_sound = false;
};

std::string place(std::uint64_t file_number, std::uint64_t position) {
    return wal_file_name(file_number) + " at " + std::to_string(position);
}

std::string index_text(Index first, Index end) {
    return end - first == 1 ? "record " + std::to_string(first)
                            : "records " + std::to_string(first) + " to " + std::to_string(end - 1);
}

/// The next group of this file from `position` on. Looks at multiples of the alignment.
std::optional<FoundGroup> find_group(const LoadedFile& file, std::uint64_t position) {
    for (; position + group_header_size <= file.content.size(); position += wal_alignment) {
        FoundGroup group{.header{}, .position = position};
        const Bytes rest = Bytes{file.content}.subspan(static_cast<std::size_t>(position));
        if (decode(rest, group.header) == HeaderCheck::ok && group.header.file_number == file.number) {
            group.is_cut = group.header.body_size > rest.size() - group_header_size;
            return group;
        }
    }
    return std::nullopt;
}

class Reader {
public:
    Reader(FileSystem& files, const WalSource& source, WalVisitor& visitor)
        : files_{files}, source_{source}, visitor_{visitor} {}

    Result<WalReport> read();

private:
    [[nodiscard]] Result<void> list();
    [[nodiscard]] Result<LoadedFile> load(std::uint64_t number);
    [[nodiscard]] Result<bool> read_file(std::size_t at);
    [[nodiscard]] Result<bool> take_group(std::size_t at, const LoadedFile& file, const FoundGroup& group);
    [[nodiscard]] bool scan_records(const LoadedFile& file, const FoundGroup& group);
    void visit_records(const LoadedFile& file, const FoundGroup& group);
    void report(WalDamage damage);
    [[nodiscard]] Result<Index> synced_later(std::size_t at, const LoadedFile& file, std::uint64_t position, Index from);
    void cut(std::uint64_t file_number, std::uint64_t position, std::uint64_t bytes);

    FileSystem& files_;
    const WalSource& source_;
    WalVisitor& visitor_;
    WalReport report_;
    std::vector<std::uint64_t> numbers_;
    std::uint64_t bytes_total_ = 0;
    std::optional<Index> expected_;  // Of the next record; nothing until the first file has told.
    std::uint64_t gap_file_ = 0;     // Where the next group should have been, and was not.
    std::uint64_t gap_position_ = 0;
    std::vector<FoundRecord> records_;  // Of the group that is looked at.
};

Result<void> Reader::list() {
    const auto names = files_.list(source_.directory);
    if (!names) {
        return fail(names.error());
    }
    for (const auto& name : *names) {
        if (const auto number = wal_file_number(name); number && *number >= source_.first_file) {
            numbers_.push_back(*number);
        }
    }
    std::ranges::sort(numbers_);
    return {};
}

Result<LoadedFile> Reader::load(std::uint64_t number) {
    auto content = read_whole(files_, source_.directory + "/" + wal_file_name(number));
    if (!content) {
        return fail(content.error());
    }
    return LoadedFile{number, std::move(*content)};
}

Result<WalReport> Reader::read() {
    if (auto listed = list(); !listed) {
        return fail(listed.error());
    }
    if (!numbers_.empty() && numbers_.front() != source_.first_file) {
        gap_file_ = source_.first_file;
        if (source_.first_file == 1) {
            expected_ = 1;
        } else {
            // How much was in it nobody knows; that it was needed, the checkpoint does.
            report({.file_number = source_.first_file,
                    .position = 0,
                    .first_index = 0,
                    .end_index = UINT64_MAX,
                    .is_hole = true,
                    .text = source_.directory + "/" + wal_file_name(source_.first_file) + " is missing"});
        }
    }
    for (std::size_t at = 0; at < numbers_.size(); ++at) {
        const auto goes_on = read_file(at);
        if (!goes_on) {
            return fail(goes_on.error());
        }
        ++report_.files;
        visitor_.on_progress(at + 1, numbers_.size());
        if (!*goes_on) {
            break;
        }
    }
    return std::move(report_);
}

// False: the end of the log.
Result<bool> Reader::read_file(std::size_t at) {
    const auto file = load(numbers_[at]);
    if (!file) {
        return fail(file.error());
    }
    report_.bytes += file->content.size();
    WalFileHeader header;
    if (file->content.size() >= wal_file_header_size) {
        const auto check = decode(file->content, header);
        if (check == HeaderCheck::newer_version) {
            return fail(Errc::newer_version, source_.directory + "/" + wal_file_name(file->number));
        }
        if (check == HeaderCheck::ok && header.file_number == file->number && !expected_) {
            expected_ = header.first_index;
        }
    }
    std::uint64_t position = wal_alignment;
    gap_file_ = file->number;
    gap_position_ = position;
    while (const auto group = find_group(*file, position)) {
        if (expected_ && group->header.first_index < *expected_) {
            position = group->position + wal_alignment;  // Written again: it has been seen.
            continue;
        }
        const auto goes_on = take_group(at, *file, *group);
        if (!goes_on || !*goes_on) {
            return goes_on;
        }
        position = group->position + (group->is_cut ? wal_alignment : wal_aligned(group_header_size + group->header.body_size));
        gap_file_ = file->number;
        gap_position_ = position;
    }
    return true;
}

// A group that begins at or behind what is expected. False: it, and everything behind it, is a torn tail.
Result<bool> Reader::take_group(std::size_t at, const LoadedFile& file, const FoundGroup& group) {
    const Index first = group.header.first_index;
    if (expected_ && first > *expected_) {
        if (group.header.synced_index < *expected_) {
            cut(gap_file_, gap_position_, 0);
            return false;
        }
        report({.file_number = gap_file_,
                .position = gap_position_,
                .first_index = *expected_,
                .end_index = first,
                .is_hole = true,
                .text = source_.directory + "/" + place(gap_file_, gap_position_) + ": " + index_text(*expected_, first) +
                        " cannot be read"});
    }
    if (!scan_records(file, group)) {
        // Torn if nothing says that it was durable.
        const auto synced = synced_later(at, file, group.position + wal_alignment, group.header.end_index());
        if (!synced) {
            return fail(synced.error());
        }
        if (*synced < first) {
            cut(file.number, group.position, std::min<std::uint64_t>(group.header.body_size, file.content.size() - group.position));
            return false;
        }
    }
    visit_records(file, group);
    expected_ = group.header.end_index();
    return true;
}

// Finds the records of a group without visiting any. False if something is wrong with them.
bool Reader::scan_records(const LoadedFile& file, const FoundGroup& group) {
    records_.clear();
    bool is_sound = !group.is_cut;
    const std::uint64_t begin = group.position + group_header_size;
    const std::uint64_t end = std::min<std::uint64_t>(begin + group.header.body_size, file.content.size());
    std::uint64_t at = begin;
    while (records_.size() < group.header.records && end - at >= record_header_size) {
        const Bytes rest = Bytes{file.content}.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(end - at));
        FoundRecord record{.header = decode_record_header(rest), .position = at};
        if (record.header.body_size > rest.size() - record_header_size) {
            break;
        }
        const Bytes body = rest.subspan(record_header_size, record.header.body_size);
        record.is_sound = record_crc(record.header, body) == record.header.crc;
        is_sound = is_sound && record.is_sound;
        records_.push_back(record);
        at += record_header_size + body.size();
    }
    return is_sound && records_.size() == group.header.records && at == begin + group.header.body_size;
}

void Reader::visit_records(const LoadedFile& file, const FoundGroup& group) {
    Index index = group.header.first_index;
    // After a wrong record the sizes of those behind it can only be believed if one of them is right.
    std::size_t believable = records_.size();
    while (believable > 0 && !records_[believable - 1].is_sound) {
        --believable;
    }
    if (believable + 1 == records_.size() && records_.size() == group.header.records &&
        records_.back().position + record_header_size + records_.back().header.body_size ==
            group.position + group_header_size + group.header.body_size) {
        believable = records_.size();  // Only the last one is wrong, and it ends where it should.
    }
    for (std::size_t i = 0; i < believable; ++i, ++index) {
        const FoundRecord& record = records_[i];
        if (record.is_sound) {
            ++report_.records;
            report_.last_index = index;
            visitor_.on_record({.index = index,
                                .stream = record.header.stream,
                                .number = record.header.number,
                                .body = Bytes{file.content}.subspan(
                                    static_cast<std::size_t>(record.position) + record_header_size, record.header.body_size),
                                .file_number = file.number,
                                .position = record.position});
        } else {
            report({.file_number = file.number,
                    .position = record.position,
                    .first_index = index,
                    .end_index = index + 1,
                    .stream = record.header.stream,
                    .text = source_.directory + "/" + place(file.number, record.position) + ": record " +
                            std::to_string(index) + " has a wrong checksum"});
        }
    }
    if (index < group.header.end_index()) {
        const std::uint64_t position = believable < records_.size() ? records_[believable].position : group.position;
        report({.file_number = file.number,
                .position = position,
                .first_index = index,
                .end_index = group.header.end_index(),
                .is_hole = true,
                .text = source_.directory + "/" + place(file.number, position) + ": " +
                        index_text(index, group.header.end_index()) + " cannot be read"});
    }
}

// The highest index that a group behind this place knows to be synced; 0 if there is none that begins at or after `from`.
Result<Index> Reader::synced_later(std::size_t at, const LoadedFile& file, std::uint64_t position, Index from) {
    Index synced = 0;
    const auto look = [&](const LoadedFile& later, std::uint64_t start) {
        while (const auto group = find_group(later, start)) {
            if (group->header.first_index >= from) {
                synced = std::max(synced, group->header.synced_index);
            }
            start = group->position + wal_alignment;
        }
    };
    look(file, position);
    for (std::size_t next = at + 1; next < numbers_.size() && synced == 0; ++next) {
        const auto later = load(numbers_[next]);
        if (!later) {
            return fail(later.error());
        }
        look(*later, wal_alignment);
    }
    return synced;
}

void Reader::report(WalDamage damage) {
    visitor_.on_damage(damage);
    report_.damage.push_back(std::move(damage));
}

void Reader::cut(std::uint64_t file_number, std::uint64_t position, std::uint64_t bytes) {
    report_.torn_bytes += bytes;
    report_.torn_text = source_.directory + "/" + place(file_number, position) + ": " + std::to_string(bytes) +
                        " bytes of an unfinished group";
}

}  // namespace

Result<WalReport> read_wal(FileSystem& files, const WalSource& source, WalVisitor& visitor) {
    return Reader{files, source, visitor}.read();
}

}  // namespace baton::storage
