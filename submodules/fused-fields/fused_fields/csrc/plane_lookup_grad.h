// Backward pass of plane_lookup.h, with the same bits for any number of threads.
//
// Stage 0 sorts the points and clears the gradients. Then blocks of points follow each other and
// two kinds of tasks alternate. "Derive" recomputes the samples of a group of points, gives the
// points their gradients, adds to the lines in the group's own sums, and writes the gradient of
// every grid sample. "Scatter" adds those to the nodes of one grid, in the order of the points.
// So a node, and a sum, is only ever written by one task at a time and in one order. The derive
// tasks of a block run beside the scatter tasks of the block before it.
#pragma once
#include <cstring>

#include "plane_lookup.h"
#include "point_order.h"

namespace {

constexpr int kMaxAxes = 8;  // columns of `points`; checked by the caller in Python
constexpr int kGroups = 8;   // derive tasks of a block
constexpr int64_t kGroupPoints = 128;
constexpr int64_t kBlock = kGroups * kGroupPoints;

// What derive tasks leave for scatter tasks.
template <class T>
struct Block {
    Coordinates<T> at;
    T* sample_grads;  // levels x grids x kBlock x channels
};

// Scratch memory of a call, two blocks of it.
template <class T>
struct LookupScratch {
    LookupScratch(const FieldPlan<T>& plan, int64_t n)
        : values(plan.slots * kBlock),
          grads(int64_t{plan.field.levels} * plan.grids * kBlock * plan.field.channels),
          cell(2 * values), keys(n), starts(kOrderKeys + 1), order(n), frac(2 * values),
          slope(2 * values), sample_grads(2 * grads) {}

    bool ok() const {
        return cell.get() && keys.get() && starts.get() && order.get() && frac.get() &&
               slope.get() && sample_grads.get();
    }
    Block<T> block(int64_t index) const {
        const int64_t k = index % 2;
        return {{cell.get() + k * values, frac.get() + k * values, slope.get() + k * values,
                 kBlock},
                sample_grads.get() + k * grads};
    }

    const int64_t values, grads;  // of one block
    Buffer<int32_t> cell, keys, starts, order;
    Buffer<T> frac, slope, sample_grads;
};

template <class T>
class LookupBackward final : public StagedWork {
  public:
    LookupBackward(const FieldPlan<T>& plan, const LookupScratch<T>& scratch, const T* points,
                   int64_t n, const T* grad_features, T* grad_points, int threads)
        : plan_(plan), scratch_(scratch), points_(points), n_(n), grad_features_(grad_features),
          grad_points_(grad_points), all_grids_(int64_t{plan.field.levels} * plan.grids) {
        while (all_grids_ > 0 && all_grids_ * bands_ < 4 * threads) bands_ *= 2;
    }

    // Stage s derives block s - 1 and scatters block s - 2.
    int64_t stages() const { return (n_ + kBlock - 1) / kBlock + 2; }

    int64_t tasks(int64_t stage) const override {
        if (stage == 0) return 1 + plan_.total;
        return scatter_tasks(stage - 2) + derive_tasks(stage - 1);
    }

    // Scatter tasks are the longest, so they are handed out first.
    void run(int64_t stage, int64_t task) override {
        if (stage == 0) return prepare(task);
        const int64_t scatters = scatter_tasks(stage - 2);
        with_layout(plan_, [&](auto layout) {
            if (task < scatters) {
                scatter(layout, stage - 2, task);
            } else {
                derive(layout, stage - 1, static_cast<int>(task - scatters));
            }
        });
    }

  private:
    int64_t block_size(int64_t block) const {
        const int64_t left = n_ - block * kBlock;
        return block < 0 || left < 0 ? 0 : min_of(kBlock, left);
    }
    int64_t scatter_tasks(int64_t block) const {
        return block_size(block) == 0 ? 0 : all_grids_ * bands_;
    }
    int64_t derive_tasks(int64_t block) const {
        return (block_size(block) + kGroupPoints - 1) / kGroupPoints;
    }

    void prepare(int64_t task) {
        if (task == 0) {
            order_points(points_, n_, plan_.field.axes, scratch_.keys.get(), scratch_.starts.get(),
                         scratch_.order.get());
            return;
        }
        const FieldPlane& plane = plan_.field.planes[task - 1];
        const size_t nodes = static_cast<size_t>(plane.rows) * plane.cols;
        if (plane.grad) std::memset(plane.grad, 0, nodes * plan_.field.channels * sizeof(T));
    }

