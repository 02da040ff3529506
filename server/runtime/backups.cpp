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

std::string error_json(const Error& error) {
    const bool is_full = error.code == storage::Errc::no_space;
    return admin_error(is_full ? "disk_full" : "storage_failed", "the backup cannot be made: " + error.message(),
                       is_full);
}

/// Of a backup, in the order of its paths.
Json file_json(const std::pair<const std::string, std::uint64_t>& file) {
    return {{"path", file.first}, {"size", file.second}};
}

}  // namespace

bool Backups::is_request(std::string_view json) {
    return json.find("backup.") != std::string_view::npos && operation_of(json).starts_with("backup.");
}

// --- Requests
// ------------------------------------------------------------------------------------------------------------

void Backups::ask(ShardStore* store, SessionId session, std::uint64_t request_id, std::string_view json,
                  std::size_t reply_size_max) {
    const Question question{session, request_id, reply_size_max};
    const auto request = parse_object(json).value();
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
                                .not_taken = shard_count_,
                                .not_written = shard_count_,
                                .error{},
                                .generation = store.settings().generation,
                                .files{}});
    for (std::uint32_t shard = 0; shard < shard_count_; ++shard) {
        host_.send(shard, BackupSnapshotCommand{shard_, id});
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
    auto content = std::make_shared<Result<std::vector<std::byte>>>();
    store.submit_bulk({[content, file = storage::backup_directory(id) + "/" + path, offset,
                        count](storage::FileSystem& files) { *content = read_backup_file(files, file, offset, count); },
                       [this, content, question, is_more = offset + count < size] {
                           const auto json =
                               *content
                                   ? dump({{"ok", true}, {"body_base64", base64_encode(**content)}, {"more", is_more}})
                                   : error_json(content->error());
                           host_.reply(question.session, question.request, json);
                       }});
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

void Backups::on(ShardStore& store, const BackupSnapshotCommand& command) {
    store.hold_commits();
    auto part = std::make_shared<BackupPart>();
    part->generation = store.settings().generation;
    part->shard = shard_;
    for (const auto id : channels_.durable_channels()) {
        if (channels_.is_hidden(id)) {
            continue;
        }
        const auto& channel = *channels_.find_channel(id);
        const auto state = channel.state();
        std::vector<std::byte> settings;
        channel::encode(state.settings, settings);
        part->streams.push_back({.stream = channel.stream(),
                                 .state = encode(state),
                                 .settings = std::move(settings),
                                 .blocks = state.blocks,
                                 .batches = channel.logged_batches()});
    }
    if (const auto steps = channels_.steps_state(); !steps.empty()) {
        part->steps = encode(steps);
    }
    auto files_made = std::make_shared<Result<std::vector<BackupFile>>>();
    store.submit_bulk({[part, files_made, id = command.id](storage::FileSystem& files) {
                           *files_made = write_backup_part(files, storage::backup_directory(id), *part);
                       },
                       [this, files_made, command] {
                           host_.send(command.leader, BackupWrittenEvent{command.id, std::move(*files_made)});
                       }});
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
