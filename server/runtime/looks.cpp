#include "server/runtime/looks.hpp"

#include <algorithm>
#include <string>

namespace baton::runtime {

namespace {

/// What ends a request in the middle.
struct MissingBlock {
    storage::BlockRef ref;
};

}  // namespace

void Looks::start(const AdminCommand& command) {
    Look look{.command = command};
    if (const auto missing = run(look)) {
        waiting_.push_back(std::move(look));
        if (waiting_.size() == 1) {
            fetch(*missing);
        }
    }
}

Payload Looks::block(const storage::BlockRef& ref) const {
    const auto found = std::ranges::find(looking_->blocks, ref, &std::pair<storage::BlockRef, Payload>::first);
    if (found == looking_->blocks.end()) {
        throw MissingBlock{ref};
    }
    return found->second;
}

std::optional<storage::BlockRef> Looks::run(const Look& look) {
    const AdminCommand& command = look.command;
    looking_ = &look;
    std::optional<storage::BlockRef> missing;
    std::string json;
    try {
        json = run_admin(directory_, command.name, command.json, command.reply_size_max);
    } catch (const MissingBlock& block) {
        missing = block.ref;
    }
    looking_ = nullptr;
    if (!missing) {
        host_.answer_at_once(command.session, command.gathering, std::move(json));
    }
    return missing;
}

void Looks::fetch(const storage::BlockRef& ref) {
    host_.fetch_block(host_.id_of(waiting_.front().command.name), ref, [this, ref](Result<Payload> body) {
        waiting_.front().blocks.emplace_back(ref, body ? std::move(*body) : Payload{});
        while (!waiting_.empty()) {
            if (const auto missing = run(waiting_.front())) {
                return fetch(*missing);
            }
            waiting_.pop_front();
        }
    });
}

}  // namespace baton::runtime
