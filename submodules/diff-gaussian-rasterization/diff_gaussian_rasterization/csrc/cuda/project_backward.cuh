// Gradients of splats to gradients of Gaussians.
#pragma once

#include "gaussian.cuh"

namespace dgr {

constexpr int kColorSums = 6;       // column where a row's colours begin, after six moments
constexpr uint32_t kFewSlots = 32;  // beyond, a warp adds a Gaussian's slots together

__device__ inline void store3(const Vec3<Real>& x, void* base, int64_t i) {
  if (!base) return;
  Real* p = (Real*)base + 3 * i;
  p[0] = x.x, p[1] = x.y, p[2] = x.z;
}

// From the exponent's gradient to the image position, the shape inputs (written) and the Jacobian.
__device__ inline void shape_backward(const DgrScene& scene, const DgrGradients& out,
                                      const Projected<Real>& seen, const Moments<Real>& moments,
                                      int64_t i, Real& grad_u, Real& grad_v, Vec3<Real>& grad_du,
                                      Vec3<Real>& grad_dv) {
  if (scene.covariances) {
    const Cov3<Real> sigma = load_cov3(scene.covariances, i);
    const Footprint<Real> grad = exponent_vjp(footprint(seen, sigma), moments, grad_u, grad_v);
    Cov3<Real> g;
    footprint_vjp(seen, sigma, grad, grad_du, grad_dv, g);
    if (ANTIALIASED) {
      add_log_area_vjp(seen, sigma, Real(0), moments.one, grad_du, grad_dv, g);
      add_log_area_vjp(seen, sigma, Real(kDilation), -moments.one, grad_du, grad_dv, g);
    }
    if (!out.covariances) return;
    const Real row[6] = {g.xx, g.xy, g.xz, g.yy, g.yz, g.zz};
    store_row(row, (Real*)out.covariances + 6 * i);
    return;
  }
  const Quat<Real> quat = load_quat(scene.quats, i);
  const Vec3<Real> scales = load3(scene.scales, i);
  const Mat3<Real> R = rotation(quat);
  const Footprint<Real> grad = exponent_vjp(footprint(seen, R, scales), moments, grad_u, grad_v);
  Mat3<Real> grad_R;
  Vec3<Real> grad_scales;
  footprint_vjp(seen, R, scales, grad, grad_du, grad_dv, grad_R, grad_scales);
  if (ANTIALIASED) {
    add_log_area_vjp(seen, R, scales, Real(0), moments.one, grad_du, grad_dv, grad_R,
                     grad_scales);
    add_log_area_vjp(seen, R, scales, Real(kDilation), -moments.one, grad_du, grad_dv, grad_R,
                     grad_scales);
  }
  store3(grad_scales, out.scales, i);
  if (!out.quats) return;
  const Quat<Real> q = rotation_vjp(quat, grad_R);
  const Real row[4] = {q.w, q.x, q.y, q.z};
  store_row(row, (Real*)out.quats + 4 * i);
}

#if SH_DEGREE >= 0
// Gradient to SH coefficients (written) and, through the view direction, to the mean.
__device__ inline Vec3<Real> sh_backward(const DgrScene& scene, const DgrState& state,
                                         const Camera<Real>& camera, const Vec3<Real>& mean,
                                         const DgrGradients& out, int64_t i, Vec3<Real> grad) {
  const ShColor sh = load_sh(scene, camera, mean, i);
  const Vec3<Real> color = load3(state.features, i);
  // Colours are held at >= 0; where that bound acts, no gradient passes.
  grad = {color.x > 0 ? grad.x : Real(0), color.y > 0 ? grad.y : Real(0),
          color.z > 0 ? grad.z : Real(0)};
  if (out.sh) {
    Real row[3 * kBases];
#pragma unroll
    for (int b = 0; b < kBases; ++b) {
      row[3 * b] = sh.basis[b] * grad.x;
      row[3 * b + 1] = sh.basis[b] * grad.y;
      row[3 * b + 2] = sh.basis[b] * grad.z;
    }
    store_row(row, (Real*)out.sh + i * 3 * scene.sh_bases);
  }
#if SH_DEGREE > 0
  Real grad_basis[kBases];
#pragma unroll
  for (int b = 0; b < kBases; ++b)
    grad_basis[b] = grad.x * sh.coefficients[3 * b] + grad.y * sh.coefficients[3 * b + 1] +
                    grad.z * sh.coefficients[3 * b + 2];
  return normalize_vjp(sh.offset, sh_basis_vjp(sh.direction, SH_DEGREE, grad_basis));
#else
  return {0, 0, 0};
#endif
}
#endif

__device__ inline void project_one_backward(const DgrScene& scene, const DgrState& state,
                                            const DgrGradients& out, const Real* sums, int64_t i,
                                            PoseGrad<Real>& pose) {
  const Camera<Real> camera = load_camera(scene);
  const Moments<Real> moments = {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]};
  const Real grad_z = sums[kColorSums + scene.channels];
  const Vec3<Real> mean = load3(scene.means, i);
  const Projected<Real> seen = project(camera, mean);
  Real grad_u, grad_v;
  Vec3<Real> grad_du, grad_dv;
  shape_backward(scene, out, seen, moments, i, grad_u, grad_v, grad_du, grad_dv);
  Vec3<Real> grad_mean =
      project_vjp(camera, mean, seen, grad_u, grad_v, grad_z, grad_du, grad_dv, pose);
#if SH_DEGREE >= 0
  const Real* color = sums + kColorSums;
  const Vec3<Real> direction =
      sh_backward(scene, state, camera, mean, out, i, {color[0], color[1], color[2]});
  grad_mean = grad_mean + direction;
  center_vjp(camera, Real(-1) * direction, pose);
#endif
  store3(grad_mean, out.means, i);
  // The exponent's gradient g is dL/dalpha · alpha, and alpha is linear in the opacity.
  if (out.opacities) ((Real*)out.opacities)[i] = moments.one / ((const Real*)scene.opacities)[i];
  // 3DGS measures this gradient in NDC, which spans two units over the image.
  store3({Real(0.5) * scene.width * grad_u, Real(0.5) * scene.height * grad_v, Real(0)},
         out.means2d, i);
}

}  // namespace dgr

