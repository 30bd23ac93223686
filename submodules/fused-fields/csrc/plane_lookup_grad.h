// Backward pass of plane_lookup.h; the scheme is described there.
#pragma once
#include "plane_lookup.h"

namespace {

constexpr int kMaxAxes = 8;  // columns of `points`; checked by the caller in Python

template <class T>
struct Block {
    Coordinates<T> at;
    T* sample_grads;  // planes x kBlock x channels
};

template <class T>
class LookupBackward final : public StagedWork {
  public:
    LookupBackward(const FieldPlan<T>& plan, const T* points, int64_t n, const T* grad_features,
                   T* grad_points, Block<T> even, Block<T> odd, int threads)
        : plan_(plan), points_(points), n_(n), grad_features_(grad_features),
          grad_points_(grad_points), blocks_{even, odd} {
        while (static_cast<int64_t>(plan.total) * bands_ < 4 * threads) bands_ *= 2;
    }

    int64_t block_count() const { return (n_ + kBlock - 1) / kBlock; }
    int64_t stages() const { return block_count() + 1; }

    int64_t tasks(int64_t stage) const override {
        return scatter_tasks(stage) + derive_tasks(stage) + (stage == 0 ? plan_.total : 0);
    }

    // Scatter tasks are the longest, so they are handed out first.
    void run(int64_t stage, int64_t task) override {
        if (task < scatter_tasks(stage)) return scatter(stage - 1, task);
        task -= scatter_tasks(stage);
        if (task < derive_tasks(stage)) return derive(stage, task);
        clear(static_cast<int>(task - derive_tasks(stage)));
    }

  private:
    int64_t block_size(int64_t block) const {
        const int64_t left = n_ - block * kBlock;
        return left < 0 ? 0 : min_of(kBlock, left);
    }
    int64_t scatter_tasks(int64_t stage) const {
        return stage == 0 ? 0 : static_cast<int64_t>(plan_.total) * bands_;
    }
    int64_t derive_tasks(int64_t stage) const {
        return (block_size(stage) + kDeriveChunk - 1) / kDeriveChunk;
    }

    void clear(int index) {
        const FieldPlane& plane = *plan_.plane(index).source;
        const size_t nodes = static_cast<size_t>(plane.rows) * plane.cols;
        if (plane.grad) std::memset(plane.grad, 0, nodes * plan_.field.channels * sizeof(T));
    }

    void derive(int64_t block_index, int64_t task) {
        const Block<T>& block = blocks_[block_index % 2];
        const int64_t start = task * kDeriveChunk;
        const int64_t first = block_index * kBlock + start;
        const int64_t count = min_of(kDeriveChunk, n_ - first);
        const Coordinates<T> at = {block.at.cell + start, block.at.frac + start,
                                   block.at.slope + start, block.at.stride};
        fill_coordinates(plan_, points_, first, count, at);
        with_layout(plan_.grids, plan_.lines, [&](auto layout) {
            using L = decltype(layout);
            for (int64_t i = 0; i < count; ++i) {
                derive_point<L>(at, i, first + i, block.sample_grads + (start + i) * channels());
            }
        });
    }

    template <class L>
    void derive_point(const Coordinates<T>& at, int64_t i, int64_t point, T* sample_grads) {
        const int axes = plan_.field.axes;
        T by_axis[kMaxAxes] = {};
        for_widths<T>(channels(), [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            Vec<T, W> sums[kMaxAxes];
            for (int axis = 0; axis < axes; ++axis) sums[axis] = Vec<T, W>{};
            for (int level = 0; level < plan_.field.levels; ++level) {
                derive_level<L, W>(at, i, point, level, begin, end, sample_grads, sums);
            }
            for (int axis = 0; axis < axes; ++axis) by_axis[axis] += lane_sum<T, W>(sums[axis]);
        });
        if (!grad_points_) return;
        for (int axis = 0; axis < axes; ++axis) grad_points_[point * axes + axis] = by_axis[axis];
    }

    template <class L, int W>
    FF_INLINE_MEMBER void derive_level(const Coordinates<T>& at, int64_t i, int64_t point,
                                       int level, int begin, int end, T* sample_grads,
                                       Vec<T, W>* sums) {
        using V = Vec<T, W>;
        constexpr int kPlanes = L::kGrids < 0 ? kMaxPlanes : L::kGrids + L::kLines;
        const int grids = L::kGrids < 0 ? plan_.grids : L::kGrids;
        const int planes = L::kGrids < 0 ? grids + plan_.lines : kPlanes;
        Tap<T> taps[kPlanes];
        place_taps(plan_, level, at, i, planes, grids, taps);
        const int64_t row = point * plan_.field.levels + level;
        const T* upstream = grad_features_ + row * channels();
        T* out = sample_grads + static_cast<int64_t>(level) * planes * kBlock * channels();
        for (int c = begin; c < end; c += W) {
            Sample<V> samples[kPlanes];
            V before[kPlanes];  // upstream gradient times the samples of the planes before
            V running = load<T, W>(upstream + c);
            for (int p = 0; p < planes; ++p) {
                samples[p] = p < grids ? sample_grid<T, W>(taps[p], c)
                                       : sample_line<T, W>(taps[p], c);
                before[p] = running;
                running *= samples[p].value;
            }
            V after = V{} + T(1);
            for (int p = planes - 1; p >= 0; --p) {
                const V grad = before[p] * after;
                after *= samples[p].value;
                store<T, W>(out + p * kBlock * channels() + c, grad);
                sums[taps[p].col_axis] += grad * samples[p].by_col * taps[p].col_slope;
                if (p >= grids) continue;
                sums[taps[p].row_axis] += grad * samples[p].by_row * taps[p].row_slope;
            }
        }
    }

