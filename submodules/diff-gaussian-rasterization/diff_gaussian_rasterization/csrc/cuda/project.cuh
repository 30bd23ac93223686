// Gaussians to splats, and how many tiles each can reach; one thread per Gaussian.
#pragma once

#include "gaussian.cuh"
#include "reach.cuh"

namespace dgr {

// A sum that contains it is negative, whatever else is added.
constexpr int64_t kBadCamera = -(1ll << 62);

// The footprint, and the opacity compensated; false when the one is not finite, or the quaternion
// is zero.
__device__ inline bool load_footprint(const DgrScene& scene, const Projected<Real>& seen, int64_t i,
                                      Footprint<Real>& f, Real& opacity) {
  bool good = true;
  if (scene.covariances) {
    const Cov3<Real> sigma = load_cov3(scene.covariances, i);
    f = footprint(seen, sigma);
    if (ANTIALIASED) opacity *= compensation(footprint(seen, sigma, Real(0)), f);
  } else {
    const Quat<Real> quat = load_quat(scene.quats, i);
    const Mat3<Real> R = rotation(quat);
    const Vec3<Real> scales = load3(scene.scales, i);
    f = footprint(seen, R, scales);
    if (ANTIALIASED) opacity *= compensation(footprint(seen, R, scales, Real(0)), f);
    good = norm(quat) > 0;
  }
  return good && f.variance > 0 && f.spread > 0 && is_finite(f.variance) &&
         is_finite(variance_y(f));
}

// Writes the colour where it comes from SH; false when it is not finite.
__device__ inline bool write_color(const DgrScene& scene, const DgrState& state,
                                   const Camera<Real>& camera, const Vec3<Real>& mean, int64_t i) {
  bool finite = true;
#if SH_DEGREE >= 0
  const ShColor sh = load_sh(scene, camera, mean, i);
  Real* color = (Real*)state.features + 3 * i;
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    Real c(0.5);
#pragma unroll
    for (int b = 0; b < kBases; ++b) c = fma(sh.basis[b], sh.coefficients[3 * b + k], c);
    finite &= is_finite(c);
    color[k] = maximum(c, Real(0));
  }
#else
  const Real* color = (const Real*)scene.colors + i * scene.channels;
  for (int c = 0; c < scene.channels; ++c) finite &= is_finite(color[c]);
#endif
  return finite;
}

// Writes splat and colour; returns the number of tiles reached, 0 when the Gaussian is not drawn.
__device__ inline int64_t project_one(const DgrScene& scene, const DgrState& state,
                                      const Camera<Real>& camera, int64_t i, Outline<Real>& reach,
                                      Real& depth, Real& wide) {
  const Vec3<Real> mean = load3(scene.means, i);
  const Projected<Real> seen = project(camera, mean);
  depth = seen.camera_point.z;
  if (!(depth > Real(scene.near_plane) && depth < Real(scene.far_plane))) return 0;
  if (!(is_finite(seen.u) && is_finite(seen.v))) return 0;
  Real opacity = ((const Real*)scene.opacities)[i];
  if (!(opacity >= Real(kMinAlpha) && is_finite(opacity))) return 0;
  Footprint<Real> shape;
  if (!load_footprint(scene, seen, i, shape, opacity)) return 0;
  if (ANTIALIASED && !(opacity >= Real(kMinAlpha) && is_finite(opacity))) return 0;
  const Real log_opacity = log2(opacity);
  reach = outline(seen.u, seen.v, shape, log_opacity);
  const Real half_x = reach.half_x, half_y = root(reach.square * variance_y(shape));
  if (!(seen.u + half_x > 0 && seen.u - half_x < scene.width)) return 0;
  if (!(seen.v + half_y > 0 && seen.v - half_y < scene.height)) return 0;
  if (!write_color(scene, state, camera, mean, i)) return 0;
  const Real half(-0.5 * kLog2E);
  ((Splat*)state.splats)[i] = {
      seen.u, seen.v, half / shape.variance, shape.slope, half / shape.spread, log_opacity,
      depth,  Real(0)};
  wide = radius(shape);
  return count_tiles(reach, scene.width, scene.height);
}

}  // namespace dgr

// counts[i + 1] = tiles of Gaussian i, so that their running sum is the offsets; counts[0] is 0, or
// kBadCamera. depths: infinite where not drawn, so that these sort last. Rows of `outlines` are
// written only where drawn.
extern "C" __global__ void __launch_bounds__(kThreads)
    project_gaussians(DgrScene scene, DgrState state, Outline<Real>* outlines, Real* depths,
                      int64_t* counts) {
  const int64_t i = thread_number();
  const bool good = camera_is_good(scene);
  if (i == 0) counts[0] = good ? 0 : kBadCamera;
  if (i >= scene.count) return;
  Outline<Real> reach;
  Real depth, wide;
  int64_t count = 0;
  if (good) count = project_one(scene, state, load_camera(scene), i, reach, depth, wide);
  counts[i + 1] = count;
  depths[i] = count ? depth : Real(1) / Real(0);
  state.radii[i] = count ? (int32_t)ceil(wide < Real(1e9) ? wide : Real(1e9)) : 0;
  if (count) outlines[i] = reach;
}
