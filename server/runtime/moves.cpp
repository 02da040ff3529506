#include "server/runtime/moves.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <optional>
#include <utility>

#include "common/base/batch.hpp"
#include "common/base/counted.hpp"
#include "common/base/properties.hpp"
#include "common/base/text_form.hpp"
#include "server/channel/errc.hpp"
#include "server/runtime/errc.hpp"
#include "server/runtime/message_admin.hpp"
#include "server/runtime/shard_broker.hpp"
#include "server/storage/errc.hpp"

namespace baton::runtime {

namespace {

using channel::MessageState;
using channel::MoveStep;
using channel::Offset;
using channel::WaitReason;

constexpr std::uint16_t move_link = 1;
constexpr std::uint64_t piece_messages_max = 1'000;
constexpr std::uint64_t piece_bytes_max = 1024 * 1024;
constexpr Duration patience = std::chrono::seconds{30};

// --- What is sent ----------------------------------------------------------------------------------------------------------

void append_property(std::vector<std::byte>& block, PropertyId id, Bytes value) {
    const std::size_t at = block.size();
    block.resize(at + 3 + value.size());
    block[at] = static_cast<std::byte>(id);
    store_u16(block.data() + at + 1, static_cast<std::uint16_t>(value.size()));
    std::ranges::copy(value, block.begin() + static_cast<std::ptrdiff_t>(at) + 3);
}

void append_header(std::vector<std::byte>& block, std::string_view name, std::string_view text) {
    std::vector<std::byte> value(2 + name.size() + text.size());
    store_u16(value.data(), static_cast<std::uint16_t>(name.size()));
    std::ranges::copy(as_bytes(name), value.begin() + 2);
    std::ranges::copy(as_bytes(text), value.begin() + 2 + static_cast<std::ptrdiff_t>(name.size()));
    append_property(block, PropertyId::user_header, value);
}

bool is_header(Bytes value, std::string_view name) {
    return value.size() >= 2 + name.size() && load_u16(value.data()) == name.size() &&
           as_text(value.subspan(2, name.size())) == name;
}

/// A well-formed block without what has had its effect (a delay that is over), and with what would be lost otherwise: when a
/// delay ends, where a quarantined message comes from and why it is there.
std::vector<std::byte> moved_properties(Bytes block, const MoveStep::Part& part, const std::string& channel, Offset offset) {
    std::vector<std::byte> result;
    bool has_origin = false;
    bool has_time = false;
    bool had_delay = false;
    while (block.size() >= 3) {
        const auto id = static_cast<PropertyId>(block[0]);
        const std::size_t size = load_u16(block.data() + 1);
        const Bytes value = block.subspan(3, size);
        has_time = has_time || id == PropertyId::not_before_us;
        has_origin = has_origin || (id == PropertyId::user_header && is_header(value, "baton-origin"));
        if (id == PropertyId::delay_us) {
            had_delay = true;
        } else {
            append_property(result, id, value);
        }
        block = block.subspan(3 + size);
    }
    if (had_delay && !has_time && part.due.us > 0) {
        std::array<std::byte, 8> time{};
        store_u64(time.data(), static_cast<std::uint64_t>(part.due.us));
        append_property(result, PropertyId::not_before_us, time);
    }
    if (part.note && !has_origin) {
        const std::size_t size_before = result.size();
        append_header(result, "baton-origin", name_text(as_bytes(channel)) + "/" + std::to_string(offset));
        const bool has_text = !part.note->note.empty();
        append_header(result, "baton-reason",
                      std::string{reason_name(part.note->reason)} + (has_text ? ": " + part.note->note : std::string{}));
        if (result.size() > properties_size_max) {
            result.resize(size_before);
        }
    }
    return result;
}

// --- Why it stops ----------------------------------------------------------------------------------------------------------

struct Stop {
    std::string code;
    std::string text;
    bool is_retryable = false;
};

Stop stop_of(std::error_code reason, const std::string& to) {
    const std::string target = "channel \"" + to + "\": ";
    if (reason == channel::Errc::full) {
        return {"full", target + "it is full", true};
    }
    if (reason == channel::Errc::not_found) {
        return {"not_found", target + "it is a topic without subscriptions: nobody would get the messages", false};
    }
    if (reason == channel::Errc::too_large) {
        return {"message_too_large", target + "the next message is larger than it allows", false};
    }
    if (reason == channel::Errc::disk_full) {
        return {"disk_full", target + reason.message(), true};
    }
    if (reason == channel::Errc::storage_failed) {
        return {"storage_failed", target + reason.message(), false};
    }
    if (reason == channel::Errc::damaged) {
        return {"channel_damaged", target + reason.message(), false};
    }
    if (reason == channel::Errc::channel_deleted) {
        return {"channel_deleted", target + reason.message(), false};
    }
    if (reason == channel::Errc::draining || reason == Errc::draining) {
        return {"draining", reason.message(), true};
    }
    if (reason == Errc::too_many_channels) {
        return {"too_many_channels", target + reason.message(), false};
    }
    if (reason == Errc::no_storage) {
        return {"unsupported", target + reason.message(), false};
    }
    return {"internal", target + reason.message(), true};
}

}  // namespace

// --- One move ----------------------------------------------------------------------------------------------------------------

class Move final : public SessionEvents {
public:
    Move(Moves& moves, const AdminCommand& command) : moves_{moves}, asking_{command.session}, gathering_{command.gathering} {}

