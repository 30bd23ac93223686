// One tile of the image while its pairs pass: one thread per pixel, one block per tile. A warp owns
// 8 x 4 pixels, so that few lanes miss an ellipse, and passes over pairs that cannot touch it.
#pragma once

#include "device.cuh"

namespace dgr {

constexpr double kNeverDrawn = 2.0;  // no alpha reaches it: closes a pixel
static_assert(kThreads == kTile * kTile, "one thread per pixel");

struct Pixel {
  Real x, y;       // centre
  Real light;      // left for what lies behind
  Real threshold;  // alpha from which on a Gaussian counts: 1/255, or kNeverDrawn once closed
  int64_t index;   // in an image plane
  bool inside;     // the image

  __device__ explicit Pixel(const DgrScene& scene) {
    const int across = (scene.width + kTile - 1) / kTile;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int column = blockIdx.x % across * kTile + warp % 2 * 8 + lane % 8;
    const int row = blockIdx.x / across * kTile + warp / 2 * 4 + lane / 8;
    x = column + Real(0.5), y = row + Real(0.5);
    light = 1;
    inside = column < scene.width && row < scene.height;
    threshold = inside ? Real(kMinAlpha) : Real(kNeverDrawn);
    index = (int64_t)row * scene.width + column;
  }
  __device__ bool open() const { return threshold < Real(1); }
};

// Bit w: warp w holds pixels of the pair's rows.
__device__ inline uint32_t warps_reached(const DgrPair& pair) {
  uint32_t warps = 0;
  for (int half = 0; half < 2; ++half) {
    const int begin = pair.rows[2 * half], end = pair.rows[2 * half + 1];
    for (int band = begin / 4; begin < end && 4 * band < end; ++band)
      warps |= 1u << (2 * band + half);
  }
  return warps;
}

__device__ inline float power_of_2(float x) { return exp2f(x); }
__device__ inline double power_of_2(double x) { return exp2(x); }

// One Gaussian at one pixel: what both passes must find alike, to the bit.
struct Hit {
  Real dx, off;     // as log2_alpha wants them
  Real raw, alpha;  // without and with its upper bound
  Real before;      // light in front of the Gaussian
  bool drawn;
};

__device__ inline Hit hit_pixel(Pixel& pixel, const Splat& splat) {
  Hit hit;
  hit.dx = pixel.x - splat.u;
  hit.off = fma(-splat.slope, hit.dx, pixel.y - splat.v);
  const Real part_x = log2_alpha_x(hit.dx, splat.weight_x, splat.log_opacity);
  hit.raw = power_of_2(log2_alpha(hit.off, splat.weight_y, part_x));
  hit.alpha = hit.raw < Real(kMaxAlpha) ? hit.raw : Real(kMaxAlpha);
  hit.before = pixel.light;
  const Real after = fma(hit.before, -hit.alpha, hit.before);
  const bool reached = hit.alpha >= pixel.threshold;
  hit.drawn = reached && after >= Real(kMinTransmittance);
  if (hit.drawn)
    pixel.light = after;
  else if (reached)
    pixel.threshold = Real(kNeverDrawn);
  return hit;
}

// Pairs staged in shared memory.
template <int kSize>
struct Batch {
  Splat splats[kSize];
  Real colors[kSize][CHANNELS];
  uint32_t warps[kSize];  // see warps_reached
  uint32_t slots[kSize];

  // first_channel: of the CHANNELS that this pass draws.
  __device__ void load(int i, const DgrScene& scene, const DgrState& state, const DgrPair& pair,
                       int first_channel) {
    const Real* features = (const Real*)(scene.sh ? state.features : scene.colors);
    const Real* color = features + (int64_t)pair.gaussian * scene.channels + first_channel;
    splats[i] = ((const Splat*)state.splats)[pair.gaussian];
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) colors[i][c] = color[c];
    warps[i] = warps_reached(pair);
    slots[i] = pair.slot;
  }
};
constexpr int kStagedBytes = (kSplat + CHANNELS) * (int)sizeof(Real) + 8;  // of one pair

// Calls visit(i) for the pairs of a batch that can touch the warp, nearest first, until it is dark.
template <int kSize, class Visit>
__device__ inline void walk(const Batch<kSize>& batch, int size, const Pixel& pixel, Visit visit) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  for (int base = 0; base < size && __any_sync(kAllLanes, pixel.open()); base += kWarp) {
    const int mine = base + lane;
    uint32_t todo = __ballot_sync(kAllLanes, mine < size && (batch.warps[mine] >> warp & 1));
    for (; todo; todo &= todo - 1) visit(base + __ffs((int)todo) - 1);
  }
}

}  // namespace dgr
