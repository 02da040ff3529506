#include "server/runtime/restores.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/base64.hpp"
#include "common/base/text_form.hpp"
#include "server/runtime/admin_json.hpp"
#include "server/runtime/channel_admin.hpp"
#include "server/runtime/errc.hpp"
#include "server/runtime/placement.hpp"
#include "server/storage/data_directory.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/pending_streams.hpp"

namespace baton::runtime {

using channel::SessionId;
using Step = RestoreCommand::Step;

namespace {

constexpr std::size_t files_max = 1U << 20U;
/// Pieces of one restore that may be under way to the disk: a few keep it busy.
constexpr std::uint32_t writing_max = 16;
/// Names in an error; the number of the others is said.
constexpr std::size_t names_shown_bytes = 350;
/// What is installed in one turn (channel_restore.hpp). A channel is a few by itself.
constexpr std::uint64_t turn_units = 4000;
constexpr std::uint64_t channel_units = 8;

std::string error_json(const RestoreTrouble& trouble) {
    return refusal_json({trouble.code, trouble.text, {}});
}

RestoreTrouble trouble_of(const Error& error) {
    return {error.code == storage::Errc::no_space ? "disk_full" : "storage_failed",
            "the backup cannot be brought in: " + error.message()};
}

/// Empty if durable channels can be made.
RestoreTrouble trouble_of(const ShardStore& store) {
    if (store.condition() == commit::Condition::open) {
        return {};
    }
    return {store.condition() == commit::Condition::full ? "disk_full" : "storage_failed",
            "the backup cannot be brought in: " + store.trouble()};
}

std::string names_text(std::vector<std::string> names) {
    std::ranges::sort(names);
    std::string text;
    std::size_t shown = 0;
    for (; shown < names.size(); ++shown) {
        auto next = (shown > 0 ? ", \"" : "\"") + name_text(as_bytes(names[shown])) + "\"";
        if (shown > 0 && text.size() + next.size() > names_shown_bytes) {
            break;
        }
        text += next;
    }
    return shown < names.size() ? text + " and " + std::to_string(names.size() - shown) + " more" : text;
}

std::string name_of(const Json& value) {
    const auto name = value.is_string() ? name_from_text(value.get<std::string>()) : std::nullopt;
    if (!name) {
        throw Refusal{"bad_request", dump(value) + " is not the text form of a channel name", {}};
    }
    return *name;
}

RestoreWishes wishes_of(const Json& request) {
    RestoreWishes wishes;
    if (const auto only = request.find("only"); only != request.end()) {
        if (!only->is_array()) {
            throw Refusal{"bad_request", "only is " + dump(*only) + ", a list of names is needed", {}};
        }
        wishes.only.emplace();
        for (const auto& name : *only) {
            wishes.only->push_back(name_of(name));
        }
    }
    if (const auto as = request.find("as"); as != request.end()) {
        if (!as->is_object()) {
            throw Refusal{
                "bad_request", "as is " + dump(*as) + ", an object with a new name for each name is needed", {}};
        }
        for (const auto& [name, renamed] : as->items()) {
            wishes.renamed[name_of(name)] = name_of(renamed);
        }
    }
    return wishes;
}

const std::string& name_of(const RestoredChannel& channel) {
    return channel.image.settings().name;
}

}  // namespace

// --- Requests
// ------------------------------------------------------------------------------------------------------------

void Restores::ask(ShardStore* store, SessionId session, std::uint64_t request_id, const Json& request) {
    const auto op = text_of(request, "op", "");
    try {
        if (store == nullptr) {
            throw Refusal{"unsupported", "the broker has no data directory, so no backup can be brought in", {}};
        }
        if (op == "restore.begin") {
            refuse_unknown_keys(request, {});
            return begin(*store, session, request_id);
        }
        const auto name = text_of(request, "id", "");
        const auto found = std::ranges::find_if(restores_, [&](const auto& entry) {
            const auto& [id, restore] = entry;
            return restore.session == session && !restore.is_ended && storage::restore_directory(id) == name;
        });
        if (found == restores_.end()) {
            throw Refusal{"not_found", "this connection has no restore \"" + name + "\"; restore.begin makes one", {}};
        }
        if (op == "restore.write") {
            refuse_unknown_keys(request, {"id", "path", "offset", "body_base64"});
            auto bytes = base64_decode(text_of(request, "body_base64", ""));
            if (!bytes) {
                throw Refusal{"bad_request", "body_base64 is not base64", {}};
            }
            return write(*store, found, request_id, text_of(request, "path", ""),
                         number_of(request, "offset", 0, UINT64_MAX, 0), std::move(*bytes));
        }
        if (op == "restore.end") {
            refuse_unknown_keys(request, {"id", "only", "as"});
            const auto wishes = wishes_of(request);
            for (const auto& [old_name, renamed] : wishes.renamed) {
                if (renamed.empty() || renamed.size() > host_.channel_name_size_max()) {
                    throw Refusal{"bad_name",
                                  "a channel name has 1 to " + std::to_string(host_.channel_name_size_max()) +
                                      " bytes, this one has " + std::to_string(renamed.size()),
                                  {}};
                }
            }
            return end(*store, found, request_id, wishes);
        }
        if (op == "restore.abort") {
            refuse_unknown_keys(request, {"id"});
            found->second.is_ended = true;
            found->second.request = request_id;
            return remove(*store, found->first);
        }
        throw Refusal{"unsupported", "this broker does not know the operation \"" + op + "\"", {}};
    } catch (const Refusal& refusal) {
        host_.reply(session, request_id, refusal_json(refusal));
    }
}

void Restores::begin(ShardStore& store, SessionId session, std::uint64_t request) {
    if (std::ranges::any_of(restores_, [&](const auto& entry) { return entry.second.session == session; })) {
        throw Refusal{
            "bad_request", "this connection has a restore already; end it first (restore.end, restore.abort)", {}};
    }
    if (const auto trouble = trouble_of(store); !trouble.code.empty()) {
        throw Refusal{trouble.code, trouble.text, {}};
    }
    // Unique as those of streams are.
    constexpr unsigned generation_shift = 32;
    constexpr unsigned shard_shift = 22;
    const std::uint64_t id = (store.settings().generation << generation_shift) |
                             (static_cast<std::uint64_t>(shard_) << shard_shift) | ++made_;
    restores_[id].session = session;
    auto made = std::make_shared<Result<void>>();
    store.submit_bulk({[made, directory = storage::restore_directory(id)](storage::FileSystem& files) {
                           *made = storage::ensure_directory(files, directory);
                           *made = *made ? files.sync_directory("") : *made;
                       },
                       [this, made, id, session, request] {
                           if (!*made) {
                               restores_.erase(id);
                           }
                           host_.reply(session, request,
                                       *made ? dump({{"ok", true}, {"id", storage::restore_directory(id)}})
                                             : error_json(trouble_of(made->error())));
                       }});
}

void Restores::write(ShardStore& store, Entry entry, std::uint64_t request, const std::string& path,
                     std::uint64_t offset, std::vector<std::byte> bytes) {
    auto& [id, restore] = *entry;
    if (!storage::is_data_file(path)) {
        throw Refusal{"bad_request", "\"" + path + "\" is not the name of a file of a backup", {}};
    }
    const auto file = restore.files.find(path);
    const auto size = file == restore.files.end() ? 0 : file->second;
    if (offset != size || (offset == 0 && file != restore.files.end())) {
        throw Refusal{
            "bad_request",
            "offset is " + std::to_string(offset) + ", but " + path + " has " + std::to_string(size) + " bytes",
            {}};
    }
    if (restore.writing == writing_max || restore.files.size() == files_max) {
        throw Refusal{"bad_request",
                      "a restore has at most " + std::to_string(files_max) + " files, and at most " +
                          std::to_string(writing_max) + " writes without an answer",
                      {}};
    }
    if (auto trouble = trouble_of(store); !trouble.code.empty()) {
        restore.trouble = trouble;
        throw Refusal{trouble.code, trouble.text, {}};
    }
    restore.files[path] = offset + bytes.size();
    ++restore.writing;
    auto written = std::make_shared<Result<void>>();
    store.submit_bulk(
        {[written, target = storage::restore_directory(id) + "/" + path, offset, content = std::move(bytes)](
             storage::FileSystem& files) { *written = write_restore_piece(files, target, offset, content); },
         [this, written, id, session = restore.session, request] {
             if (const auto found = restores_.find(id); found != restores_.end()) {  // Else it was given up meanwhile.
                 --found->second.writing;
                 if (!*written && found->second.trouble.code.empty()) {
                     found->second.trouble = trouble_of(written->error());
                 }
             }
             host_.reply(session, request, *written ? dump({{"ok", true}}) : error_json(trouble_of(written->error())));
         }});
}

void Restores::close_session(ShardStore* store, SessionId session) {
    const auto found =
        std::ranges::find_if(restores_, [&](const auto& entry) { return entry.second.session == session; });
    if (found == restores_.end()) {
        return;
    }
    found->second.is_abandoned = true;
    if (!found->second.is_ended) {
        remove(*store, found->first);
    }
}

// --- The leader's steps
// ----------------------------------------------------------------------------------------------

void Restores::end(ShardStore& store, Entry entry, std::uint64_t request, const RestoreWishes& wishes) {
    auto& [id, restore] = *entry;
    restore.is_ended = true;
    restore.request = request;
    restore.copy = std::make_shared<RestoreCopy>(storage::restore_directory(id), store.settings().segment_size);
    auto trouble = std::make_shared<RestoreTrouble>();
    store.submit_bulk({[trouble, copy = restore.copy, wishes, &memory = store.memory()](storage::FileSystem& files) {
                           *trouble = copy->open(files, memory, wishes);
                       },
                       [this, &store, trouble, id] {
                           Restore& read = restores_.at(id);
                           if (!read.trouble.code.empty()) {
                               return fail_with(store, id, read.trouble);  // A piece could not be written.
                           }
                           trouble->code.empty() ? check(store, id) : fail_with(store, id, *trouble);
                       }});
}

bool Restores::is_given_up(ShardStore& store, std::uint64_t id) {
    if (!restores_.at(id).is_abandoned) {
        return false;
    }
    fail_with(store, id, {"not_found", "the connection has ended"});
    return true;
}

void Restores::check(ShardStore& store, std::uint64_t id) {
    Restore& restore = restores_.at(id);
    restore.plan = std::make_shared<RestorePlan>();
    restore.plan->names = restore.copy->names();
    std::vector<storage::StreamId> streams(restore.plan->names.size());
    std::ranges::generate(streams, [&] { return store.new_stream(); });
    restore.copy->set_streams(std::move(streams));
    if (!send_all(id, Step::check)) {
        copy_some(store, id);
    }
}

void Restores::copy_some(ShardStore& store, std::uint64_t id) {
    if (is_given_up(store, id)) {
        return;
    }
    Restore& restore = restores_.at(id);
    if (restore.copy->is_done()) {
        return list_streams(store, id);
    }
    if (auto trouble = trouble_of(store); !trouble.code.empty()) {
        return fail_with(store, id, std::move(trouble));
    }
    auto trouble = std::make_shared<RestoreTrouble>();
    store.submit_bulk({[trouble, copy = restore.copy](storage::FileSystem& files) { *trouble = copy->step(files); },
                       [this, &store, trouble, id] {
                           trouble->code.empty() ? copy_some(store, id) : fail_with(store, id, std::move(*trouble));
                       }});
}

void Restores::list_streams(ShardStore& store, std::uint64_t id) {
    Restore& restore = restores_.at(id);
    restore.plan = std::make_shared<RestorePlan>(restore.plan->names, restore.copy->take());
    auto stored = std::make_shared<Result<void>>();
    auto messages = std::make_shared<std::uint64_t>(0);
    store.submit_bulk(
        {[stored, messages, directory = storage::restore_directory(id), copy = restore.copy,
          plan = restore.plan](storage::FileSystem& files) {
             for (const auto& channel : plan->channels) {
                 *messages += channel.image.live_messages();
             }
             *stored = storage::store_pending(files, directory, copy->streams());
         },
         [this, &store, stored, messages, id] {
             if (!*stored) {
                 return fail_with(store, id, trouble_of(stored->error()));
             }
             restores_.at(id).messages = *messages;
             restores_.at(id).is_pending = true;
             install(store, id);
         }});
}

void Restores::install(ShardStore& store, std::uint64_t id) {
    if (!send_all(id, Step::install)) {
        let_them_count(store, id);
    }
}

void Restores::let_them_count(ShardStore& store, std::uint64_t id) {
    auto removed = std::make_shared<Result<void>>();
    store.submit_bulk({[removed, directory = storage::restore_directory(id)](storage::FileSystem& files) {
                           *removed = storage::remove_pending(files, directory);
                       },
                       [this, &store, removed, id] {
                           if (!*removed) {
                               // Whether they count is unknown; with their deletion it does not matter.
                               return fail_with(store, id, trouble_of(removed->error()));
                           }
                           restores_.at(id).is_pending = false;
                           if (!send_all(id, Step::reveal)) {
                               finish(store, id);
                           }
                       }});
}

void Restores::finish(ShardStore& store, std::uint64_t id) {
    Restore& restore = restores_.at(id);
    auto json = dump({{"ok", true}, {"channels", restore.plan->names.size()}, {"messages", restore.messages}});
    store.submit_bulk({[directory = storage::restore_directory(id), plan = std::move(restore.plan),
                        copy = std::move(restore.copy)](storage::FileSystem& files) mutable {
                           // What stays is removed at the next start.
                           static_cast<void>(storage::remove_tree(files, directory));
                           plan.reset();
                           copy.reset();
                       },
                       [this, session = restore.session, request = restore.request, json = std::move(json)] {
                           host_.reply(session, request, json);
                       }});
    restores_.erase(id);
}

void Restores::fail_with(ShardStore& store, std::uint64_t id, RestoreTrouble trouble) {
    Restore& restore = restores_.at(id);
    restore.trouble = std::move(trouble);
    if (!restore.is_pending) {
        return remove(store, id);
    }
    if (!send_all(id, Step::drop)) {
        restore.is_pending = false;
        remove(store, id);
    }
}

void Restores::remove(ShardStore& store, std::uint64_t id) {
    auto restore = std::move(restores_.at(id));
    restores_.erase(id);
    const auto json = restore.trouble.code.empty() ? dump({{"ok", true}}) : error_json(restore.trouble);
    auto streams = restore.copy ? restore.copy->streams() : std::vector<storage::StreamId>{};
    store.submit_bulk({[directory = storage::restore_directory(id), streams = std::move(streams),
                        plan = std::move(restore.plan), copy = std::move(restore.copy),
                        is_pending = restore.is_pending](storage::FileSystem& files) mutable {
                           // What stays is removed at the next start.
                           static_cast<void>(remove_restore(files, directory, streams, is_pending));
                           plan.reset();
                           copy.reset();
                       },
                       [this, session = restore.session, request = restore.request, is_ended = restore.is_ended, json] {
                           if (is_ended) {
                               host_.reply(session, request, json);
                           }
                       }});
}

// False: there is none. What this shard answers at once may be the last answer, so the restore may be gone behind it.
bool Restores::send_all(std::uint64_t id, Step step) {
    Restore& restore = restores_.at(id);
    std::vector<bool> has_some(shard_count_);
    for (const auto& name : restore.plan->names) {
        has_some[shard_of_channel(name, shard_count_)] = true;
    }
    restore.missing = static_cast<std::uint32_t>(std::ranges::count(has_some, true));
    const bool has_any = restore.missing > 0;
    const bool is_read = step == Step::check || step == Step::install;
    const RestoreCommand command{step, shard_, id, is_read ? restore.plan : nullptr};
    for (std::uint32_t shard = 0; shard < shard_count_; ++shard) {
        if (has_some[shard]) {
            host_.send(shard, command);
        }
    }
    return has_any;
}

void Restores::on(ShardStore& store, const RestoreAnswer& answer) {
    Restore& restore = restores_.at(answer.id);
    if (answer.step == Step::drop) {
        restore.has_leftovers = restore.has_leftovers || !answer.code.empty();
    } else if (!answer.code.empty() && restore.trouble.code.empty()) {
        restore.trouble = {answer.code, answer.text};
    }
    restore.taken.insert(restore.taken.end(), answer.taken.begin(), answer.taken.end());
    if (--restore.missing > 0) {
        return;
    }
    if (answer.step == Step::drop) {
        restore.is_pending = restore.has_leftovers;
        return remove(store, answer.id);
    }
    if (!restore.taken.empty()) {
        return fail_with(
            store, answer.id,
            {"incompatible_options", "nothing was restored, because the broker has these channels already: " +
                                         names_text(std::move(restore.taken))});
    }
    if (!restore.trouble.code.empty()) {
        return fail_with(store, answer.id, restore.trouble);
    }
    switch (answer.step) {
        case Step::check:
            return copy_some(store, answer.id);
        case Step::install:
            return let_them_count(store, answer.id);
        case Step::reveal:
            return finish(store, answer.id);
        case Step::drop:
            break;
    }
}

// --- Each shard's part
// -----------------------------------------------------------------------------------------------

bool Restores::is_mine(const std::string& name) const {
    return shard_of_channel(name, shard_count_) == shard_;
}

std::vector<std::string> Restores::taken_names(const RestorePlan& plan) const {
    std::vector<std::string> taken;
    std::ranges::copy_if(plan.names, std::back_inserter(taken),
                         [this](const std::string& name) { return is_mine(name) && host_.has_channel(name); });
    return taken;
}

void Restores::on(ShardStore& store, const RestoreCommand& command) {
    switch (command.step) {
        case Step::check:
            return host_.send(command.leader,
                              RestoreAnswer{command.step, command.id, {}, {}, taken_names(*command.plan)});
        case Step::install: {
            Part& part = parts_[command.id];
            part.command = command;
            auto taken = taken_names(*command.plan);
            return taken.empty() ? install_some(store, command.id) : answer(part, {}, std::move(taken));
        }
        case Step::reveal: {
            auto part = std::move(parts_.at(command.id));
            parts_.erase(command.id);
            std::ranges::for_each(part.made, [this](ChannelId id) { host_.reveal(id); });
            let_go(store, std::move(part.command.plan));
            return host_.send(command.leader, RestoreAnswer{command.step, command.id, {}, {}, {}});
        }
        case Step::drop:
            return drop(store, command);
    }
}

/// In steps, each in a turn of its own.
void Restores::install_some(ShardStore& store, std::uint64_t id) {
    if (!is_installing(id)) {
        return;
    }
    Part& part = parts_.at(id);
    if (auto trouble = trouble_of(store); !trouble.code.empty()) {
        return answer(part, std::move(trouble));
    }
    const auto& channels = part.command.plan->channels;
    for (std::uint64_t units = turn_units; part.next < channels.size() && units > 0;) {
        const auto& channel = channels[part.next];
        if (!is_mine(name_of(channel))) {
            ++part.next;
        } else if (const auto made = make_some(part, channel, units); !made) {
            const bool is_limit = made.error().code == Errc::too_many_channels;
            return answer(part, {is_limit ? "too_many_channels" : "channel_damaged",
                                 "the channel \"" + name_text(as_bytes(name_of(channel))) +
                                     "\" cannot be brought in: " + made.error().message()});
        } else if (!part.is_making) {
            ++part.next;
        }
    }
    if (part.next < channels.size()) {
        return store.submit_bulk({[](storage::FileSystem&) {}, [this, &store, id] { install_some(store, id); }});
    }
    store.checkpoint([this, &store, id] {
        if (!is_installing(id)) {
            return;
        }
        store.checkpoint([this, id] {
            if (is_installing(id)) {
                answer(parts_.at(id), {});
            }
        });
    });
}

Result<void> Restores::make_some(Part& part, const RestoredChannel& channel, std::uint64_t& units) {
    units -= std::min(units, channel_units);
    if (!part.is_making) {
        const auto begun = host_.begin_hidden(channel);
        if (!begun) {
            return fail(begun.error());
        }
        part.made.push_back(*begun);
        part.is_making = true;
    }
    const auto is_made = host_.make_hidden(part.made.back(), units);
    if (!is_made) {
        part.made.pop_back();
        part.is_making = false;
        return fail(is_made.error());
    }
    part.is_making = !*is_made;
    return {};
}

bool Restores::is_installing(std::uint64_t id) const {
    const auto part = parts_.find(id);
    return part != parts_.end() && part->second.command.step == Step::install && !part->second.is_answered;
}

void Restores::answer(Part& part, RestoreTrouble trouble, std::vector<std::string> taken) {
    part.is_answered = true;
    host_.send(part.command.leader, RestoreAnswer{part.command.step, part.command.id, std::move(trouble.code),
                                                  std::move(trouble.text), std::move(taken)});
}

void Restores::drop(ShardStore& store, const RestoreCommand& command) {
    Part& part = parts_.at(command.id);
    std::ranges::for_each(std::exchange(part.made, {}), [this](ChannelId id) { host_.drop_hidden(id); });
    let_go(store, std::exchange(part.command, command).plan);
    part.is_answered = part.is_making = false;
    part.dropped_at = store.log().submitted();
    store.flush();
    on_committed(store);
    on_condition(store);
}

/// There may be very much in it.
void Restores::let_go(ShardStore& store, std::shared_ptr<const RestorePlan> plan) {
    store.submit_bulk({[plan = std::move(plan)](storage::FileSystem&) mutable { plan.reset(); }, [] {}});
}

void Restores::on_committed(ShardStore& store) {
    end_drops(store.log().committed(), {});
}

void Restores::on_condition(ShardStore& store) {
    const auto trouble = trouble_of(store);
    if (trouble.code.empty()) {
        return;
    }
    end_drops(UINT64_MAX, trouble);  // Their deletion may never be durable: the list of streams stays.
    std::vector<std::uint64_t> installing;
    for (const auto& [id, part] : parts_) {
        if (is_installing(id)) {
            installing.push_back(id);
        }
    }
    for (const auto id : installing) {
        answer(parts_.at(id), trouble);
    }
}

void Restores::end_drops(commit::Index committed, const RestoreTrouble& trouble) {
    std::vector<Part> ended;
    for (auto entry = parts_.begin(); entry != parts_.end();) {
        auto& part = entry->second;
        if (part.command.step == Step::drop && part.dropped_at <= committed) {
            ended.push_back(std::move(part));
            entry = parts_.erase(entry);
        } else {
            ++entry;
        }
    }
    for (auto& part : ended) {
        answer(part, trouble);
    }
}

}  // namespace baton::runtime
