// Backward pass of plane_lookup.h, with the same bits for any number of threads.
//
// Points are sorted and go in blocks through two kinds of lanes. "Derive" recomputes the samples
// of a group of the block's points, gives the points their gradients, adds to the lines in the
// group's own sums, and writes the gradient of every grid sample. "Scatter" adds those to the
// nodes of one grid, in the order of the points. So a node, and a sum, is only ever written by one
// lane, in one order. A block's memory stays small enough for the caches. Points whose features have
// no gradient are left out.
#pragma once
#include "plane_lookup.h"
#include "point_order.h"

namespace {

constexpr int kGroups = 8;  // derive lanes
constexpr int64_t kGroupPoints = 64;
constexpr int64_t kBlock = kGroups * kGroupPoints;
constexpr int kSlots = 3;  // blocks under way at once
constexpr int64_t kMostUnordered = 1 << 17;  // numbers of planes that a cache holds in any order

// What derive lanes leave for scatter lanes.
template <class T>
struct Block {
    Taps<T>* taps;    // kBlock / kRun x levels x planes
    T* sample_grads;  // levels x grids x kBlock x channels
};

// Scratch memory of a call.
template <class T>
struct LookupScratch {
    LookupScratch(const FieldPlan<T>& plan, int64_t n)
        : runs(kBlock / kRun * plan.total),
          grads(int64_t{plan.field.levels} * plan.grids * kBlock * plan.field.channels),
          keys(n), starts(kOrderKeys + 1), order(n), taps(kSlots * runs),
          sample_grads(kSlots * grads) {}

    bool ok() const {
        return keys.get() && starts.get() && order.get() && taps.get() && sample_grads.get();
    }
    Block<T> block(int64_t index) const {
        const int64_t k = index % kSlots;
        return {taps.get() + k * runs, sample_grads.get() + k * grads};
    }

    const int64_t runs, grads;  // of one block
    Buffer<int32_t> keys, starts, order;
    Buffer<Taps<T>> taps;
    Buffer<T> sample_grads;
};

template <class T, class L>
class LookupBackward final : public fused_fields::BeltWork {
  public:
    LookupBackward(const FieldPlan<T>& plan, const L layout, const LookupScratch<T>& scratch,
                   const T* points, int64_t n, const T* grad_features, T* grad_points, int threads)
        : plan_(plan), layout_(layout), scratch_(scratch), points_(points), n_(n),
          grad_features_(grad_features), grad_points_(grad_points) {
        const int grids = plan.field.levels * plan.grids, channels = plan.field.channels;
        const int vectors = (channels + kLanes<T> - 1) / kLanes<T>;
        int cuts = 1;
        while (cuts < vectors && grids * cuts < 2 * threads) cuts *= 2;
        band_ = (vectors + cuts - 1) / cuts * kLanes<T>;
        bands_ = (channels + band_ - 1) / band_;
        makers = kGroups;
        users = grids * bands_;
        slots = kSlots;
        loads = n > 0 ? (n + kBlock - 1) / kBlock : 1;
    }

    // Derives one group of a block.
    void make(int group, int64_t block_index) override {
        const Block<T> block = scratch_.block(block_index);
        const int32_t* order = scratch_.order.get() + block_index * kBlock;
        const int64_t begin = group * kGroupPoints;
        const int64_t end = min_of(begin + kGroupPoints, block_size(block_index));
        for (int64_t first = begin; first < end; first += kRun) {
            Taps<T>* taps = block.taps + first / kRun * plan_.total;
            T* sample_grads = block.sample_grads + first * layout_.channels();
            const int64_t count = min_of<int64_t>(kRun, end - first);
            derive_run(order + first, count, group, taps, sample_grads);
        }
    }

