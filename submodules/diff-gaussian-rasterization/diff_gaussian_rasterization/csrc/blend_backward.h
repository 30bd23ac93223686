// Gradients of pixels to gradients of splats, one tile at a time, front to back: what a Gaussian
// hides is the finished colour less what has been passed, so the forward pass stores nothing per
// pixel.
#pragma once

#include "tile.h"

namespace dgr {

// Asks for what load_gradient will read.
template <class S>
DGR_FN void prefetch_gradient(const DgrScene& scene, const DgrImage& image,
                              const DgrGradients& grad, int tile) {
  const int64_t plane = (int64_t)scene.width * scene.height;
  for (int c = 0; grad.color && c < scene.channels; ++c) {
    prefetch_tile<0>(scene, tile, (const S*)grad.color + c * plane);
    prefetch_tile<0>(scene, tile, (const S*)image.color + c * plane);
  }
}

// Loads the image's gradient into the tile and, into kRest, its product with the image: what the
// Gaussians not yet passed, and the background, contribute to the loss to first order. False when
// all are zero.
template <class S, int kC>
bool load_gradient(const DgrScene& scene, const DgrImage& image, const DgrGradients& grad,
                   const Tile<S, kC>& tile) {
  typedef Vec<S> V;
  const int64_t plane = (int64_t)scene.width * scene.height;
  constexpr uint32_t kAll = (uint32_t)((1ull << V::kLanes) - 1);
  bool some = false;
  tile.for_blocks([&](int number) {
    S* block = tile.block(number);
    V rest(S(0));
    const auto load = [&](const void* gradient, const void* values, int64_t offset, int field) {
      const V g = tile.read((const S*)gradient + offset, number);
      g.store(block + field * V::kLanes);
      rest = fma(g, tile.read((const S*)values + offset, number), rest);
      some |= lane_bits(g == V(S(0))) != kAll;
    };
    for (int c = 0; grad.color && c < tile.channels(); ++c)
      load(grad.color, image.color, c * plane, kColors + c);
    if (grad.depth) load(grad.depth, image.depth, 0, kDepthSum);
    if (grad.alpha) load(grad.alpha, image.alpha, 0, kAlphaSum);
    rest.store(block + kRest * V::kLanes);
  });
  return some;
}

// One pair's share of the gradients, one partial sum per lane. Named fields, no arrays of them:
// these live in registers.
template <class S, int kC, bool kAux, bool kAbs>
class PairSums {
 public:
  typedef Vec<S> V;

  // `many` holds the channels' sums when their number is not known to the compiler.
  DGR_FN PairSums(V* many, int channels, const S* splat) : many_(many), channels_(channels) {
    for (int c = 0; c < this->channels(); ++c) channel(c) = V(S(0));
    if (!kAbs) return;
    // As exponent_vjp has them: 1 / variance, 1 / spread.
    per_x = V(S(-2 * kLn2) * splat[kWeightX]), per_y = V(S(-2 * kLn2) * splat[kWeightY]);
    slope = V(splat[kSlope]);
  }

  // One block: g = gradient to the exponent, weight = the Gaussian's part in the pixel.
  DGR_FN void add(const S* block, V weight, V g, V dx, V off) {
    const V g_x = g * dx, g_off = g * off;
    one_ = one_ + g;
    x_ = x_ + g_x;
    off_ = off_ + g_off;
    xx_ = fma(g_x, dx, xx_);
    x_off_ = fma(g_x, off, x_off_);
    off_off_ = fma(g_off, off, off_off_);
    if (kAbs) {
      const V along_y = per_y * g_off;
      abs_u_ = abs_u_ + magnitude(per_x * g_x - slope * along_y);
      abs_v_ = abs_v_ + magnitude(along_y);
    }
    if (kAux) depth_ = fma(weight, V::load(block + kDepthSum * V::kLanes), depth_);
    for (int c = 0; c < channels(); ++c)
      channel(c) = fma(weight, V::load(block + (kColors + c) * V::kLanes), channel(c));
  }
  // A row of PairGradients.
  DGR_FN void write(S* out, int stride) const {
    const V zero(S(0));
    V all[kSumsAtOnce] = {one_, x_,   off_, xx_,  x_off_, off_off_, depth_, zero,
                          zero, zero, zero, zero, zero,   zero,     zero,   zero};
    for (int c = 0; c < kC; ++c) all[kMoments + c] = few_[c];
    if (kC && kAbs) all[kMoments + kC] = abs_u_, all[kMoments + kC + 1] = abs_v_;
    sum_each(all, out);
    if (kC) return;
    for (int c = 0; c < channels_; ++c) out[kMoments + c] = sum(many_[c]);
    for (int k = kMoments + channels_; k < stride; ++k) out[k] = 0;
    if (kAbs) {
      out[kMoments + channels_] = sum(abs_u_);
      out[kMoments + channels_ + 1] = sum(abs_v_);
    }
  }

