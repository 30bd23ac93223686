// Tasks running on a team of threads (team.h of native-kernels).
#pragma once
#include <cstdint>

namespace fused_fields {

// Work in stages: every task of a stage is finished before a task of the next one starts. Which
// thread runs which task is left open, so a task must write only to memory that is its own.
struct StagedWork {
    virtual int64_t tasks(int64_t stage) const = 0;
    virtual void run(int64_t stage, int64_t task) = 0;

  protected:
    ~StagedWork() = default;
};

// Runs all stages on the calling thread and up to `threads - 1` more.
void run_stages(StagedWork& work, int64_t stages, int threads);

// Work on a belt of `slots` places. Load number n goes to place n % slots: every maker puts its
// part there, then every user takes its part. Makers and users are lanes: each handles the loads in
// order, one at a time, so what a lane alone writes always comes out the same. Lanes do not wait
// for each other but where they must: for a load to be made, or for a place to be free.
struct BeltWork {
    virtual void make(int maker, int64_t load) = 0;
    virtual void use(int user, int64_t load) = 0;

    int makers, users, slots;
    int64_t loads;

  protected:
    ~BeltWork() = default;
};

// Runs all loads on the calling thread and up to `threads - 1` more.
void run_belt(BeltWork& work, int threads);

}  // namespace fused_fields
