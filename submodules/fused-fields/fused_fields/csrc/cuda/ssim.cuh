// Mean structural similarity (Wang et al. 2004) with an 11 x 11 Gaussian window, and its gradient.
//
// A block owns a tile of pixels. It loads the tile and a border into shared memory, windows it along
// rows, then along columns. Four windowed means are enough: of a, b, a^2 + b^2 and a b.
#pragma once
#include "block_sum.cuh"

constexpr int kRadius = 5, kTaps = 2 * kRadius + 1;
constexpr int kTileX = 32, kTileY = 16;  // TILE in cuda/similarity.py
constexpr int kWideX = kTileX + 2 * kRadius, kWideY = kTileY + 2 * kRadius;
constexpr int kRowsAtOnce = kThreads / kTileX;
constexpr int kMaps = 4;

struct SsimShape {
    int32_t height, width, margin;  // margin: 0 for "same", 5 for "valid"
};

// exp(-(k - 5)^2 / (2 1.5^2)) / sum, k counting the taps.
__device__ inline REAL weight(int k) {
    constexpr double weights[kTaps] = {
        0.00102838008447911,  0.007598758135239186, 0.03600077212843083, 0.10936068950970003,
        0.21300553771125372,  0.26601172486179436,  0.21300553771125372, 0.10936068950970003,
        0.03600077212843083,  0.007598758135239186, 0.00102838008447911};
    return static_cast<REAL>(weights[k]);
}

// Copies the pixels [top, top + kWideY) x [left, left + kWideX) of an image, zeros outside of it.
__device__ inline void load_tile(const REAL* image, int height, int width, int top, int left,
                                 REAL (*tile)[kWideX]) {
    for (int i = threadIdx.x; i < kWideY * kWideX; i += kThreads) {
        const int y = top + i / kWideX, x = left + i % kWideX;
        const bool inside = y >= 0 && y < height && x >= 0 && x < width;
        tile[i / kWideX][i % kWideX] =
            inside ? image[static_cast<int64_t>(y) * width + x] : REAL(0);
    }
}

// The column of a map at a row of the tile, windowed along columns.
__device__ inline REAL along_column(const REAL (*map)[kTileX], int y, int x) {
    REAL sum = 0;
#pragma unroll
    for (int k = 0; k < kTaps; ++k) sum += weight(k) * map[y + k][x];
    return sum;
}

// Similarity at a pixel, and its derivatives to E[a], E[a^2 + b^2], E[a b] and E[b].
struct Similarity {
    REAL value, by_map[kMaps];
};

__device__ inline Similarity similarity(REAL mean_a, REAL squares, REAL product, REAL mean_b) {
    const REAL c1 = REAL(0.01 * 0.01), c2 = REAL(0.03 * 0.03);
    const REAL cross = mean_a * mean_b, power = mean_a * mean_a + mean_b * mean_b;
    const REAL top_mean = 2 * cross + c1, top_spread = 2 * (product - cross) + c2;
    const REAL low_mean = power + c1, low_spread = squares - power + c2;
    const REAL scale = 1 / (low_mean * low_spread), value = top_mean * top_spread * scale;
    const REAL by_other = 2 * (top_spread - top_mean) * scale;
    const REAL by_self = 2 * value * (low_mean - low_spread) * scale;
    return {value,
            {mean_b * by_other + mean_a * by_self, -value * low_mean * scale,
             2 * top_mean * scale, mean_a * by_other + mean_b * by_self}};
}

