// Splats to pixels and back, one SIMD lane per pixel, one tile at a time.
//
// A tile of 16 x 16 pixels is cut into blocks of one vector each: eight pixels wide where the vector has
// that many lanes (8 x 2 for 16 floats), so that a block is nearly square and few lanes miss the ellipse.
// All of a tile's state stays in the first-level cache while its Gaussians pass, nearest first.
#pragma once

#include "project.h"

namespace DGR_NAMESPACE {

template <class S>
struct Blocks {
  static constexpr int kLanes = Vec<S>::kLanes;
  static constexpr int kWidth = kLanes < 8 ? kLanes : 8;
  static constexpr int kHeight = kLanes / kWidth;
  static constexpr int kColumns = kTile / kWidth;  // of blocks in a tile
  static constexpr int kRows = kTile / kHeight;
};
constexpr int kPixels = kTile * kTile;
constexpr double kNeverDrawn = 2.0;  // no alpha reaches it: closes a pixel

// Offsets of a block's lanes from its first pixel.
template <class S>
struct Lanes {
  Vec<S> x, y;
  Lanes() {
    alignas(kVectorBytes) S xs[Vec<S>::kLanes], ys[Vec<S>::kLanes];
    for (int i = 0; i < Vec<S>::kLanes; ++i) {
      xs[i] = S(i % Blocks<S>::kWidth);
      ys[i] = S(i / Blocks<S>::kWidth);
    }
    x = Vec<S>::load(xs), y = Vec<S>::load(ys);
  }
};

// The light left at each pixel, and the alpha from which on a Gaussian counts there: 1/255, or
// kNeverDrawn once the pixel is closed. A block is live while one of its pixels is open.
template <class S>
struct Light {
  alignas(64) S transmittance[kPixels];
  alignas(64) S threshold[kPixels];
  uint32_t live[Blocks<S>::kColumns];

  void start(const DgrScene& scene, int x0, int y0) {
    typedef Blocks<S> B;
    for (int column = 0; column < B::kColumns; ++column) {
      live[column] = 0;
      for (int row = 0; row < B::kRows; ++row) {
        const int block = column * B::kRows + row;
        for (int i = 0; i < B::kLanes; ++i) {
          const int x = x0 + column * B::kWidth + i % B::kWidth, y = y0 + row * B::kHeight + i / B::kWidth;
          const bool open = x < scene.width && y < scene.height;
          transmittance[block * B::kLanes + i] = 1;
          threshold[block * B::kLanes + i] = open ? S(kMinAlpha) : S(kNeverDrawn);
          live[column] |= (uint32_t)open << row;
        }
      }
    }
  }

