// Staged task running on threads that sleep while they wait.
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

}  // namespace fused_fields
