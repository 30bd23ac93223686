// Gaussians to splats and back, one SIMD lane per Gaussian.
#pragma once

#include "outline.h"

namespace dgr {

// A splat: mean u v (pixels), weight_x, slope, weight_y and log_opacity as gaussian_math.h's alpha
// wants them, depth (world units).
enum SplatField { kU, kV, kWeightX, kSlope, kWeightY, kLogOpacity, kDepth, kSplatFields };
static_assert(kSplatFields <= kSplat, "");

template <class S>
Camera<Vec<S>> load_camera(const DgrScene& scene) {
  return make_camera<Vec<S>>((const S*)scene.viewmat, (const S*)scene.K, scene.width, scene.height);
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
  if (valid == Vec<S>::kLanes) return Vec<S>::load((const S*)base + first);
  Vec<S> c;
  load_columns((const S*)base + first, 1, valid, 1, &c);
  return c;
}

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

// The footprints of W rows, and their opacities compensated; clears mask lanes that have no finite
// footprint or no rotation.
template <class S, bool kAntialiased>
DGR_FN Footprint<Vec<S>> load_footprint(const DgrScene& scene, const Projected<Vec<S>>& seen,
                                        int64_t first, int valid, Vec<S>& opacity,
                                        Mask<S>& drawn) {
  const Vec<S> zero(S(0));
  Footprint<Vec<S>> f;
  if (scene.covariances) {
    const Cov3<Vec<S>> sigma = load_cov3<S>(scene.covariances, first, valid);
    f = footprint(seen, sigma);
    if (kAntialiased) opacity = opacity * compensation(footprint(seen, sigma, zero), f);
  } else {
    const Quat<Vec<S>> quat = load_quat<S>(scene.quats, first, valid);
    const Mat3<Vec<S>> R = rotation(quat);
    const Vec3<Vec<S>> scales = load3<S>(scene.scales, first, valid);
    f = footprint(seen, R, scales);
    if (kAntialiased) opacity = opacity * compensation(footprint(seen, R, scales, zero), f);
    drawn = drawn & (norm(quat) > zero);
  }
  drawn = drawn & (f.variance > zero) & (f.spread > zero) & is_finite(f.variance);
  drawn = drawn & is_finite(variance_y(f));
  return f;
}

template <class S>
DGR_FN void write_splats(const Projected<Vec<S>>& seen, const Footprint<Vec<S>>& f,
                         Vec<S> log_opacity, S* splats, int valid) {
  const Vec<S> half(S(-0.5 * kLog2E));
  const Vec<S> columns[kSplatFields] = {// as SplatField orders them
                                        seen.u,
                                        seen.v,
                                        half / f.variance,
                                        f.slope,
                                        half / f.spread,
                                        log_opacity,
                                        seen.camera_point.z};
  store_columns(columns, kSplatFields, splats, kSplat, valid);
}

// Lanes of one group that are drawn; writes their splats, features, radii and outline.
template <class S, bool kAntialiased>
DGR_FN uint32_t project_group(const DgrScene& scene, const DgrState& state,
                              const Camera<Vec<S>>& camera, int64_t first, int valid, Vec<S>& radii,
                              Outline<Vec<S>>& shown) {
  typedef Vec<S> V;
  const Vec3<V> mean = load3<S>(scene.means, first, valid);
  const Projected<V> seen = project(camera, mean);
  const V z = seen.camera_point.z;
  Mask<S> drawn = (z > V(S(scene.near_plane))) & (V(S(scene.far_plane)) > z);
  drawn = drawn & is_finite(seen.u) & is_finite(seen.v);
  if (!any(drawn)) return 0;
  const V faintest{S(kMinAlpha)}, zero{S(0)};
  V opacity = load1<S>(scene.opacities, first, valid);
  drawn = drawn & (opacity >= faintest) & is_finite(opacity);
  if (!any(drawn)) return 0;
  const Footprint<V> shape =
      load_footprint<S, kAntialiased>(scene, seen, first, valid, opacity, drawn);
  if (kAntialiased) drawn = drawn & (opacity >= faintest) & is_finite(opacity);
  const V log_opacity = log2(maximum(opacity, faintest));
  shown = outline(seen.u, seen.v, shape, log_opacity);
  const V half_x = shown.half_x, half_y = root(shown.square * variance_y(shape));
  drawn = drawn & (seen.u + half_x > zero) & (V(S(scene.width)) > seen.u - half_x);
  drawn = drawn & (seen.v + half_y > zero) & (V(S(scene.height)) > seen.v - half_y);
  const uint32_t bits = lane_bits(drawn) & (uint32_t)((1ull << valid) - 1);
  if (!bits) return 0;
  write_splats(seen, shape, log_opacity, (S*)state.splats + first * kSplat, valid);
  radii = minimum(radius(shape), V(S(1e9)));
  return bits & (scene.sh ? color_from_sh(scene, state, camera, mean, first, valid)
                          : finite_colors<S>(scene, first, valid));
}

template <class S, bool kAntialiased>
void project_rows(const DgrScene& scene, const DgrState& state, void* outlines, PlacedList& list,
                  int64_t begin, int64_t end) {
  constexpr int W = Vec<S>::kLanes;
  const Camera<Vec<S>> camera = load_camera<S>(scene);
  for (int64_t first = begin; first < end; first += W) {
    const int valid = end - first < W ? (int)(end - first) : W;
    Vec<S> radii(S(0));
    auto& outline = ((Outline<Vec<S>>*)outlines)[first / W];
    uint32_t counts[W] = {};
    const uint32_t bits =
        project_group<S, kAntialiased>(scene, state, camera, first, valid, radii, outline);
    if (bits) list_group<S>(outline, bits, scene.width, scene.height, list, counts);
    alignas(kVectorBytes) S wide[W];
    radii.store(wide);
    for (int i = 0; i < valid; ++i) {
      state.offsets[first + i + 1] = counts[i];
      state.radii[first + i] = counts[i] ? (int32_t)__builtin_ceil((double)wide[i]) : 0;
    }
  }
}

}  // namespace dgr