// sums "N stride": each Gaussian's slots of `rows` "P stride", added up in a fixed order. A thread
// adds one packet of columns; columns come in `packets` packets.
extern "C" __global__ void __launch_bounds__(kThreads)
    sum_slots(const Packet* rows, const uint32_t* offsets, int64_t count, int32_t packets,
              Packet* sums) {
  const int64_t number = thread_number();
  const int lane = threadIdx.x % kWarp;
  const bool valid = number < count * packets;
  const int64_t gaussian = valid ? number / packets : 0;
  const int column = valid ? (int)(number % packets) : 0;
  const uint32_t begin = valid ? offsets[gaussian] : 0, end = valid ? offsets[gaussian + 1] : 0;
  Packet total = {};
  const auto add_every = [&](uint32_t from, uint32_t to, int column, uint32_t step) {
    Packet sum = {};
#pragma unroll 4
    for (uint32_t slot = from; slot < to; slot += step) {
      const Packet row = rows[(int64_t)slot * packets + column];
      for (int k = 0; k < kPacket; ++k) sum.number[k] += row.number[k];
    }
    return sum;
  };
  const bool many = end - begin > kFewSlots;
  if (!many) total = add_every(begin, end, column, 1);
  for (uint32_t left = __ballot_sync(kAllLanes, many); left; left &= left - 1) {
    const int owner = __ffs((int)left) - 1;
    const uint32_t from = __shfl_sync(kAllLanes, begin, owner);
    const uint32_t to = __shfl_sync(kAllLanes, end, owner);
    Packet sum = add_every(from + lane, to, __shfl_sync(kAllLanes, column, owner), kWarp);
    for (int k = 0; k < kPacket; ++k)
      for (int flip = kWarp / 2; flip > 0; flip /= 2)
        sum.number[k] += __shfl_xor_sync(kAllLanes, sum.number[k], flip);
    if (lane == owner) total = sum;
  }
  if (valid) sums[number] = total;
}

// Writes the wanted gradients (zeros before) of the Gaussians that were drawn, from their sums
// "N stride". poses "blocks 12", or null: each block's share of the gradient to the camera. Two
// blocks at once, at the price of a few spilled registers, wait less for memory than one.
extern "C" __global__ void __launch_bounds__(kThreads, 2)
    project_gaussians_backward(DgrScene scene, DgrState state, DgrGradients out, const Real* sums,
                               int32_t stride, Real* poses) {
  const int64_t i = thread_number();
  const Real zero = 0;
  PoseGrad<Real> pose = {{{{zero, zero, zero}, {zero, zero, zero}, {zero, zero, zero}}},
                         {zero, zero, zero}};
  if (i < scene.count && state.radii[i] > 0)
    project_one_backward(scene, state, out, sums + i * stride, i, pose);
  if (!poses) return;
  const Vec3<Real>*r = pose.rotation.row, &t = pose.translation;
  Real numbers[kPoseNumbers] = {r[0].x, r[0].y, r[0].z, r[1].x, r[1].y, r[1].z,
                                r[2].x, r[2].y, r[2].z, t.x,    t.y,    t.z};
  block_sums(numbers, poses + (int64_t)blockIdx.x * kPoseNumbers);
}
