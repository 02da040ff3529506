// Jobs that take several turns: each turn does a slice of one of them, and all have their turn.
// Next files: sweeps.cpp, surveys.cpp.
#pragma once

#include <deque>
#include <utility>

namespace baton::runtime {

/// Does a slice of the first one: `step(job)` says whether it was the last. Else it goes to the end. False: there was none.
template <class Job, class Step>
bool do_slice_of_first(std::deque<Job>& jobs, Step step) {
    if (jobs.empty()) {
        return false;
    }
    Job job = std::move(jobs.front());
    jobs.pop_front();
    if (!step(job)) {
        jobs.push_back(std::move(job));
    }
    return true;
}

}  // namespace baton::runtime
