// An order in which neighbouring points follow each other, so that they share cached plane nodes.
#pragma once
#include "buffer.h"
#include "simd.h"

namespace {

constexpr int kOrderBits = 5;  // cells per axis: 2^5
constexpr int kOrderAxes = 3;

// Position on the Z-curve (Morton 1966) over the first three columns; NaN counts as -1.
template <class T>
FF_INLINE int32_t curve_position(const T* point, int axes) {
    constexpr int32_t kCells = 1 << kOrderBits;
    int32_t key = 0;
    for (int axis = 0; axis < axes; ++axis) {
        const T x = (point[axis] + 1) * (kCells / 2);
        const int32_t cell = static_cast<int32_t>(x > 0 ? min_of<T>(x, kCells - 1) : 0);
        for (int bit = 0; bit < kOrderBits; ++bit) {
            key |= ((cell >> bit) & 1) << (bit * axes + axis);
        }
    }
    return key;
}

// Fills `order` with 0 .. n-1 sorted along the curve (a stable counting sort). `keys` is scratch
// of n, `starts` scratch of kOrderKeys + 1.
constexpr int64_t kOrderKeys = int64_t{1} << (kOrderBits * kOrderAxes);

template <class T>
void order_points(const T* points, int64_t n, int axes, int32_t* keys, int32_t* starts,
                  int32_t* order) {
    const int used = min_of(axes, kOrderAxes);
    for (int64_t k = 0; k <= kOrderKeys; ++k) starts[k] = 0;
    for (int64_t i = 0; i < n; ++i) {
        keys[i] = curve_position(points + i * axes, used);
        ++starts[keys[i] + 1];
    }
    for (int64_t k = 0; k < kOrderKeys; ++k) starts[k + 1] += starts[k];
    for (int64_t i = 0; i < n; ++i) order[starts[keys[i]]++] = static_cast<int32_t>(i);
}

}  // namespace
