// Gaussians to splats and back, one SIMD lane per Gaussian.
#pragma once

#include "rasterizer.h"
#include "simd.h"

namespace DGR_NAMESPACE {

// A splat: mean u v (pixels), weight_x, slope, weight_y and log_opacity as gaussian_math.h's alpha
// wants them, depth (world units).
enum SplatField { kU, kV, kWeightX, kSlope, kWeightY, kLogOpacity, kDepth, kSplatFields };
static_assert(kSplatFields <= kSplat, "");

template <class S>
Camera<Vec<S>> load_camera(const DgrScene& scene) {
  const S *w = (const S*)scene.viewmat, *k = (const S*)scene.K;
  Camera<Vec<S>> c;
  for (int i = 0; i < 3; ++i) c.rotation.row[i] = {w[4 * i], w[4 * i + 1], w[4 * i + 2]};
  c.translation = {w[3], w[7], w[11]};
  const S fx = k[0], fy = k[4], cx = k[2], cy = k[5], width = scene.width, height = scene.height;
  c.fx = fx, c.fy = fy, c.cx = cx, c.cy = cy;
  // 3DGS bounds x/z by 1.3 times the half frustum; for a principal point off the centre the extra
  // 0.3 stands on either side of what the image sees (as gsplat does).
  const S extra_x = S(0.15) * width / fx, extra_y = S(0.15) * height / fy;
  c.x_min = -cx / fx - extra_x, c.x_max = (width - cx) / fx + extra_x;
  c.y_min = -cy / fy - extra_y, c.y_max = (height - cy) / fy + extra_y;
  return c;
}

template <class S>
DGR_FN Vec3<Vec<S>> load3(const void* base, int64_t first, int valid) {
  Vec<S> c[3];
  load_columns((const S*)base + 3 * first, 3, valid, 3, c);
  return {c[0], c[1], c[2]};
}

template <class S>
DGR_FN Quat<Vec<S>> load_quat(const void* base, int64_t first, int valid) {
  Vec<S> c[4];
  load_columns((const S*)base + 4 * first, 4, valid, 4, c);
  return {c[0], c[1], c[2], c[3]};
}

template <class S>
DGR_FN Cov3<Vec<S>> load_cov3(const void* base, int64_t first, int valid) {
  Vec<S> c[6];
  load_columns((const S*)base + 6 * first, 6, valid, 6, c);
  return {c[0], c[1], c[2], c[3], c[4], c[5]};
}

template <class S>
DGR_FN Vec<S> load1(const void* base, int64_t first, int valid) {
  Vec<S> c;
  load_columns((const S*)base + first, 1, valid, 1, &c);
  return c;
}

// --------------------------------------------------------------------------------------- tiles of
// one splat

// Calls visit(tile, rows) for every tile in which the ellipse alpha >= 1/255 can hold a pixel
// centre, tile columns from left to right, then rows from top to bottom. Works on strips eight
// pixels wide, a lane each: within a strip the outline y(x) is concave, so its top lies at the
// ellipse's top or at the strip's edge.
template <class S, class Visit>
DGR_FN void visit_tiles(const S* splat, int width, int height, Visit visit) {
  typedef Vec<S> V;
  constexpr int W = V::kLanes;
  const S u = splat[kU], v = splat[kV], slope = splat[kSlope];
  const S variance = S(-0.5 * kLog2E) / splat[kWeightX],
          spread = S(-0.5 * kLog2E) / splat[kWeightY];
  // Squared Mahalanobis radius where alpha falls under 1/255, with a margin for rounding: the pixel
  // decides.
  const S square = S(2 * kLn2) * (splat[kLogOpacity] + S(7.994353436858858)) * S(1.00001) + S(1e-5);
  const S half_x = root(square * variance);
  const S top = slope * variance * root(square / (spread + slope * slope * variance));
  const S left = u - half_x - S(0.501), right = u + half_x - S(0.499);
  if (!(right >= 0 && left <= width - 1)) return;
  const int first = (left > 0 ? (int)left : 0) / kTile * 2;
  const int last = (right < width - 1 ? (int)right : width - 1) / 8;
  const int tiles_x = (width + kTile - 1) / kTile;
  S lanes[W];
  for (int i = 0; i < W; ++i) lanes[i] = S(8 * i);
  for (int base = first; base <= last; base += W) {
    const V x0 = V::load(lanes) + V(S(8 * base) + S(0.5) - u), x1 = x0 + V(S(7));
    const V at_top = clamp(V(top), x0, x1), at_bottom = clamp(V(-top), x0, x1);
    const V rise =
        root(V(spread) * maximum(V(S(0)), V(square) - at_top * at_top * V(1 / variance)));
    const V fall =
        root(V(spread) * maximum(V(S(0)), V(square) - at_bottom * at_bottom * V(1 / variance)));
    const Mask<S> inside = and_not(x1 >= V(-half_x), x0 > V(half_x));
    const V zero(S(0)), bottom_edge{S(height)};
    // Rows whose centres lie between: ceil(low - 1/2) .. floor(high - 1/2) + 1, each moved outwards
    // a little.
    const V low = clamp(V(v + S(0.499)) + V(slope) * at_bottom - fall, zero, bottom_edge);
    const V high = clamp(V(v + S(0.501)) + V(slope) * at_top + rise, zero, bottom_edge);
    alignas(kVectorBytes) S begin[W], end[W];
    zero_unless(inside, low).store(begin);
    zero_unless(inside, high).store(end);
    for (int i = 0; i < W && base + i <= last; i += 2) {
      const int b0 = (int)begin[i], e0 = (int)end[i], b1 = (int)begin[i + 1], e1 = (int)end[i + 1];
      const bool some0 = e0 > b0, some1 = e1 > b1 && base + i + 1 <= last;
      if (!some0 && !some1) continue;
      const int from = !some1 || (some0 && b0 < b1) ? b0 : b1,
                to = !some1 || (some0 && e0 > e1) ? e0 : e1;
      for (int row = from / kTile; row * kTile < to; ++row) {
        const auto within = [row](int y) {
          const int local = y - row * kTile;
          return (uint8_t)(local < 0 ? 0 : local > kTile ? kTile : local);
        };
        const uint8_t rows[4] = {some0 ? within(b0) : (uint8_t)0, some0 ? within(e0) : (uint8_t)0,
                                 some1 ? within(b1) : (uint8_t)0, some1 ? within(e1) : (uint8_t)0};
        if (rows[1] > rows[0] || rows[3] > rows[2])
          visit((uint32_t)(row * tiles_x + (base + i) / 2), rows);
      }
    }
  }
}

// ----------------------------------------------------------------------------------------------
// forward

template <class S>
struct ShColor {
  Vec3<Vec<S>> offset, direction;  // from the camera to the mean, and its unit vector
  Vec<S> basis[kMaxShBases];
  int bases;
};

template <class S>
DGR_FN ShColor<S> sh_color(const Camera<Vec<S>>& camera, const Vec3<Vec<S>>& mean, int degree) {
  ShColor<S> out;
  out.offset = mean - center(camera);
  out.direction = normalize(out.offset);
  sh_basis(out.direction, degree, out.basis);
  out.bases = (degree + 1) * (degree + 1);
  return out;
}

// Colours of W rows; false bits in the result mark rows whose colour is not finite.
template <class S>
uint32_t color_from_sh(const DgrScene& scene, const DgrState& state, const Camera<Vec<S>>& camera,
                       const Vec3<Vec<S>>& mean, int64_t first, int valid) {
  const ShColor<S> sh = sh_color<S>(camera, mean, scene.sh_degree);
  const int64_t stride = 3 * scene.sh_bases;
  Vec<S> coefficients[3 * kMaxShBases], c[3];
  load_columns((const S*)scene.sh + first * stride, stride, valid, 3 * sh.bases, coefficients);
  for (int k = 0; k < 3; ++k) {
    c[k] = Vec<S>(S(0.5));
    for (int b = 0; b < sh.bases; ++b) c[k] = fma(sh.basis[b], coefficients[3 * b + k], c[k]);
  }
  const uint32_t finite = lane_bits(is_finite(c[0]) & is_finite(c[1]) & is_finite(c[2]));
  for (Vec<S>& x : c) x = maximum(x, Vec<S>(S(0)));
  store_columns(c, 3, (S*)state.features + 3 * first, 3, valid);
  return finite;
}

template <class S>
uint32_t finite_colors(const DgrScene& scene, int64_t first, int valid) {
  const S* row = (const S*)scene.colors + first * scene.channels;
  uint32_t bits = 0;
  for (int i = 0; i < valid; ++i, row += scene.channels) {
    bool finite = true;
    for (int c = 0; c < scene.channels; ++c) finite &= row[c] - row[c] == 0;
    bits |= (uint32_t)finite << i;
  }
  return bits;
}

// The footprints of W rows; clears mask lanes that have no finite footprint or no rotation.
template <class S>
DGR_FN Footprint<Vec<S>> load_footprint(const DgrScene& scene, const Projected<Vec<S>>& seen,
                                        int64_t first, int valid, Mask<S>& drawn) {
  const Vec<S> zero(S(0));
  Footprint<Vec<S>> f;
  if (scene.covariances) {
    f = footprint(seen, load_cov3<S>(scene.covariances, first, valid));
  } else {
    const Quat<Vec<S>> quat = load_quat<S>(scene.quats, first, valid);
    f = footprint(seen, rotation(quat), load3<S>(scene.scales, first, valid));
    drawn = drawn & (norm(quat) > zero);
  }
  drawn = drawn & (f.variance > zero) & (f.spread > zero) & is_finite(f.variance);
  drawn = drawn & is_finite(variance_y(f));
  return f;
}

template <class S>
DGR_FN void write_splats(const Projected<Vec<S>>& seen, const Footprint<Vec<S>>& f,
                         const S* log_opacity, S* splats, int valid) {
  const Vec<S> half(S(-0.5 * kLog2E));
  const Vec<S> columns[kSplatFields] = {// as SplatField orders them
                                        seen.u,
                                        seen.v,
                                        half / f.variance,
                                        f.slope,
                                        half / f.spread,
                                        Vec<S>::load(log_opacity),
                                        seen.camera_point.z};
  store_columns(columns, kSplatFields, splats, kSplat, valid);
}

inline float log_2(float x) { return __builtin_log2f(x); }
inline double log_2(double x) { return __builtin_log2(x); }

// Lanes of one group that are drawn; writes their splats, features, and numbers of tiles.
template <class S>
uint32_t project_group(const DgrScene& scene, const DgrState& state, const Camera<Vec<S>>& camera,
                       int64_t first, int valid, Vec<S>& radii) {
  typedef Vec<S> V;
  const Vec3<V> mean = load3<S>(scene.means, first, valid);
  const Projected<V> seen = project(camera, mean);
  const V z = seen.camera_point.z;
  Mask<S> drawn = (z > V(S(scene.near_plane))) & (V(S(scene.far_plane)) > z) & is_finite(seen.u) &
                  is_finite(seen.v);
  if (!any(drawn)) return 0;
  const V opacity = load1<S>(scene.opacities, first, valid);
  drawn = drawn & (opacity >= V(S(kMinAlpha))) & is_finite(opacity);
  if (!any(drawn)) return 0;
  const Footprint<V> shape = load_footprint(scene, seen, first, valid, drawn);
  // No part of the image lies within the box of the widest ellipse an opacity of this size can
  // have.
  alignas(kVectorBytes) S log_opacity[V::kLanes], bound[V::kLanes];
  opacity.store(log_opacity);
  for (int i = 0; i < V::kLanes; ++i) {
    const S o = log_opacity[i] > S(kMinAlpha) ? log_opacity[i] : S(kMinAlpha);
    log_opacity[i] = log_2(o);
    bound[i] = S(2 * kLn2) * (log_opacity[i] + S(7.995));
  }
  const V reach_x = root(V::load(bound) * shape.variance),
          reach_y = root(V::load(bound) * variance_y(shape)), zero(S(0));
  drawn = drawn & (seen.u + reach_x > zero) & (V(S(scene.width)) > seen.u - reach_x);
  drawn = drawn & (seen.v + reach_y > zero) & (V(S(scene.height)) > seen.v - reach_y);
  uint32_t bits = lane_bits(drawn) & (uint32_t)((1ull << valid) - 1);
  if (!bits) return 0;
  bits &= scene.sh ? color_from_sh(scene, state, camera, mean, first, valid)
                   : finite_colors<S>(scene, first, valid);
  S* splats = (S*)state.splats + first * kSplat;
  write_splats(seen, shape, log_opacity, splats, valid);
  radii = radius(shape);
  return bits;
}

template <class S>
void project_rows(const DgrScene& scene, const DgrState& state, int64_t begin, int64_t end) {
  constexpr int W = Vec<S>::kLanes;
  const Camera<Vec<S>> camera = load_camera<S>(scene);
  alignas(kVectorBytes) S radii[W];
  for (int64_t first = begin; first < end; first += W) {
    const int valid = end - first < W ? (int)(end - first) : W;
    Vec<S> wide(S(0));
    const uint32_t bits = project_group<S>(scene, state, camera, first, valid, wide);
    minimum(wide, Vec<S>(S(1e9))).store(radii);
    for (int i = 0; i < valid; ++i) {
      uint32_t tiles = 0;
      if (bits >> i & 1)
        visit_tiles((const S*)state.splats + (first + i) * kSplat, scene.width, scene.height,
                    [&](uint32_t, const uint8_t*) { ++tiles; });
      state.offsets[first + i + 1] = tiles;
      state.radii[first + i] = tiles ? (int32_t)__builtin_ceil((double)radii[i]) : 0;
    }
  }
}

template <class S>
void place_rows(const DgrScene& scene, const DgrState& state, Placed* placed, int64_t begin,
                int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    if (state.radii[i] == 0) continue;
    Placed* out = placed + state.offsets[i];
    visit_tiles((const S*)state.splats + i * kSplat, scene.width, scene.height,
                [&](uint32_t tile, const uint8_t* rows) {
                  out->tile = tile;
                  for (int k = 0; k < 4; ++k) out->rows[k] = rows[k];
                  ++out;
                });
  }
}

}  // namespace DGR_NAMESPACE
