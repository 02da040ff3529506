#include "server/storage/wal_reader.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "server/storage/errc.hpp"
#include "server/storage/wal_scan.hpp"

namespace baton::storage {

namespace {

enum class Next : std::uint8_t { more, end };

/// So many wrong records behind each other are not believed to be records.
constexpr std::size_t wrong_records_max = 1000;

std::string index_text(Index first, Index end) {
    if (first == end) {
        return "no record";
    }
    return end - first == 1 ? "record " + std::to_string(first)
                            : "records " + std::to_string(first) + " to " + std::to_string(end - 1);
}

// One file is in memory at a time. `file_`, `position_` and `expected_` are where the next group should be and which it
// is.
class Reader {
public:
    Reader(const WalSource& source, WalVisitor& visitor, std::vector<WalFile> files)
        : source_{source}, visitor_{visitor}, files_{std::move(files)}, scan_{source, files_} {}

    [[nodiscard]] Result<WalReport> read();

private:
    [[nodiscard]] Result<void> begin();
    [[nodiscard]] Result<void> load(std::size_t file);
    [[nodiscard]] Result<Next> step();
    [[nodiscard]] Result<Next> look_further();
    [[nodiscard]] Result<Next> go_to(const WalSignpost& post);
    [[nodiscard]] Result<Next> visit_group(const GroupHeader& group);
    [[nodiscard]] Result<Next> pass_wrong_record(const GroupHeader& group, Bytes body, std::size_t& at, Index& index);
    [[nodiscard]] bool find_right_record(const GroupHeader& group, Bytes body, std::size_t at, Index index);
    [[nodiscard]] bool read_record(Bytes body, std::size_t at, Index index, RecordHeader& header) const;

    void prove(Index synced);
    [[nodiscard]] Result<bool> was_synced(Index index, std::size_t file, std::uint64_t position, Index first);
    void end_file();
    void end_log();
    void cut(std::uint64_t file_number, std::uint64_t position, std::uint64_t bytes);
    void tell(WalDamage damage);
    void tell_hole(Index first, Index end, std::uint64_t position);

    const WalSource& source_;
    WalVisitor& visitor_;
    std::vector<WalFile> files_;
    WalScan scan_;
    WalReport report_;
    std::uint64_t bytes_total_ = 0;
    std::uint64_t bytes_passed_ = 0;

    std::size_t file_ = 0;
    std::uint64_t position_ = 0;
    std::optional<Index> expected_;  // Nothing until the first file has told.
    std::vector<std::byte> content_;

    // Of a file whose header is wrong although there are groups in it. It counts as damage when the first of them turns
    // out to have been synced: the header was, then, too.
    struct Doubt {
        WalDamage damage;
        Index first_index = 0;
    };
    std::optional<Doubt> doubt_;
    bool has_header_ = true;
    Index proven_ = 0;  // Some header that is right says that everything up to here was synced.