    template <class L>
    void derive(const L layout, int64_t block_index, int group) {
        const Block<T> block = scratch_.block(block_index);
        const int axes = plan_.field.axes;
        const int64_t start = group * kGroupPoints;
        const int64_t count = min_of(kGroupPoints, block_size(block_index) - start);
        const int32_t* order = scratch_.order.get() + block_index * kBlock + start;
        T points[kGroupPoints * kMaxAxes];
        for (int64_t i = 0; i < count; ++i) {
            for (int axis = 0; axis < axes; ++axis) {
                points[i * axes + axis] = points_[int64_t{order[i]} * axes + axis];
            }
        }
        const Coordinates<T> at = {block.at.cell + start, block.at.frac + start,
                                   block.at.slope + start, block.at.stride};
        fill_coordinates(plan_, points, count, at);
        T* sample_grads = block.sample_grads + start * layout.channels();
        const int64_t row = int64_t{plan_.field.levels} * layout.channels();
        for (int64_t i = 0; i < count; ++i) {
            const int64_t soon = min_of(i + kAhead, count - 1);
            prefetch_row(grad_features_ + order[soon] * row, row);
            for (int level = 0; level < plan_.field.levels; ++level) {
                prefetch_nodes(plan_.level(level), at, soon, layout.grids(), layout.channels());
            }
            derive_point(layout, at, i, order[i], group, sample_grads + i * layout.channels());
        }
    }

    template <class L>
    FF_INLINE_MEMBER void derive_point(const L layout, const Coordinates<T>& at, int64_t i,
                                       int64_t point, int group, T* sample_grads) {
        const int axes = plan_.field.axes;
        T by_axis[kMaxAxes] = {};
        for_widths<T>(layout.channels(), [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            Vec<T, W> sums[kMaxAxes];
            for (int axis = 0; axis < axes; ++axis) sums[axis] = Vec<T, W>{};
            for (int level = 0; level < plan_.field.levels; ++level) {
                const int64_t row = point * plan_.field.levels + level;
                const T* upstream = grad_features_ + row * layout.channels();
                T* out = sample_grads + level * layout.grids() * kBlock * layout.channels();
                derive_level<L, W>(layout, plan_.level(level), at, i, begin, end, upstream,
                                   group * plan_.group_stride, out, sums);
            }
            for (int axis = 0; axis < axes; ++axis) by_axis[axis] += lane_sum<T, W>(sums[axis]);
        });
        for (int axis = 0; axis < axes; ++axis) grad_points_[point * axes + axis] = by_axis[axis];
    }

    template <class L, int W>
    FF_INLINE_MEMBER void derive_level(const L layout, const Sampled<T>* level,
                                       const Coordinates<T>& at, int64_t i, int begin, int end,
                                       const T* upstream, int64_t group_offset, T* out,
                                       Vec<T, W>* sums) {
        using V = Vec<T, W>;
        const int grids = layout.grids(), planes = layout.planes();
        Tap<T> taps[L::kMostPlanes];
        place_taps(level, at, i, planes, grids, taps);
        V by_col[L::kMostPlanes], by_row[L::kMostPlanes];
        FF_UNROLL
        for (int p = 0; p < planes; ++p) by_col[p] = by_row[p] = V{};
        for (int c = begin; c < end; c += W) {
            Sample<V> samples[L::kMostPlanes];
            V before[L::kMostPlanes];  // upstream gradient times the samples of planes before
            V running = load<T, W>(upstream + c);
            FF_UNROLL
            for (int p = 0; p < planes; ++p) {
                samples[p] = p < grids ? sample_grid<T, W>(taps[p], c)
                                       : sample_line<T, W>(taps[p], c);
                before[p] = running;
                running *= samples[p].value;
            }
            V after = V{} + T(1);
            FF_UNROLL
            for (int p = planes - 1; p >= 0; --p) {
                const V grad = before[p] * after;
                after *= samples[p].value;
                by_col[p] += grad * samples[p].by_col;
                if (p < grids) {
                    by_row[p] += grad * samples[p].by_row;
                    store<T, W>(out + p * kBlock * layout.channels() + c, grad);
                } else if (level[p].grad) {
                    const int64_t offset = taps[p].node - level[p].values + group_offset + c;
                    T* node = level[p].grad + offset;
                    add<W>(node, (1 - taps[p].col_frac) * grad);
                    add<W>(node + taps[p].col_step, taps[p].col_frac * grad);
                }
            }
        }
        FF_UNROLL
        for (int p = 0; p < planes; ++p) {
            sums[taps[p].col_axis] += by_col[p] * taps[p].col_slope;
            if (p < grids) sums[taps[p].row_axis] += by_row[p] * taps[p].row_slope;
        }
    }

