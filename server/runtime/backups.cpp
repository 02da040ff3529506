#include "server/runtime/backups.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/base64.hpp"
#include "server/runtime/admin_json.hpp"
#include "server/runtime/channel_admin.hpp"
#include "server/storage/errc.hpp"

namespace baton::runtime {

using channel::SessionId;

namespace {

/// Of a picture, in one turn.
constexpr std::size_t channels_per_slice = 1024;
/// Records that are copied are written when there are so many, if no slice has done so before.
constexpr std::uint64_t record_bytes_max = 1ULL << 20;

std::string error_json(const Error& error) {
    const bool is_full = error.code == storage::Errc::no_space;
    return admin_error(is_full ? "disk_full" : "storage_failed", "the backup cannot be made: " + error.message(),
                       is_full);
}

/// Of a backup, in the order of its paths.
Json file_json(const std::pair<const std::string, std::uint64_t>& file) {
    return {{"path", file.first}, {"size", file.second}};
}

/// Without the library: it looks at each character of a text, and none of base64 has to be escaped.
std::string piece_json(Bytes content, bool is_more) {
    return std::string{R"({"ok":true,"more":)"} + (is_more ? "true" : "false") + R"(,"body_base64":")" +
           base64_encode(content) + "\"}";
}

}  // namespace

// --- Requests
// ------------------------------------------------------------------------------------------------------------

void Backups::ask(ShardStore* store, SessionId session, std::uint64_t request_id, const Json& request,
                  std::size_t reply_size_max) {
    const Question question{session, request_id, reply_size_max};
    const auto op = text_of(request, "op", "");
    try {
        if (store == nullptr) {
            throw Refusal{"unsupported", "the broker has no data directory, so there is nothing to back up", {}};
        }
        if (op == "backup.begin") {
            refuse_unknown_keys(request, {});
            if (store->condition() == commit::Condition::full) {
                throw Refusal{"disk_full", "the backup cannot be made: " + store->trouble(), {}};
            }
            return begin(*store, question);
        }
        const auto name = text_of(request, "id", "");
        const auto found = std::ranges::find_if(backups_, [&](const auto& entry) {
            const auto& [id, backup] = entry;
            return backup.session == session && backup.is_ready && storage::backup_directory(id) == name;
        });
        if (found == backups_.end()) {
            throw Refusal{"not_found", "this connection has no backup \"" + name + "\"; backup.begin makes one", {}};
        }
        if (op == "backup.list") {
            refuse_unknown_keys(request, {"id", "from"});
            return host_.reply(session, request_id,
                               list(found->second, number_of(request, "from", 0, UINT64_MAX, 0), reply_size_max));
        }
        if (op == "backup.read") {
            refuse_unknown_keys(request, {"id", "path", "offset"});
            const auto path = text_of(request, "path", "");
            const auto file = found->second.files.find(path);
            if (file == found->second.files.end()) {
                throw Refusal{"not_found", "there is no file \"" + path + "\" in the backup", {}};
            }
            return read(*store, question, found->first, path, number_of(request, "offset", 0, file->second, 0),
                        file->second);
        }
        if (op == "backup.end") {
            refuse_unknown_keys(request, {"id"});
            const auto id = found->first;
            backups_.erase(found);
            return remove(*store, id, session, request_id, dump({{"ok", true}}));
        }
        throw Refusal{"unsupported", "this broker does not know the operation \"" + op + "\"", {}};
    } catch (const Refusal& refusal) {
        host_.reply(session, request_id, refusal_json(refusal));
    }
}

void Backups::begin(ShardStore& store, const Question& question) {
    if (std::ranges::any_of(backups_, [&](const auto& entry) { return entry.second.session == question.session; })) {
        throw Refusal{"bad_request", "this connection has a backup already; end it first (backup.end)", {}};
    }
    // Unique as those of streams are.
    constexpr unsigned generation_shift = 32;
    constexpr unsigned shard_shift = 22;
    const std::uint64_t id = (store.settings().generation << generation_shift) |
                             (static_cast<std::uint64_t>(shard_) << shard_shift) | ++made_;
    backups_.emplace(id, Backup{.session = question.session,
                                .request = question.request,
                                .not_begun = shard_count_,
                                .not_taken = shard_count_,
                                .not_written = shard_count_,
                                .error{},
                                .generation = store.settings().generation,
                                .files{}});
    for (std::uint32_t shard = 0; shard < shard_count_; ++shard) {
        host_.send(shard, BackupBeginCommand{shard_, id});
    }
}

