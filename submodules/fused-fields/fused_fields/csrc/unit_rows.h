// Rows of length one, and the gradients: a lane per row.
#pragma once
#include <cmath>

#include "activate.h"
#include "adam.h"

namespace {

using fused_fields::UnitTable;

template <class T>
class UnitWork final : public StagedWork {
  public:
    // `units` are written where `upstream` is null, and otherwise the gradients of rows.
    UnitWork(const UnitTable& table, const T* upstream) : table_(table), upstream_(upstream) {}

    int64_t tasks(int64_t) const override { return (table_.rows + kTableRows - 1) / kTableRows; }

    void run(int64_t, int64_t task) override {
        switch (table_.width) {
            case 2: return some<2>(task);
            case 3: return some<3>(task);
            default: return some<4>(task);
        }
    }

  private:
    static constexpr int W = kLanes<T>;
    using V = Vec<T, W>;

    template <int Width>
    void some(int64_t task) const {
        const T* from = static_cast<const T*>(table_.from);
        const T* origin = static_cast<const T*>(table_.origin);
        T* to = static_cast<T*>(table_.to);
        const int64_t end = min_of((task + 1) * kTableRows, table_.rows);
        for (int64_t row = task * kTableRows; row < end; row += W) {
            const int count = static_cast<int>(min_of<int64_t>(W, end - row));
            V x[Width], squares = {};
            gather_rows<T, Width>(from + row * Width, Width, count, x);
            for (int k = 0; k < Width; ++k) {
                if (origin) x[k] -= origin[k];
                squares += x[k] * x[k];
            }
            const V length = root<T, W>(squares), shortest = V{} + T(kShortest);
            const V inverse = 1 / (length < shortest ? shortest : length);  // a NaN stays a NaN
            for (int k = 0; k < Width; ++k) x[k] *= inverse;
            if (upstream_) {  // of x / |x|: what is left across x, divided by |x|
                V grad[Width], along = {};
                gather_rows<T, Width>(upstream_ + row * Width, Width, count, grad);
                for (int k = 0; k < Width; ++k) along += x[k] * grad[k];
                along = length < shortest ? V{} : along;
                for (int k = 0; k < Width; ++k) x[k] = (grad[k] - along * x[k]) * inverse;
            }
            scatter_rows<T, Width>(x, to + row * Width, Width, count);
        }
    }

    const UnitTable table_;
    const T* const upstream_;
};

template <class T>
int unit_rows(const UnitTable* table, const T* upstream, int threads) {
    UnitWork<T> work(*table, upstream);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

}  // namespace
