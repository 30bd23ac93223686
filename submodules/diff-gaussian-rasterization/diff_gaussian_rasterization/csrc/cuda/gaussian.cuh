// Reading cameras and Gaussians, one thread per Gaussian.
#pragma once

#include "device.cuh"

namespace dgr {

DGR_FN bool camera_is_good(const DgrScene& scene) {
  const Real *w = (const Real*)scene.viewmat, *k = (const Real*)scene.K;
  bool good = k[0] > 0 && k[4] > 0;
  for (int i = 0; i < 12; ++i) good &= is_finite(w[i]);
  for (int i = 0; i < 9; ++i) good &= is_finite(k[i]);
  return good;
}

DGR_FN Camera<Real> load_camera(const DgrScene& scene) {
  return make_camera<Real>((const Real*)scene.viewmat, (const Real*)scene.K, scene.width,
                           scene.height);
}

__device__ inline Vec3<Real> load3(const void* base, int64_t i) {
  const Real* p = (const Real*)base + 3 * i;
  return {p[0], p[1], p[2]};
}
__device__ inline Quat<Real> load_quat(const void* base, int64_t i) {
  Real q[4];
  load_row((const Real*)base + 4 * i, q);
  return {q[0], q[1], q[2], q[3]};
}
__device__ inline Cov3<Real> load_cov3(const void* base, int64_t i) {
  const Real* p = (const Real*)base + 6 * i;
  return {p[0], p[1], p[2], p[3], p[4], p[5]};
}

#if SH_DEGREE >= 0
constexpr int kBases = (SH_DEGREE + 1) * (SH_DEGREE + 1);

struct ShColor {
  Vec3<Real> offset, direction;  // from the camera to the mean, and its unit vector
  Real basis[kBases];
  Real coefficients[3 * kBases];
};

__device__ inline ShColor load_sh(const DgrScene& scene, const Camera<Real>& camera,
                                  const Vec3<Real>& mean, int64_t i) {
  ShColor out;
  out.offset = mean - center(camera);
  out.direction = normalize(out.offset);
  sh_basis(out.direction, SH_DEGREE, out.basis);
  load_row((const Real*)scene.sh + i * 3 * scene.sh_bases, out.coefficients);
  return out;
}
#endif

}  // namespace dgr
