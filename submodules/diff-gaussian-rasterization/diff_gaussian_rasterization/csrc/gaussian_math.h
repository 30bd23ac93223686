// The mathematics of one Gaussian, for any device and any number type T: float, double, or a SIMD
// vector of either (simd.h). Every derivative ("_vjp": gradient of the output in, gradient of the
// input out) stands directly under its forward function. Files that include this one only decide
// who computes what when.
//
// Conventions: column vectors, p_cam = W m + t, OpenCV axes (x right, y down, z ahead), quaternions
// wxyz, pixel (i, j) has its centre at (i + 0.5, j + 0.5).
#pragma once

#if defined(__CUDACC__)
#define DGR_FN __host__ __device__ inline
#else
#define DGR_FN inline __attribute__((always_inline))
#endif
#define DGR_INLINE __attribute__((always_inline))  // for lambdas

namespace dgr {

// What the vector types of simd.h provide under the same names.
DGR_FN float select(bool mask, float yes, float no) { return mask ? yes : no; }
DGR_FN double select(bool mask, double yes, double no) { return mask ? yes : no; }
#if defined(__CUDACC__)
DGR_FN float root(float x) { return ::sqrtf(x); }
DGR_FN double root(double x) { return ::sqrt(x); }
DGR_FN float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
DGR_FN double fma(double a, double b, double c) { return ::fma(a, b, c); }
#else
DGR_FN float root(float x) { return __builtin_sqrtf(x); }
DGR_FN double root(double x) { return __builtin_sqrt(x); }
DGR_FN float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DGR_FN double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
#endif
DGR_FN float maximum(float a, float b) { return a > b ? a : b; }
DGR_FN double maximum(double a, double b) { return a > b ? a : b; }

// NaN becomes `low`: what comes out is always within.
template <class T>
DGR_FN T clamp(T x, T low, T high) {
  return select(x > low, select(x < high, x, high), low);
}

template <class T>
struct Vec3 {
  T x, y, z;
};

template <class T>
DGR_FN Vec3<T> operator+(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <class T>
DGR_FN Vec3<T> operator-(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
template <class T>
DGR_FN Vec3<T> operator*(T s, const Vec3<T>& a) {
  return {s * a.x, s * a.y, s * a.z};
}
template <class T>
DGR_FN Vec3<T> times(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.x * b.x, a.y * b.y, a.z * b.z};
}
template <class T>
DGR_FN T dot(const Vec3<T>& a, const Vec3<T>& b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}
template <class T>
DGR_FN Vec3<T> cross(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

template <class T>
struct Mat3 {
  Vec3<T> row[3];
};

template <class T>
DGR_FN Vec3<T> operator*(const Mat3<T>& m, const Vec3<T>& v) {
  return {dot(m.row[0], v), dot(m.row[1], v), dot(m.row[2], v)};
}
template <class T>
DGR_FN Vec3<T> transposed_times(const Mat3<T>& m, const Vec3<T>& v) {
  return v.x * m.row[0] + v.y * m.row[1] + v.z * m.row[2];
}

template <class T>
DGR_FN Vec3<T> normalize(const Vec3<T>& v) {
  return (T(1) / root(dot(v, v))) * v;
}
template <class T>
DGR_FN Vec3<T> normalize_vjp(const Vec3<T>& v, const Vec3<T>& grad) {
  const T inverse = T(1) / root(dot(v, v));
  const Vec3<T> unit = inverse * v;
  return inverse * (grad - dot(unit, grad) * unit);
}

// ------------------------------------------------------------------------------------ rotation

template <class T>
struct Quat {
  T w, x, y, z;
};

template <class T>
DGR_FN T norm(const Quat<T>& q) {
  return root(q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z);
}

// Rotation matrix of q / |q|.
template <class T>
DGR_FN Mat3<T> rotation(const Quat<T>& q) {
  const T s = T(1) / norm(q), w = s * q.w, x = s * q.x, y = s * q.y, z = s * q.z;
  const T one(1), two(2);
  return {{{one - two * (y * y + z * z), two * (x * y - w * z), two * (x * z + w * y)},
           {two * (x * y + w * z), one - two * (x * x + z * z), two * (y * z - w * x)},
           {two * (x * z - w * y), two * (y * z + w * x), one - two * (x * x + y * y)}}};
}

template <class T>
DGR_FN Quat<T> rotation_vjp(const Quat<T>& q, const Mat3<T>& g) {
  const T s = T(1) / norm(q), w = s * q.w, x = s * q.x, y = s * q.y, z = s * q.z;
  const T two(2);
  // Sums and differences of mirrored entries: the odd part turns with w, the even part does not.
  const T odd_x = g.row[2].y - g.row[1].z, odd_y = g.row[0].z - g.row[2].x,
          odd_z = g.row[1].x - g.row[0].y;
  const T even_x = g.row[2].y + g.row[1].z, even_y = g.row[0].z + g.row[2].x,
          even_z = g.row[1].x + g.row[0].y;
  const T dw = two * (x * odd_x + y * odd_y + z * odd_z);
  const T dx = two * (w * odd_x + y * even_z + z * even_y - two * x * (g.row[1].y + g.row[2].z));
  const T dy = two * (w * odd_y + x * even_z + z * even_x - two * y * (g.row[0].x + g.row[2].z));
  const T dz = two * (w * odd_z + x * even_y + y * even_x - two * z * (g.row[0].x + g.row[1].y));
  const T along = w * dw + x * dx + y * dy + z * dz;
  return {s * (dw - along * w), s * (dx - along * x), s * (dy - along * y), s * (dz - along * z)};
}

// ---------------------------------------------------------------------------------- projection

template <class T>
struct Camera {
  Mat3<T> rotation;     // W, rows
  Vec3<T> translation;  // t
  T fx, fy, cx, cy;     // pixels
  T x_min, x_max, y_min,
      y_max;  // the slope x/z may not leave these in the Jacobian (1.3 times the frustum)
};

// From a world-to-camera matrix w 4 4 and intrinsics k 3 3, row-major, of plain numbers S.
template <class T, class S>
DGR_FN Camera<T> make_camera(const S* w, const S* k, int width, int height) {
  Camera<T> c;
  for (int i = 0; i < 3; ++i) c.rotation.row[i] = {w[4 * i], w[4 * i + 1], w[4 * i + 2]};
  c.translation = {w[3], w[7], w[11]};
  const S fx = k[0], fy = k[4], cx = k[2], cy = k[5];
  c.fx = fx, c.fy = fy, c.cx = cx, c.cy = cy;
  // 3DGS bounds x/z by 1.3 times the half frustum; for a principal point off the centre the extra
  // 0.3 stands on either side of what the image sees (as gsplat does).
  const S extra_x = S(0.15) * S(width) / fx, extra_y = S(0.15) * S(height) / fy;
  c.x_min = -cx / fx - extra_x, c.x_max = (S(width) - cx) / fx + extra_x;
  c.y_min = -cy / fy - extra_y, c.y_max = (S(height) - cy) / fy + extra_y;
  return c;
}

template <class T>
DGR_FN Vec3<T> center(const Camera<T>& camera) {
  return T(-1) * transposed_times(camera.rotation, camera.translation);
}

// Gradient of a loss to the camera's pose, as far as it is asked for.
template <class T>
struct PoseGrad {
  Mat3<T> rotation;
  Vec3<T> translation;
};

template <class T>
DGR_FN void center_vjp(const Camera<T>& camera, const Vec3<T>& grad, PoseGrad<T>& pose) {
  pose.translation = pose.translation - camera.rotation * grad;
  pose.rotation.row[0] = pose.rotation.row[0] - camera.translation.x * grad;
  pose.rotation.row[1] = pose.rotation.row[1] - camera.translation.y * grad;
  pose.rotation.row[2] = pose.rotation.row[2] - camera.translation.z * grad;
}

// A mean seen by the camera: its place in camera space and on the image, and the two rows of J W,
// the Jacobian of the pixel with respect to a world point (EWA splatting, Zwicker et al. 2001, eq.
// 29).
template <class T>
struct Projected {
  Vec3<T> camera_point;
  T u, v;          // pixels
  Vec3<T> du, dv;  // rows of J W
};

template <class T>
DGR_FN Projected<T> project(const Camera<T>& camera, const Vec3<T>& mean) {
  const Vec3<T> p = camera.rotation * mean + camera.translation;
  const T inverse = T(1) / p.z, x = p.x * inverse, y = p.y * inverse;
  const Vec3<T>* W = camera.rotation.row;
  return {p, camera.fx * x + camera.cx, camera.fy * y + camera.cy,
          (camera.fx * inverse) * (W[0] - clamp(x, camera.x_min, camera.x_max) * W[2]),
          (camera.fy * inverse) * (W[1] - clamp(y, camera.y_min, camera.y_max) * W[2])};
}

// Gradients of u, v, the depth z, and the Jacobian rows, to the mean; the pose's are added to
// `pose`.
template <class T>
DGR_FN Vec3<T> project_vjp(const Camera<T>& camera, const Vec3<T>& mean, const Projected<T>& out,
                           T grad_u, T grad_v, T grad_z, const Vec3<T>& grad_du,
                           const Vec3<T>& grad_dv, PoseGrad<T>& pose) {
  const Vec3<T>& p = out.camera_point;
  const Vec3<T>* W = camera.rotation.row;
  const T zero(0), inverse = T(1) / p.z, x = p.x * inverse, y = p.y * inverse;
  const T clamped_x = clamp(x, camera.x_min, camera.x_max),
          clamped_y = clamp(y, camera.y_min, camera.y_max);
  const T kx = camera.fx * inverse, ky = camera.fy * inverse;
  const T grad_x =
      camera.fx * grad_u + select(clamped_x == x, zero - kx * dot(grad_du, W[2]), zero);
  const T grad_y =
      camera.fy * grad_v + select(clamped_y == y, zero - ky * dot(grad_dv, W[2]), zero);
  const T grad_inverse =
      p.x * grad_x + p.y * grad_y + p.z * (dot(grad_du, out.du) + dot(grad_dv, out.dv));
  const Vec3<T> grad_p = {inverse * grad_x, inverse * grad_y,
                          grad_z - inverse * inverse * grad_inverse};
  pose.rotation.row[0] = pose.rotation.row[0] + kx * grad_du + grad_p.x * mean;
  pose.rotation.row[1] = pose.rotation.row[1] + ky * grad_dv + grad_p.y * mean;
  pose.rotation.row[2] = pose.rotation.row[2] + grad_p.z * mean - (kx * clamped_x) * grad_du -
                         (ky * clamped_y) * grad_dv;
  pose.translation = pose.translation + grad_p;
  return transposed_times(camera.rotation, grad_p);
}

// ---------------------------------------------------------------------------------- covariance

// Square pixels added to both variances (3DGS): no Gaussian falls between pixels.
constexpr double kDilation = 0.3;

// The 2-D covariance [[a, b], [b, c]], factored: variance a of x, slope b/a of the ridge y(x), and
// spread c - b²/a, the variance of y at fixed x. The exponent is then a sum of two squares,
//   -1/2 (dx² / variance + (dy - slope dx)² / spread),
// so float32 keeps the thickness of a needle, where the usual conic (inverse covariance) cancels.
template <class T>
struct Footprint {
  T variance, slope, spread;
};

// From scales and rotation: the 2-D covariance is M Mᵀ + 0.3 I, M = J W R S with rows m0 and m1. By
// Lagrange's identity its determinant is |m0 × m1|² + 0.3 (|m0|² + |m1|²) + 0.09: nothing cancels.
// k: what is added in place of the 0.3.
template <class T>
DGR_FN Footprint<T> footprint(const Projected<T>& out, const Mat3<T>& R, const Vec3<T>& scales,
                              T k = T(kDilation)) {
  const Vec3<T> m0 = times(transposed_times(R, out.du), scales);
  const Vec3<T> m1 = times(transposed_times(R, out.dv), scales);
  const T variance = dot(m0, m0) + k, inverse = T(1) / variance;
  const Vec3<T> minors = root(inverse) * cross(m0, m1);
  return {variance, inverse * dot(m0, m1), dot(minors, minors) + k * inverse * dot(m1, m1) + k};
}

template <class T>
DGR_FN void footprint_vjp(const Projected<T>& out, const Mat3<T>& R, const Vec3<T>& scales,
                          const Footprint<T>& grad, Vec3<T>& grad_du, Vec3<T>& grad_dv,
                          Mat3<T>& grad_R, Vec3<T>& grad_scales, T k = T(kDilation)) {
  const Vec3<T> r0 = transposed_times(R, out.du), r1 = transposed_times(R, out.dv);
  const Vec3<T> m0 = times(r0, scales), m1 = times(r1, scales);
  const T two(2), inverse = T(1) / (dot(m0, m0) + k), slope = inverse * dot(m0, m1);
  // m1 - slope m0, again without cancellation: ((m0 × m1) × m0 + 0.3 m1) / variance.
  const Vec3<T> unit = root(inverse) * m0;
  const Vec3<T> across = cross(cross(unit, m1), unit) + (k * inverse) * m1;
  const T turn = inverse * grad.slope;
  const Vec3<T> g0 = (two * grad.variance) * m0 + turn * (across - slope * m0) -
                     (two * slope * grad.spread) * across;
  const Vec3<T> g1 = (two * grad.spread) * across + turn * m0;
  grad_scales = times(g0, r0) + times(g1, r1);
  const Vec3<T> h0 = times(g0, scales), h1 = times(g1, scales);
  grad_du = R * h0;
  grad_dv = R * h1;
  grad_R.row[0] = out.du.x * h0 + out.dv.x * h1;
  grad_R.row[1] = out.du.y * h0 + out.dv.y * h1;
  grad_R.row[2] = out.du.z * h0 + out.dv.z * h1;
}

// From a given world covariance, upper triangle xx xy xz yy yz zz.
template <class T>
struct Cov3 {
  T xx, xy, xz, yy, yz, zz;
};

template <class T>
DGR_FN Vec3<T> operator*(const Cov3<T>& s, const Vec3<T>& v) {
  return {s.xx * v.x + s.xy * v.y + s.xz * v.z, s.xy * v.x + s.yy * v.y + s.yz * v.z,
          s.xz * v.x + s.yz * v.y + s.zz * v.z};
}

template <class T>
DGR_FN Footprint<T> footprint(const Projected<T>& out, const Cov3<T>& sigma,
                              T k = T(kDilation)) {
  const Vec3<T> s0 = sigma * out.du;
  const T a = dot(out.du, s0) + k, b = dot(out.dv, s0), slope = b / a;
  return {a, slope, dot(out.dv, sigma * out.dv) + k - slope * b};
}

template <class T>
DGR_FN void footprint_vjp(const Projected<T>& out, const Cov3<T>& sigma, const Footprint<T>& grad,
                          Vec3<T>& grad_du, Vec3<T>& grad_dv, Cov3<T>& grad_sigma,
                          T k = T(kDilation)) {
  const Vec3<T>&p = out.du, &q = out.dv;
  const Vec3<T> s0 = sigma * p, s1 = sigma * q;
  const T two(2), inverse = T(1) / (dot(p, s0) + k), slope = inverse * dot(q, s0);
  const T turn = inverse * grad.slope, c = grad.spread;
  const T a = grad.variance - turn * slope + c * slope * slope, b = turn - two * c * slope;
  grad_du = (two * a) * s0 + b * s1;
  grad_dv = (two * c) * s1 + b * s0;
  grad_sigma = {a * p.x * p.x + b * p.x * q.x + c * q.x * q.x,
                two * (a * p.x * p.y + c * q.x * q.y) + b * (p.x * q.y + p.y * q.x),
                two * (a * p.x * p.z + c * q.x * q.z) + b * (p.x * q.z + p.z * q.x),
                a * p.y * p.y + b * p.y * q.y + c * q.y * q.y,
                two * (a * p.y * p.z + c * q.y * q.z) + b * (p.y * q.z + p.z * q.y),
                a * p.z * p.z + b * p.z * q.z + c * q.z * q.z};
}

template <class T>
DGR_FN T variance_y(const Footprint<T>& f) {
  return f.spread + f.slope * f.slope * f.variance;
}

// In the antialiased mode (Mip-Splatting, Yu et al. 2024) the opacity is multiplied by
// sqrt(det S / det S'), where S is the bare footprint, without dilation (k = 0), and S' the one
// with it: the dilation then spreads a Gaussian's light and adds none. Where S has no area this is
// 0, or NaN from 0 / 0, and the row is not drawn. A drawn row has at least 1/255 of its light left,
// so its gradient, that of the logarithm, is finite, and the root's at 0 is never asked for.
template <class T>
DGR_FN T compensation(const Footprint<T>& bare, const Footprint<T>& f) {
  return root((bare.variance / f.variance) * (bare.spread / f.spread));
}

// Adds the gradients of `grad` times log sqrt(variance spread), of a footprint with k added.
template <class T>
DGR_FN void add_log_area_vjp(const Projected<T>& out, const Mat3<T>& R, const Vec3<T>& scales, T k,
                             T grad, Vec3<T>& grad_du, Vec3<T>& grad_dv, Mat3<T>& grad_R,
                             Vec3<T>& grad_scales) {
  const Footprint<T> f = footprint(out, R, scales, k);
  const T half = T(0.5) * grad;
  Vec3<T> du, dv, s;
  Mat3<T> r;
  footprint_vjp(out, R, scales, {half / f.variance, T(0), half / f.spread}, du, dv, r, s, k);
  grad_du = grad_du + du, grad_dv = grad_dv + dv, grad_scales = grad_scales + s;
  for (int i = 0; i < 3; ++i) grad_R.row[i] = grad_R.row[i] + r.row[i];
}

template <class T>
DGR_FN void add_log_area_vjp(const Projected<T>& out, const Cov3<T>& sigma, T k, T grad,
                             Vec3<T>& grad_du, Vec3<T>& grad_dv, Cov3<T>& grad_sigma) {
  const Footprint<T> f = footprint(out, sigma, k);
  const T half = T(0.5) * grad;
  Vec3<T> du, dv;
  Cov3<T> s;
  footprint_vjp(out, sigma, {half / f.variance, T(0), half / f.spread}, du, dv, s, k);
  grad_du = grad_du + du, grad_dv = grad_dv + dv;
  grad_sigma = {grad_sigma.xx + s.xx, grad_sigma.xy + s.xy, grad_sigma.xz + s.xz,
                grad_sigma.yy + s.yy, grad_sigma.yz + s.yz, grad_sigma.zz + s.zz};
}

// The 3DGS radius: three standard deviations along the longer axis, in pixels.
template <class T>
DGR_FN T radius(const Footprint<T>& f) {
  const T a = f.variance, c = variance_y(f), b = f.slope * a, half = T(0.5) * (a - c);
  const T square = half * half + b * b;
  return T(3) * root(T(0.5) * (a + c) + root(select(square > T(0.1), square, T(0.1))));
}

// --------------------------------------------------------------------------------------- alpha

constexpr double kMaxAlpha = 0.99;
constexpr double kMinAlpha = 1.0 / 255.0;   // fainter is not drawn
constexpr double kMinTransmittance = 1e-4;  // a Gaussian that would leave less light ends the pixel
constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2 = 0.6931471805599453;

// log2 of alpha before its bound. Per Gaussian: log_opacity = log2 of the opacity, and weight_x,
// weight_y = -log2(e) / 2 over variance and spread; per pixel: dx and off = dy - slope dx. The part
// that depends on dx alone is shared by a column of pixels.
template <class T>
DGR_FN T log2_alpha_x(T dx, T weight_x, T log_opacity) {
  return fma(weight_x * dx, dx, log_opacity);
}
template <class T>
DGR_FN T log2_alpha(T off, T weight_y, T part_x) {
  return fma(weight_y * off, off, part_x);
}

// Sums over pixels of g, g dx, g off, g dx², g dx off, g off², where g = dL/dalpha · alpha is the
// gradient to the (natural) exponent.
template <class T>
struct Moments {
  T one, x, off, xx, x_off, off_off;
};

template <class T>
DGR_FN Footprint<T> exponent_vjp(const Footprint<T>& f, const Moments<T>& m, T& grad_u, T& grad_v) {
  const T per_x = T(1) / f.variance, per_y = T(1) / f.spread, half(0.5);
  grad_v = per_y * m.off;
  grad_u = per_x * m.x - f.slope * grad_v;
  return {half * per_x * per_x * m.xx, per_y * m.x_off, half * per_y * per_y * m.off_off};
}

// ------------------------------------------------------------------------- spherical harmonics

constexpr int kMaxShBases = 16;
constexpr double kSh0 = 0.28209479177387814, kSh1 = 0.4886025119029199;
constexpr double kSh2a = 1.0925484305920792, kSh2b = 0.31539156525252005,
                 kSh2c = 0.5462742152960396;
constexpr double kSh3a = 0.5900435899266435, kSh3b = 2.890611442640554, kSh3c = 0.4570457994644658;
constexpr double kSh3d = 0.3731763325901154, kSh3e = 1.445305721320277;

// Real spherical harmonics of a unit direction, in the order and with the signs that 3DGS files
// use.
template <class T>
DGR_FN void sh_basis(const Vec3<T>& d, int degree, T* basis) {
  const T x = d.x, y = d.y, z = d.z;
  basis[0] = T(kSh0);
  if (degree < 1) return;
  basis[1] = T(-kSh1) * y;
  basis[2] = T(kSh1) * z;
  basis[3] = T(-kSh1) * x;
  if (degree < 2) return;
  const T xx = x * x, yy = y * y, zz = z * z;
  basis[4] = T(kSh2a) * x * y;
  basis[5] = T(-kSh2a) * y * z;
  basis[6] = T(kSh2b) * (T(2) * zz - xx - yy);
  basis[7] = T(-kSh2a) * x * z;
  basis[8] = T(kSh2c) * (xx - yy);
  if (degree < 3) return;
  basis[9] = T(-kSh3a) * y * (T(3) * xx - yy);
  basis[10] = T(kSh3b) * x * y * z;
  basis[11] = T(-kSh3c) * y * (T(4) * zz - xx - yy);
  basis[12] = T(kSh3d) * z * (T(2) * zz - T(3) * (xx + yy));
  basis[13] = T(-kSh3c) * x * (T(4) * zz - xx - yy);
  basis[14] = T(kSh3e) * z * (xx - yy);
  basis[15] = T(-kSh3a) * x * (xx - T(3) * yy);
}

template <class T>
DGR_FN Vec3<T> sh_basis_vjp(const Vec3<T>& d, int degree, const T* g) {
  const T x = d.x, y = d.y, z = d.z, zero(0), two(2), three(3);
  Vec3<T> out = {zero, zero, zero};
  if (degree < 1) return out;
  out = {T(-kSh1) * g[3], T(-kSh1) * g[1], T(kSh1) * g[2]};
  if (degree < 2) return out;
  const T a4 = T(kSh2a) * g[4], a5 = T(-kSh2a) * g[5], a6 = T(2 * kSh2b) * g[6],
          a7 = T(-kSh2a) * g[7];
  const T a8 = T(2 * kSh2c) * g[8];
  out = out + Vec3<T>{a4 * y + a7 * z - a6 * x + a8 * x, a4 * x + a5 * z - a6 * y - a8 * y,
                      a5 * y + two * a6 * z + a7 * x};
  if (degree < 3) return out;
  const T xx = x * x, yy = y * y, zz = z * z, xy = x * y, xz = x * z, yz = y * z;
  const T b9 = T(-kSh3a) * g[9], b10 = T(kSh3b) * g[10], b11 = T(-kSh3c) * g[11],
          b12 = T(kSh3d) * g[12];
  const T b13 = T(-kSh3c) * g[13], b14 = T(kSh3e) * g[14], b15 = T(-kSh3a) * g[15];
  const T six(6), eight(8);
  return out +
         Vec3<T>{b9 * six * xy + b10 * yz - b11 * two * xy - b12 * six * xz +
                     b13 * (T(4) * zz - three * xx - yy) + b14 * two * xz + b15 * three * (xx - yy),
                 b9 * three * (xx - yy) + b10 * xz + b11 * (T(4) * zz - xx - three * yy) -
                     b12 * six * yz - b13 * two * xy - b14 * two * yz - b15 * six * xy,
                 b10 * xy + b11 * eight * yz + b12 * (six * zz - three * (xx + yy)) +
                     b13 * eight * xz + b14 * (xx - yy)};
}

}  // namespace dgr