 private:
  DGR_FN int channels() const { return kC ? kC : channels_; }
  DGR_FN V& channel(int c) { return kC ? few_[c] : many_[c]; }

  V one_{S(0)}, x_{S(0)}, off_{S(0)}, xx_{S(0)}, x_off_{S(0)}, off_off_{S(0)}, depth_{S(0)};
  V abs_u_{S(0)}, abs_v_{S(0)}, per_x{S(0)}, per_y{S(0)}, slope{S(0)};  // with kAbs
  V few_[kC ? kC : 1];
  V* const many_;
  const int channels_;
};

// The tile's share of the gradient to the background: the light left, times the image's gradient.
template <class S, int kC>
void background_gradient(const Tile<S, kC>& tile, S* out) {
  typedef Vec<S> V;
  for (int c = 0; c < tile.channels(); ++c) {
    V total(S(0));
    tile.for_blocks([&](int number) {
      const S* block = tile.block(number);
      const V light = magnitude(V::load(block + kLight * V::kLanes));
      total = fma(V::load(block + (kColors + c) * V::kLanes), light, total);
    });
    out[c] = sum(total);
  }
}

// kAux: the loss sees depth or alpha, too. kAbs: absolute gradients are wanted.
template <class S, int kC, bool kAux, bool kAbs>
void blend_tile_backward(const DgrScene& scene, const DgrState& state, const DgrImage& image,
                         const DgrGradients& grad, const PairGradients& pairs, int number,
                         void* scratch) {
  typedef Vec<S> V;
  Tile<S, kC> tile(scene, number, scratch);
  // The tile that this thread is likely to take next: its lines have this tile's time to arrive.
  prefetch_gradient<S>(scene, image, grad, number + 1);
  const int channels = tile.channels();
  V* many = (V*)((char*)scratch + tile.bytes(channels));
  S* rows = (S*)pairs.rows;
  Run<S, kC, true> run;
  const auto pair_backward = [&](int i) DGR_INLINE {
    const DgrPair& pair = run.pairs[i];
    constexpr int kAhead = 8;  // pairs
    __builtin_prefetch(rows + (int64_t)run.ahead(i, kAhead).slot * pairs.stride, 1);
    const S *splat = run.splat[i], *color = run.color[i];
    PairSums<S, kC, kAux, kAbs> sums(many, channels, splat);
    const auto visit = [&](S* block, V raw, V dx, V off) DGR_INLINE {
      const Hit<S> hit = hit_block(block, raw);
      const V weight = zero_unless(hit.drawn, hit.alpha * hit.before);
      V along(S(0));
      if (kAux)
        along = fma(V::load(block + kDepthSum * V::kLanes), V(splat[kDepth]),
                    V::load(block + kAlphaSum * V::kLanes));
      for (int c = 0; c < tile.channels(); ++c)
        along = fma(V::load(block + (kColors + c) * V::kLanes), V(color[c]), along);
      const V rest = V::load(block + kRest * V::kLanes) - weight * along;
      rest.store(block + kRest * V::kLanes);
      // dL/dalpha: this Gaussian's own light, less what all behind it, and the background, lose.
      const V grad_alpha = hit.before * along - rest * reciprocal(V(S(1)) - hit.alpha);
      const Mask<S> moves = at_least(hit.drawn, V(S(kMaxAlpha)), hit.raw);
      sums.add(block, weight, zero_unless(moves, grad_alpha * hit.alpha), dx, off);
    };
    const bool touched = run.visit(tile, i, visit);
    pairs.touched[pair.slot] = touched;
    if (touched) sums.write(rows + (int64_t)pair.slot * pairs.stride, pairs.stride);
  };
  const DgrPair *pair = state.pairs + state.tiles[number],
                *last = state.pairs + state.tiles[number + 1];
  if ((pair < last || pairs.backgrounds) && load_gradient(scene, image, grad, tile))
    pair = visit_runs(scene, state, tile, number, run, [&]() DGR_INLINE {
      for (int i = 0; i < run.count; ++i) pair_backward(i);
    });
  for (; pair < last; ++pair) pairs.touched[pair->slot] = 0;
  if (pairs.backgrounds)
    background_gradient(tile, (S*)pairs.backgrounds + (int64_t)number * channels);
}

}  // namespace dgr