    // Scatters one band of the channels of one grid.
    void use(int lane, int64_t block_index) override {
        const int index = lane / bands_, p = index % plan_.grids;
        const int level = index / plan_.grids;
        const Sampled<T>& plane = plan_.level(level)[p];
        if (!plane.grad) return;
        const int begin = lane % bands_ * band_;
        const int channels = min_of(band_, layout_.channels() - begin);
        if (block_index == 0) clear(plane, begin, channels);
        const Block<T> block = scratch_.block(block_index);
        const Taps<T>* taps = block.taps + level * layout_.planes() + p;
        const T* grad = block.sample_grads + index * kBlock * layout_.channels() + begin;
        const int64_t end = block_size(block_index), col_step = layout_.col_step(plane);
        for (int64_t first = 0; first < end; first += kRun, taps += plan_.total) {
            const int64_t count = min_of<int64_t>(kRun, end - first);
            for (int64_t i = 0; i < count; ++i, grad += layout_.channels()) {
                add_cell(channels, plane.grad + taps->node[i] + begin, col_step, plane.row_step,
                         grad, taps->col_frac[i], taps->row_frac[i]);
            }
        }
    }

  private:
    int64_t block_size(int64_t block) const { return min_of(kBlock, n_ - block * kBlock); }

    void derive_run(const int32_t* order, int64_t count, int group, Taps<T>* taps,
                    T* sample_grads) {
        const int levels = plan_.field.levels, channels = layout_.channels();
        T columns[kMaxAxes * kRun] = {};
        gather_columns(points_, layout_.axes(), count,
                       [order](int64_t i) { return int64_t{order[i]}; }, columns);
        for (int level = 0; level < levels; ++level) {
            fill_taps(plan_.level(level), layout_.planes(), columns,
                      taps + level * layout_.planes());
        }
        for (int64_t i = 0; i < count; ++i) {
            const int64_t soon = min_of(i + kAhead, count - 1);
            prefetch_row(grad_features_ + order[soon] * plan_.field.feature_step,
                         levels * channels);
            for (int level = 0; level < levels; ++level) {
                prefetch_nodes(plan_.level(level), taps + level * layout_.planes(), soon,
                               layout_.grids(), channels);
            }
            derive_point(taps, i, order[i], group, sample_grads + i * channels);
        }
    }

    SIMD_MEMBER void derive_point(const Taps<T>* taps, int64_t i, int64_t point, int group,
                                       T* sample_grads) {
        const int levels = plan_.field.levels, axes = layout_.axes();
        const int channels = layout_.channels();
        T by_axis[L::kMostAxes] = {};
        for_widths<T>(channels, [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            Vec<T, W> sums[L::kMostAxes] = {};
            for (int level = 0; level < levels; ++level) {
                const T* upstream = grad_features_ + point * plan_.field.feature_step +
                                    level * channels;
                T* out = sample_grads + level * layout_.grids() * kBlock * channels;
                derive_level<W>(plan_.level(level), taps + level * layout_.planes(), i, begin, end,
                                upstream, group * plan_.group_stride, out, sums);
            }
            for (int axis = 0; axis < axes; ++axis) by_axis[axis] += lane_sum<T, W>(sums[axis]);
        });
        for (int axis = 0; axis < axes; ++axis) grad_points_[point * axes + axis] = by_axis[axis];
    }

    template <int W>
    SIMD_MEMBER void derive_level(const Sampled<T>* level, const Taps<T>* taps, int64_t i,
                                       int begin, int end, const T* upstream, int64_t group_offset,
                                       T* out, Vec<T, W>* sums) {
        using V = Vec<T, W>;
        const int grids = layout_.grids(), planes = layout_.planes();
        V by_col[L::kMostPlanes], by_row[L::kMostPlanes];
        SIMD_UNROLL
        for (int p = 0; p < planes; ++p) by_col[p] = by_row[p] = V{};
        for (int c = begin; c < end; c += W) {
            Sample<V> samples[L::kMostPlanes];
            V before[L::kMostPlanes];  // upstream gradient times the samples of planes before
            V running = load<T, W>(upstream + c);
            SIMD_UNROLL
            for (int p = 0; p < planes; ++p) {
                samples[p] = sample<T, W>(layout_, level, taps, p, i, c);
                before[p] = running;
                running *= samples[p].value;
            }
            V after = V{} + T(1);
            SIMD_UNROLL
            for (int p = planes - 1; p >= 0; --p) {
                const V grad = before[p] * after;
                after *= samples[p].value;
                by_col[p] += grad * samples[p].by_col;
                if (p < grids) {
                    by_row[p] += grad * samples[p].by_row;
                    store<T, W>(out + p * kBlock * layout_.channels() + c, grad);
                } else {
                    T* node = level[p].grad + group_offset + taps[p].node[i] + c;
                    const T col_frac = taps[p].col_frac[i];
                    add<W>(node, (1 - col_frac) * grad);
                    add<W>(node + layout_.col_step(level[p]), col_frac * grad);
                }
            }
        }
        SIMD_UNROLL
        for (int p = 0; p < planes; ++p) {
            sums[layout_.col_axis(level, p)] += by_col[p] * taps[p].col_slope[i];
            if (p >= grids) continue;
            sums[layout_.row_axis(level, p)] += by_row[p] * taps[p].row_slope[i];
        }
    }

