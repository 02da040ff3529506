// The broker as one shard sees it, without I/O: its channels, the sessions that live here, and the way to the other
// shards. A session calls it directly; if the channel lives here the call goes straight on, else one envelope is added to
// the batch for that shard. The same class runs inside the simulation.
// Not responsible for rules (server/channel), bytes (server/session) or threads (shard.hpp).
// Thread: the shard's. Next files: envelope.hpp, channel_admin.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/channel/channel.hpp"
#include "server/channel/channel_events.hpp"
#include "server/channel/channel_restore.hpp"
#include "server/runtime/backups.hpp"
#include "server/runtime/broker_state.hpp"
#include "server/runtime/channel_admin.hpp"
#include "server/runtime/envelope.hpp"
#include "server/runtime/looks.hpp"
#include "server/runtime/moves.hpp"
#include "server/runtime/restores.hpp"
#include "server/runtime/session_events.hpp"
#include "server/runtime/shard_store.hpp"
#include "server/runtime/steps.hpp"
#include "server/runtime/surveys.hpp"
#include "server/runtime/sweeps.hpp"
#include "server/runtime/turn_clock.hpp"

namespace baton::runtime {

class ShardBroker final : public channel::ChannelEvents,
                          private ChannelDirectory,
                          private DurableChannels,
                          private RestoreHost,
                          private CommandHost,
                          private StepHost {
public:
    /// `state` and `mailboxes` outlive the broker.
    ShardBroker(std::uint32_t shard, BrokerState& state, MailboxPort& mailboxes);
    ~ShardBroker() override;

    /// Durable channels can be made from now on. Before anything is served.
    void open_store(const StorePorts& ports, const ShardStoreSettings& settings);
    [[nodiscard]] ShardStore* store() noexcept { return store_.get(); }
    [[nodiscard]] const ShardStore* store() const noexcept { return store_.get(); }
    /// Makes a channel of its image. False: it is damaged, and there to say so.
    bool install_channel(const channel::ChannelImage& image);

    // --- Sessions of this shard ------------------------------------------------------------------------------------

    /// Registers a session; `events` stays valid until close_session.
    [[nodiscard]] channel::SessionId open_session(SessionEvents& events);
    /// Forgets the session. It has detached its links before; events that are still under way are dropped.
    void close_session(channel::SessionId session);

    // --- What sessions ask (any channel, wherever it lives) ---------------------------------------------------------

    void attach(channel::LinkAddress link, AttachRequest request);
    void detach(channel::LinkAddress link, ChannelRef channel);
    void publish(channel::LinkAddress link, ChannelRef channel, std::uint64_t sequence, Payload batch,
                 bool is_assembled);
    void settle(channel::LinkAddress link, ChannelRef channel, std::span<const channel::SettleRange> ranges,
                std::uint64_t receipt, std::string_view note = {});
    void set_credit(channel::LinkAddress link, ChannelRef channel, channel::Credit limit);
    void set_slow(channel::LinkAddress link, ChannelRef channel, bool is_slow);
    void query(channel::LinkAddress link, ChannelRef channel);
    /// Sets `size` bytes aside for a large message: `on_memory_granted` follows, at once or when there is room, in the
    /// order of the requests. The session then allocates and calls `memory_taken`.
    /// False: they can never fit. `channel`: what shows that its sender waits, if it does.
    [[nodiscard]] bool request_memory(channel::LinkAddress link, std::uint64_t size, std::optional<ChannelRef> channel = {});
    /// Gives the reservation back: the memory has been allocated (and is charged as such), or is no longer wanted.
    void memory_taken(std::uint64_t size);
    void cancel_memory(channel::LinkAddress link);
    /// `on_admin_reply` follows exactly once while the session lives, with at most `reply_size_max` bytes (which are at
    /// least 60,000).
    void admin(channel::SessionId session, std::uint64_t request, std::string_view name, std::string_view json,
               std::size_t reply_size_max = admin_reply_size_max);

    /// `on_step` follows exactly once while the session lives. The request's session is one of this shard.
    void step(std::shared_ptr<const StepRequest> request);

    // --- What the shard does -----------------------------------------------------------------------------------------

    /// Takes a batch from another shard.
    void receive(EnvelopeBatch batch);
    /// Dispatches the channels that need it, at most so many slices, and sends off what is for other shards. True if anything was
    /// done.
    bool end_turn(std::uint32_t slices_max = channel::StepBudget::slices_max);
    /// Clock pulse.
    void tick();
    /// New messages are refused and nothing more is dispatched from now on.
    void begin_drain();

    /// Channels have more to do than one turn shall take.
    [[nodiscard]] bool has_more() const noexcept {
        const bool has_ends = !dying_.empty() || !detaches_.empty();  // Each turn takes some of them apart.
        return has_ends || !dirty_.empty() || moves_.has_more() || sweeps_.has_more() || surveys_.has_more();
    }
    /// The last end_turn() has done as much as one step may do: others get their turn before the rest.
    [[nodiscard]] bool is_step_spent() const noexcept { return is_step_spent_; }
    [[nodiscard]] std::uint32_t shard() const noexcept { return shard_; }
    [[nodiscard]] BrokerState& shared() noexcept { return state_; }
    [[nodiscard]] std::uint64_t in_flight() const;  ///< Messages that receivers of this shard's channels hold.
    [[nodiscard]] std::size_t session_count() const noexcept { return sessions_.size(); }

    // --- ChannelEvents: answers of this shard's channels ----------------------------------------------------------------

    void confirmed(const channel::LinkAddress& sender, std::uint64_t sequence,
                   channel::ConfirmLevel level) noexcept override;
    void refused(const channel::LinkAddress& sender, std::uint64_t first, std::uint32_t count,
                 std::error_code reason) noexcept override;
    void sender_credit(const channel::LinkAddress& sender, channel::Credit limit) noexcept override;
    void state(const channel::LinkAddress& link, const channel::LinkState& state) noexcept override;
    void deliver(const channel::LinkAddress& receiver, const channel::Slice& slice) noexcept override;
    void settle_refused(const channel::LinkAddress& receiver, const channel::SettleRange& range,
                        std::error_code reason) noexcept override;
    void settled(const channel::LinkAddress& receiver, std::uint64_t receipt) noexcept override;
    void closed(const channel::LinkAddress& link, std::error_code reason) noexcept override;

private:
    struct Slot {
        ChannelId id{0};
        std::unique_ptr<channel::Channel> channel;
        commit::Index last_change = 0;  ///< Its creation, or what administration changed since.
        bool is_dirty = false;
        bool is_committing = false;  ///< In the list of those that wait for the commit log.
        bool is_linked = false;      ///< In the list of those that have links,
        bool is_pulsed = false;      ///< and in that of those that soon have something to do with time.
    };
    /// A channel that is being made of a backup: nobody sees it before it is whole.
    struct Making {
        Making(std::unique_ptr<Slot> made, const channel::ChannelImage& image, channel::BlockReader read)
            : slot{std::move(made)}, restore{*slot->channel, image, std::move(read)} {}
        std::unique_ptr<Slot> slot;
        channel::ChannelRestore restore;
    };
    /// A channel that is being restored, and what was asked of its name meanwhile, in order.
    struct Hidden {
        ChannelId id{0};
        std::vector<Envelope> waiting;
    };
    struct MemoryRequest {
        channel::LinkAddress link;
        std::uint64_t size = 0;
        std::optional<ChannelRef> channel;
        bool is_shown = false;  ///< There it says that its sender waits.
    };
    /// Answers to an administrative request that asks every shard are collected here.
    struct Gathering {
        std::uint64_t id = 0;
        channel::SessionId session{0};
        std::uint64_t request = 0;
        std::size_t reply_size_max = 0;
        std::string json;  ///< Of the request, if it goes to every shard.
        std::uint32_t missing = 0;
        std::vector<std::string> parts;
    };

    // ChannelDirectory, for administration.
    [[nodiscard]] channel::Channel* find(std::string_view name) override;
    [[nodiscard]] Result<channel::Channel*> create(std::string_view name,
                                                   const channel::ChannelOptions& options) override;
    [[nodiscard]] Payload read_block(channel::Channel& channel, const storage::BlockRef& ref) override;
    void erase(std::string_view name) override;
    void reconfigure(channel::Channel& channel, const channel::ChannelOptions& options) override;
    void touch(channel::Channel& channel) override;
    void visit(std::string_view after, const Visit& visit) override;
    [[nodiscard]] const BrokerState& broker_state() const override { return state_; }
    [[nodiscard]] const ShardStore* storage() const override { return store_.get(); }

    // DurableChannels, for the store.
    [[nodiscard]] std::vector<ChannelId> durable_channels(ChannelId after, std::size_t count) const override;
    [[nodiscard]] channel::Channel* find_channel(ChannelId id) override;
    void touch_channel(ChannelId id) override;
    void on_committed() override;
    void on_condition(commit::Condition condition, const Error& reason) override;

    [[nodiscard]] commit::StepsState steps_state() const override { return steps_.state(); }
    [[nodiscard]] std::vector<commit::StreamId> hidden_streams() override;
    void write_notes() override;

    // RestoreHost
    [[nodiscard]] bool has_channel(const std::string& name) const override;
    [[nodiscard]] Result<ChannelId> begin_hidden(const RestoredChannel& restored) override;
    [[nodiscard]] Result<bool> make_hidden(ChannelId id, std::uint64_t& units) override;
    void reveal(ChannelId id) override;
    void drop_hidden(ChannelId id) override;
    [[nodiscard]] std::size_t channel_name_size_max() const override { return state_.limits.channel_name_size_max; }
    void send(std::uint32_t shard, Envelope envelope) override;
    void reply(channel::SessionId session, std::uint64_t request, const std::string& json) override;

    // CommandHost
    [[nodiscard]] ChannelId id_of(const std::string& name) const override;
    void answer_command(channel::SessionId session, std::uint64_t gathering, const std::string& name, std::string json) override;
    void answer_at_once(channel::SessionId session, std::uint64_t gathering, std::string json) override;
    void fetch_block(ChannelId id, const storage::BlockRef& ref, std::function<void(Result<Payload>)> done) override;

    // StepHost
    [[nodiscard]] Result<Place> place_of(const std::string& name, bool must_exist) override;
    [[nodiscard]] bool waits(const StepCommand& command, const std::string& name) override;
    [[nodiscard]] channel::Channel* channel_of(ChannelId id) override { return find_channel(id); }
    void channel_changed(ChannelId id) override { touch_channel(id); }
    void send_step(std::uint32_t shard, Envelope envelope) override { send(shard, std::move(envelope)); }
    void answer_step(channel::SessionId session, std::uint64_t request, std::error_code reason,
                     std::uint32_t section) override;
    [[nodiscard]] ShardStore* step_store() override { return store_.get(); }
    [[nodiscard]] WallTime wall_now() const override { return state_.clock.wall_now(); }

    /// It has a name when it is in `by_name_` or `hidden_`.
    [[nodiscard]] std::unique_ptr<Slot> make_slot(const std::string& name, const channel::ChannelOptions& options,
                                                  const channel::Durability& durability);
    Slot& add_slot(std::unique_ptr<Slot> slot);
    void erase_slot(Slot& slot);
    void dismantle_some();
    void detach_some();
    void detach_now(const DetachCommand& command);
    /// True: it waits until the channel of this name is there.
    template <class Command>
    bool waits_for_restore(const std::string& name, Command& command);
    void go_on(std::vector<Envelope> waiting);
    [[nodiscard]] Slot* slot_of(ChannelId id) noexcept;
    void touch(Slot& slot);
    void tick_pulsed();
    void tick_linked();
    void tick_others();
    void dispatch_dirty(std::uint32_t slices_max);
    void end_turn_of(Slot& slot, channel::StepBudget& budget);
    void post(std::uint32_t shard, Envelope envelope);
    [[nodiscard]] SessionEvents* session_of(channel::SessionId session) noexcept;
    /// Hands an event to its session, here or elsewhere.
    template <class Event>
    void answer(Event event) noexcept;
    void grant_memory();
    void show_memory_waits();
    void show_memory_wait(const MemoryRequest& request, bool waits);
    void collect(std::uint64_t gathering, std::string part);
    void send_part(channel::SessionId session, AdminPartEvent part);
    void change_policies(const AdminCommand& command);
    void answer_when_committed(commit::Index index, channel::SessionId session, AdminPartEvent part);
    [[nodiscard]] commit::Index change_to_wait_for(const std::string& name, commit::Index before);

    void handle(AttachCommand& command);
    void handle(DetachCommand& command);
    void handle(PublishCommand& command);
    void handle(SettleCommand& command);
    void handle(CreditCommand& command);
    void handle(SlowCommand& command);
    void handle(RoomCommand& command);
    void handle(QueryCommand& command);
    void handle(DrainCommand& command);
    void handle(AdminCommand& command);
    void handle(AttachedEvent& event);
    void handle(AttachFailedEvent& event);
    void handle(ConfirmedEvent& event);
    void handle(RefusedEvent& event);
    void handle(SenderCreditEvent& event);
    void handle(StateEvent& event);
    void handle(DeliverEvent& event);
    void handle(SettleRefusedEvent& event);
    void handle(SettledEvent& event);
    void handle(ClosedEvent& event);
    void handle(AdminPartEvent& event);
    void handle(BackupBeginCommand& command) { backups_.on(*store_, command); }
    void handle(BackupSnapshotCommand& command) { backups_.on(*store_, command); }
    void handle(BackupReleaseCommand& command) { backups_.on(*store_, command); }
    void handle(BackupBegunEvent& event) { backups_.on(event); }
    void handle(BackupTakenEvent& event) { backups_.on(event); }
    void handle(BackupWrittenEvent& event) { backups_.on(*store_, event); }
    void handle(RestoreCommand& command) { restores_.on(*store_, command); }
    void handle(RestoreAnswer& answer) { restores_.on(*store_, answer); }
    void handle(StepCommand& command) { steps_.on(command); }
    void handle(StepAnswer& answer) { steps_.on(answer); }

    const std::uint32_t shard_;
    BrokerState& state_;
    TurnClock clock_;  ///< Of the channels.
    MailboxPort& mailboxes_;
    std::uint64_t next_session_ = 1;
    std::uint64_t next_channel_ = 1;
    std::uint64_t next_gathering_ = 1;
    bool is_draining_ = false;
    std::unique_ptr<ShardStore> store_;  ///< Null: no data directory. Outlives the channels, which refer to its log.
    std::unordered_map<channel::SessionId, SessionEvents*> sessions_;
    std::map<std::string, ChannelId, std::less<>> by_name_;
    channel::OptionsPool options_;  // Of channels.
    std::unordered_map<std::string, Hidden> hidden_;
    std::map<ChannelId, Making> making_;  ///< Of those.
    std::unordered_map<ChannelId, std::unique_ptr<Slot>> slots_;
    std::vector<ChannelId> durable_;  ///< In the order of their making; some may be gone.
    std::size_t durable_gone_ = 0;
    std::vector<ChannelId> linked_;  ///< All that have links; some may have none any more, or be gone.
    std::vector<ChannelId> pulsed_;  ///< Of those, the ones for which time brings something before the horizon.
    MonotonicTime pulse_horizon_{};  ///< Before that all that have links are looked at again.
    MonotonicTime round_began_{};    ///< When the first of them was looked at last.
    std::size_t next_pulsed_ = 0;    ///< Whose clock pulse is next.
    std::size_t next_linked_ = 0;    ///< The same of all that have links,
    std::size_t next_bucket_ = 0;    ///< and of the others.
    std::vector<ChannelId> dirty_;
    std::vector<ChannelId> dispatching_;
    std::vector<ChannelId> committing_;
    /// Answers to administrative requests that changed something durable.
    struct WaitingPart {
        commit::Index index = 0;
        channel::SessionId session{0};
        AdminPartEvent part;
    };
    std::deque<WaitingPart> waiting_parts_;
    std::vector<EnvelopeBatch> outgoing_;  ///< By shard.
    std::deque<MemoryRequest> memory_requests_;
    std::vector<Gathering> gatherings_;
    std::optional<PolicyBook::Policies> policies_;  ///< First shard: as they are when all changes under way have been written.
    std::uint32_t policy_writes_ = 0;               ///< So many of them.
    Backups backups_;
    Restores restores_;
    Moves moves_;
    Steps steps_;
    Sweeps sweeps_;
    Surveys surveys_;
    Looks looks_;
    bool is_step_spent_ = false;
    static constexpr std::size_t detached_per_turn = 1'024;
    std::size_t detached_ = 0;            // In this turn.
    std::deque<DetachCommand> detaches_;  // Their turn comes later.
    std::deque<std::unique_ptr<channel::Channel>> dying_;  // Deleted; what is in them goes in steps.
};

}  // namespace baton::runtime
