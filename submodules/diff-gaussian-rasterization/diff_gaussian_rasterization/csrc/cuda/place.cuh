// One pair for each tile a Gaussian can reach, Gaussians nearest first; a stable sort by tile then
// leaves each tile's pairs nearest first.
#pragma once

#include "reach.cuh"

namespace dgr {

constexpr int64_t kFewTiles = 64;  // beyond, a warp places a Gaussian's pairs together

struct PairList {
  void* keys;  // tile of each pair: int16 when `narrow`, else int32
  DgrPair* pairs;
  int64_t capacity;  // pairs beyond it are dropped
  int32_t narrow, unused;
};

__device__ inline void put_pair(const PairList& list, int64_t place, int tile,
                                const DgrPair& pair) {
  if (place >= list.capacity) return;
  if (list.narrow)
    ((int16_t*)list.keys)[place] = (int16_t)tile;
  else
    ((int32_t*)list.keys)[place] = tile;
  list.pairs[place] = pair;
}

// A column's pairs, top to bottom, to `place` and on, with slots from `slot` on.
__device__ inline void place_column(const PairList& list, const TileColumn& column, int number,
                                    int tiles_across, uint32_t gaussian, int64_t slot,
                                    int64_t place) {
  for (int row = column.tiles.begin; row < column.tiles.end; ++row) {
    const DgrPair pair = {gaussian,
                          (uint32_t)slot,
                          {within(column.left.begin, row), within(column.left.end, row),
                           within(column.right.begin, row), within(column.right.end, row)}};
    if (pair.rows[1] <= pair.rows[0] && pair.rows[3] <= pair.rows[2]) continue;
    put_pair(list, place++, row * tiles_across + number, pair);
    ++slot;
  }
}

// All pairs of one Gaussian. kLanes lanes, one or a whole warp, work on as many columns at once,
// each beginning where the columns before it end.
template <int kLanes>
__device__ inline void place_gaussian(const DgrScene& scene, const Outline<Real>& reach,
                                      const PairList& list, int lane, uint32_t gaussian,
                                      int64_t slot, int64_t place) {
  const Strips strips = reached_strips(reach, scene.width);
  const int tiles_across = (scene.width + kTile - 1) / kTile, end = (strips.end + 1) / 2;
  int64_t before = 0;
  for (int first = strips.first / 2; first < end; first += kLanes) {
    const int number = first + lane;
    TileColumn column = {};
    if (number < end) column = tile_column(reach, strips, number, scene.height);
    const int mine = count_tiles(column);
    int up_to_me = mine;
    for (int step = 1; step < kLanes; step *= 2) {
      const int left = __shfl_up_sync(kAllLanes, up_to_me, step);
      if (lane >= step) up_to_me += left;
    }
    const int64_t skip = before + up_to_me - mine;
    place_column(list, column, number, tiles_across, gaussian, slot + skip, place + skip);
    before += kLanes > 1 ? __shfl_sync(kAllLanes, up_to_me, kLanes - 1) : up_to_me;
  }
}

}  // namespace dgr

// order: Gaussians, nearest first. offsets "N + 1": running sum of the pair counts in Gaussian
// order, where slots come from; ends "N": the same in depth order, each including its own.
extern "C" __global__ void __launch_bounds__(kThreads)
    place_pairs(DgrScene scene, const Outline<Real>* outlines, const int64_t* offsets,
                const int64_t* order, const int64_t* ends, PairList list) {
  const int64_t i = thread_number();
  const int lane = threadIdx.x % kWarp;
  int64_t gaussian = 0, slot = 0, place = 0, count = 0;
  if (i < scene.count) {
    gaussian = order[i];
    slot = offsets[gaussian];
    count = offsets[gaussian + 1] - slot;
    place = ends[i] - count;
  }
  if (count > 0 && count <= kFewTiles)
    place_gaussian<1>(scene, outlines[gaussian], list, 0, (uint32_t)gaussian, slot, place);
  for (uint32_t many = __ballot_sync(kAllLanes, count > kFewTiles); many; many &= many - 1) {
    const int owner = __ffs((int)many) - 1;
    const int64_t g = __shfl_sync(kAllLanes, gaussian, owner);
    const int64_t s = __shfl_sync(kAllLanes, slot, owner);
    const int64_t p = __shfl_sync(kAllLanes, place, owner);
    place_gaussian<kWarp>(scene, outlines[g], list, lane, (uint32_t)g, s, p);
  }
}