std::string Backups::list(const Backup& backup, std::uint64_t from, std::size_t reply_size_max) const {
    auto files = Json::array();
    std::size_t size = frame_of_reply;
    std::uint64_t next = 0;
    bool has_more = false;
    for (const auto& file : backup.files) {
        if (next >= from) {
            auto json = file_json(file);
            size += dump(json).size() + 1;
            if (size > reply_size_max) {
                has_more = true;
                break;
            }
            files.push_back(std::move(json));
        }
        ++next;
    }
    return dump({{"ok", true}, {"files", std::move(files)}, {"more", has_more}, {"next", next}});
}

void Backups::read(ShardStore& store, const Question& question, std::uint64_t id, const std::string& path,
                   std::uint64_t offset, std::uint64_t size) {
    const std::uint64_t room = (question.reply_size_max - frame_of_reply) / 4 * 3;
    const auto count = static_cast<std::size_t>(std::min(room, size - offset));
    auto json = std::make_shared<std::string>();
    store.submit_bulk({[json, file = storage::backup_directory(id) + "/" + path, offset, count,
                        is_more = offset + count < size](storage::FileSystem& files) {
                           const auto content = read_backup_file(files, file, offset, count);
                           *json = content ? piece_json(*content, is_more) : error_json(content.error());
                       },
                       [this, json, question] { host_.reply(question.session, question.request, *json); }});
}

void Backups::remove(ShardStore& store, std::uint64_t id, SessionId session, std::uint64_t request, std::string reply) {
    store.submit_bulk({[directory = storage::backup_directory(id)](storage::FileSystem& files) {
                           // What stays is removed at the next start.
                           static_cast<void>(storage::remove_tree(files, directory));
                       },
                       [this, session, request, reply = std::move(reply)] { host_.reply(session, request, reply); }});
}

void Backups::close_session(ShardStore* store, SessionId session) {
    for (auto entry = backups_.begin(); entry != backups_.end();) {
        auto& [id, backup] = *entry;
        if (backup.session != session) {
            ++entry;
        } else if (backup.is_ready) {
            remove(*store, id, session, 0, {});
            entry = backups_.erase(entry);
        } else {
            backup.is_abandoned = true;
            ++entry;
        }
    }
}

// --- One moment
// ------------------------------------------------------------------------------------------------------------

void Backups::on(ShardStore& store, const BackupBeginCommand& command) {
    const auto& settings = store.settings();
    pictures_.emplace(command.id, Picture{.leader = command.leader,
                                          .writer = std::make_shared<BackupWriter>(storage::backup_directory(command.id),
                                                                                   settings.generation, shard_),
                                          .slice{},
                                          .part{}});
    copied_ = &store;
    store.set_listener(this);
    picture_some(store, command.id);
}

// A slice a turn. In between the bulk thread writes what was taken, and whatever else is ready has its turn.
void Backups::picture_some(ShardStore& store, std::uint64_t id) {
    Picture& picture = pictures_.at(id);
    const bool is_all = take_some(store, picture, channels_per_slice, store.settings().entries_per_slice);
    hand_over(store, picture, [this, &store, id, is_all] {
        is_all ? host_.send(pictures_.at(id).leader, BackupBegunEvent{id}) : picture_some(store, id);
    });
}

// True: of all channels.
bool Backups::take_some(ShardStore& store, Picture& picture, std::size_t channels, std::uint64_t entries) {
    const auto ids = channels_.durable_channels(picture.visited, channels);
    for (const auto id : ids) {
        if (!take(store, picture, id, entries)) {
            return false;
        }
        picture.visited = id;
    }
    return ids.size() < channels;
}

// False: it is not done with, or the slice has no room for it. What is in the log only comes first: what moves to a block
// meanwhile is named by the state then, and what comes is copied.
bool Backups::take(ShardStore& store, Picture& picture, ChannelId id, std::uint64_t& entries) {
    if (entries == 0) {
        return false;
    }
    auto& channel = *channels_.find_channel(id);
    if (channel.has_notes()) {
        channel.write_notes();
    }
    if (picture.part && picture.part->id != id) {
        picture.part.reset();  // It was deleted meanwhile.
    }
    if (!picture.part) {
        picture.part.emplace(id, channel.begin_logged());
        --entries;
    }
    Picture::Part& part = *picture.part;
    if (!part.has_logged) {
        auto& logged = picture.slice.logged.emplace_back(channel.stream(), std::vector<channel::LoggedBatch>{});
        if (!channel::Channel::add_logged(part.logged, entries, logged.batches)) {
            return false;
        }
        part.has_logged = true;
        part.state = {channel.stream(), store.local_log().number_of(channel.stream()), channel.begin_state()};
    }
    channel.add_to_state(part.state.slices, entries);
    const auto& blocks = part.state.slices.result().blocks;
    picture.slice.blocks.emplace_back(
        channel.stream(), std::vector(blocks.begin() + static_cast<std::ptrdiff_t>(part.blocks), blocks.end()));
    part.blocks = blocks.size();
    if (!part.state.slices.is_over) {
        return false;
    }
    picture.slice.states.push_back(std::move(part.state));
    picture.part.reset();
    return true;
}

