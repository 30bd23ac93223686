// What a lookup knows before it sees a point: strides and time rows; and where points fall.
#pragma once
#include <cstring>

#include "api.h"
#include "buffer.h"
#include "vectors.h"

namespace {

using namespace simd;
using fused_fields::Field;
using fused_fields::FieldPlane;

constexpr int kMaxPlanes = 8;  // per level; checked by the caller in Python

// A plane as points meet it: a grid, or a line when the shared time has cut it to one row.
template <class T>
struct Sampled {
    const T* values;
    T* grad;
    int64_t col_step, row_step;  // to the next node, in elements; 0 along an axis of one node
    const FieldPlane* source;
};

// Position of the shared time in a plane: rows `first` and `second`, mixed by `frac`.
template <class T>
struct TimeRows {
    int64_t first, second;
    T frac;
};

template <class T>
TimeRows<T> time_rows(double time, const FieldPlane& plane, int channels) {
    const double last = plane.rows - 1;
    const double u = (time + 1) * 0.5 * last;
    const double inside = u > 0 ? (u < last ? u : last) : 0;
    int64_t row = static_cast<int64_t>(inside);
    if (row > plane.rows - 2) row = plane.rows > 1 ? plane.rows - 2 : 0;
    const int64_t length = static_cast<int64_t>(plane.cols) * channels;
    const double frac = u == u ? inside - static_cast<double>(row) : u;
    return {row * length, (row + (plane.rows > 1)) * length, static_cast<T>(frac)};
}

template <class T>
class FieldPlan {
  public:
    // `groups`: how many separate sums of the lines' gradients to keep.
    FieldPlan(const Field& field, int groups)
        : field(field), total(field.levels * field.planes_per_level),
          group_stride(count_line_values(field)), groups_(groups), planes_(total),
          lines_((1 + groups) * group_stride) {
        if (!ok()) return;
        std::memset(lines_.get(), 0, sizeof(T) * (1 + groups) * group_stride);
        int placed = 0;
        T* line = lines_.get();
        for (int level = 0; level < field.levels; ++level) {
            grids = lines = 0;
            for (int p = 0; p < field.planes_per_level; ++p) {
                const FieldPlane& plane = field.planes[level * field.planes_per_level + p];
                if (plane.row_axis >= 0) planes_.get()[placed + grids++] = as_grid(plane);
                wide = wide && plane.cols > 1;
            }
            for (int p = 0; p < field.planes_per_level; ++p) {
                const FieldPlane& plane = field.planes[level * field.planes_per_level + p];
                if (plane.row_axis >= 0) continue;
                planes_.get()[placed + grids + lines++] = as_line(plane, line);
                line += static_cast<int64_t>(plane.cols) * field.channels;
            }
            placed += field.planes_per_level;
        }
    }

    bool ok() const { return planes_.get() && lines_.get(); }
    const Sampled<T>* level(int index) const {
        return planes_.get() + static_cast<int64_t>(index) * field.planes_per_level;
    }

    // Adds up the groups' gradients of a line, and writes the plane's: its two time rows.
    void spread_line_grad(const Sampled<T>& line) const {
        if (!line.source->grad) return;
        const TimeRows<T> at = time_rows<T>(field.time, *line.source, field.channels);
        T* grad = static_cast<T*>(line.source->grad);
        const int64_t length = static_cast<int64_t>(line.source->cols) * field.channels;
        std::memset(grad, 0, sizeof(T) * length * line.source->rows);
        for (int group = 1; group < groups_; ++group) {
            const T* more = line.grad + group * group_stride;
            for (int64_t i = 0; i < length; ++i) line.grad[i] += more[i];
        }
        for (int64_t i = 0; i < length; ++i) grad[at.first + i] += (1 - at.frac) * line.grad[i];
        for (int64_t i = 0; i < length; ++i) grad[at.second + i] += at.frac * line.grad[i];
    }

    const Field& field;
    const int total;             // planes of all levels
    const int64_t group_stride;  // between the gradients of a line in two groups
    int grids = 0, lines = 0;  // per level, the same in each; grids come first
    bool wide = true;          // no axis of one node: a cell's two columns lie side by side

  private:
    static int64_t count_line_values(const Field& field) {
        int64_t count = 0;
        for (int p = 0; p < field.levels * field.planes_per_level; ++p) {
            if (field.planes[p].row_axis < 0) count += field.planes[p].cols;
        }
        return count * field.channels;
    }

    Sampled<T> as_grid(const FieldPlane& plane) {
        const int64_t channels = field.channels;
        return {static_cast<const T*>(plane.values), static_cast<T*>(plane.grad),
                plane.cols > 1 ? channels : 0, plane.rows > 1 ? plane.cols * channels : 0, &plane};
    }

    Sampled<T> as_line(const FieldPlane& plane, T* line) {
        const TimeRows<T> at = time_rows<T>(field.time, plane, field.channels);
        const T* values = static_cast<const T*>(plane.values);
        const int64_t length = static_cast<int64_t>(plane.cols) * field.channels;
        for (int64_t i = 0; i < length; ++i) {
            const T start = values[at.first + i];
            line[i] = start + at.frac * (values[at.second + i] - start);
        }
        return {line, groups_ ? line + group_stride : nullptr,
                plane.cols > 1 ? field.channels : 0, 0, &plane};
    }

    const int groups_;
    Buffer<Sampled<T>> planes_;
    Buffer<T> lines_;
};

// Where kRun points fall on one plane: an array per number, so that vectors fill them.
constexpr int kRun = 32;

template <class T>
struct Taps {
    int64_t node[kRun];  // lower corner of the cell, in elements
    T col_frac[kRun], row_frac[kRun];
    T col_slope[kRun], row_slope[kRun];  // d frac / d coordinate; 0 where clamped to the border
};

// A NaN coordinate takes cell 0 and fraction NaN: no read out of bounds, and NaN features.
template <class T>
SIMD_FN void place(const T* coordinate, int32_t nodes, int32_t* cell, T* frac, T* slope) {
    const int32_t last_cell = nodes > 1 ? nodes - 2 : 0;
    const T last = static_cast<T>(nodes - 1), half = last / 2;
    for (int i = 0; i < kRun; ++i) {
        const T x = coordinate[i], u = (x + 1) * half;
        const T inside = u > 0 ? (u < last ? u : last) : 0;
        cell[i] = min_of(static_cast<int32_t>(inside), last_cell);
        frac[i] = x == x ? inside - static_cast<T>(cell[i]) : x;
        slope[i] = u > 0 && u < last ? half : 0;
    }
}

// `columns`: one per axis of the points, kRun long each. Fills one Taps per plane of a level.
template <class T>
void fill_taps(const Sampled<T>* level, int planes, const T* columns, Taps<T>* taps) {
    int32_t col[kRun], row[kRun];
    for (int p = 0; p < planes; ++p) {
        const FieldPlane& source = *level[p].source;
        Taps<T>& out = taps[p];
        place(columns + source.col_axis * kRun, source.cols, col, out.col_frac, out.col_slope);
        for (int i = 0; i < kRun; ++i) out.node[i] = col[i] * level[p].col_step;
        if (source.row_axis < 0) continue;
        place(columns + source.row_axis * kRun, source.rows, row, out.row_frac, out.row_slope);
        for (int i = 0; i < kRun; ++i) out.node[i] += row[i] * level[p].row_step;
    }
}

}  // namespace