    // Task: one band of one grid; a band is every bands_-th row.
    template <class L>
    void scatter(const L layout, int64_t block_index, int64_t task) {
        const int64_t index = task / bands_;
        const int32_t band = static_cast<int32_t>(task % bands_);
        const Sampled<T>& plane = plan_.level(index / plan_.grids)[index % plan_.grids];
        if (!plane.grad) return;
        const Block<T> block = scratch_.block(block_index);
        const int64_t count = block_size(block_index), stride = block.at.stride;
        const int32_t* col = block.at.cell + plane.col_slot * stride;
        const int32_t* row = block.at.cell + plane.row_slot * stride;
        const T* col_frac = block.at.frac + plane.col_slot * stride;
        const T* row_frac = block.at.frac + plane.row_slot * stride;
        const T* grads = block.sample_grads + index * kBlock * layout.channels();
        // A plane of one row keeps the upper neighbour, which is the same row, in the same band.
        const int32_t next = plane.row_step != 0;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t soon = min_of(i + kAhead, count - 1);
            const T* later = plane.grad + col[soon] * plane.col_step + row[soon] * plane.row_step;
            prefetch_row(later, 2 * layout.channels());
            prefetch_row(later + plane.row_step, 2 * layout.channels());
            T* node = plane.grad + col[i] * plane.col_step + row[i] * plane.row_step;
            const T* grad = grads + i * layout.channels();
            if (in_band(row[i], band)) {
                add_pair(layout, node, plane.col_step, grad, col_frac[i], 1 - row_frac[i]);
            }
            if (in_band(row[i] + next, band)) {
                node += plane.row_step;
                add_pair(layout, node, plane.col_step, grad, col_frac[i], row_frac[i]);
            }
        }
    }

    bool in_band(int32_t row, int32_t band) const { return (row & (bands_ - 1)) == band; }

    template <class L>
    FF_INLINE_MEMBER void add_pair(const L layout, T* node, int64_t col_step, const T* grad,
                                   T col_frac, T scale) {
        const T left = (1 - col_frac) * scale, right = col_frac * scale;
        for_widths<T>(layout.channels(), [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            for (int c = begin; c < end; c += W) {
                const Vec<T, W> g = load<T, W>(grad + c);
                add<W>(node + c, left * g);
                add<W>(node + col_step + c, right * g);
            }
        });
    }

    template <int W>
    FF_INLINE_MEMBER static void add(T* to, Vec<T, W> what) {
        store<T, W>(to, load<T, W>(to) + what);
    }

    const FieldPlan<T>& plan_;
    const LookupScratch<T>& scratch_;
    const T* points_;
    const int64_t n_;
    const T* grad_features_;
    T* grad_points_;
    const int64_t all_grids_;
    int32_t bands_ = 1;  // a power of two, so that many threads find a task each
};

template <class T>
int lookup_backward(const Field* field, const T* points, int64_t n, const T* grad_features,
                    T* grad_points, int threads) {
    const FieldPlan<T> plan(*field, kGroups);
    if (!plan.ok()) return 1;
    const LookupScratch<T> scratch(plan, n);
    if (!scratch.ok()) return 1;
    LookupBackward<T> work(plan, scratch, points, n, grad_features, grad_points, threads);
    fused_fields::run_stages(work, work.stages(), threads);
    for (int level = 0; level < field->levels; ++level) {
        for (int p = plan.grids; p < field->planes_per_level; ++p) {
            plan.spread_line_grad(plan.level(level)[p]);
        }
    }
    return 0;
}

}  // namespace
