// Pairs into the order of their sorted tiles, and where each tile's pairs begin.
#pragma once

#include "device.cuh"

// keys: sorted tiles, int16 when `narrow`, else int32; places that hold no pair have the tile
// `tile_count`. index: where each came from.
extern "C" __global__ void __launch_bounds__(kThreads)
    collect_pairs(const void* keys, int32_t narrow, const int64_t* index, const DgrPair* placed,
                  int64_t capacity, int32_t tile_count, DgrPair* pairs, uint32_t* tiles) {
  const int64_t i = thread_number();
  if (i >= capacity) return;
  const auto tile_at = [&](int64_t k) {
    return narrow ? (int)((const int16_t*)keys)[k] : ((const int32_t*)keys)[k];
  };
  const int tile = tile_at(i), before = i > 0 ? tile_at(i - 1) : -1;
  if (tile < tile_count) pairs[i] = placed[index[i]];
  for (int t = before + 1; t <= tile; ++t) tiles[t] = (uint32_t)i;
  if (i == capacity - 1)
    for (int t = tile + 1; t <= tile_count; ++t) tiles[t] = (uint32_t)capacity;
}