  DGR_FN bool dark() const {
    uint32_t all = 0;
    for (uint32_t column : live) all |= column;
    return all == 0;
  }
};

// One Gaussian over one block: what both passes must find alike.
template <class S>
struct Hit {
  Vec<S> alpha, before;  // before: transmittance in front of the Gaussian
  Mask<S> drawn, bounded;  // bounded: alpha was cut to kMaxAlpha
};

template <class S>
DGR_FN Hit<S> hit_block(Light<S>& light, int column, int row, Vec<S> exponent) {
  typedef Vec<S> V;
  const int at = (column * Blocks<S>::kRows + row) * V::kLanes;
  const V raw = exp2(exponent), threshold = V::load(light.threshold + at);
  Hit<S> hit;
  hit.bounded = raw > V(S(kMaxAlpha));
  hit.alpha = minimum(raw, V(S(kMaxAlpha)));
  hit.before = V::load(light.transmittance + at);
  const V after = fma(hit.before, V(S(0)) - hit.alpha, hit.before);
  const Mask<S> reached = hit.alpha >= threshold;
  const Mask<S> closing = reached & (V(S(kMinTransmittance)) > after);
  hit.drawn = and_not(reached, closing);
  select(hit.drawn, after, hit.before).store(light.transmittance + at);
  if (__builtin_expect(any(closing), 0)) {
    const V closed = select(closing, V(S(kNeverDrawn)), threshold);
    closed.store(light.threshold + at);
    if (!any(V(S(1)) > closed)) light.live[column] &= ~(1u << row);
  }
  return hit;
}

// Calls body(column, row of blocks, dx, dy, exponent) for every live block that a pair can reach, and
// after each block column that was entered, end_column(dx).
template <class S, class Body, class End>
DGR_FN void visit_blocks(const Light<S>& light, const Lanes<S>& lanes, const DgrPair& pair, const S* splat, int x0,
                         int y0, Body body, End end_column) {
  typedef Blocks<S> B;
  typedef Vec<S> V;
  constexpr int kPerHalf = 8 / B::kWidth;
  const V a(splat[kConicA]), b(splat[kConicB]), c(splat[kConicC]), log_opacity(splat[kLogOpacity]);
  const V y = lanes.y + V(S(y0) + S(0.5) - splat[kV]);
  for (int half = 0; half < 2; ++half) {
    const int from = pair.rows[2 * half] / B::kHeight, to = (pair.rows[2 * half + 1] + B::kHeight - 1) / B::kHeight;
    const uint32_t reach = (uint32_t)((1u << to) - 1) & ~((1u << from) - 1);
    for (int column = half * kPerHalf; column < (half + 1) * kPerHalf; ++column) {
      uint32_t rows = light.live[column] & reach;
      if (!rows) continue;
      const V dx = lanes.x + V(S(x0 + column * B::kWidth) + S(0.5) - splat[kU]);
      const V b_dx = b * dx, rest = fma(a * dx, dx, log_opacity);
      do {
        const int row = __builtin_ctz(rows);
        rows &= rows - 1;
        const V dy = y + V(S(row * B::kHeight));
        body(column, row, dy, log2_alpha(dy, c, b_dx, rest));
      } while (rows);
      end_column(dx);
    }
  }
}

// Between the tile's block order and the image's planes.
template <class S, class Visit>
DGR_FN void visit_rows(const DgrScene& scene, int x0, int y0, Visit visit) {
  typedef Blocks<S> B;
  for (int column = 0; column < B::kColumns; ++column)
    for (int y = 0; y < kTile && y0 + y < scene.height; ++y) {
      const int x = x0 + column * B::kWidth, left = scene.width - x;
      if (left <= 0) break;
      const int in_tile = (column * B::kRows + y / B::kHeight) * B::kLanes + y % B::kHeight * B::kWidth;
      visit(in_tile, (int64_t)(y0 + y) * scene.width + x, left < B::kWidth ? left : B::kWidth);
    }
}

template <class S>
const S* feature_rows(const DgrScene& scene, const DgrState& state) {
  return (const S*)(scene.sh ? state.features : scene.colors);
}

// Scratch of one thread: image planes of a tile, and C accumulators for the backward pass.
template <class S>
struct TileBuffers {
  S* planes;   // C kPixels: colour so far, or its gradient
  S* depth;    // kPixels
  S* alpha;    // kPixels
  S* rest;     // kPixels
  Vec<S>* channel_sums;  // C

