// Features of plane fields: bilinear samples, multiplied over the planes of a level.
//
// Points are independent: a task is a run of points.
#pragma once
#include "field_plan.h"
#include "parallel.h"

namespace {

using fused_fields::StagedWork;

constexpr int64_t kForwardChunk = 256;
constexpr int64_t kAhead = 4;  // points between asking for memory and using it

template <class T>
FF_INLINE void prefetch_row(const T* row, int64_t count) {
    constexpr int64_t kLine = 64 / sizeof(T);
    for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(row + i);
}

// Where one point falls on one plane.
template <class T>
struct Tap {
    const T* node;  // lower corner of the cell
    int64_t col_step, row_step;
    T col_frac, row_frac, col_slope, row_slope;
    int32_t col_axis, row_axis;
};

template <class T>
FF_INLINE void place_taps(const Sampled<T>* level, const Coordinates<T>& at, int64_t i, int planes,
                          int grids, Tap<T>* taps) {
    FF_UNROLL
    for (int p = 0; p < planes; ++p) {
        const Sampled<T>& plane = level[p];
        const int64_t col = plane.col_slot * at.stride + i;
        Tap<T>& tap = taps[p];
        tap.node = plane.values + at.cell[col] * plane.col_step;
        tap.col_step = plane.col_step;
        tap.col_frac = at.frac[col];
        tap.col_slope = at.slope[col];
        tap.col_axis = plane.source->col_axis;
        if (p >= grids) continue;
        const int64_t row = plane.row_slot * at.stride + i;
        tap.node += at.cell[row] * plane.row_step;
        tap.row_step = plane.row_step;
        tap.row_frac = at.frac[row];
        tap.row_slope = at.slope[row];
        tap.row_axis = plane.source->row_axis;
    }
}

// Asks for the nodes that a point will read from the grids of a level: points jump about in planes
// larger than a cache, and one point's work is too long for the processor to look past it.
template <class T>
FF_INLINE void prefetch_nodes(const Sampled<T>* level, const Coordinates<T>& at, int64_t i,
                              int grids, int channels) {
    for (int p = 0; p < grids; ++p) {
        const Sampled<T>& plane = level[p];
        const T* node = plane.values + at.cell[plane.col_slot * at.stride + i] * plane.col_step +
                        at.cell[plane.row_slot * at.stride + i] * plane.row_step;
        prefetch_row(node, 2 * channels);  // a cell's two columns lie side by side
        prefetch_row(node + plane.row_step, 2 * channels);
    }
}

// A sample and its derivatives to the two fractions.
template <class V>
struct Sample {
    V value, by_col, by_row;
};

template <class T, int W>
FF_INLINE Sample<Vec<T, W>> sample_line(const Tap<T>& tap, int c) {
    const Vec<T, W> start = load<T, W>(tap.node + c);
    const Vec<T, W> by_col = load<T, W>(tap.node + tap.col_step + c) - start;
    return {start + tap.col_frac * by_col, by_col, by_col};
}

template <class T, int W>
FF_INLINE Sample<Vec<T, W>> sample_grid(const Tap<T>& tap, int c) {
    using V = Vec<T, W>;
    const T* next = tap.node + tap.row_step;
    const V low = load<T, W>(tap.node + c), high = load<T, W>(next + c);
    const V low_by_col = load<T, W>(tap.node + tap.col_step + c) - low;
    const V high_by_col = load<T, W>(next + tap.col_step + c) - high;
    const V low_mix = low + tap.col_frac * low_by_col;
    const V by_row = high + tap.col_frac * high_by_col - low_mix;
    return {low_mix + tap.row_frac * by_row,
            low_by_col + tap.row_frac * (high_by_col - low_by_col), by_row};
}

// Plane counts and channels of a level, known to the compiler for the usual fields, so that loops
// over planes and channels unroll and samples stay in registers; -1: known at run time only.
template <int Grids, int Lines, int Channels>
struct Layout {
    static constexpr bool kFixed = Grids >= 0;
    static constexpr int kMostPlanes = kFixed ? Grids + Lines : kMaxPlanes;

    template <class T>
    explicit Layout(const FieldPlan<T>& plan)
        : grids_(plan.grids), lines_(plan.lines), channels_(plan.field.channels) {}

