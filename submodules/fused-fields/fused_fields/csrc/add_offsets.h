// Columns of a table of Gaussians plus offsets that are smoothly held within limits, in one pass.
#pragma once
#include "api.h"
#include "exponential.h"
#include "parallel.h"
#include "partial.h"

namespace {

using namespace simd;
using fused_fields::MovedColumn;
using fused_fields::StagedWork;

constexpr int64_t kMovedNumbers = 1 << 14;  // of a task
// So many tasks take less time than a second thread takes to start: about 50 us.
constexpr int64_t kMovedAlone = 8;

// Calls each(column, begin, end) for the numbers of a task; tasks are cut from all columns alike.
template <class Each>
class ColumnsWork final : public StagedWork {
  public:
    ColumnsWork(const MovedColumn* columns, int32_t count, Each each)
        : columns_(columns), each_(each) {
        for (int32_t k = 0; k < count; ++k) tasks_ += tasks_of(columns[k]);
    }

    int64_t tasks(int64_t) const override { return tasks_; }

    void run(int64_t, int64_t task) override {
        const MovedColumn* column = columns_;
        while (task >= tasks_of(*column)) task -= tasks_of(*column++);
        const int64_t begin = task * kMovedNumbers;
        each_(*column, begin, min_of(begin + kMovedNumbers, column->numbers));
    }

  private:
    static int64_t tasks_of(const MovedColumn& column) {
        return (column.numbers + kMovedNumbers - 1) / kMovedNumbers;
    }

    const MovedColumn* columns_;
    const Each each_;
    int64_t tasks_ = 0;
};

template <class Each>
int for_columns(const MovedColumn* columns, int32_t count, int threads, Each each) {
    ColumnsWork<Each> work(columns, count, each);
    fused_fields::run_stages(work, 1, work.tasks(0) <= kMovedAlone ? 1 : threads);
    return 0;
}

template <class T>
int add_offsets_forward(const MovedColumn* columns, int32_t count, int threads) {
    constexpr int W = kLanes<T>;
    return for_columns(columns, count, threads, [](const MovedColumn& column, int64_t i,
                                                   int64_t end) {
        const T limit = static_cast<T>(column.limit);
        const T *from = static_cast<const T*>(column.from);
        const T *offset = static_cast<const T*>(column.offset);
        for (T* to = static_cast<T*>(column.to); i < end; i += W) {
            auto moved = load_some<T>(offset + i, end - i);
            if (limit > 0) moved = limit * hyperbolic_tangent<T>(moved / limit);
            store_some<T>(to + i, load_some<T>(from + i, end - i) + moved, end - i);
        }
    });
}

// From the gradient of a moved column, `from`, that of its offset, `to`.
template <class T>
int add_offsets_backward(const MovedColumn* columns, int32_t count, int threads) {
    constexpr int W = kLanes<T>;
    return for_columns(columns, count, threads, [](const MovedColumn& column, int64_t i,
                                                   int64_t end) {
        const T limit = static_cast<T>(column.limit);
        const T *grad = static_cast<const T*>(column.from);
        const T *offset = static_cast<const T*>(column.offset);
        for (T* to = static_cast<T*>(column.to); i < end; i += W) {
            const auto held = hyperbolic_tangent<T>(load_some<T>(offset + i, end - i) / limit);
            store_some<T>(to + i, load_some<T>(grad + i, end - i) * (1 - held * held), end - i);
        }
    });
}

}  // namespace