    // Zeros in some channels of all nodes of a grid.
    void clear(const Sampled<T>& plane, int begin, int channels) const {
        const int64_t nodes = int64_t{plane.source->rows} * plane.source->cols;
        const int all = plan_.field.channels;
        if (channels == all) {
            std::memset(plane.grad, 0, sizeof(T) * nodes * all);
            return;
        }
        for (int64_t node = 0; node < nodes; ++node) {
            std::memset(plane.grad + node * all + begin, 0, sizeof(T) * channels);
        }
    }

    SIMD_MEMBER void add_cell(int channels, T* node, int64_t col_step, int64_t row_step,
                                   const T* grad, T col_frac, T row_frac) {
        T* next = node + row_step;
        const T low = 1 - row_frac, left = 1 - col_frac;
        for_widths<T>(channels, [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            for (int c = begin; c < end; c += W) {
                const Vec<T, W> g = load<T, W>(grad + c);
                add<W>(node + c, left * low * g);
                add<W>(node + col_step + c, col_frac * low * g);
                add<W>(next + c, left * row_frac * g);
                add<W>(next + col_step + c, col_frac * row_frac * g);
            }
        });
    }

    template <int W>
    SIMD_MEMBER static void add(T* to, Vec<T, W> what) {
        store<T, W>(to, load<T, W>(to) + what);
    }

    const FieldPlan<T>& plan_;
    const L layout_;
    const LookupScratch<T>& scratch_;
    const T* points_;
    const int64_t n_;
    const T* grad_features_;
    T* grad_points_;
    int bands_, band_;  // the channels in cuts of band_, so that many threads find a lane each
};

// Whether one of them is not zero.
template <class T>
bool any_number(const T* numbers, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        if (numbers[i] != 0) return true;
    }
    return false;
}

// All planes of a field together.
inline static int64_t numbers_of(const Field& field) {
    int64_t numbers = 0;
    for (int k = 0; k < field.levels * field.planes_per_level; ++k) {
        numbers += int64_t{field.planes[k].rows} * field.planes[k].cols * field.channels;
    }
    return numbers;
}

template <class T>
int lookup_backward(const Field* field, const T* points, int64_t n, const T* grad_features,
                    T* grad_points, int threads) {
    const FieldPlan<T> plan(*field, kGroups);
    if (!plan.ok()) return 1;
    const LookupScratch<T> scratch(plan, n);
    if (!scratch.ok()) return 1;
    const int64_t width = int64_t{field->levels} * field->channels, step = field->feature_step;
    const auto told = [&](int64_t i) { return any_number(grad_features + i * step, width); };
    if (n > 0) std::memset(grad_points, 0, sizeof(T) * n * field->axes);
    n = numbers_of(*field) <= kMostUnordered
            ? list_points(n, told, scratch.order.get())
            : order_points(points, n, field->axes, told, scratch.keys.get(), scratch.starts.get(),
                           scratch.order.get());
    with_layout(plan, [&](auto layout) {
        LookupBackward<T, decltype(layout)> work(plan, layout, scratch, points, n, grad_features,
                                                 grad_points, threads);
        fused_fields::run_belt(work, threads);
        return 0;
    });
    for (int level = 0; level < field->levels; ++level) {
        for (int p = plan.grids; p < field->planes_per_level; ++p) {
            plan.spread_line_grad(plan.level(level)[p]);
        }
    }
    return 0;
}

}  // namespace
