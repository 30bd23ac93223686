// Splats to pixels.
#pragma once

#include "pixel.cuh"

namespace dgr {

constexpr int kBlendBatch = kStagedBytes <= 128 ? 256 : kStagedBytes <= 256 ? 128 : 64;

// What a pixel has gathered.
struct PixelSums {
  Real color[CHANNELS] = {}, depth = 0;

  __device__ void add(const Hit& hit, const Splat& splat, const Real* splat_color) {
    const Real weight = hit.alpha * hit.before;
    depth = fma(weight, splat.depth, depth);
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) color[c] = fma(weight, splat_color[c], color[c]);
  }

  __device__ void write(const DgrScene& scene, const DgrImage& image, const Pixel& pixel,
                        int first_channel) const {
    const int64_t plane = (int64_t)scene.width * scene.height;
    const Real* background = (const Real*)scene.background;
    Real* out = (Real*)image.color + first_channel * plane + pixel.index;
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c)
      out[c * plane] =
          background ? fma(pixel.light, background[first_channel + c], color[c]) : color[c];
    if (first_channel > 0) return;
    ((Real*)image.depth)[pixel.index] = depth;
    ((Real*)image.alpha)[pixel.index] = Real(1) - pixel.light;
  }
};

}  // namespace dgr

// Draws channels first_channel .. first_channel + CHANNELS; the first pass draws depth and alpha,
// too.
extern "C" __global__ void __launch_bounds__(kThreads)
    blend_pixels(DgrScene scene, DgrState state, DgrImage image, int32_t first_channel) {
  __shared__ Batch<kBlendBatch> batch;
  Pixel pixel(scene);
  PixelSums sums;
  const uint32_t end = state.tiles[blockIdx.x + 1];
  for (uint32_t first = state.tiles[blockIdx.x]; first < end; first += kBlendBatch) {
    if (!__syncthreads_or(pixel.open())) break;
    const int size = (int)min(end - first, (uint32_t)kBlendBatch), mine = threadIdx.x;
    if (mine < size) batch.load(mine, scene, state, state.pairs[first + mine], first_channel);
    __syncthreads();
    walk(batch, size, pixel, [&](int i) {
      const Hit hit = hit_pixel(pixel, batch.splats[i]);
      if (hit.drawn) sums.add(hit, batch.splats[i], batch.colors[i]);
    });
  }
  if (pixel.inside) sums.write(scene, image, pixel, first_channel);
}
