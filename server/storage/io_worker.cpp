#include "server/storage/io_worker.hpp"

#include <pthread.h>
#include <signal.h>

#include <utility>
#include <vector>

#include "common/base/assert.hpp"

namespace baton::storage {

struct IoWorker::Home {
    // Held while `post` is called, so that the submitter can go away knowing that it is not called any more.
    std::mutex mutex;
    Post post;
    bool is_closed = false;

    // True: the job has gone home.
    bool send(IoJob& job) {
        const std::lock_guard guard{mutex};
        if (is_closed) {
            return false;
        }
        post([sent = std::move(job)]() mutable {
            if (sent.done) {
                sent.done();
            }
        });
        return true;
    }
};

struct IoWorker::Board {
    struct Entry {
        std::shared_ptr<Home> home;
        IoJob job;
    };

    std::mutex mutex;
    std::condition_variable is_changed;
    std::deque<Entry> waiting;
    bool is_stopping = false;

    void submit(const std::shared_ptr<Home>& home, IoJob job) {
        {
            const std::lock_guard guard{mutex};
            if (is_stopping) {
                return;  // `job` dies after the guard.
            }
            waiting.push_back({home, std::move(job)});
        }
        is_changed.notify_one();
    }

    // Jobs die outside the lock: what they hold is unknown here, and may want to submit.
    [[nodiscard]] std::deque<Entry> take_of(const Home& home) {
        const std::lock_guard guard{mutex};
        std::deque<Entry> taken;
        std::deque<Entry> rest;
        for (Entry& entry : waiting) {
            (entry.home.get() == &home ? taken : rest).push_back(std::move(entry));
        }
        waiting = std::move(rest);
        return taken;
    }

    // Until it is stopped and nothing waits.
    void run(FileSystem& files) {
        for (;;) {
            Entry entry;
            {
                std::unique_lock lock{mutex};
                is_changed.wait(lock, [this] { return is_stopping || !waiting.empty(); });
                if (waiting.empty()) {
                    return;
                }
                entry = std::move(waiting.front());
                waiting.pop_front();
            }
            entry.job.run(files);
            (void)entry.home->send(entry.job);
        }
    }
};

class IoWorker::Front final : public IoQueue {
public:
    Front(std::shared_ptr<Board> board, Post post) : board_{std::move(board)}, home_{std::make_shared<Home>()} {
        home_->post = std::move(post);
    }

    ~Front() override {
        Post post;
        {
            const std::lock_guard guard{home_->mutex};
            home_->is_closed = true;
            post = std::move(home_->post);  // Dies here, and not on the worker's thread.
        }
        const auto dropped = board_->take_of(*home_);
    }

    void submit(IoJob job) override {
        BATON_ASSERT(job.run);
        board_->submit(home_, std::move(job));
    }

private:
    const std::shared_ptr<Board> board_;
    const std::shared_ptr<Home> home_;
};

IoWorker::IoWorker(FileSystem& files, const std::string& thread_name) : board_{std::make_shared<Board>()} {
    BATON_ASSERT(thread_name.size() <= 15);
    // Signals are for the main thread; the new thread inherits the mask.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread{[board = board_, &files] { board->run(files); }};
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_setname_np(thread_.native_handle(), thread_name.c_str());
}

IoWorker::~IoWorker() {
    stop(Waiting::dropped);
}

std::unique_ptr<IoQueue> IoWorker::queue(Post post) {
    BATON_ASSERT(post);
    return std::make_unique<Front>(board_, std::move(post));
}

void IoWorker::stop(Waiting waiting) {
    if (!thread_.joinable()) {
        return;
    }
    std::deque<Board::Entry> dropped;
    {
        const std::lock_guard guard{board_->mutex};
        board_->is_stopping = true;
        if (waiting == Waiting::dropped) {
            dropped.swap(board_->waiting);
        }
    }
    board_->is_changed.notify_one();
    dropped.clear();
    thread_.join();
}

}  // namespace baton::storage
