// Backward pass of plane_lookup.cuh: the gradient of every sample, then of every node.
//
// lookup_place numbers the cell of every (plane, point); the caller sorts these numbers, stably, and
// finds where each cell begins. lookup_derive recomputes the samples and leaves the gradient of each.
// lookup_gather then sums, for every node, what the points of the cells around it give, in the order
// of the points. So every node is written once, by one thread, and nothing needs clearing.
#pragma once
#include "plane_lookup.cuh"

__device__ inline int32_t cells(int32_t nodes) { return max(nodes - 1, 1); }

// grid: (n / kThreads, planes of all levels). keys "planes n", fractions "planes n 2".
extern "C" __global__ void __launch_bounds__(kThreads)
    lookup_place(Field field, const REAL* __restrict__ points, int64_t n,
                 int32_t* __restrict__ keys, REAL* __restrict__ fractions) {
    const int64_t point = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (point >= n) return;
    const Plane& plane = field.planes[blockIdx.y];
    const Tap tap = tap_plane(plane, points + point * AXES);
    const int64_t at = blockIdx.y * n + point;
    keys[at] = plane.first_cell + tap.row.cell * cells(plane.cols) + tap.col.cell;
    fractions[2 * at] = tap.col.frac;
    fractions[2 * at + 1] = tap.row.frac;
}

// Adds one level's gradients to the coordinates of a point, and writes those of its samples, which
// are `stride` apart from plane to plane.
__device__ inline void derive_level(const Plane* planes, const REAL* point, int lane,
                                    const REAL* upstream, int64_t stride, REAL* sample_grads,
                                    REAL* by_axis) {
    Tap taps[PLANES];
    REAL by_col[PLANES], by_row[PLANES];
#pragma unroll
    for (int p = 0; p < PLANES; ++p) {
        taps[p] = tap_plane(planes[p], point);
        by_col[p] = by_row[p] = 0;
    }
    for (int pack = lane; pack < kPacks; pack += LANES) {
        const int channel = pack * VECTOR;
        Pack before[PLANES];  // upstream gradient times the samples of the planes before
        Pack running = load(upstream + channel);
#pragma unroll
        for (int p = 0; p < PLANES; ++p) {
            before[p] = running;
            running = running * sample(planes[p], taps[p], channel).value;
        }
        Pack after = filled(1);
#pragma unroll
        for (int p = PLANES - 1; p >= 0; --p) {
            // Sampled once more: its nodes are in the nearest cache, and registers are scarce.
            const Sample mine = sample(planes[p], taps[p], channel);
            const Pack grad = before[p] * after;
            after = after * mine.value;
            by_col[p] += sum_of(grad * mine.by_col);
            by_row[p] += sum_of(grad * mine.by_row);
            store(sample_grads + p * stride + channel, grad);
        }
    }
#pragma unroll
    for (int p = 0; p < PLANES; ++p) {
#pragma unroll
        for (int axis = 0; axis < AXES; ++axis) {  // no index by a variable: it would leave registers
            if (planes[p].col_axis == axis) by_axis[axis] += by_col[p] * taps[p].col.slope;
            if (planes[p].row_axis == axis) by_axis[axis] += by_row[p] * taps[p].row.slope;
        }
    }
}

// A thread of lookup_derive wants more registers than it needs: four blocks have to fit, so that it
// keeps to 128, which float32 does without spilling (six planes, four channels at once).
constexpr int kDeriveThreads = 128;  // DERIVE_THREADS in cuda/plane_lookup.py
constexpr int kDeriveBlocks = 4;

// grid: n LANES / kDeriveThreads. sample_grads "planes n CHANNELS".
extern "C" __global__ void __launch_bounds__(kDeriveThreads, kDeriveBlocks)
    lookup_derive(Field field, const REAL* __restrict__ points, int64_t n, int64_t row_size,
                  const REAL* __restrict__ grad_features, REAL* __restrict__ sample_grads,
                  REAL* __restrict__ grad_points, int32_t accumulate) {
    const int64_t thread = static_cast<int64_t>(blockIdx.x) * kDeriveThreads + threadIdx.x;
    const int lane = static_cast<int>(thread % LANES);
    const bool inside = thread / LANES < n;
    const int64_t point = inside ? thread / LANES : n - 1;  // all lanes meet in the sums below
    REAL by_axis[AXES];
#pragma unroll
    for (int axis = 0; axis < AXES; ++axis) by_axis[axis] = 0;
    for (int level = 0; inside && level < field.levels; ++level) {
        derive_level(field.planes + level * PLANES, points + point * AXES, lane,
                     grad_features + point * row_size + (field.first_level + level) * CHANNELS, n * CHANNELS,
                     sample_grads + (level * PLANES * n + point) * CHANNELS, by_axis);
    }
#pragma unroll
    for (int axis = 0; axis < AXES; ++axis) {
        const REAL sum = lane_sum(by_axis[axis], 1, LANES);
        REAL* out = grad_points + point * AXES + axis;
        if (inside && lane == 0) *out = accumulate ? *out + sum : sum;
    }
}

// Entries of the two neighbouring cells of a row that touch a node: [begin, middle) lie in the cell
// before it, [middle, end) in the one after it.
struct Entries {
    int32_t begin, middle, end;
};

__device__ inline Entries find_entries(const Plane& plane, const int32_t* starts, int32_t row,
                                       int32_t col) {
    const int32_t count = cells(plane.cols);
    if (row < 0 || row >= cells(plane.rows)) return {0, 0, 0};
    const int32_t* at = starts + plane.first_cell + static_cast<int64_t>(row) * count;
    return {at[max(col - 1, 0)], at[col], at[min(col, count - 1) + 1]};
}

