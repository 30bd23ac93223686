// The kernels for one instruction set. The build compiles this file once per set, with the matching
// -m flags, and links a library of its own for each.
#include "blend.h"
#include "blend_backward.h"
#include "project.h"
#include "project_backward.h"

namespace dgr {

template <class S>
int64_t scratch_bytes(const DgrScene& scene) {
  const int64_t tile = Tile<S, 0>::bytes(scene.channels) + scene.channels * (int64_t)sizeof(Vec<S>);
  const int64_t rows = (int64_t)sizeof(S) * Vec<S>::kLanes * pair_stride(scene.channels + kAbsolute);
  return tile > rows ? tile : rows;
}

template <class S>
void project(const DgrScene& scene, const DgrState& state, void* outlines, PlacedList& list,
             int64_t begin, int64_t end) {
  const auto run = scene.antialiased ? project_rows<S, true> : project_rows<S, false>;
  run(scene, state, outlines, list, begin, end);
}

template <class S>
void project_backward(const DgrScene& scene, const DgrState& state, const DgrGradients& grad,
                      const PairGradients& pairs, int64_t begin, int64_t end, void* scratch) {
  const auto run =
      scene.antialiased ? project_backward_rows<S, true> : project_backward_rows<S, false>;
  run(scene, state, grad, pairs, begin, end, scratch);
}

template <class S>
void blend(const DgrScene& scene, const DgrState& state, const DgrImage& image, int tile,
           void* scratch) {
  const auto run = scene.channels == 3 ? blend_tile<S, 3> : blend_tile<S, 0>;
  run(scene, state, image, tile, scratch);
}

template <class S>
void blend_backward(const DgrScene& scene, const DgrState& state, const DgrImage& image,
                    const DgrGradients& grad, const PairGradients& pairs, int tile, void* scratch) {
  const auto plain = scene.channels != 3        ? blend_tile_backward<S, 0, true, false>
                     : grad.depth || grad.alpha ? blend_tile_backward<S, 3, true, false>
                                                : blend_tile_backward<S, 3, false, false>;
  const auto absolute = scene.channels != 3 ? blend_tile_backward<S, 0, true, true>
                                            : blend_tile_backward<S, 3, true, true>;
  const auto run = grad.means2d_abs ? absolute : plain;
  run(scene, state, image, grad, pairs, tile, scratch);
}

template <class S>
constexpr Kernels table() {
  return {scratch_bytes<S>, project<S>,        place_rows<S>,
          blend<S>,         blend_backward<S>, project_backward<S>};
}

const Kernels kernels[2] = {table<float>(), table<double>()};

}  // namespace dgr
