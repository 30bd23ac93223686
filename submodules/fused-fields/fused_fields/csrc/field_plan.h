// What a lookup knows before it sees a point: strides, which coordinates to compute, time rows.
#pragma once
#include <cstring>

#include "api.h"
#include "buffer.h"
#include "simd.h"

namespace {

using fused_fields::Field;
using fused_fields::FieldPlane;

constexpr int kMaxPlanes = 8;  // per level; checked by the caller in Python

// A coordinate in cells of an axis with n nodes. Planes with equal axis and size share a slot.
struct Slot {
    int32_t axis, nodes;
};

// A plane as points meet it: a grid, or a line when the shared time has cut it to one row.
template <class T>
struct Sampled {
    const T* values;
    T* grad;
    int64_t col_step, row_step;  // to the next node, in elements; 0 along an axis of one node
    int32_t col_slot, row_slot;  // row_slot -1: a line
    int32_t rows;
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
          slots_(2 * total), lines_((1 + groups) * group_stride) {
        if (!ok()) return;
        std::memset(lines_.get(), 0, sizeof(T) * (1 + groups) * group_stride);
        int placed = 0;
        T* line = lines_.get();
        for (int level = 0; level < field.levels; ++level) {
            grids = lines = 0;
            for (int p = 0; p < field.planes_per_level; ++p) {
                const FieldPlane& plane = field.planes[level * field.planes_per_level + p];
                if (plane.row_axis >= 0) planes_.get()[placed + grids++] = as_grid(plane);
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

    bool ok() const { return planes_.get() && slots_.get() && lines_.get(); }
    const Sampled<T>* level(int index) const {
        return planes_.get() + static_cast<int64_t>(index) * field.planes_per_level;
    }
    const Slot& slot(int index) const { return slots_.get()[index]; }

    // Adds up the groups' gradients of a line, and spreads them over the two time rows of it.
    void spread_line_grad(const Sampled<T>& line) const {
        if (!line.grad) return;
        const TimeRows<T> at = time_rows<T>(field.time, *line.source, field.channels);
        T* grad = static_cast<T*>(line.source->grad);
        const int64_t length = static_cast<int64_t>(line.source->cols) * field.channels;
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
    int slots = 0;
    int grids = 0, lines = 0;  // per level, the same in each; grids come first

  private:
    static int64_t count_line_values(const Field& field) {
        int64_t count = 0;
        for (int p = 0; p < field.levels * field.planes_per_level; ++p) {
            if (field.planes[p].row_axis < 0) count += field.planes[p].cols;
        }
        return count * field.channels;
    }

    int32_t slot_of(int32_t axis, int32_t nodes) {
        for (int s = 0; s < slots; ++s) {
            if (slot(s).axis == axis && slot(s).nodes == nodes) return s;
        }
        slots_.get()[slots] = {axis, nodes};
        return slots++;
    }

    Sampled<T> as_grid(const FieldPlane& plane) {
        const int64_t channels = field.channels;
        return {static_cast<const T*>(plane.values), static_cast<T*>(plane.grad),
                plane.cols > 1 ? channels : 0, plane.rows > 1 ? plane.cols * channels : 0,
                slot_of(plane.col_axis, plane.cols), slot_of(plane.row_axis, plane.rows),
                plane.rows, &plane};
    }

    Sampled<T> as_line(const FieldPlane& plane, T* line) {
        const TimeRows<T> at = time_rows<T>(field.time, plane, field.channels);
        const T* values = static_cast<const T*>(plane.values);
        const int64_t length = static_cast<int64_t>(plane.cols) * field.channels;
        for (int64_t i = 0; i < length; ++i) {
            const T start = values[at.first + i];
            line[i] = start + at.frac * (values[at.second + i] - start);
        }
        return {line, plane.grad && groups_ ? line + group_stride : nullptr,
                plane.cols > 1 ? field.channels : 0, 0,
                slot_of(plane.col_axis, plane.cols), -1, plane.cols, &plane};
    }

    const int groups_;
    Buffer<Sampled<T>> planes_;
    Buffer<Slot> slots_;
    Buffer<T> lines_;
};

// Cell, fraction inside it and its derivative to the coordinate, for every slot of some points.
template <class T>
struct Coordinates {
    int32_t* cell;
    T* frac;
    T* slope;        // 0 where the coordinate is clamped to the border
    int64_t stride;  // between slots
};

// A NaN coordinate takes cell 0 and fraction NaN: no read out of bounds, and NaN features.
template <class T>
void fill_coordinates(const FieldPlan<T>& plan, const T* points, int64_t count,
                      Coordinates<T> out) {
    const int axes = plan.field.axes;
    for (int s = 0; s < plan.slots; ++s) {
        const T* column = points + plan.slot(s).axis;
        const int32_t nodes = plan.slot(s).nodes, last_cell = nodes > 1 ? nodes - 2 : 0;
        const T last = static_cast<T>(nodes - 1), half = last / 2;
        int32_t* cell = out.cell + s * out.stride;
        T* frac = out.frac + s * out.stride;
        T* slope = out.slope + s * out.stride;
        for (int64_t i = 0; i < count; ++i) {
            const T x = column[i * axes], u = (x + 1) * half;
            const T inside = u > 0 ? (u < last ? u : last) : 0;
            const int32_t c = min_of(static_cast<int32_t>(inside), last_cell);
            cell[i] = c;
            frac[i] = x == x ? inside - static_cast<T>(c) : x;
            slope[i] = u > 0 && u < last ? half : 0;
        }
    }
}

}  // namespace