    /// Throws Refusal.
    void begin(const std::string& name, const Json& request);
    /// What has happened since, and the next piece. True: it is over.
    bool go_on();
    void tick();
    [[nodiscard]] bool is_due() const noexcept { return is_due_; }
    [[nodiscard]] channel::SessionId session() const noexcept { return session_; }
    void on_block_read(const storage::BlockRef& ref, const Result<Payload>& body);

    // SessionEvents: noted here, handled in `go_on`.
    void on_attached(std::uint16_t, const Attachment& attachment) override {
        target_ = attachment.channel;
        note();
    }
    void on_attach_failed(std::uint16_t, std::error_code reason) override {
        is_closed_ = true;
        stop(stop_of(reason, to_));
    }
    void on_confirmed(std::uint16_t, std::uint64_t sequence, channel::ConfirmLevel) noexcept override {
        confirmed_ = sequence;
        note();
    }
    void on_refused(std::uint16_t, std::uint64_t first, std::uint32_t count, std::error_code reason) noexcept override {
        refused_.push_back({first, first + count});
        stop(stop_of(reason, to_));
    }
    void on_sender_credit(std::uint16_t, channel::Credit limit) noexcept override {
        limit_ = limit;
        note();
    }
    void on_state(std::uint16_t, const LinkStateReport& state) noexcept override {
        blocked_ = state.reason;
        note();
    }
    void on_deliver(std::uint16_t, const channel::Slice&) noexcept override {}
    void on_settle_refused(std::uint16_t, const channel::SettleRange&, std::error_code) noexcept override {}
    void on_settled(std::uint16_t, std::uint64_t) noexcept override {}
    void on_closed(std::uint16_t, std::error_code reason) noexcept override {
        is_closed_ = true;
        if (!reason) {
            return;  // The answer to its own detach.
        }
        stop(stop_of(reason, to_));
    }
    void on_memory_granted(std::uint16_t) override {
        has_memory_ = true;
        note();
    }
    void on_admin_reply(std::uint64_t, const std::string&) override {}

private:
    struct Sequences {
        std::uint64_t first = 0;
        std::uint64_t end = 0;
    };
    /// A message as it is sent.
    struct Outgoing {
        Offset offset = 0;
        Bytes payload;
        Bytes properties;
        std::vector<std::byte> own_properties;  ///< Instead, if `is_changed`.
        bool is_changed = false;
        [[nodiscard]] Bytes block() const noexcept { return is_changed ? Bytes{own_properties} : properties; }
    };

