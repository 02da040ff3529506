#include "server/session/status_mapping.hpp"

#include "server/channel/errc.hpp"
#include "server/runtime/errc.hpp"

namespace baton::session {

namespace {

using wire::Status;

// No default: a new enumerator without a status is a compiler warning, and warnings are errors.
Status from_channel(channel::Errc code) noexcept {
    switch (code) {
        case channel::Errc::sequence_gap: return Status::sequence_gap;
        case channel::Errc::superseded: return Status::superseded;
        case channel::Errc::too_large: return Status::message_too_large;
        case channel::Errc::bad_batch: return Status::bad_batch;
        case channel::Errc::over_credit: return Status::over_credit;
        case channel::Errc::lost_lease: return Status::lost_lease;
        case channel::Errc::unsupported_outcome: return Status::unsupported_outcome;
        case channel::Errc::channel_deleted: return Status::channel_deleted;
        case channel::Errc::draining: return Status::draining;
        case channel::Errc::too_many_producers: return Status::too_many_producers;
        case channel::Errc::disk_full: return Status::disk_full;
        case channel::Errc::storage_failed: return Status::storage_failed;
        case channel::Errc::damaged: return Status::channel_damaged;
        case channel::Errc::full: return Status::full;
        case channel::Errc::slow_subscriber: return Status::slow_subscriber;
        case channel::Errc::incompatible_options: return Status::incompatible_options;
        case channel::Errc::not_supported: return Status::unsupported;
        case channel::Errc::not_found: return Status::not_found;
        case channel::Errc::bad_filter: return Status::bad_request;
        case channel::Errc::step_known: return Status::ok;
        case channel::Errc::step_under_way: return Status::internal;  // Never told.
        case channel::Errc::too_many_subscriptions: return Status::too_many_links;
    }
    return Status::internal;
}

Status from_runtime(runtime::Errc code) noexcept {
    switch (code) {
        case runtime::Errc::not_found: return Status::not_found;
        case runtime::Errc::too_many_channels: return Status::too_many_channels;
        case runtime::Errc::draining: return Status::draining;
        case runtime::Errc::no_storage: return Status::unsupported;
    }
    return Status::internal;
}

}  // namespace

Status to_status(std::error_code reason) noexcept {
    if (!reason) {
        return Status::ok;
    }
    if (reason.category() == channel::channel_category()) {
        return from_channel(static_cast<channel::Errc>(reason.value()));
    }
    if (reason.category() == runtime::runtime_category()) {
        return from_runtime(static_cast<runtime::Errc>(reason.value()));
    }
    return Status::internal;
}

}  // namespace baton::session
