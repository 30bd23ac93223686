#include "parallel.h"

#include <algorithm>
#include <vector>

#include "team.h"

namespace fused_fields {
namespace {

class BeltCrew {
  public:
    explicit BeltCrew(BeltWork& work) : work_(work), lanes_(work.users + work.makers) {}

    // `me`: the thread's rank.
    void labour(int me) {
        auto lock = monitor_.lock();
        for (int lane; (lane = next_lane(me)) != kFinished;) {
            if (lane == kNone) {
                monitor_.wait();
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
            monitor_.notify_all();
        }
    }

  private:
    enum { kNone = -1, kFinished = -2 };
    struct Lane {
        int64_t done = 0;  // loads
        int last = -1;     // who ran it last, and has its memory in a cache
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
    Monitor monitor_;
    std::vector<Lane> lanes_;
};

}  // namespace

void run_stages(StagedWork& work, int64_t stages, int threads) {
    int64_t widest = 0, total = 0;
    for (int64_t stage = 0; stage < stages; ++stage) {
        widest = std::max(widest, work.tasks(stage));
        total += work.tasks(stage);
    }
    Tasks tasks(total);  // of all stages, one after the other
    Team::run(static_cast<int>(std::min<int64_t>(threads, widest)), [&](Team& team, int) {
        int64_t stage = 0, first = 0;
        for (int64_t task; tasks.take(task);) {
            for (; task - first >= work.tasks(stage); ++stage) {
                first += work.tasks(stage);
                team.meet();
            }
            work.run(stage, task - first);
        }
        for (; stage + 1 < stages; ++stage) team.meet();
    });
}

void run_belt(BeltWork& work, int threads) {
    BeltCrew crew(work);
    Team::run(std::min(threads, work.makers + work.users),
              [&crew](Team&, int rank) { crew.labour(rank); });
}

}  // namespace fused_fields
