// Features of plane fields: bilinear samples, multiplied over the planes of a level.
//
// LANES neighbouring lanes share a point and split its channels; each reads whole packs, so that a
// node is one or a few full memory transactions. The planes of a level are known to the compiler.
#pragma once
#include "block_sum.cuh"
#include "pack.cuh"

constexpr int kMostPlanes = 48;  // of one launch; MOST_PLANES in cuda/plane_lookup.py
constexpr int kPacks = CHANNELS / VECTOR;

// A plane rows x cols x CHANNELS, or the one row that the shared time has cut out of it.
struct Plane {
    const REAL* values;
    REAL* grad;
    int32_t rows, cols;
    int32_t col_axis, row_axis;  // columns of `points`; row_axis -1: one row, for the shared time
    int32_t first_cell;          // number of its first cell among those of all planes
    int32_t first_block;         // of lookup_gather
};

struct Field {
    Plane planes[kMostPlanes];  // level-major, PLANES per level
    int32_t levels, first_level;  // of this launch; row_size counts all levels
};

// A time plane and the row that the shared time mixes from two of its rows.
struct Line {
    REAL* plane;  // rows x length: values, or their gradients
    REAL* line;   // length
    int32_t length, rows;
    double frac;  // the line is the row `first`, and this much of the way to `second`
    int32_t first, second;
    int32_t first_block;
};

struct Lines {
    Line lines[kMostPlanes];
    int32_t count;
};

// Where a coordinate falls on an axis of `nodes` nodes: the cell, the fraction inside it, and the
// derivative of the fraction, which is 0 where the coordinate was clamped. A NaN takes cell 0 and
// fraction NaN: no read out of bounds, and NaN features.
struct Place {
    int32_t cell;
    REAL frac, slope;
};

__device__ inline Place place(REAL x, int32_t nodes) {
    const REAL last = static_cast<REAL>(nodes - 1), half = last / 2, u = (x + 1) * half;
    const REAL inside = u > 0 ? (u < last ? u : last) : REAL(0);
    const int32_t cell = max(min(static_cast<int32_t>(inside), nodes - 2), 0);
    return {cell, x == x ? inside - static_cast<REAL>(cell) : x,
            u > 0 && u < last ? half : REAL(0)};
}

// Where one point falls on one plane.
struct Tap {
    Place col, row;
    int64_t node;               // of the lower corner, in elements
    int64_t col_step, row_step;  // to the next node; 0 along an axis of one node
};

__device__ inline Tap tap_plane(const Plane& plane, const REAL* point) {
    Tap tap;
    tap.col = place(point[plane.col_axis], plane.cols);
    tap.row = plane.row_axis < 0 ? Place{0, 0, 0} : place(point[plane.row_axis], plane.rows);
    tap.node = (static_cast<int64_t>(tap.row.cell) * plane.cols + tap.col.cell) * CHANNELS;
    tap.col_step = plane.cols > 1 ? CHANNELS : 0;
    tap.row_step = plane.rows > 1 ? static_cast<int64_t>(plane.cols) * CHANNELS : 0;
    return tap;
}

// A sample and its derivatives to the two fractions.
struct Sample {
    Pack value, by_col, by_row;
};

__device__ inline Sample sample(const Plane& plane, const Tap& tap, int channel) {
    const REAL* node = plane.values + tap.node + channel;
    const Pack low = load(node), low_by_col = load(node + tap.col_step) - low;
    const Pack low_mix = low + tap.col.frac * low_by_col;
    if (plane.row_axis < 0) return {low_mix, low_by_col, filled(0)};
    node += tap.row_step;
    const Pack high = load(node), high_by_col = load(node + tap.col_step) - high;
    const Pack by_row = high + tap.col.frac * high_by_col - low_mix;
    return {low_mix + tap.row.frac * by_row,
            low_by_col + tap.row.frac * (high_by_col - low_by_col), by_row};
}

// grid: (n LANES / kThreads, levels). A row of `features` has `row_size` numbers.
extern "C" __global__ void __launch_bounds__(kThreads)
    lookup_forward(Field field, const REAL* __restrict__ points, int64_t n, int64_t row_size,
                   REAL* __restrict__ features) {
    const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    const int64_t point = thread / LANES;
    if (point >= n) return;
    const int level = blockIdx.y;
    Tap taps[PLANES];
#pragma unroll
    for (int p = 0; p < PLANES; ++p) {
        taps[p] = tap_plane(field.planes[level * PLANES + p], points + point * AXES);
    }
    REAL* out = features + point * row_size + (field.first_level + level) * CHANNELS;
    for (int pack = static_cast<int>(thread % LANES); pack < kPacks; pack += LANES) {
        Pack product = filled(1);
#pragma unroll
        for (int p = 0; p < PLANES; ++p) {
            const Plane& plane = field.planes[level * PLANES + p];
            product = product * sample(plane, taps[p], pack * VECTOR).value;
        }
        store(out + pack * VECTOR, product);
    }
}

// Cuts time planes to one row each. grid: blocks of kThreads elements of the lines.
extern "C" __global__ void __launch_bounds__(kThreads) lookup_cut_lines(Lines lines) {
    const Line& line = lines.lines[part_of_block(lines.lines, lines.count)];
    const int i = (static_cast<int>(blockIdx.x) - line.first_block) * kThreads + threadIdx.x;
    if (i >= line.length) return;
    const REAL start = line.plane[static_cast<int64_t>(line.first) * line.length + i];
    const REAL end = line.plane[static_cast<int64_t>(line.second) * line.length + i];
    line.line[i] = start + static_cast<REAL>(line.frac) * (end - start);
}
