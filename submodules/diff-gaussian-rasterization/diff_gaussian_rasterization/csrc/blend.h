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
  const Lanes<S> lanes;
  const auto blend_pair = [&](const DgrPair& pair, const DgrPair&, const S* splat,
                              const S* color) DGR_INLINE {
    visit_blocks(tile, lanes, pair, splat, [&](S* block, int number, V, V, V exponent) DGR_INLINE {
      const Hit<S> hit = hit_block(tile, block, number, exponent);
      const V weight = zero_unless(hit.drawn, hit.alpha * hit.before);
      const auto add = [&](int field, S value) DGR_INLINE {
        S* p = block + field * V::kLanes;
        fma(weight, V(value), V::load(p)).store(p);
      };
      add(kDepthSum, splat[kDepth]);
      for (int c = 0; c < tile.channels(); ++c) add(kColors + c, color[c]);
    });
  };
  visit_pairs(scene, state, tile, number, blend_pair);
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
