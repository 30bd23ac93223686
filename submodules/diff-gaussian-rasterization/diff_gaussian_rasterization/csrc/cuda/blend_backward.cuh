// Gradients of pixels to gradients of splats, front to back: what a Gaussian hides is the finished
// colour less what has been passed, so the forward pass stores nothing per pixel.
#pragma once

#include "pixel.cuh"

namespace dgr {

// One pair's share of the gradients: six moments of the exponent's gradient (Moments), the
// colour's, with AUX the depth's, and with ABSOLUTE those to u and v without their signs.
constexpr int kMomentSums = 6;
constexpr int kShare = kMomentSums + CHANNELS + AUX + 2 * ABSOLUTE;
constexpr int kBackwardBytes = kStagedBytes + kWarps * kShare * (int)sizeof(Real);  // of one pair
constexpr int kBackwardBatch = kBackwardBytes <= 640    ? 64
                               : kBackwardBytes <= 1280 ? 32
                               : kBackwardBytes <= 2560 ? 16
                                                        : 8;

// The image's gradient at a pixel, and its product with the image: what the Gaussians not yet
// passed, and the background, contribute to the loss to first order.
struct PixelGradient {
  Real color[CHANNELS] = {}, depth = 0, alpha = 0, rest = 0;

  __device__ PixelGradient(const DgrImage& image, const DgrGradients& grad, const Pixel& pixel,
                           int64_t plane, int first_channel) {
    if (!pixel.inside) return;
    const auto load = [&](const void* gradient, const void* values, int64_t at) {
      const Real g = ((const Real*)gradient)[at];
      rest = fma(g, ((const Real*)values)[at], rest);
      return g;
    };
    if (grad.color)
#pragma unroll
      for (int c = 0; c < CHANNELS; ++c)
        color[c] = load(grad.color, image.color, (first_channel + c) * plane + pixel.index);
    if (AUX && grad.depth) depth = load(grad.depth, image.depth, pixel.index);
    if (AUX && grad.alpha) alpha = load(grad.alpha, image.alpha, pixel.index);
  }
  __device__ bool some() const {
    bool zero = depth == 0 && alpha == 0;
    for (Real g : color) zero &= g == 0;
    return !zero;
  }
};

// What one Gaussian, where it is drawn, changes at one pixel.
__device__ inline void pixel_share(const Hit& hit, const Splat& splat, const Real* color,
                                   PixelGradient& grad, Real (&share)[kShare]) {
  const Real weight = hit.alpha * hit.before;
  Real along = AUX ? fma(grad.depth, splat.depth, grad.alpha) : Real(0);
#pragma unroll
  for (int c = 0; c < CHANNELS; ++c) along = fma(grad.color[c], color[c], along);
  grad.rest = fma(-weight, along, grad.rest);
  // dL/dalpha: this Gaussian's own light, less what all behind it, and the background, lose.
  const Real grad_alpha = hit.before * along - grad.rest * (Real(1) / (Real(1) - hit.alpha));
  const Real g = hit.raw <= Real(kMaxAlpha) ? grad_alpha * hit.alpha : Real(0);
  const Real g_x = g * hit.dx, g_off = g * hit.off;
  share[0] = g, share[1] = g_x, share[2] = g_off;
  share[3] = g_x * hit.dx, share[4] = g_x * hit.off, share[5] = g_off * hit.off;
#pragma unroll
  for (int c = 0; c < CHANNELS; ++c) share[kMomentSums + c] = weight * grad.color[c];
  if (AUX) share[kMomentSums + CHANNELS] = weight * grad.depth;
  if (ABSOLUTE) {
    // As exponent_vjp has them, with 1 / variance and 1 / spread from the weights.
    const Real grad_v = Real(-2 * kLn2) * splat.weight_y * g_off;
    const Real grad_u = Real(-2 * kLn2) * splat.weight_x * g_x - splat.slope * grad_v;
    share[kShare - 2] = abs(grad_u), share[kShare - 1] = abs(grad_v);
  }
}

// Shares of a batch's pairs, one row per warp that drew the pair.
struct Shares {
  Real rows[kBackwardBatch][kWarps][kShare];
  uint32_t written[kBackwardBatch];  // bit w: warp w wrote its row

  // Adds the rows up in the order of the warps, into each pair's row of `out`.
  __device__ void add_up(const uint32_t* slots, int size, Real* out, int stride, int channels,
                         int first_channel) const {
    for (int item = threadIdx.x; item < size * kShare; item += kThreads) {
      const int i = item / kShare, k = item % kShare;
      if (!written[i]) continue;
      Real total = 0;
      for (int warp = 0; warp < kWarps; ++warp)
        if (written[i] >> warp & 1) total += rows[i][warp][k];
      // A row's columns: moments, all channels, depth, absolute gradients.
      const int column = k < kMomentSums              ? k
                         : k < kMomentSums + CHANNELS ? first_channel + k
                                                      : k + channels - CHANNELS + 1 - AUX;
      Real& to = out[(int64_t)slots[i] * stride + column];
      // Later passes over further channels add to the moments of the first.
      to = first_channel > 0 ? to + total : total;
    }
  }
};

}  // namespace dgr

// rows "P stride", zeros: each pair's share of the gradients, in slot order. backgrounds "T C",
// zeros: each tile's share of the gradient to the background; or null.
extern "C" __global__ void __launch_bounds__(kThreads)
    blend_pixels_backward(DgrScene scene, DgrState state, DgrImage image, DgrGradients grad,
                          int32_t first_channel, Real* rows, int32_t stride, Real* backgrounds) {
  __shared__ Batch<kBackwardBatch> batch;
  __shared__ Shares shares;
  const uint32_t end = state.tiles[blockIdx.x + 1];
  uint32_t first = state.tiles[blockIdx.x];
  if (first == end && !backgrounds) return;
  Pixel pixel(scene);
  const int64_t plane = (int64_t)scene.width * scene.height;
  PixelGradient gradient(image, grad, pixel, plane, first_channel);
  if (!__syncthreads_or(gradient.some())) return;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const Share<kShare> held(lane);
  for (; first < end; first += kBackwardBatch) {
    if (!__syncthreads_or(pixel.open())) break;
    const int size = (int)min(end - first, (uint32_t)kBackwardBatch), mine = threadIdx.x;
    if (mine < size) {
      batch.load(mine, scene, state, state.pairs[first + mine], first_channel);
      shares.written[mine] = 0;
    }
    __syncthreads();
    walk(batch, size, pixel, [&](int i) {
      const Hit hit = hit_pixel(pixel, batch.splats[i]);
      if (!__any_sync(kAllLanes, hit.drawn)) return;
      Real share[kShare] = {};
      if (hit.drawn) pixel_share(hit, batch.splats[i], batch.colors[i], gradient, share);
      warp_sums(share, lane);
#pragma unroll
      for (int j = 0; j < Share<kShare>::kEach; ++j)
        if (held.first + j < held.end) shares.rows[i][warp][held.first + j] = share[j];
      if (lane == 0) atomicOr(&shares.written[i], 1u << warp);
    });
    __syncthreads();
    shares.add_up(batch.slots, size, rows, stride, scene.channels, first_channel);
  }
  if (!backgrounds) return;
  Real lost[CHANNELS];
  for (int c = 0; c < CHANNELS; ++c) lost[c] = gradient.color[c] * pixel.light;
  block_sums(lost, backgrounds + (int64_t)blockIdx.x * scene.channels + first_channel);
}
