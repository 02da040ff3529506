#include "server/storage/pending_streams.hpp"

#include <algorithm>
#include <string_view>

#include "common/base/crc32c.hpp"
#include "server/storage/data_directory.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/numbered_name.hpp"
#include "server/storage/segment.hpp"

namespace baton::storage {

namespace {

constexpr std::string_view pending_name = "/PENDING";
constexpr std::string_view end_of_list = "end ";

std::string last_line(std::string_view lines) {
    return numbered_name(end_of_list, crc32c(as_bytes(lines)), crc_digits, hex_base) + "\n";
}

/// False: this is not such a file, or not all of it.
bool decode(std::string_view text, std::vector<StreamId>& streams) {
    const auto end = text.rfind(end_of_list);
    if (end == std::string_view::npos || text.substr(end) != last_line(text.substr(0, end))) {
        return false;
    }
    for (auto lines = text.substr(0, end); !lines.empty();) {
        const auto line = lines.substr(0, lines.find('\n'));
        const auto stream = stream_of_directory(line);
        if (!stream) {
            return false;
        }
        streams.push_back(*stream);
        lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    }
    return true;
}

}  // namespace

Result<void> store_pending(FileSystem& files, const std::string& directory, std::span<const StreamId> streams) {
    std::string text;
    for (const auto stream : streams) {
        const auto path = stream_directory(stream);
        text += path.substr(path.rfind('/') + 1) + "\n";
    }
    text += last_line(text);
    const Bytes parts[] = {as_bytes(text)};
    return write_atomically(files, directory + std::string{pending_name}, parts);
}

Result<void> remove_pending(FileSystem& files, const std::string& directory) {
    if (auto removed = files.remove(directory + std::string{pending_name}); !removed) {
        return removed;
    }
    return files.sync_directory(directory);
}

Result<PendingStreams> find_pending(FileSystem& files, std::uint64_t generation) {
    PendingStreams found;
    const auto names = files.list("");
    if (!names) {
        return fail(names.error());
    }
    for (const auto& name : *names) {
        if (generation_of_restore(name) != generation) {
            continue;
        }
        const auto path = name + std::string{pending_name};
        const auto content = read_whole(files, path);
        if (!content && content.error().code == Errc::not_found) {
            continue;
        }
        if (!content && content.error().code != Errc::damaged) {
            return fail(content.error());
        }
        if (!content || !decode(as_text(*content), found.streams)) {
            found.damage.push_back(path + ": damaged; channels of a restore that was not finished may be there");
        }
    }
    std::ranges::sort(found.streams);
    return found;
}

}  // namespace baton::storage