void Backups::hand_over(ShardStore& store, Picture& picture, std::function<void()> done) {
    picture.record_bytes = 0;
    store.submit_bulk({[writer = picture.writer, slice = std::exchange(picture.slice, {})](storage::FileSystem& files) mutable {
                           writer->add(files, std::move(slice));
                       },
                       std::move(done)});
}

void Backups::on_record(commit::StreamId stream, std::uint64_t number, Bytes head, const Payload& body) {
    for (auto& [id, picture] : pictures_) {
        picture.slice.records.emplace_back(stream, number, std::vector(head.begin(), head.end()), body);
        picture.record_bytes += head.size() + body.size();
        if (picture.record_bytes >= record_bytes_max) {
            hand_over(*copied_, picture, [] {});
        }
    }
}

void Backups::on(const BackupBegunEvent& event) {
    if (--backups_.at(event.id).not_begun > 0) {
        return;
    }
    for (std::uint32_t shard = 0; shard < shard_count_; ++shard) {
        host_.send(shard, BackupSnapshotCommand{shard_, event.id});
    }
}

// The records that were copied make what the slices say what the channels are now. Channels that came since are taken whole:
// of most of them there is nothing that is not in records, but one that was restored has blocks.
void Backups::on(ShardStore& store, const BackupSnapshotCommand& command) {
    Picture& picture = pictures_.at(command.id);
    const bool is_all = take_some(store, picture, SIZE_MAX, UINT64_MAX);
    BATON_ASSERT(is_all);
    channels_.write_notes();
    store.hold_commits();
    BackupEnd end{.left_out = channels_.hidden_streams(), .steps{}};
    if (const auto steps = channels_.steps_state(); !steps.empty()) {
        end.steps = encode(steps);
    }
    auto files_made = std::make_shared<Result<std::vector<BackupFile>>>();
    auto slice = std::exchange(picture.slice, {});
    store.submit_bulk({[writer = std::move(picture.writer), slice = std::move(slice), end = std::move(end),
                        files_made](storage::FileSystem& files) mutable {
                           writer->add(files, std::move(slice));
                           *files_made = writer->finish(files, end);
                           writer.reset();
                       },
                       [this, files_made, command] {
                           host_.send(command.leader, BackupWrittenEvent{command.id, std::move(*files_made)});
                       }});
    pictures_.erase(command.id);
    if (pictures_.empty()) {
        store.set_listener(nullptr);
    }
    host_.send(command.leader, BackupTakenEvent{command.id});
}

void Backups::on(ShardStore& store, const BackupReleaseCommand&) {
    store.release_commits();
}

void Backups::on(const BackupTakenEvent& event) {
    if (--backups_.at(event.id).not_taken > 0) {
        return;
    }
    for (std::uint32_t shard = 0; shard < shard_count_; ++shard) {
        host_.send(shard, BackupReleaseCommand{});
    }
}

void Backups::on(ShardStore& store, BackupWrittenEvent& event) {
    Backup& backup = backups_.at(event.id);
    if (!event.files) {
        backup.error = error_json(event.files.error());
    } else {
        for (auto& file : *event.files) {
            backup.files.emplace(std::move(file.path), file.size);
        }
    }
    if (--backup.not_written == 0) {
        finish(store, event.id, backup);
    }
}

void Backups::finish(ShardStore& store, std::uint64_t id, Backup& backup) {
    if (backup.is_abandoned || !backup.error.empty()) {
        return give_up(store, id);
    }
    auto made = std::make_shared<Result<BackupFile>>();
    const storage::Manifest manifest{.generation = backup.generation, .shards = shard_count_};
    store.submit_bulk({[made, id, manifest](storage::FileSystem& files) {
                           *made = write_backup_manifest(files, storage::backup_directory(id), manifest);
                       },
                       [this, &store, made, id] {
                           Backup& finished = backups_.at(id);
                           if (!*made) {
                               finished.error = error_json(made->error());
                           }
                           if (finished.is_abandoned || !finished.error.empty()) {
                               return give_up(store, id);
                           }
                           finished.files.emplace((*made)->path, (*made)->size);
                           finished.is_ready = true;
                           std::uint64_t bytes = 0;
                           for (const auto& [path, size] : finished.files) {
                               bytes += size;
                           }
                           host_.reply(finished.session, finished.request,
                                       dump({{"ok", true},
                                             {"id", storage::backup_directory(id)},
                                             {"files", finished.files.size()},
                                             {"bytes", bytes}}));
                       }});
}

void Backups::give_up(ShardStore& store, std::uint64_t id) {
    const auto backup = std::move(backups_.at(id));
    backups_.erase(id);
    remove(store, id, backup.session, backup.request, backup.error);
}

}  // namespace baton::runtime
