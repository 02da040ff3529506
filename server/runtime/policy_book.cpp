#include "server/runtime/policy_book.hpp"

#include <utility>

namespace baton::runtime {

PolicyBook::PolicyBook() : view_{std::make_shared<const View>()} {}

std::shared_ptr<const PolicyBook::View> PolicyBook::view() const {
    const std::scoped_lock lock{mutex_};
    return view_;
}

void PolicyBook::configure(Policies configured) {
    const std::scoped_lock lock{mutex_};
    publish(view_->set, std::move(configured));
}

void PolicyBook::set(Policies set) {
    const std::scoped_lock lock{mutex_};
    publish(std::move(set), view_->configured);
}

void PolicyBook::publish(Policies set, Policies configured) {
    auto view = std::make_shared<View>();
    view->effective = set;
    view->effective.insert(view->effective.end(), configured.begin(), configured.end());
    view->set = std::move(set);
    view->configured = std::move(configured);
    view_ = std::move(view);
}

}  // namespace baton::runtime
