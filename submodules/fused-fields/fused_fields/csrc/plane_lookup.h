// Features of plane fields: bilinear samples, multiplied over the planes of a level.
//
// Points are independent: a task is a run of points.
#pragma once
#include "field_plan.h"
#include "parallel.h"

namespace {

using fused_fields::StagedWork;

constexpr int64_t kForwardChunk = 256;
constexpr int kMaxAxes = 8;  // columns of `points`; checked by the caller in Python
constexpr int64_t kAhead = 4;  // points between asking for memory and using it

template <class T>
SIMD_FN void prefetch_row(const T* row, int64_t count) {
    constexpr int64_t kLine = 64 / sizeof(T);
    for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(row + i);
}

// Asks for the nodes that a point will read from the grids of a level: points jump about in planes
// larger than a cache, and one point's work is too long for the processor to look past it.
template <class T>
SIMD_FN void prefetch_nodes(const Sampled<T>* level, const Taps<T>* taps, int64_t i, int grids,
                              int channels) {
    SIMD_UNROLL
    for (int p = 0; p < grids; ++p) {
        const T* node = level[p].values + taps[p].node[i];
        prefetch_row(node, 2 * channels);  // a cell's two columns lie side by side
        prefetch_row(node + level[p].row_step, 2 * channels);
    }
}

// A sample and its derivatives to the two fractions.
template <class V>
struct Sample {
    V value, by_col, by_row;
};

template <class T, int W>
SIMD_FN Sample<Vec<T, W>> sample_line(const T* node, int64_t col_step, T col_frac) {
    const Vec<T, W> start = load<T, W>(node);
    const Vec<T, W> by_col = load<T, W>(node + col_step) - start;
    return {start + col_frac * by_col, by_col, by_col};
}

template <class T, int W>
SIMD_FN Sample<Vec<T, W>> sample_grid(const T* node, int64_t col_step, int64_t row_step,
                                        T col_frac, T row_frac) {
    using V = Vec<T, W>;
    const T* next = node + row_step;
    const V low = load<T, W>(node), high = load<T, W>(next);
    const V low_by_col = load<T, W>(node + col_step) - low;
    const V high_by_col = load<T, W>(next + col_step) - high;
    const V low_mix = low + col_frac * low_by_col;
    const V by_row = high + col_frac * high_by_col - low_mix;
    return {low_mix + row_frac * by_row, low_by_col + row_frac * (high_by_col - low_by_col),
            by_row};
}

// The axes of the grids of usual fields: all pairs of three or four axes.
template <int Grids>
struct Pairs {
    static constexpr int kAxes = kMaxAxes, kCol[] = {0}, kRow[] = {0};  // known at run time only
};
template <>
struct Pairs<3> {
    static constexpr int kAxes = 3, kCol[] = {0, 0, 1}, kRow[] = {1, 2, 2};
};
template <>
struct Pairs<6> {
    static constexpr int kAxes = 4, kCol[] = {0, 0, 0, 1, 1, 2}, kRow[] = {1, 2, 3, 2, 3, 3};
};

// What the compiler knows about the planes of a level, for the usual fields: loops over planes and
// channels then unroll, and samples and sums stay in registers. `Grids` planes of two axes, then
// as many lines as axes or none; -1: known at run time only.
template <int Grids, int Lines, int Channels>
class Layout {
  public:
    static constexpr bool kFixed = Grids >= 0;
    static constexpr int kMostPlanes = kFixed ? Grids + Lines : kMaxPlanes;
    static constexpr int kMostAxes = Pairs<Grids>::kAxes;

    template <class T>
    explicit Layout(const FieldPlan<T>& plan)
        : grids_(plan.grids), lines_(plan.lines), channels_(plan.field.channels),
          axes_(plan.field.axes) {}

    int grids() const { return kFixed ? Grids : grids_; }
    int planes() const { return kFixed ? Grids + Lines : grids_ + lines_; }
    int channels() const { return kFixed ? Channels : channels_; }
    int axes() const { return kFixed ? kMostAxes : axes_; }
    template <class T>
    int col_axis(const Sampled<T>* level, int p) const {
        if constexpr (kFixed) return p < Grids ? Pairs<Grids>::kCol[p] : p - Grids;
        return level[p].source->col_axis;
    }
    template <class T>
    int row_axis(const Sampled<T>* level, int p) const {
        if constexpr (kFixed) return Pairs<Grids>::kRow[p];
        return level[p].source->row_axis;
    }
    template <class T>
    int64_t col_step(const Sampled<T>& plane) const {
        return kFixed ? Channels : plane.col_step;
    }

    // Whether a field has this layout.
    template <class T>
    bool fits(const FieldPlan<T>& plan) const {
        bool same = plan.wide && plan.grids == Grids && plan.lines == Lines &&
                    plan.field.channels == Channels && plan.field.axes == kMostAxes;
        for (int p = 0; same && p < plan.total; ++p) {
            const FieldPlane& source = *plan.level(0)[p].source;
            const int k = p % planes();
            same = source.col_axis == col_axis(plan.level(0), k) &&
                   (k >= Grids || source.row_axis == row_axis(plan.level(0), k));
        }
        return same;
    }