    struct WrongRecord {
        std::size_t at = 0;
        StreamId stream{0};
    };
    std::vector<WrongRecord> wrong_records_;  // Of find_right_record,
    std::size_t wrong_size_ = 0;              // and their bytes.
};

// --- Damage and tails ---------------------------------------------------------------------------------------------

// What lost nothing is no matter for the visitor.
void Reader::tell(WalDamage damage) {
    damage.text = (file_ < files_.size() && files_[file_].number == damage.file_number
                       ? files_[file_].path
                       : source_.directory + "/" + wal_file_name(damage.file_number)) +
                  " at " + std::to_string(damage.position) + ": " + damage.text;
    if (damage.end_index > damage.first_index) {
        visitor_.on_damage(damage);
    }
    report_.damage.push_back(std::move(damage));
}

void Reader::tell_hole(Index first, Index end, std::uint64_t position) {
    tell({.file_number = files_[file_].number,
          .position = position,
          .first_index = first,
          .end_index = end,
          .is_hole = true,
          .stream = StreamId{0},
          .text = index_text(first, end) + " cannot be read"});
}

void Reader::cut(std::uint64_t file_number, std::uint64_t position, std::uint64_t bytes) {
    report_.torn_bytes += bytes;
    report_.torn_text = source_.directory + "/" + wal_file_name(file_number) + " at " + std::to_string(position) +
                        ": " + std::to_string(bytes) + " bytes of an unfinished group";
}

void Reader::prove(Index synced) {
    proven_ = std::max(proven_, synced);
    if (doubt_ && synced >= doubt_->first_index) {
        tell(std::move(doubt_->damage));
        doubt_.reset();
    }
}

// Whether everything up to `index` had been synced, as far as a header from this place on knows.
Result<bool> Reader::was_synced(Index index, std::size_t file, std::uint64_t position, Index first) {
    if (proven_ < index) {
        const auto post = scan_.find(file, position, first, index);
        if (!post) {
            return fail(post.error());
        }
        if (*post) {
            prove((*post)->synced_index);
        }
    }
    return proven_ >= index;
}

void Reader::end_file() {
    ++report_.files;
    bytes_passed_ += files_[file_].size;
    visitor_.on_progress(bytes_passed_, bytes_total_);
}

// Nothing follows. Zeros and what a recycled file held before are no tail.
void Reader::end_log() {
    if (position_ >= content_.size()) {
        return;
    }
    const Bytes rest = Bytes{content_}.subspan(static_cast<std::size_t>(position_));
    GroupHeader header;
    if (rest.size() < group_header_size) {
        if (std::ranges::any_of(rest, [](std::byte b) { return b != std::byte{0}; })) {
            cut(files_[file_].number, position_, rest.size());
        }
    } else if (decode(rest, header) == HeaderCheck::wrong && equal(rest.first(4), as_bytes("BGRP")) &&
               load_u64(rest.data() + 8) == files_[file_].number) {
        cut(files_[file_].number, position_, group_header_size);
    }
}

// --- From group to group ------------------------------------------------------------------------------------------

Result<WalReport> Reader::read() {
    if (auto begun = begin(); !begun) {
        return fail(std::move(begun.error()));
    }
    while (!files_.empty()) {
        const auto next = step();
        if (!next) {
            return fail(next.error());
        }
        if (*next == Next::end) {
            end_file();
            break;
        }
    }
    return std::move(report_);
}

Result<void> Reader::begin() {
    for (const WalFile& file : files_) {
        bytes_total_ += file.size;
    }
    const auto salt = WalScan::look_at_headers(source_, files_);
    if (!salt) {
        return fail(salt.error());
    }
    if (*salt) {
        scan_.pin_salt(**salt);
    }
    if (source_.first_file == 1) {
        expected_ = 1;
    } else if (files_.empty() || files_.front().number != source_.first_file) {
        // How much was in it nobody knows; that it was needed, the checkpoint does.
        auto next = scan_.find(0, 0, 1, 0);
        if (!next) {
            return fail(std::move(next.error()));
        }
        expected_ = *next ? (*next)->first_index : std::numeric_limits<Index>::max();
        tell({.file_number = source_.first_file,
              .position = 0,
              .first_index = 0,
              .end_index = *expected_,
              .is_hole = true,
              .stream = StreamId{0},
              .text = "the first file of the log is missing"});
    }
    return files_.empty() ? Result<void>{} : load(0);
}

Result<void> Reader::load(std::size_t file) {
    file_ = file;
    position_ = wal_alignment;
    content_.resize(static_cast<std::size_t>(files_[file].size));
    const auto size = files_[file].read(0, content_);
    if (!size) {
        return fail(size.error());
    }
    content_.resize(*size);
    report_.bytes += *size;
    const auto header = scan_.check_file_header(file, content_);
    if (!header) {
        return fail(header.error());
    }
    has_header_ = header->has_value();
    if (files_[file].is_foreign) {
        content_.clear();
        tell({.file_number = files_[file].number,
              .position = 0,
              .first_index = 0,
              .end_index = 0,
              .is_hole = true,
              .stream = StreamId{0},
              .text = "the file is one of another log"});
    }
    if (*header && !expected_) {
        expected_ = (*header)->first_index;
    }
    return {};
}

Result<Next> Reader::step() {
    GroupHeader group;
    if (position_ + group_header_size <= content_.size() &&
        decode(Bytes{content_}.subspan(static_cast<std::size_t>(position_)), group) == HeaderCheck::ok &&
        scan_.is_ours(group, file_) && (!expected_ || group.first_index == *expected_)) {
        return visit_group(group);
    }
    if (file_ + 1 < files_.size()) {
        const auto header = scan_.file_header(file_ + 1);
        if (!header) {
            return fail(header.error());
        }
        if (*header && expected_ == (*header)->first_index) {  // The usual end of a file.
            end_file();
            auto loaded = load(file_ + 1);
            return loaded ? Result<Next>{Next::more} : fail(std::move(loaded.error()));
        }
    }
    return look_further();
}

// The next group is not where it should be.
Result<Next> Reader::look_further() {
    const auto post = scan_.find(file_, position_, expected_.value_or(1), 0);
    if (!post) {
        return fail(post.error());
    }
    if (!*post) {
        // A file that was needed, and nothing in it is right; or the log does not end here, somebody has exchanged a
        // file.
        const bool is_exchanged = std::ranges::any_of(std::span{files_}.subspan(file_), &WalFile::is_foreign);
        if (!expected_ || is_exchanged) {
            tell_hole(expected_.value_or(0), std::numeric_limits<Index>::max(), expected_ ? position_ : 0);
        }
        end_log();
        return Next::end;
    }
    const WalSignpost& found = **post;
    if (expected_ && found.first_index > *expected_) {
        const auto is_damage =
            was_synced(*expected_, found.file, found.position == wal_alignment ? 0 : found.position, found.first_index);
        if (!is_damage) {
            return fail(is_damage.error());
        }
        if (!*is_damage) {
            cut(files_[found.file].number, found.position, found.group_size);
            return Next::end;
        }
    }
    return go_to(found);
}

// Over what cannot be read, if anything is missing.
Result<Next> Reader::go_to(const WalSignpost& post) {
    if (!expected_ || post.first_index > *expected_) {
        tell_hole(expected_.value_or(0), post.first_index, position_);
    } else if (post.position != wal_alignment) {
        tell({.file_number = files_[file_].number,
              .position = position_,
              .first_index = post.first_index,
              .end_index = post.first_index,
              .is_hole = true,
              .stream = StreamId{0},
              .text = "something else is where a group should be"});
    }
    expected_ = post.first_index;
    while (file_ < post.file) {
        end_file();
        if (file_ + 1 < post.file) {
            ++file_;
        } else if (auto loaded = load(post.file); !loaded) {
            return fail(std::move(loaded.error()));
        }
    }
    position_ = post.position;
    return Next::more;
}

// --- Within a group -----------------------------------------------------------------------------------------------

// The group whose header is right at position_. Records are visited as they prove to be right; only when one does not,
// it matters whether the group was synced.
Result<Next> Reader::visit_group(const GroupHeader& group) {
    scan_.pin_salt(group.salt);
    prove(group.synced_index);
    if (!has_header_) {
        doubt_ = Doubt{.damage = {.file_number = files_[file_].number,
                                  .position = 0,
                                  .first_index = group.first_index,
                                  .end_index = group.first_index,
                                  .is_hole = true,
                                  .stream = StreamId{0},
                                  .text = "the header of the file is wrong; its records are not"},
                       .first_index = group.first_index};
        has_header_ = true;
    }
    const Bytes rest = Bytes{content_}.subspan(static_cast<std::size_t>(position_) + group_header_size);
    const Bytes body = rest.first(static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), group.body_size)));
    std::size_t at = 0;
    Index index = group.first_index;
    while (index < group.end_index()) {
        RecordHeader header;
        if (!read_record(body, at, index, header)) {
            const auto next = pass_wrong_record(group, body, at, index);
            if (!next || *next == Next::end) {
                return next;
            }
            continue;
        }
        ++report_.records;
        report_.last_index = index;
        visitor_.on_record({.index = index,
                            .stream = header.stream,
                            .number = header.number,
                            .body = body.subspan(at + record_header_size, header.body_size),
                            .file_number = files_[file_].number,
                            .position = position_ + group_header_size + at});
        at += record_header_size + header.body_size;
        ++index;
    }
    expected_ = group.end_index();
    position_ += std::min(wal_aligned(group_header_size + group.body_size), wal_aligned(content_.size() - position_));
    return Next::more;
}

