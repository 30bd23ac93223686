// Every kernel on four threads and on one, for scripts/check_sanitizers.sh: a race is reported by
// ThreadSanitizer, and other bits by the exit code.
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "api.h"
#include "rasterizer.h"

using namespace fused_fields;

extern "C" {
int64_t dgr_forward(const DgrScene*, const DgrState*, const DgrImage*, DgrAllocate);
int64_t dgr_backward(const DgrScene*, const DgrState*, const DgrImage*, const DgrGradients*);
extern int (*const ff_lookup_forward_f32)(const Field*, const float*, int64_t, float*, int);
extern int (*const ff_lookup_backward_f32)(const Field*, const float*, int64_t, const float*,
                                           float*, int);
extern int (*const ff_plane_penalties_f32)(const PenaltyPlane*, int32_t, int32_t, float*, int);
extern int (*const ff_ssim_forward_f32)(const SsimShape*, const float*, const float*, float*,
                                        float*, int);
extern int (*const ff_ssim_backward_f32)(const SsimShape*, const float*, const float*,
                                         const float*, float, float*, float*, int);
extern int (*const ff_mlp_forward_f32)(const OffsetMlp*, const float* const*, int64_t,
                                       float* const*, int);
extern int (*const ff_mlp_backward_f32)(const OffsetMlp*, const float* const*, int64_t,
                                        const float* const*, float* const*, int);
extern int (*const ff_adam_step_f32)(const AdamStep*, const uint8_t*, int);
}

