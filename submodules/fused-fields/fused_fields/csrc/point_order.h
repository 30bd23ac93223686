// An order in which neighbouring points follow each other, so that they share cached plane nodes.
#pragma once
#include <cstring>

#include "buffer.h"
#include "vectors.h"

namespace {

using namespace simd;

constexpr int kOrderBits = 5;  // cells per axis: 2^5
constexpr int kOrderAxes = 3;
constexpr int64_t kOrderKeys = int64_t{1} << (kOrderBits * kOrderAxes);

// Moves bit b of a number below 2^5 to bit 3 b.
SIMD_FN int32_t spread_bits(int32_t x) {
    x = (x | x << 8) & 0x100f;
    x = (x | x << 4) & 0x10c3;
    return (x | x << 2) & 0x1249;
}

// Positions on the Z-curve (Morton 1966) over the first three columns; NaN counts as -1.
template <class T>
void curve_positions(const T* points, int64_t n, int axes, int32_t* keys) {
    constexpr int32_t kCells = 1 << kOrderBits;
    std::memset(keys, 0, sizeof(int32_t) * n);
    for (int axis = 0; axis < min_of(axes, kOrderAxes); ++axis) {
        for (int64_t i = 0; i < n; ++i) {
            const T x = (points[i * axes + axis] + 1) * (kCells / 2);
            const T inside = x > 0 ? min_of<T>(x, kCells - 1) : 0;
            keys[i] |= spread_bits(static_cast<int32_t>(inside)) << axis;
        }
    }
}

// Fills `order` with those of 0 .. n-1 for which `keep` holds; returns how many they are.
template <class Keep>
int64_t list_points(int64_t n, Keep keep, int32_t* order) {
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
        if (keep(i)) order[kept++] = static_cast<int32_t>(i);
    }
    return kept;
}

// The same, sorted along the curve (a stable counting sort). `keys` is scratch of n, `starts` scratch
// of kOrderKeys + 1.
template <class T, class Keep>
int64_t order_points(const T* points, int64_t n, int axes, Keep keep, int32_t* keys,
                     int32_t* starts, int32_t* order) {
    curve_positions(points, n, axes, keys);
    std::memset(starts, 0, sizeof(int32_t) * (kOrderKeys + 1));
    for (int64_t i = 0; i < n; ++i) {
        if (!keep(i)) keys[i] = -1;
        else ++starts[keys[i] + 1];
    }
    for (int64_t k = 0; k < kOrderKeys; ++k) starts[k + 1] += starts[k];
    const int64_t kept = starts[kOrderKeys];
    for (int64_t i = 0; i < n; ++i) {
        if (keys[i] >= 0) order[starts[keys[i]]++] = static_cast<int32_t>(i);
    }
    return kept;
}

}  // namespace