bool Reader::read_record(Bytes body, std::size_t at, Index index, RecordHeader& header) const {
    if (body.size() - at < record_header_size) {
        return false;
    }
    header = decode_record_header(body.subspan(at));
    return body.size() - at - record_header_size >= header.body_size &&
           record_crc(scan_.salt().value_or(0), index, header,
                      body.subspan(at + record_header_size, header.body_size)) == header.crc;
}

// The record at `at` is wrong: torn, or damaged if something says that it had been synced. Then moves to the next
// record that is right.
Result<Next> Reader::pass_wrong_record(const GroupHeader& group, Bytes body, std::size_t& at, Index& index) {
    const bool is_cut = body.size() < group.body_size;
    const std::uint64_t behind = position_ + wal_aligned(group_header_size + group.body_size);
    const auto is_damage = was_synced(index, is_cut ? file_ + 1 : file_, is_cut ? 0 : behind, group.end_index());
    if (!is_damage) {
        return fail(is_damage.error());
    }
    const std::uint64_t begin = position_ + group_header_size;
    if (!*is_damage) {
        cut(files_[file_].number, begin + at, body.size() - at);
        return Next::end;
    }
    if (!find_right_record(group, body, at, index)) {
        tell_hole(index, group.end_index(), begin + at);
        index = group.end_index();
        return Next::more;
    }
    for (const WrongRecord& wrong : wrong_records_) {
        tell({.file_number = files_[file_].number,
              .position = begin + wrong.at,
              .first_index = index,
              .end_index = index + 1,
              .is_hole = false,
              .stream = wrong.stream,
              .text = index_text(index, index + 1) + " has a wrong checksum"});
        ++index;
    }
    at += wrong_size_;
    return Next::more;
}

// The sizes of wrong records are believed only if they lead exactly to a right one, or if a single one leads exactly to
// the end of the group.
bool Reader::find_right_record(const GroupHeader& group, Bytes body, std::size_t at, Index index) {
    const std::size_t begin = at;
    wrong_records_.clear();
    RecordHeader header;
    while (index < group.end_index() && !read_record(body, at, index, header)) {
        if (wrong_records_.size() == wrong_records_max || body.size() - at < record_header_size ||
            header.body_size > body.size() - at - record_header_size) {
            return false;
        }
        wrong_records_.push_back({.at = at, .stream = header.stream});
        at += record_header_size + header.body_size;
        ++index;
    }
    wrong_size_ = at - begin;
    return index < group.end_index() || (wrong_records_.size() == 1 && at == group.body_size);
}

}  // namespace

Result<WalReport> read_wal(FileSystem& files, const WalSource& source, WalVisitor& visitor) {
    auto found = list_wal_files(files, source);
    if (!found) {
        return fail(std::move(found.error()));
    }
    return Reader{source, visitor, std::move(*found)}.read();
}

}  // namespace baton::storage