namespace {

uint32_t state;
float random_number() {  // in [-1, 1)
  state = state * 1664525u + 1013904223u;
  return (float)(state >> 8) / 8388608.0f - 1.0f;
}

// What one run of all kernels computes with and finds, at places that do not move.
struct Arrays {
  std::vector<std::unique_ptr<std::vector<float>>> all;
  float* of(int64_t count, float scale = 0, float shift = 0) {
    all.emplace_back(new std::vector<float>(count));
    for (float& x : *all.back()) x = scale ? shift + scale * random_number() : 0;
    return all.back()->data();
  }
};

std::vector<DgrPair> pairs;
DgrPair* room(int64_t count) {
  pairs.assign(count + 1, DgrPair{});
  return pairs.data();
}

void rasterize(Arrays& a, int threads) {
  const int n = 3000, width = 130, height = 97, pixels = width * height, tiles = 9 * 7;
  DgrScene s = {};
  s.count = n, s.width = width, s.height = height, s.channels = 3, s.threads = threads;
  s.sh_bases = 16, s.sh_degree = 3, s.near_plane = 0.01, s.far_plane = 100;
  s.means = a.of(3 * n, 1), s.quats = a.of(4 * n, 1), s.scales = a.of(3 * n, 0.2f, 0.21f);
  s.opacities = a.of(n, 0.45f, 0.5f), s.sh = a.of(48 * n, 0.3f), s.background = a.of(3, 1);
  float *view = a.of(16), *k = a.of(9);
  view[0] = view[5] = view[10] = view[15] = 1, view[11] = 3;
  k[0] = k[4] = 150, k[2] = 65, k[5] = 48, k[8] = 1;
  s.viewmat = view, s.K = k;
  std::vector<int32_t> radii(n);
  std::vector<uint32_t> offsets(n + 1), starts(tiles + 1);
  DgrState kept = {a.of(8 * n), a.of(3 * n), radii.data(), offsets.data(), nullptr, starts.data()};
  const DgrImage image = {a.of(3 * pixels), a.of(pixels), a.of(pixels)};
  dgr_forward(&s, &kept, &image, room);
  kept.pairs = pairs.data();
  const DgrGradients grad = {
      a.of(3 * pixels, 1), a.of(pixels, 1), a.of(pixels, 1), a.of(3 * n), a.of(4 * n), a.of(3 * n),
      nullptr,             a.of(n),         a.of(48 * n),    nullptr,     a.of(3 * n), a.of(3 * n),
      a.of(16),            a.of(3)};
  dgr_backward(&s, &kept, &image, &grad);
}

void look_up(Arrays& a, int threads) {
  const int n = 5000, size = 32, channels = 16, pairs[6][2] = {{0, 1}, {0, 2}, {0, -1},
                                                              {1, 2}, {1, -1}, {2, -1}};
  std::vector<FieldPlane> planes;
  std::vector<PenaltyPlane> penalized;
  for (const auto& pair : pairs) {
    float *values = a.of(size * size * channels, 1), *grad = a.of(size * size * channels);
    planes.push_back({values, grad, size, size, pair[0], pair[1]});
    penalized.push_back({values, a.of(size * size * channels), size, size, {1, 2, 3}});
  }
  const Field field = {planes.data(), 1, 6, channels, 3, 0.3, channels};
  const float* points = a.of(3 * n, 1);
  ff_lookup_forward_f32(&field, points, n, a.of(n * channels), threads);
  ff_lookup_backward_f32(&field, points, n, a.of(n * channels, 1), a.of(3 * n), threads);
  ff_plane_penalties_f32(penalized.data(), 6, channels, a.of(1), threads);
}

void compare_pictures(Arrays& a, int threads) {
  const SsimShape shape = {3, 90, 110, 0};
  const int64_t count = 3 * 90 * 110;
  const float *x = a.of(count, 1), *y = a.of(count, 1);
  float* partials = a.of(4 * count);
  ff_ssim_forward_f32(&shape, x, y, a.of(1), partials, threads);
  ff_ssim_backward_f32(&shape, x, y, partials, 0.5f, a.of(count), a.of(count), threads);
}

void run_layers(Arrays& a, int threads) {
  const int n = 3000, sizes[5][2] = {{32, 32}, {32, 96}, {32, 3}, {32, 3}, {32, 4}};
  std::vector<DenseLayer> layers;
  for (const auto& s : sizes)
    layers.push_back({a.of(s[0] * s[1], 0.3f), a.of(s[1], 0.1f), a.of(s[0] * s[1]), a.of(s[1]),
                      s[0], s[1]});
  const int32_t width = 32;
  const OffsetMlp mlp = {layers.data(), 2, 3, 0, 0, 0, 0, nullptr, 1, &width};
  const float* features[] = {a.of(n * width, 1)};
  float *grad_features[] = {a.of(n * width)}, *outputs[] = {a.of(3 * n), a.of(3 * n), a.of(4 * n)};
  const float* grads[] = {a.of(3 * n, 1), a.of(3 * n, 1), a.of(4 * n, 1)};
  ff_mlp_forward_f32(&mlp, features, n, outputs, threads);
  ff_mlp_backward_f32(&mlp, features, n, grads, grad_features, threads);
}

void step(Arrays& a, int threads) {
  const int64_t rows = 20000, row = 10, n = rows * row;
  const AdamTensor tensor = {a.of(n, 1), a.of(n, 1), a.of(n, 0.1f), a.of(n, 0.1f, 0.2f),
                             rows,       row,        0.01,          1.0};
  const AdamStep step = {&tensor, 1, 0.9, 0.999, 1e-8};
  ff_adam_step_f32(&step, nullptr, threads);
}

}  // namespace

int main() {
  int wrong = 0;
  const struct {
    const char* name;
    void (*run)(Arrays&, int);
  } kernels[] = {{"rasterizer", rasterize},
                 {"lookup and penalties", look_up},
                 {"SSIM", compare_pictures},
                 {"MLP", run_layers},
                 {"Adam", step}};
  for (const auto& kernel : kernels) {
    Arrays found[2];
    for (int i = 0; i < 2; ++i) {
      state = 1;
      kernel.run(found[i], i ? 4 : 1);
    }
    bool same = true;
    for (size_t i = 0; i < found[0].all.size(); ++i)
      same &= !std::memcmp(found[0].all[i]->data(), found[1].all[i]->data(),
                           found[0].all[i]->size() * sizeof(float));
    std::printf("%s: %s bits on one thread and on four\n", kernel.name, same ? "the same" : "other");
    wrong |= !same;
  }
  return wrong;
}
