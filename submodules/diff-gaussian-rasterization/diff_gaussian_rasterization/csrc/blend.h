// Splats to pixels, one tile at a time.
#pragma once

#include "tile.h"

namespace dgr {

// kC: channels known when compiled, or 0 for any number.
template <class S, int kC>
void blend_tile(const DgrScene& scene, const DgrState& state, const DgrImage& image, int number,
                void* scratch) {
  typedef Vec<S> V;
  Tile<S, kC> tile(scene, number, scratch);
  const int64_t plane = (int64_t)scene.width * scene.height;
  for (int c = 0; c < tile.channels(); ++c)
    prefetch_tile<1>(scene, number, (S*)image.color + c * plane);
  prefetch_tile<1>(scene, number, (S*)image.depth);
  prefetch_tile<1>(scene, number, (S*)image.alpha);
  Run<S, kC, false> run;
  visit_runs(scene, state, tile, number, run, [&]() DGR_INLINE {
    run.visit_all(tile, [&](int i, S* block, V raw) DGR_INLINE {
      const Hit<S> hit = hit_block(block, raw);
      const V weight = zero_unless(hit.drawn, hit.alpha * hit.before);
      const auto add = [&](int field, S value) DGR_INLINE {
        S* p = block + field * V::kLanes;
        fma(weight, V(value), V::load(p)).store(p);
      };
      add(kDepthSum, run.splat[i][kDepth]);
      for (int c = 0; c < tile.channels(); ++c) add(kColors + c, run.color[i][c]);
    });
  });
  const S* background = (const S*)scene.background;
  tile.for_blocks([&](int number) {
    const S* block = tile.block(number);
    const V light = magnitude(V::load(block + kLight * V::kLanes));
    for (int c = 0; c < tile.channels(); ++c) {
      const V color = V::load(block + (kColors + c) * V::kLanes);
      tile.write(background ? fma(light, V(background[c]), color) : color,
                 (S*)image.color + c * plane, number);
    }
    tile.write(V::load(block + kDepthSum * V::kLanes), image.depth, number);
    tile.write(V(S(1)) - light, image.alpha, number);
  });
}

}  // namespace dgr