    void note() {
        is_due_ = true;
        waits_since_ = now();
    }
    void stop(Stop why) {
        stop_ = stop_ ? stop_ : std::move(why);
        note();
    }
    [[nodiscard]] MonotonicTime now() const { return moves_.directory_.broker_state().clock.now(); }
    [[nodiscard]] channel::LinkAddress link() const noexcept { return {session_, move_link}; }
    [[nodiscard]] channel::Channel* source() const;
    [[nodiscard]] channel::Subscription* reader(channel::Channel& channel) const;
    void settle();
    void take_piece(channel::Channel& channel, channel::Subscription& reader);
    void read(const storage::BlockRef& ref);
    [[nodiscard]] std::vector<Outgoing> outgoing_of(const MoveStep& step) const;
    void send(std::vector<Outgoing> messages);
    void publish(const std::vector<Outgoing>& messages, std::size_t region_size, bool has_properties);
    [[nodiscard]] bool is_blocked_for_good() const noexcept;
    void end();

    Moves& moves_;
    const channel::SessionId asking_;
    const std::uint64_t gathering_;
    channel::SessionId session_{0};
    std::string name_;
    std::string to_;  ///< For people.
    std::string subscription_;
    ChannelId channel_{0};
    channel::ReaderId reader_ = channel::queue_reader;
    MessageSelection selection_;
    std::optional<MessageState> state_;
    Offset next_ = 0;        ///< All: to go on from; else so many of the selection are looked at.
    Offset until_ = 0;
    bool is_all_taken_ = false;

