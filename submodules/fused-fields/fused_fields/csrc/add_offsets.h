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
constexpr int64_t kMovedAlone = 8;  // tasks, at most, that one thread does as fast as two

// to = each(limit, from, offset) for the numbers of all columns, which are cut into tasks alike.
template <class T, class Each>
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
        const T *from = static_cast<const T*>(column->from);
        const T *offset = static_cast<const T*>(column->offset);
        T* to = static_cast<T*>(column->to);
        const T limit = static_cast<T>(column->limit);
        int64_t i = task * kMovedNumbers;
        const int64_t end = min_of(i + kMovedNumbers, column->numbers);
        for (; i < end; i += kLanes<T>) {
            const auto moved = each_(limit, load_some<T>(from + i, end - i),
                                     load_some<T>(offset + i, end - i));
            store_some<T>(to + i, moved, end - i);
        }
    }

  private:
    static int64_t tasks_of(const MovedColumn& column) {
        return (column.numbers + kMovedNumbers - 1) / kMovedNumbers;
    }

    const MovedColumn* columns_;
    const Each each_;
    int64_t tasks_ = 0;
};

template <class T, class Each>
int for_columns(const MovedColumn* columns, int32_t count, int threads, Each each) {
    ColumnsWork<T, Each> work(columns, count, each);
    fused_fields::run_stages(work, 1, work.tasks(0) <= kMovedAlone ? 1 : threads);
    return 0;
}

template <class T>
int add_offsets_forward(const MovedColumn* columns, int32_t count, int threads) {
    using V = Vec<T, kLanes<T>>;
    return for_columns<T>(columns, count, threads, [](T limit, V from, V offset) {
        return limit > 0 ? from + limit * hyperbolic_tangent<T>(offset / limit) : from + offset;
    });
}

// From the gradient of a moved column, `from`, that of its offset, `to`.
template <class T>
int add_offsets_backward(const MovedColumn* columns, int32_t count, int threads) {
    using V = Vec<T, kLanes<T>>;
    return for_columns<T>(columns, count, threads, [](T limit, V grad, V offset) {
        const V held = hyperbolic_tangent<T>(offset / limit);
        return grad * (1 - held * held);
    });
}

}  // namespace