  private:
    int grids_, lines_, channels_, axes_;
};

// Calls run(layout) with the first of these layouts that fits, and returns what it returns.
template <class T, class Run>
int with_layout(const FieldPlan<T>&, Run run, Layout<-1, -1, -1> any) {
    return run(any);
}
template <class T, class Run, class First, class... Rest>
int with_layout(const FieldPlan<T>& plan, Run run, First first, Rest... rest) {
    return first.fits(plan) ? run(first) : with_layout(plan, run, rest...);
}

// HexPlane with shared time or with a time per point, tri-plane; otherwise anything.
template <class T, class Run>
int with_layout(const FieldPlan<T>& plan, Run run) {
    const Layout<-1, -1, -1> any(plan);
    if constexpr (sizeof(T) > sizeof(float)) return run(any);  // for tests: no code for its speed
    return with_layout(plan, run, Layout<3, 3, 32>(plan), Layout<3, 3, 16>(plan),
                       Layout<6, 0, 32>(plan), Layout<3, 0, 32>(plan), Layout<3, 0, 8>(plan), any);
}

// The sample of plane p, channels c onwards, at point i of a run.
template <class T, int W, class L>
SIMD_FN Sample<Vec<T, W>> sample(const L layout, const Sampled<T>* level, const Taps<T>* taps,
                                   int p, int64_t i, int c) {
    const Sampled<T>& plane = level[p];
    const T* node = plane.values + taps[p].node[i] + c;
    const int64_t col_step = layout.col_step(plane);
    if (p >= layout.grids()) return sample_line<T, W>(node, col_step, taps[p].col_frac[i]);
    return sample_grid<T, W>(node, col_step, plane.row_step, taps[p].col_frac[i],
                             taps[p].row_frac[i]);
}

// Gathers the coordinates of up to kRun points, `index(i)` of `points`, one column per axis.
template <class T, class Index>
SIMD_FN void gather_columns(const T* points, int axes, int64_t count, Index index, T* columns) {
    for (int64_t i = 0; i < count; ++i) {
        for (int axis = 0; axis < axes; ++axis) {
            columns[axis * kRun + i] = points[index(i) * axes + axis];
        }
    }
}

template <class T, class L>
class LookupForward final : public StagedWork {
  public:
    LookupForward(const FieldPlan<T>& plan, const L layout, const T* points, int64_t n,
                  T* features)
        : plan_(plan), layout_(layout), points_(points), n_(n), features_(features) {}

    int64_t tasks(int64_t) const override { return (n_ + kForwardChunk - 1) / kForwardChunk; }

    void run(int64_t, int64_t task) override {
        const int64_t end = min_of((task + 1) * kForwardChunk, n_);
        for (int64_t first = task * kForwardChunk; first < end; first += kRun) {
            one_run(first, min_of<int64_t>(kRun, end - first));
        }
    }

  private:
    void one_run(int64_t first, int64_t count) {
        const int levels = plan_.field.levels, channels = layout_.channels();
        T columns[kMaxAxes * kRun] = {};
        gather_columns(points_, layout_.axes(), count, [&](int64_t i) { return first + i; },
                       columns);
        Taps<T> taps[L::kMostPlanes];
        for (int index = 0; index < levels; ++index) {
            const Sampled<T>* level = plan_.level(index);
            fill_taps(level, layout_.planes(), columns, taps);
            const int64_t step = plan_.field.feature_step;
            T* out = features_ + first * step + index * channels;
            for (int64_t i = 0; i < count; ++i, out += step) {
                const int64_t soon = min_of(i + kAhead, count - 1);
                prefetch_nodes(level, taps, soon, layout_.grids(), channels);
                one_point(level, taps, i, out);
            }
        }
    }

    SIMD_MEMBER void one_point(const Sampled<T>* level, const Taps<T>* taps, int64_t i,
                                    T* out) {
        const int planes = layout_.planes();
        for_widths<T>(layout_.channels(), [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            for (int c = begin; c < end; c += W) {
                Vec<T, W> product = Vec<T, W>{} + T(1);
                SIMD_UNROLL
                for (int p = 0; p < planes; ++p) {
                    product *= sample<T, W>(layout_, level, taps, p, i, c).value;
                }
                store<T, W>(out + c, product);
            }
        });
    }

    const FieldPlan<T>& plan_;
    const L layout_;
    const T* points_;
    const int64_t n_;
    T* features_;
};

template <class T>
int lookup_forward(const Field* field, const T* points, int64_t n, T* features, int threads) {
    const FieldPlan<T> plan(*field, 0);
    if (!plan.ok()) return 1;
    return with_layout(plan, [&](auto layout) {
        LookupForward<T, decltype(layout)> work(plan, layout, points, n, features);
        fused_fields::run_stages(work, 1, threads);
        return 0;
    });
}

}  // namespace