    std::optional<ChannelRef> target_;
    channel::Credit limit_;
    channel::Credit used_;
    WaitReason blocked_ = WaitReason::none;
    std::deque<Offset> under_way_;   ///< Published, not confirmed; the first one has this sequence:
    std::uint64_t next_confirm_ = 1;
    std::uint64_t confirmed_ = 0;
    std::vector<Sequences> refused_;
    std::uint64_t next_sequence_ = 1;
    std::vector<Outgoing> large_;    ///< A message that waits for memory.
    std::uint64_t large_size_ = 0;
    bool has_memory_ = false;
    std::uint64_t moved_ = 0;
    std::optional<Stop> stop_;
    bool is_closed_ = false;
    bool is_due_ = false;
    bool is_reading_ = false;    ///< A block, for the next piece.
    bool is_postponed_ = false;  ///< It could not be read for now.
    MonotonicTime waits_since_{};
};

channel::Channel* Move::source() const {
    const bool is_there = channel_ != ChannelId{0} && moves_.host_.id_of(name_) == channel_;
    return is_there ? moves_.directory_.find(name_) : nullptr;
}

channel::Subscription* Move::reader(channel::Channel& channel) const {
    auto* reader = channel.find_subscription(subscription_);
    return reader != nullptr && reader->id() == reader_ ? reader : nullptr;
}

void Move::begin(const std::string& name, const Json& request) {
    refuse_unknown_keys(request, {"to", "subscription", "state", "offsets", "all"});
    auto& channel = existing_channel(moves_.directory_, name);
    refuse_damaged(channel);
    selection_ = selection_of(request);
    state_ = state_of(request);
    if (state_ == MessageState::in_flight) {
        throw Refusal{"unsupported", "messages that a receiver holds cannot be moved; use ready, delayed or quarantined", {}};
    }
    auto& from = reader_of(channel, request);
    to_ = text_of(request, "to", "");
    const auto target = name_from_text(to_);
    if (!target) {
        throw Refusal{"bad_request", "\"to\" is not the text form of a channel name", {}};
    }
    const auto size_max = moves_.directory_.broker_state().limits.channel_name_size_max;
    if (target->empty() || target->size() > size_max) {
        throw Refusal{"bad_name",
                      "\"to\" needs the name of a channel, which has 1 to " + std::to_string(size_max) +
                          " bytes; this one has " + std::to_string(target->size()),
                      {}};
    }
    if (*target == name) {
        throw Refusal{"bad_request", "\"" + to_ + "\" cannot be moved to itself: name another channel", {}};
    }
    name_ = name;
    subscription_ = from.settings().name;
    reader_ = from.id();
    channel_ = moves_.host_.id_of(name);
    until_ = channel.visible_end();
    session_ = moves_.broker_.open_session(*this);
    waits_since_ = now();
    AttachRequest attach;
    attach.name = *target;
    attach.is_sender = true;
    attach.must_store = true;
    moves_.broker_.attach(link(), std::move(attach));
}

bool Move::go_on() {
    is_due_ = false;
    settle();
    auto* channel = source();
    auto* from = channel != nullptr ? reader(*channel) : nullptr;
    if (!stop_ && from == nullptr) {
        stop({"not_found", "it was deleted meanwhile", false});
    } else if (!stop_ && !channel->damage().empty()) {
        stop({"channel_damaged", "the channel's files are damaged: " + channel->damage(), false});
    }
    if (has_memory_ && stop_) {
        moves_.broker_.memory_taken(large_size_);
        has_memory_ = false;
    }
    if (stop_ && from != nullptr) {
        for (const Outgoing& message : std::exchange(large_, {})) {
            from->finish_move(message.offset, false);
        }
    }
    if (stop_ || (is_all_taken_ && under_way_.empty() && large_.empty())) {
        if (!under_way_.empty() && !is_closed_) {
            return false;  // What is confirmed is moved.
        }
        end();
        return true;
    }
    if (!large_.empty()) {
        if (std::exchange(has_memory_, false)) {
            const auto messages = std::exchange(large_, {});
            moves_.broker_.memory_taken(large_size_);
            publish(messages, large_size_, !messages.front().block().empty());
        }
        return false;
    }
    if (is_reading_) {
        return false;
    }
    if (target_ && under_way_.empty() && limit_.messages > used_.messages) {
        take_piece(*channel, *from);
    } else if (under_way_.empty() && is_blocked_for_good()) {
        stop(stop_of(blocked_ == WaitReason::full        ? channel::Errc::full
                     : blocked_ == WaitReason::disk_full ? channel::Errc::disk_full
                                                         : channel::Errc::draining,
                     to_));
    }
    return false;
}

bool Move::is_blocked_for_good() const noexcept {
    return blocked_ == WaitReason::full || blocked_ == WaitReason::disk_full || blocked_ == WaitReason::draining;
}

/// What was confirmed is forgotten; what was refused, and what will not be confirmed any more, is again what it was.
void Move::settle() {
    const bool gives_up = is_closed_ && !under_way_.empty();
    if (next_confirm_ > confirmed_ && !gives_up) {
        return;
    }
    auto* channel = source();
    auto* from = channel != nullptr ? reader(*channel) : nullptr;
    while (!under_way_.empty() && (next_confirm_ <= confirmed_ || gives_up)) {
        const bool is_refused = std::ranges::any_of(refused_, [&](const Sequences& range) {
            return range.first <= next_confirm_ && next_confirm_ < range.end;
        });
        const bool is_moved = next_confirm_ <= confirmed_ && !is_refused;
        moved_ += is_moved ? 1 : 0;
        if (from != nullptr) {
            from->finish_move(under_way_.front(), is_moved);
        }
        under_way_.pop_front();
        ++next_confirm_;
    }
    if (channel != nullptr) {
        channel->subscription_changed();
        moves_.directory_.touch(*channel);
    }
}

void Move::take_piece(channel::Channel& channel, channel::Subscription& from) {
    const channel::Credit credit{limit_.messages - used_.messages, limit_.bytes - used_.bytes};
    channel::MoveWish wish;
    wish.state = state_;
    wish.is_all = selection_.is_all;
    wish.from = next_;
    wish.until = until_;
    wish.messages_max = std::min(piece_messages_max, credit.messages);
    wish.bytes_max = std::min(piece_bytes_max, credit.bytes - std::min<std::uint64_t>(credit.bytes, batch_header_size));
    if (!selection_.is_all) {
        wish.offsets = std::span{selection_.offsets}.subspan(next_);
    }
    const MoveStep step = from.begin_move(wish);
    next_ = selection_.is_all ? step.next : next_ + step.next;
    is_all_taken_ = step.is_end;
    moves_.directory_.touch(channel);
    if (step.parts.empty()) {
        return step.wanted ? read(*step.wanted) : note();
    }
    send(outgoing_of(step));
}

void Move::read(const storage::BlockRef& ref) {
    is_reading_ = true;
    moves_.host_.fetch_block(channel_, ref, [&moves = moves_, session = session_, ref](const Result<Payload>& body) {
        moves.on_block_read(session, ref, body);
    });
}

void Move::on_block_read(const storage::BlockRef& ref, const Result<Payload>& body) {
    is_reading_ = false;
    is_postponed_ = !body && body.error().code == storage::Errc::no_space;  // No descriptor is left.
    auto* channel = source();
    if (channel != nullptr && !is_postponed_) {
        channel->on_block_read(ref, body.value_or(Payload{}));
        moves_.directory_.touch(*channel);
    }
    is_postponed_ ? void() : note();
}

std::vector<Move::Outgoing> Move::outgoing_of(const MoveStep& step) const {
    std::vector<Outgoing> messages;
    messages.reserve(step.messages);
    for (const auto& part : step.parts) {
        MessageCursor cursor{part.run.region(), (part.run.batch->flags & batch_has_properties) != 0};
        MessageView view;
        for (Offset offset = part.run.first; cursor.next(view); ++offset) {
            auto& message = messages.emplace_back();
            message.offset = offset;
            message.payload = view.payload;
            message.properties = view.properties;
            if (part.note || find_property(view.properties, PropertyId::delay_us)) {
                message.own_properties = moved_properties(view.properties, part, name_, offset);
                message.is_changed = true;
            }
        }
    }
    return messages;
}

/// As many as there is credit for; the others are taken again with the next piece.
void Move::send(std::vector<Outgoing> messages) {
    const bool has_properties =
        std::ranges::any_of(messages, [](const Outgoing& message) { return !message.block().empty(); });
    const std::uint64_t credit = limit_.bytes - used_.bytes;
    std::size_t size = 0;
    std::size_t count = 0;
    for (; count < messages.size(); ++count) {
        const auto& message = messages[count];
        const std::size_t more = (has_properties ? 6 : 4) + message.block().size() + message.payload.size();
        if (count > 0 && batch_header_size + size + more > credit) {
            break;
        }
        size += more;
    }
    if (count < messages.size()) {
        auto& from = *reader(*source());
        for (std::size_t i = count; i < messages.size(); ++i) {
            from.finish_move(messages[i].offset, false);
        }
        const Offset first = messages[count].offset;
        next_ = selection_.is_all ? first
                                  : static_cast<Offset>(std::ranges::find(selection_.offsets, first) - selection_.offsets.begin());
        is_all_taken_ = false;
        messages.resize(count);
    }
    if (count > 1 || batch_header_size + size <= piece_bytes_max) {
        return publish(messages, size, has_properties);
    }
    large_ = std::move(messages);
    large_size_ = size;
    if (!moves_.broker_.request_memory(link(), size)) {
        stop({"full", "message " + std::to_string(large_.front().offset) + " needs " + std::to_string(size) +
                          " bytes of memory, more than half of limits.memory_max", false});
    }
}

void Move::publish(const std::vector<Outgoing>& messages, std::size_t region_size, bool has_properties) {
    if (!moves_.pool_) {
        moves_.pool_ = std::make_unique<ChunkPool>(piece_bytes_max, 1, &moves_.broker_.shared().memory);
        moves_.pool_->free_in_steps();
    }
    const std::size_t size = batch_header_size + region_size;
    const auto chunk = moves_.pool_->allocate(size);
    std::byte* at = chunk.bytes();
    encode({.count = static_cast<std::uint32_t>(messages.size()),
            .flags = has_properties ? batch_has_properties : std::uint16_t{0},
            .messages_size = static_cast<std::uint32_t>(region_size)},
           MutableBytes{at, batch_header_size});
    at += batch_header_size;
    const auto put = [&at](Bytes bytes) {
        std::ranges::copy(bytes, at);
        at += bytes.size();
    };
    for (const auto& message : messages) {
        const Bytes block = message.block();
        const std::size_t length = (has_properties ? 2 + block.size() : 0) + message.payload.size();
        store_u32(at, static_cast<std::uint32_t>(length));
        at += 4;
        if (has_properties) {
            store_u16(at, static_cast<std::uint16_t>(block.size()));
            at += 2;
            put(block);
        }
        put(message.payload);
        under_way_.push_back(message.offset);
    }
    const bool is_assembled = size > limit_.bytes - used_.bytes;
    used_ = {used_.messages + messages.size(), used_.bytes + (is_assembled ? 0 : size)};
    const auto sequence = std::exchange(next_sequence_, next_sequence_ + messages.size());
    moves_.broker_.publish(link(), *target_, sequence, Payload{chunk, 0, size}, is_assembled);
}

/// Only what waits for others can wait too long. What was published is decided, however long the disk takes.
void Move::tick() {
    if (std::exchange(is_postponed_, false)) {
        note();
    }
    if (!is_due_ && !is_reading_ && !stop_ && under_way_.empty() && now() - waits_since_ > patience) {
        moves_.broker_.cancel_memory(link());
        const char* why = !target_                             ? "the other channel is not there yet: it is being restored"
                          : blocked_ == WaitReason::committing ? "the broker's disk does not keep up"
                                                               : "the broker's memory limit is reached";
        stop({"full", why, true});
    }
}

void Move::end() {
    if (auto* channel = source()) {
        channel->subscription_changed();
        moves_.directory_.touch(*channel);
    }
    if (!is_closed_ && target_) {
        moves_.broker_.detach(link(), *target_);
    }
    moves_.broker_.close_session(session_);
    Json json{{"ok", !stop_}, {"messages", moved_}};
    if (stop_) {
        json["error"] = {{"code", stop_->code},
                         {"text", counted(moved_, "message") + (moved_ == 1 ? " was" : " were") +
                                      " moved, and then: " + stop_->text},
                         {"retryable", stop_->is_retryable}};
    }
    moves_.host_.answer_command(asking_, gathering_, name_, dump(json));
}

// --- All of a shard ----------------------------------------------------------------------------------------------------------

Moves::Moves(ShardBroker& broker, ChannelDirectory& directory, CommandHost& host) noexcept
    : broker_{broker}, directory_{directory}, host_{host} {}

Moves::~Moves() = default;

void Moves::start(const AdminCommand& command) {
    auto move = std::make_unique<Move>(*this, command);
    try {
        move->begin(command.name, *parse_object(command.json));
    } catch (const Refusal& refusal) {
        return host_.answer_command(command.session, command.gathering, command.name, refusal_json(refusal));
    }
    moves_.push_back(std::move(move));
}

bool Moves::go_on() {
    bool worked = false;
    if (pool_) {
        static_cast<void>(pool_->free_some(piece_bytes_max));  // The next turn goes on, or the next clock pulse.
    }
    for (std::size_t i = 0; i < moves_.size();) {
        const bool is_over = moves_[i]->is_due() && moves_[i]->go_on();
        worked = worked || is_over || moves_[i]->is_due();
        if (is_over) {
            moves_.erase(moves_.begin() + static_cast<std::ptrdiff_t>(i));
        } else {
            ++i;
        }
    }
    return worked;
}

void Moves::on_block_read(channel::SessionId session, const storage::BlockRef& ref, const Result<Payload>& body) {
    const auto found = std::ranges::find(moves_, session, [](const auto& move) { return move->session(); });
    if (found != moves_.end()) {
        (*found)->on_block_read(ref, body);
    }
}

bool Moves::has_more() const noexcept {
    return std::ranges::any_of(moves_, [](const auto& move) { return move->is_due(); });
}

void Moves::tick() {
    for (const auto& move : moves_) {
        move->tick();
    }
}

}  // namespace baton::runtime