// The entries of all cells around a node: in the row of cells before it, and after it.
struct Around {
    Entries before, after;

    __device__ int32_t count() const {
        return before.end - before.begin + after.end - after.begin;
    }
};

__device__ inline Around find_around(const Plane& plane, const int32_t* starts, int64_t node) {
    if (node >= static_cast<int64_t>(plane.rows) * plane.cols) return {{0, 0, 0}, {0, 0, 0}};
    const int32_t row = static_cast<int32_t>(node / plane.cols);
    const int32_t col = static_cast<int32_t>(node % plane.cols);
    return {find_entries(plane, starts, row - 1, col), find_entries(plane, starts, row, col)};
}

// What lookup_place and lookup_derive left; order[k] is the (plane, point) of entry k.
struct Sorted {
    const int64_t* order;
    const REAL* fractions;
    const REAL* sample_grads;
};

// Weighted sum over every `slots`-th entry from number `slot` on.
__device__ inline Pack sum_entries(const Sorted& sorted, Entries entries, bool row_before, int slot,
                                   int slots, int channel) {
    Pack sum = filled(0);
#pragma unroll 4
    for (int64_t k = entries.begin + slot; k < entries.end; k += slots) {
        const int64_t source = sorted.order[k];
        const REAL col = sorted.fractions[2 * source], row = sorted.fractions[2 * source + 1];
        const REAL weight = (k < entries.middle ? col : 1 - col) * (row_before ? row : 1 - row);
        sum = sum + weight * load(sorted.sample_grads + source * CHANNELS + channel);
    }
    return sum;
}

constexpr int kSlots = kWarp / LANES;   // lanes that share the entries of a node
constexpr int kMostAlone = 64 * kSlots;  // entries that a warp sums without help

// The sum over the slots of a warp; `pack` may lie past the last one.
__device__ inline Pack sum_around(const Sorted& sorted, const Around& around, int slot, int slots,
                                  int pack) {
    Pack sum = filled(0);
    if (pack < kPacks) {
        sum = sum_entries(sorted, around.before, true, slot, slots, pack * VECTOR) +
              sum_entries(sorted, around.after, false, slot, slots, pack * VECTOR);
    }
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) sum.value[k] = lane_sum(sum.value[k], LANES, kWarp);
    return sum;
}

__device__ inline void write_node(REAL* grad, Pack sum, bool accumulate) {
    store(grad, accumulate ? load(grad) + sum : sum);
}

// grid: blocks of kWarps nodes. A warp sums a node of few entries alone; then the whole block takes
// the nodes of many, one after the other, and adds up the sums of its warps.
extern "C" __global__ void __launch_bounds__(kThreads)
    lookup_gather(Field field, const int64_t* __restrict__ order, const int32_t* __restrict__ starts,
                  const REAL* __restrict__ fractions, const REAL* __restrict__ sample_grads,
                  int32_t accumulate) {
    __shared__ Around arounds[kWarps];
    __shared__ Pack sums[kWarps][LANES];
    const Sorted sorted = {order, fractions, sample_grads};
    const Plane& plane = field.planes[part_of_block(field.planes, field.levels * PLANES)];
    const int64_t first = static_cast<int64_t>(blockIdx.x - plane.first_block) * kWarps;
    const int64_t nodes = static_cast<int64_t>(plane.rows) * plane.cols;
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % LANES;
    const int slot = threadIdx.x % kWarp / LANES;

    const Around mine = find_around(plane, starts, first + warp);
    if (threadIdx.x % kWarp == 0) arounds[warp] = mine;
    for (int base = 0; mine.count() <= kMostAlone && base < kPacks; base += LANES) {
        const int pack = base + lane;
        const Pack sum = sum_around(sorted, mine, slot, kSlots, pack);
        if (slot == 0 && pack < kPacks && first + warp < nodes) {
            write_node(plane.grad + (first + warp) * CHANNELS + pack * VECTOR, sum, accumulate);
        }
    }
    __syncthreads();
    for (int k = 0; k < kWarps; ++k) {
        const Around around = arounds[k];
        for (int base = 0; around.count() > kMostAlone && base < kPacks; base += LANES) {
            const int pack = base + lane;
            const Pack part =
                sum_around(sorted, around, slot + warp * kSlots, kSlots * kWarps, pack);
            if (slot == 0) sums[warp][lane] = part;
            __syncthreads();
            if (threadIdx.x < LANES && pack < kPacks) {
                Pack sum = sums[0][lane];
                for (int w = 1; w < kWarps; ++w) sum = sum + sums[w][lane];
                write_node(plane.grad + (first + k) * CHANNELS + pack * VECTOR, sum, accumulate);
            }
            __syncthreads();
        }
    }
}

// Spreads the gradients of lines over the two rows each came from, zeros elsewhere.
// grid: blocks of kThreads elements of the planes.
extern "C" __global__ void __launch_bounds__(kThreads) lookup_spread_lines(Lines lines) {
    const Line& line = lines.lines[part_of_block(lines.lines, lines.count)];
    const int64_t block = static_cast<int>(blockIdx.x) - line.first_block;
    const int64_t i = block * kThreads + threadIdx.x;
    if (i >= static_cast<int64_t>(line.rows) * line.length) return;
    const int row = static_cast<int>(i / line.length);
    const REAL frac = static_cast<REAL>(line.frac), grad = line.line[i % line.length];
    line.plane[i] = (row == line.first ? (1 - frac) * grad : REAL(0)) +
                    (row == line.second ? frac * grad : REAL(0));
}
