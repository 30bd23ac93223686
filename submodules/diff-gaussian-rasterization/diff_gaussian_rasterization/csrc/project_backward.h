// Gradients of splats to gradients of Gaussians, one SIMD lane per Gaussian.
#pragma once

#include "project.h"

namespace dgr {

// Writes `count` columns of `valid` rows, zero where a lane is not drawn; nothing when not wanted.
template <class S>
DGR_FN void put(Mask<S> drawn, Vec<S>* columns, int count, void* base, int64_t first, int valid) {
  if (!base) return;
  for (int k = 0; k < count; ++k) columns[k] = zero_unless(drawn, columns[k]);
  store_columns(columns, count, (S*)base + first * count, count, valid);
}

template <class S>
DGR_FN void put3(Mask<S> drawn, const Vec3<Vec<S>>& x, void* base, int64_t first, int valid) {
  Vec<S> columns[3] = {x.x, x.y, x.z};
  put(drawn, columns, 3, base, first, valid);
}

template <class S>
DGR_FN void clear_rows(void* base, int64_t first, int stride, int valid) {
  if (base) std::memset((S*)base + first * stride, 0, sizeof(S) * stride * valid);
}

template <class S>
void clear_group(const DgrScene& scene, const DgrGradients& out, int64_t first, int valid) {
  clear_rows<S>(out.means, first, 3, valid);
  clear_rows<S>(out.means2d, first, 3, valid);
  clear_rows<S>(out.means2d_abs, first, 3, valid);
  clear_rows<S>(out.quats, first, 4, valid);
  clear_rows<S>(out.scales, first, 3, valid);
  clear_rows<S>(out.covariances, first, 6, valid);
  clear_rows<S>(out.opacities, first, 1, valid);
  clear_rows<S>(out.sh, first, 3 * scene.sh_bases, valid);
  clear_rows<S>(out.colors, first, scene.channels, valid);
}

// Adds up each Gaussian's pairs, always in slot order: sums[i] gets the W-strided row of lane i.
template <class S>
void sum_pairs(const DgrState& state, const PairGradients& pairs, int64_t first, int valid,
               S* sums) {
  constexpr int W = Vec<S>::kLanes, kStep = 16 / W;  // a stride is a multiple of 16
  for (int i = 0; i < valid; ++i) {
    const bool drawn = state.radii[first + i] != 0;
    const uint32_t begin = state.offsets[first + i],
                   end = drawn ? state.offsets[first + i + 1] : begin;
    for (int k = 0; k < pairs.stride; k += kStep * W) {
      Vec<S> total[kStep];
      for (Vec<S>& x : total) x = Vec<S>(S(0));
      for (uint32_t slot = begin; slot < end; ++slot) {
        if (!pairs.touched[slot]) continue;
        const S* row = (const S*)pairs.rows + (int64_t)slot * pairs.stride + k;
        for (int j = 0; j < kStep; ++j) total[j] = total[j] + Vec<S>::load(row + j * W);
      }
      for (int j = 0; j < kStep; ++j) total[j].store(sums + i * pairs.stride + k + j * W);
    }
  }
}

// Gradient to SH coefficients (rows written whole) and, through the view direction, to the mean.
template <class S>
Vec3<Vec<S>> sh_backward(const DgrScene& scene, const DgrState& state, const Camera<Vec<S>>& camera,
                         const Vec3<Vec<S>>& mean, const DgrGradients& out, Mask<S> drawn,
                         int64_t first, int valid, Vec3<Vec<S>> grad) {
  typedef Vec<S> V;
  const ShColor<S> sh = sh_color<S>(camera, mean, scene.sh_degree);
  const Vec3<V> color = load3<S>(state.features, first, valid);
  const V zero(S(0));
  // Colours are held at >= 0; where that bound acts, no gradient passes.
  grad = {zero_unless(drawn & (color.x > zero), grad.x),
          zero_unless(drawn & (color.y > zero), grad.y),
          zero_unless(drawn & (color.z > zero), grad.z)};
  const int64_t stride = 3 * scene.sh_bases;
  const int active = 3 * sh.bases;
  if (out.sh) {
    Vec<S> rows[3 * kMaxShBases];
    for (int b = 0; b < sh.bases; ++b) {
      rows[3 * b] = sh.basis[b] * grad.x;
      rows[3 * b + 1] = sh.basis[b] * grad.y;
      rows[3 * b + 2] = sh.basis[b] * grad.z;
      for (int k = 3 * b; k < 3 * b + 3; ++k) rows[k] = zero_unless(drawn, rows[k]);
    }
    S* to = (S*)out.sh + first * stride;
    stream_columns(rows, active, to, stride, valid);
    for (int i = 0; i < valid && active < stride; ++i)
      std::memset(to + i * stride + active, 0, sizeof(S) * (stride - active));
  }
  if (scene.sh_degree == 0) return {zero, zero, zero};
  Vec<S> coefficients[3 * kMaxShBases], grad_basis[kMaxShBases];
  load_columns((const S*)scene.sh + first * stride, stride, valid, active, coefficients);
  for (int b = 0; b < sh.bases; ++b)
    grad_basis[b] = grad.x * coefficients[3 * b] + grad.y * coefficients[3 * b + 1] +
                    grad.z * coefficients[3 * b + 2];
  return normalize_vjp(sh.offset, sh_basis_vjp(sh.direction, scene.sh_degree, grad_basis));
}

// From the exponent's gradient to the image position, the shape inputs (written) and the Jacobian.
template <class S, bool kAntialiased>
DGR_FN void shape_backward(const DgrScene& scene, const DgrGradients& out,
                           const Projected<Vec<S>>& seen, const Moments<Vec<S>>& moments,
                           Mask<S> drawn, int64_t first, int valid, Vec<S>& grad_u, Vec<S>& grad_v,
                           Vec3<Vec<S>>& grad_du, Vec3<Vec<S>>& grad_dv) {
  typedef Vec<S> V;
  const V zero(S(0)), dilation{S(kDilation)};
  if (scene.covariances) {
    const Cov3<V> sigma = load_cov3<S>(scene.covariances, first, valid);
    const Footprint<V> grad = exponent_vjp(footprint(seen, sigma), moments, grad_u, grad_v);
    Cov3<V> g;
    footprint_vjp(seen, sigma, grad, grad_du, grad_dv, g);
    if (kAntialiased) {
      add_log_area_vjp(seen, sigma, zero, moments.one, grad_du, grad_dv, g);
      add_log_area_vjp(seen, sigma, dilation, zero - moments.one, grad_du, grad_dv, g);
    }
    V columns[6] = {g.xx, g.xy, g.xz, g.yy, g.yz, g.zz};
    put(drawn, columns, 6, out.covariances, first, valid);
    return;
  }
  const Quat<V> quat = load_quat<S>(scene.quats, first, valid);
  const Vec3<V> scales = load3<S>(scene.scales, first, valid);
  const Mat3<V> R = rotation(quat);
  const Footprint<V> grad = exponent_vjp(footprint(seen, R, scales), moments, grad_u, grad_v);
  Mat3<V> grad_R;
  Vec3<V> grad_scales;
  footprint_vjp(seen, R, scales, grad, grad_du, grad_dv, grad_R, grad_scales);
  if (kAntialiased) {
    add_log_area_vjp(seen, R, scales, zero, moments.one, grad_du, grad_dv, grad_R,
                     grad_scales);
    add_log_area_vjp(seen, R, scales, dilation, zero - moments.one, grad_du, grad_dv, grad_R,
                     grad_scales);
  }
  put3(drawn, grad_scales, out.scales, first, valid);
  const Quat<V> grad_quat = rotation_vjp(quat, grad_R);
  V columns[4] = {grad_quat.w, grad_quat.x, grad_quat.y, grad_quat.z};
  put(drawn, columns, 4, out.quats, first, valid);
}

template <class S>
DGR_FN void add_pose(Mask<S> drawn, const PoseGrad<Vec<S>>& pose, Vec<S>* totals) {
  const Vec3<Vec<S>>* r = pose.rotation.row;
  const Vec<S> numbers[kPoseNumbers] = {r[0].x,
                                        r[0].y,
                                        r[0].z,
                                        r[1].x,
                                        r[1].y,
                                        r[1].z,
                                        r[2].x,
                                        r[2].y,
                                        r[2].z,
                                        pose.translation.x,
                                        pose.translation.y,
                                        pose.translation.z};
  for (int k = 0; k < kPoseNumbers; ++k) totals[k] = totals[k] + zero_unless(drawn, numbers[k]);
}

template <class S, bool kAntialiased>
void backward_group(const DgrScene& scene, const DgrState& state, const Camera<Vec<S>>& camera,
                    const DgrGradients& out, const PairGradients& pairs, Mask<S> drawn,
                    int64_t first, int valid, S* sums, Vec<S>* pose_totals) {
  typedef Vec<S> V;
  sum_pairs(state, pairs, first, valid, sums);
  V column[kMoments + 3];
  load_columns(sums, pairs.stride, valid, scene.sh ? kMoments + 3 : kMoments, column);
  const Moments<V> moments = {column[0], column[1], column[2], column[3], column[4], column[5]};
  const V grad_z = column[6], zero(S(0));
  const Vec3<V> mean = load3<S>(scene.means, first, valid);
  const Projected<V> seen = project(camera, mean);
  V grad_u, grad_v;
  Vec3<V> grad_du, grad_dv;
  shape_backward<S, kAntialiased>(scene, out, seen, moments, drawn, first, valid, grad_u, grad_v,
                                  grad_du, grad_dv);
  PoseGrad<V> pose = {{{{zero, zero, zero}, {zero, zero, zero}, {zero, zero, zero}}},
                      {zero, zero, zero}};
  Vec3<V> grad_mean =
      project_vjp(camera, mean, seen, grad_u, grad_v, grad_z, grad_du, grad_dv, pose);
  if (scene.sh) {
    const Vec3<V> direction = sh_backward(scene, state, camera, mean, out, drawn, first, valid,
                                          {column[7], column[8], column[9]});
    grad_mean = grad_mean + direction;
    center_vjp(camera, V(S(-1)) * direction, pose);
  } else if (out.colors) {
    for (int i = 0; i < valid; ++i)
      std::memcpy((S*)out.colors + (first + i) * scene.channels, sums + i * pairs.stride + kMoments,
                  sizeof(S) * scene.channels);
  }
  if (pose_totals) add_pose(drawn, pose, pose_totals);
  put3(drawn, grad_mean, out.means, first, valid);
  // The exponent's gradient g is dL/dalpha · alpha, and alpha is linear in the opacity.
  V grad_opacity = moments.one / load1<S>(scene.opacities, first, valid);
  put(drawn, &grad_opacity, 1, out.opacities, first, valid);
  // 3DGS measures this gradient in NDC, which spans two units over the image.
  const V half_width(S(0.5) * scene.width), half_height(S(0.5) * scene.height);
  put3(drawn, {half_width * grad_u, half_height * grad_v, zero}, out.means2d, first, valid);
  if (!out.means2d_abs) return;
  V absolute[kAbsolute];
  load_columns(sums + kMoments + scene.channels, pairs.stride, valid, kAbsolute, absolute);
  put3(drawn, {half_width * absolute[0], half_height * absolute[1], zero}, out.means2d_abs, first,
       valid);
}

template <class S, bool kAntialiased>
void project_backward_rows(const DgrScene& scene, const DgrState& state, const DgrGradients& out,
                           const PairGradients& pairs, int64_t begin, int64_t end, void* scratch) {
  constexpr int W = Vec<S>::kLanes;
  const Camera<Vec<S>> camera = load_camera<S>(scene);
  Vec<S> pose[kPoseNumbers];
  for (auto& total : pose) total = Vec<S>(S(0));
  for (int64_t first = begin; first < end; first += W) {
    const int valid = end - first < W ? (int)(end - first) : W;
    alignas(kVectorBytes) S drawn[W] = {};
    bool some = false;
    for (int i = 0; i < valid; ++i) {
      const bool one = state.radii[first + i] > 0;
      drawn[i] = one;
      some |= one;
    }
    if (some)
      backward_group<S, kAntialiased>(scene, state, camera, out, pairs,
                                      Vec<S>::load(drawn) > Vec<S>(S(0)), first, valid, (S*)scratch,
                                      pairs.poses ? pose : nullptr);
    else
      clear_group<S>(scene, out, first, valid);
  }
  finish_streams();
  if (!pairs.poses) return;
  S* row = (S*)pairs.poses + begin / kChunk * kPoseNumbers;
  for (int k = 0; k < kPoseNumbers; ++k) row[k] = sum(pose[k]);
}

}  // namespace dgr
