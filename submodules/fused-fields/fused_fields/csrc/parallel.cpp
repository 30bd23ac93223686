#include "parallel.h"

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace fused_fields {
namespace {

// One mutex guards the counters: tasks last tens of microseconds, so it is hardly ever contended.
class Crew {
  public:
    Crew(StagedWork& work, int64_t stages) : work_(work), stages_(stages) { open_stage(0); }

    void labour() {
        std::unique_lock<std::mutex> lock(mutex_);
        while (stage_ < stages_) {
            if (next_ == count_) {
                const int64_t seen = stage_;
                stage_done_.wait(lock, [&] { return stage_ != seen; });
                continue;
            }
            const int64_t stage = stage_, task = next_++;
            lock.unlock();
            work_.run(stage, task);
            lock.lock();
            if (++done_ == count_) {
                open_stage(stage_ + 1);
                stage_done_.notify_all();
            }
        }
    }

  private:
    void open_stage(int64_t stage) {
        stage_ = stage;
        while (stage_ < stages_ && (count_ = work_.tasks(stage_)) == 0) ++stage_;
        next_ = done_ = 0;
    }

    StagedWork& work_;
    const int64_t stages_;
    std::mutex mutex_;
    std::condition_variable stage_done_;
    int64_t stage_ = 0, count_ = 0, next_ = 0, done_ = 0;
};

}  // namespace

void run_stages(StagedWork& work, int64_t stages, int threads) {
    int64_t widest = 0;
    for (int64_t stage = 0; stage < stages; ++stage) {
        const int64_t count = work.tasks(stage);
        widest = count > widest ? count : widest;
    }
    Crew crew(work, stages);
    std::vector<std::thread> helpers;
    try {
        for (int64_t i = 1; i < threads && i < widest; ++i) {
            helpers.emplace_back([&crew] { crew.labour(); });
        }
    } catch (const std::system_error&) {
        // No more threads to be had: those that did start, and this one, do all the work.
    }
    crew.labour();
    for (std::thread& helper : helpers) helper.join();
}

}  // namespace fused_fields