    int grids() const { return kFixed ? Grids : grids_; }
    int planes() const { return kFixed ? Grids + Lines : grids_ + lines_; }
    int channels() const { return kFixed ? Channels : channels_; }

  private:
    int grids_, lines_, channels_;
};

// HexPlane with shared time or with a time per point, tri-plane; otherwise anything.
template <class T, class Run>
void with_layout(const FieldPlan<T>& plan, Run run) {
    const auto is = [&](int grids, int lines, int channels) {
        return plan.grids == grids && plan.lines == lines && plan.field.channels == channels;
    };
    if constexpr (sizeof(T) == sizeof(float)) {  // double is for tests: no code for its speed
        if (is(3, 3, 32)) return run(Layout<3, 3, 32>(plan));
        if (is(3, 3, 16)) return run(Layout<3, 3, 16>(plan));
        if (is(6, 0, 32)) return run(Layout<6, 0, 32>(plan));
        if (is(3, 0, 32)) return run(Layout<3, 0, 32>(plan));
        if (is(3, 0, 8)) return run(Layout<3, 0, 8>(plan));
    }
    run(Layout<-1, -1, -1>(plan));
}

template <class T>
class LookupForward final : public StagedWork {
  public:
    LookupForward(const FieldPlan<T>& plan, const T* points, int64_t n, T* features,
                  Coordinates<T> at)
        : plan_(plan), points_(points), n_(n), features_(features), at_(at) {}

    int64_t tasks(int64_t) const override { return (n_ + kForwardChunk - 1) / kForwardChunk; }

    void run(int64_t, int64_t task) override {
        const int64_t first = task * kForwardChunk;
        const int64_t count = min_of(kForwardChunk, n_ - first);
        const Coordinates<T> at = {at_.cell + first, at_.frac + first, at_.slope + first,
                                   at_.stride};
        fill_coordinates(plan_, points_ + first * plan_.field.axes, count, at);
        with_layout(plan_, [&](auto layout) {
            for (int64_t i = 0; i < count; ++i) {
                const int64_t soon = min_of(i + kAhead, count - 1);
                for (int level = 0; level < plan_.field.levels; ++level) {
                    prefetch_nodes(plan_.level(level), at, soon, layout.grids(), layout.channels());
                }
                one_point(layout, at, i, first + i);
            }
        });
    }

  private:
    template <class L>
    FF_INLINE_MEMBER void one_point(const L layout, const Coordinates<T>& at, int64_t i,
                                    int64_t point) {
        const int grids = layout.grids(), planes = layout.planes(), channels = layout.channels();
        const int levels = plan_.field.levels;
        Tap<T> taps[L::kMostPlanes];
        for (int level = 0; level < levels; ++level) {
            place_taps(plan_.level(level), at, i, planes, grids, taps);
            T* out = features_ + (point * levels + level) * channels;
            for_widths<T>(channels, [&](auto width, int begin, int end) {
                constexpr int W = decltype(width)::value;
                for (int c = begin; c < end; c += W) {
                    Vec<T, W> product = Vec<T, W>{} + T(1);
                    FF_UNROLL
                    for (int p = 0; p < grids; ++p) product *= sample_grid<T, W>(taps[p], c).value;
                    FF_UNROLL
                    for (int p = grids; p < planes; ++p) {
                        product *= sample_line<T, W>(taps[p], c).value;
                    }
                    store<T, W>(out + c, product);
                }
            });
        }
    }

    const FieldPlan<T>& plan_;
    const T* points_;
    const int64_t n_;
    T* features_;
    const Coordinates<T> at_;
};

template <class T>
int lookup_forward(const Field* field, const T* points, int64_t n, T* features, int threads) {
    const FieldPlan<T> plan(*field, 0);
    if (!plan.ok()) return 1;
    Buffer<int32_t> cell(n * plan.slots);
    Buffer<T> frac(n * plan.slots), slope(n * plan.slots);
    if (!cell.get() || !frac.get() || !slope.get()) return 1;
    LookupForward<T> work(plan, points, n, features, {cell.get(), frac.get(), slope.get(), n});
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

}  // namespace