  TileBuffers(void* scratch, int channels) {
    planes = (S*)scratch;
    depth = planes + (int64_t)channels * kPixels;
    alpha = depth + kPixels;
    rest = alpha + kPixels;
    channel_sums = (Vec<S>*)(rest + kPixels);
  }
  static int64_t bytes(int channels) {
    return (channels + 3) * kPixels * (int64_t)sizeof(S) + (channels + 1) * (int64_t)sizeof(Vec<S>);
  }
};

// kC: channels known when compiled, or 0 for any number.
template <class S, int kC>
void blend_tile(const DgrScene& scene, const DgrState& state, const DgrImage& image, int tile, void* scratch) {
  typedef Vec<S> V;
  const int channels = kC ? kC : scene.channels, tiles_x = (scene.width + kTile - 1) / kTile;
  const int x0 = tile % tiles_x * kTile, y0 = tile / tiles_x * kTile;
  const TileBuffers<S> buffers(scratch, channels);
  std::memset(scratch, 0, sizeof(S) * (channels + 1) * kPixels);  // planes and depth
  Light<S> light;
  light.start(scene, x0, y0);
  const Lanes<S> lanes;
  const S* features = feature_rows<S>(scene, state);
  const DgrPair *pair = state.pairs + state.tiles[tile], *last = state.pairs + state.tiles[tile + 1];
  for (; pair < last && !light.dark(); ++pair) {
    const S* splat = (const S*)state.splats + (int64_t)pair->gaussian * kSplat;
    const S* color = features + (int64_t)pair->gaussian * channels;
    visit_blocks<S>(
        light, lanes, *pair, splat, x0, y0,
        [&](int column, int row, V, V exponent) {
          const Hit<S> hit = hit_block(light, column, row, exponent);
          const V weight = zero_unless(hit.drawn, hit.alpha * hit.before);
          const int at = (column * Blocks<S>::kRows + row) * V::kLanes;
          for (int c = 0; c < channels; ++c) {
            S* p = buffers.planes + c * kPixels + at;
            fma(weight, V(color[c]), V::load(p)).store(p);
          }
          fma(weight, V(splat[kDepth]), V::load(buffers.depth + at)).store(buffers.depth + at);
        },
        [](V) {});
  }
  const int64_t plane = (int64_t)scene.width * scene.height;
  const S* background = (const S*)scene.background;
  visit_rows<S>(scene, x0, y0, [&](int in_tile, int64_t in_image, int n) {
    for (int c = 0; c < channels; ++c) {
      const S behind = background ? background[c] : S(0);
      S* out = (S*)image.color + c * plane + in_image;
      for (int i = 0; i < n; ++i)
        out[i] = buffers.planes[c * kPixels + in_tile + i] + light.transmittance[in_tile + i] * behind;
    }
    std::memcpy((S*)image.depth + in_image, buffers.depth + in_tile, sizeof(S) * n);
    for (int i = 0; i < n; ++i) ((S*)image.alpha)[in_image + i] = 1 - light.transmittance[in_tile + i];
  });
}

// -------------------------------------------------------------------------------------------------- backward

// Loads the image's gradient into the tile's buffers and, into `rest`, its product with the image: what the
// Gaussians not yet passed contribute to the loss, to first order. False when all gradients are zero.
template <class S>
bool load_gradient(const DgrScene& scene, const DgrImage& image, const DgrGradients& grad, int x0, int y0,
                   const TileBuffers<S>& buffers, int channels) {
  const int64_t plane = (int64_t)scene.width * scene.height;
  std::memset(buffers.planes, 0, sizeof(S) * (channels + 3) * kPixels);
  bool some = false;
  const auto load = [&](const void* gradient, const void* values, S* into, int in_tile, int64_t in_image, int n) {
    if (!gradient) return;
    const S *g = (const S*)gradient + in_image, *value = (const S*)values + in_image;
    for (int i = 0; i < n; ++i) {
      into[in_tile + i] = g[i];
      buffers.rest[in_tile + i] += g[i] * value[i];
      some |= g[i] != 0;
    }
  };
  visit_rows<S>(scene, x0, y0, [&](int in_tile, int64_t in_image, int n) {
    for (int c = 0; grad.color && c < channels; ++c)
      load((const S*)grad.color + c * plane, (const S*)image.color + c * plane, buffers.planes + c * kPixels,
           in_tile, in_image, n);
    load(grad.depth, image.depth, buffers.depth, in_tile, in_image, n);
    load(grad.alpha, image.alpha, buffers.alpha, in_tile, in_image, n);
  });
  return some;
}

// One pair's share of the gradients, one partial sum per lane.
template <class S>
struct PairSums {
  Vec<S> one, x, y, xx, xy, yy, depth;
};

// kAux: the loss sees depth or alpha, too.
template <class S, int kC, bool kAux>
void blend_tile_backward(const DgrScene& scene, const DgrState& state, const DgrImage& image,
                         const DgrGradients& grad, const PairGradients& pairs, int tile, void* scratch) {
  typedef Vec<S> V;
  const int channels = kC ? kC : scene.channels, tiles_x = (scene.width + kTile - 1) / kTile;
  const int x0 = tile % tiles_x * kTile, y0 = tile / tiles_x * kTile;
  const TileBuffers<S> buffers(scratch, channels);
  const DgrPair *pair = state.pairs + state.tiles[tile], *last = state.pairs + state.tiles[tile + 1];
  const bool some = load_gradient<S>(scene, image, grad, x0, y0, buffers, channels);
  Light<S> light;
  light.start(scene, x0, y0);
  const Lanes<S> lanes;
  const V zero(S(0));
  const S* features = feature_rows<S>(scene, state);
  for (; some && pair < last && !light.dark(); ++pair) {
    const S* splat = (const S*)state.splats + (int64_t)pair->gaussian * kSplat;
    const S* color = features + (int64_t)pair->gaussian * channels;
    PairSums<S> total = {zero, zero, zero, zero, zero, zero, zero};
    V known_channels[kC ? kC : 1];
    V* channel_sums = kC ? known_channels : buffers.channel_sums;
    for (int c = 0; c < channels; ++c) channel_sums[c] = zero;
    V one = zero, y = zero, yy = zero;
    bool touched = false;
    visit_blocks<S>(
        light, lanes, *pair, splat, x0, y0,
        [&](int column, int row, V dy, V exponent) {
          const Hit<S> hit = hit_block(light, column, row, exponent);
          if (!any(hit.drawn)) return;
          touched = true;
          const int at = (column * Blocks<S>::kRows + row) * V::kLanes;
          const V weight = zero_unless(hit.drawn, hit.alpha * hit.before);
          V along = kAux ? fma(V::load(buffers.depth + at), V(splat[kDepth]), V::load(buffers.alpha + at)) : zero;
          for (int c = 0; c < channels; ++c) {
            const V g = V::load(buffers.planes + c * kPixels + at);
            channel_sums[c] = fma(weight, g, channel_sums[c]);
            along = fma(g, V(color[c]), along);
          }
          if (kAux) total.depth = fma(weight, V::load(buffers.depth + at), total.depth);
          const V rest = V::load(buffers.rest + at) - weight * along;
          rest.store(buffers.rest + at);
          // dL/dalpha: this Gaussian's own light, less what all behind it, and the background, lose.
          const V grad_alpha = hit.before * along - rest * reciprocal(V(S(1)) - hit.alpha);
          const V g = zero_unless(and_not(hit.drawn, hit.bounded), grad_alpha * hit.alpha), g_dy = g * dy;
          one = one + g;
          y = y + g_dy;
          yy = fma(g_dy, dy, yy);
        },
        [&](V dx) {
          total.one = total.one + one;
          total.y = total.y + y;
          total.yy = total.yy + yy;
          const V one_dx = one * dx;
          total.x = total.x + one_dx;
          total.xx = fma(one_dx, dx, total.xx);
          total.xy = fma(y, dx, total.xy);
          one = y = yy = zero;
        });
    pairs.touched[pair->slot] = touched;
    if (!touched) continue;
    S* out = (S*)pairs.rows + (int64_t)pair->slot * pairs.stride;
    out[0] = sum(total.one), out[1] = sum(total.x), out[2] = sum(total.y);
    out[3] = sum(total.xx), out[4] = sum(total.xy), out[5] = sum(total.yy), out[6] = sum(total.depth);
    for (int c = 0; c < channels; ++c) out[kMoments + c] = sum(channel_sums[c]);
    for (int k = kMoments + channels; k < pairs.stride; ++k) out[k] = 0;
  }
  for (; pair < last; ++pair) pairs.touched[pair->slot] = 0;
  if (!pairs.backgrounds) return;
  S* background = (S*)pairs.backgrounds + (int64_t)tile * channels;
  for (int c = 0; c < channels; ++c) background[c] = 0;
  // Needs the light that the whole tile leaves, so alpha of the finished image, not this loop's.
  visit_rows<S>(scene, x0, y0, [&](int in_tile, int64_t in_image, int n) {
    for (int c = 0; c < channels; ++c)
      for (int i = 0; i < n; ++i)
        background[c] += buffers.planes[c * kPixels + in_tile + i] * (1 - ((const S*)image.alpha)[in_image + i]);
  });
}

}  // namespace DGR_NAMESPACE