// grid: (tiles along x, along y, images). sums: one per block. `partials`, null or four maps of
// gridDim.z images, keeps the derivatives.
extern "C" __global__ void __launch_bounds__(kThreads)
    ssim_forward(SsimShape shape, const REAL* __restrict__ a, const REAL* __restrict__ b,
                 double* __restrict__ sums, REAL* __restrict__ partials) {
    __shared__ REAL tile_a[kWideY][kWideX], tile_b[kWideY][kWideX];
    __shared__ REAL maps[kMaps][kWideY][kTileX];
    __shared__ REAL scratch[kWarps];
    const int rows = shape.height - 2 * shape.margin, cols = shape.width - 2 * shape.margin;
    const int top = blockIdx.y * kTileY, left = blockIdx.x * kTileX;
    const int64_t pixels = static_cast<int64_t>(shape.height) * shape.width * blockIdx.z;
    const int border = shape.margin - kRadius;
    load_tile(a + pixels, shape.height, shape.width, top + border, left + border, tile_a);
    load_tile(b + pixels, shape.height, shape.width, top + border, left + border, tile_b);
    __syncthreads();
    for (int i = threadIdx.x; i < kWideY * kTileX; i += kThreads) {
        const int y = i / kTileX, x = i % kTileX;
        REAL mean_a = 0, squares = 0, product = 0, mean_b = 0;
#pragma unroll
        for (int k = 0; k < kTaps; ++k) {
            const REAL at_a = tile_a[y][x + k], at_b = tile_b[y][x + k];
            mean_a += weight(k) * at_a;
            squares += weight(k) * (at_a * at_a + at_b * at_b);
            product += weight(k) * (at_a * at_b);
            mean_b += weight(k) * at_b;
        }
        maps[0][y][x] = mean_a;
        maps[1][y][x] = squares;
        maps[2][y][x] = product;
        maps[3][y][x] = mean_b;
    }
    __syncthreads();
    const int64_t map_size = static_cast<int64_t>(rows) * cols;
    const int x = threadIdx.x % kTileX;
    REAL sum = 0;
    for (int y = threadIdx.x / kTileX; y < kTileY; y += kRowsAtOnce) {
        if (top + y >= rows || left + x >= cols) continue;
        const Similarity found =
            similarity(along_column(maps[0], y, x), along_column(maps[1], y, x),
                       along_column(maps[2], y, x), along_column(maps[3], y, x));
        sum += found.value;
        if (!partials) continue;
        const int64_t at =
            map_size * blockIdx.z + static_cast<int64_t>(top + y) * cols + left + x;
#pragma unroll
        for (int m = 0; m < kMaps; ++m) {
            partials[m * map_size * gridDim.z + at] = found.by_map[m];
        }
    }
    const REAL total = block_sum(sum, scratch);
    const int64_t block = (static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x;
    if (threadIdx.x == 0) sums[block + blockIdx.x] = static_cast<double>(total);
}

// grid as in ssim_forward, over the pixels of the images. grad_a, grad_b: null where not wanted.
// `grad` is the gradient of the mean, `share` 1 / (pixels of a map).
extern "C" __global__ void __launch_bounds__(kThreads)
    ssim_backward(SsimShape shape, const REAL* __restrict__ a, const REAL* __restrict__ b,
                  const REAL* __restrict__ partials, const REAL* __restrict__ grad, double share,
                  REAL* __restrict__ grad_a, REAL* __restrict__ grad_b) {
    __shared__ REAL tile[kWideY][kWideX], map[kWideY][kTileX];
    constexpr int kPixels = kTileY / kRowsAtOnce;  // of a thread
    const int rows = shape.height - 2 * shape.margin, cols = shape.width - 2 * shape.margin;
    const int top = blockIdx.y * kTileY, left = blockIdx.x * kTileX;
    const int64_t map_size = static_cast<int64_t>(rows) * cols;
    const int border = -shape.margin - kRadius;
    const int first = threadIdx.x / kTileX, x = threadIdx.x % kTileX;
    REAL windowed[kMaps][kPixels];
#pragma unroll
    for (int m = 0; m < kMaps; ++m) {
        load_tile(partials + (m * int64_t{gridDim.z} + blockIdx.z) * map_size, rows, cols,
                  top + border, left + border, tile);
        __syncthreads();
        for (int i = threadIdx.x; i < kWideY * kTileX; i += kThreads) {
            REAL sum = 0;
#pragma unroll
            for (int k = 0; k < kTaps; ++k) sum += weight(k) * tile[i / kTileX][i % kTileX + k];
            map[i / kTileX][i % kTileX] = sum;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < kPixels; ++k) {
            windowed[m][k] = along_column(map, first + k * kRowsAtOnce, x);
        }
    }
    const REAL scale = *grad * static_cast<REAL>(share);
    const int64_t pixels = static_cast<int64_t>(shape.height) * shape.width * blockIdx.z;
#pragma unroll
    for (int k = 0; k < kPixels; ++k) {
        const int y = top + first + k * kRowsAtOnce;
        if (y >= shape.height || left + x >= shape.width) continue;
        const int64_t at = pixels + static_cast<int64_t>(y) * shape.width + left + x;
        const REAL squares = 2 * windowed[1][k], product = windowed[2][k];
        if (grad_a) grad_a[at] = scale * (windowed[0][k] + a[at] * squares + b[at] * product);
        if (grad_b) grad_b[at] = scale * (windowed[3][k] + b[at] * squares + a[at] * product);
    }
}
