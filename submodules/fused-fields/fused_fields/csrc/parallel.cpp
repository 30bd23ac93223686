#include "parallel.h"

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace fused_fields {
namespace {

// POSIX's: std's has a new symbol version since GCC 12, which the libstdc++ of an older system, or of
// a conda environment, does not have.
void wait(std::condition_variable& changed, std::unique_lock<std::mutex>& lock) {
    pthread_cond_wait(changed.native_handle(), lock.mutex()->native_handle());
}

// One mutex guards the counters: tasks last tens of microseconds, so it is hardly ever contended.
class Crew {
  public:
    Crew(StagedWork& work, int64_t stages) : work_(work), stages_(stages) { open_stage(0); }

    void labour() {
        std::unique_lock<std::mutex> lock(mutex_);
        while (stage_ < stages_) {
            if (next_ == count_) {
                const int64_t seen = stage_;
                while (stage_ == seen) wait(stage_done_, lock);
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

class BeltCrew {
  public:
    explicit BeltCrew(BeltWork& work) : work_(work), lanes_(work.users + work.makers) {}

    void labour() {
        std::unique_lock<std::mutex> lock(mutex_);
        const int me = ++crew_;
        for (int lane; (lane = next_lane(me)) != kFinished;) {
            if (lane == kNone) {
                wait(changed_, lock);
                continue;
            }
            Lane& mine = lanes_[lane];
            mine.busy = true;
            mine.last = me;
            lock.unlock();
            lane < work_.users ? work_.use(lane, mine.done)
                               : work_.make(lane - work_.users, mine.done);
            lock.lock();
            mine.busy = false;
            ++mine.done;
            changed_.notify_all();
        }
    }

  private:
    enum { kNone = -1, kFinished = -2 };
    struct Lane {
        int64_t done = 0;  // loads
        int last = 0;      // who ran it last, and has its memory in a cache
        bool busy = false;
    };

    // How many loads all lanes from `begin` on have done.
    int64_t done_by_all(int begin, int end) const {
        int64_t least = work_.loads;
        for (int i = begin; i < end; ++i) least = lanes_[i].done < least ? lanes_[i].done : least;
        return least;
    }

    // Users come first, since they make room; then the lane that `me` had, then the one behind.
    int next_lane(int me) const {
        const int users = work_.users, all = users + work_.makers;
        const int64_t made = done_by_all(users, all), used = done_by_all(0, users);
        if (made == work_.loads && used == work_.loads) return kFinished;
        int best = kNone;
        for (int i = 0; i < all; ++i) {
            if (i == users && best != kNone) break;
            const Lane& lane = lanes_[i];
            const int64_t limit = i < users ? made : used + work_.slots;
            if (lane.busy || lane.done >= (limit < work_.loads ? limit : work_.loads)) continue;
            if (best == kNone || before(lane, lanes_[best], me)) best = i;
        }
        return best;
    }

    static bool before(const Lane& a, const Lane& b, int me) {
        if ((a.last == me) != (b.last == me)) return a.last == me;
        return a.done < b.done;
    }

    BeltWork& work_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Lane> lanes_;
    int crew_ = 0;
};

// Runs `labour` on the calling thread and up to `count - 1` more.
template <class Labour>
void with_helpers(int64_t count, const Labour& labour) {
    std::vector<std::thread> helpers;
    try {
        for (int64_t i = 1; i < count; ++i) helpers.emplace_back(labour);
    } catch (const std::system_error&) {
        // No more threads to be had: those that did start, and this one, do all the work.
    }
    labour();
    for (std::thread& helper : helpers) helper.join();
}

}  // namespace

void run_stages(StagedWork& work, int64_t stages, int threads) {
    int64_t widest = 0;
    for (int64_t stage = 0; stage < stages; ++stage) {
        const int64_t count = work.tasks(stage);
        widest = count > widest ? count : widest;
    }
    Crew crew(work, stages);
    with_helpers(threads < widest ? threads : widest, [&crew] { crew.labour(); });
}

void run_belt(BeltWork& work, int threads) {
    BeltCrew crew(work);
    const int lanes = work.makers + work.users;
    with_helpers(threads < lanes ? threads : lanes, [&crew] { crew.labour(); });
}

}  // namespace fused_fields