    // Task: one band of one plane; a band is every bands_-th row (of a line: every such node).
    void scatter(int64_t block_index, int64_t task) {
        const int index = static_cast<int>(task / bands_);
        const int32_t band = static_cast<int32_t>(task % bands_);
        const Sampled<T>& plane = plan_.plane(index);
        if (!plane.grad) return;
        const Block<T>& block = blocks_[block_index % 2];
        const T* grads = block.sample_grads + index * kBlock * channels();
        const int64_t count = block_size(block_index);
        if (plane.row_slot < 0) {
            scatter_line(plane, block.at, grads, count, band);
        } else {
            scatter_grid(plane, block.at, grads, count, band);
        }
    }

    // A plane of one row keeps its upper neighbour, the same row, in the same band.
    bool in_band(int32_t row, int32_t band) const { return (row & (bands_ - 1)) == band; }

    void scatter_line(const Sampled<T>& plane, const Coordinates<T>& at, const T* grads,
                      int64_t count, int32_t band) {
        const int32_t* cell = at.cell + plane.col_slot * at.stride;
        const T* frac = at.frac + plane.col_slot * at.stride;
        const int32_t next = plane.col_step != 0;
        for (int64_t i = 0; i < count; ++i) {
            T* node = plane.grad + cell[i] * plane.col_step;
            const T* grad = grads + i * channels();
            if (in_band(cell[i], band)) add_scaled(node, grad, 1 - frac[i]);
            if (in_band(cell[i] + next, band)) add_scaled(node + plane.col_step, grad, frac[i]);
        }
    }

    void scatter_grid(const Sampled<T>& plane, const Coordinates<T>& at, const T* grads,
                      int64_t count, int32_t band) {
        const int32_t* col = at.cell + plane.col_slot * at.stride;
        const int32_t* row = at.cell + plane.row_slot * at.stride;
        const T* col_frac = at.frac + plane.col_slot * at.stride;
        const T* row_frac = at.frac + plane.row_slot * at.stride;
        const int32_t next = plane.row_step != 0;
        for (int64_t i = 0; i < count; ++i) {
            T* node = plane.grad + col[i] * plane.col_step + row[i] * plane.row_step;
            const T* grad = grads + i * channels();
            if (in_band(row[i], band)) {
                add_pair(node, plane.col_step, grad, col_frac[i], 1 - row_frac[i]);
            }
            if (in_band(row[i] + next, band)) {
                add_pair(node + plane.row_step, plane.col_step, grad, col_frac[i], row_frac[i]);
            }
        }
    }

    FF_INLINE_MEMBER void add_pair(T* node, int64_t col_step, const T* grad, T col_frac, T scale) {
        add_scaled(node, grad, (1 - col_frac) * scale);
        add_scaled(node + col_step, grad, col_frac * scale);
    }

    FF_INLINE_MEMBER void add_scaled(T* node, const T* grad, T scale) {
        for_widths<T>(channels(), [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            for (int c = begin; c < end; c += W) {
                store<T, W>(node + c, load<T, W>(node + c) + scale * load<T, W>(grad + c));
            }
        });
    }

    int64_t channels() const { return plan_.field.channels; }

    const FieldPlan<T>& plan_;
    const T* points_;
    const int64_t n_;
    const T* grad_features_;
    T* grad_points_;
    const Block<T> blocks_[2];
    int32_t bands_ = 1;  // a power of two, so that many threads find a task each
};

template <class T>
int lookup_backward(const Field* field, const T* points, int64_t n, const T* grad_features,
                    T* grad_points, int threads) {
    const FieldPlan<T> plan(*field);
    if (!plan.ok()) return 1;
    const int64_t values = plan.slots * kBlock;
    const int64_t grads = plan.total * kBlock * field->channels;
    Buffer<int32_t> cell(2 * values);
    Buffer<T> frac(2 * values), slope(2 * values), sample_grads(2 * grads);
    if (!cell.get() || !frac.get() || !slope.get() || !sample_grads.get()) return 1;
    const auto block = [&](int64_t k) {
        return Block<T>{{cell.get() + k * values, frac.get() + k * values,
                         slope.get() + k * values, kBlock},
                        sample_grads.get() + k * grads};
    };
    LookupBackward<T> work(plan, points, n, grad_features, grad_points, block(0), block(1),
                           threads);
    fused_fields::run_stages(work, work.stages(), threads);
    for (int p = 0; p < plan.total; ++p) {
        const Sampled<T>& plane = plan.plane(p);
        if (plane.row_slot < 0 && plane.grad) plan.spread_line_grad(plane);
    }
    return 0;
}

}  // namespace
