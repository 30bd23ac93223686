// What crosses the C border (plain structs of pointers, filled by Python through ctypes), and the
// table of kernels that each instruction set provides.
#pragma once

#include <cstdint>

extern "C" {

// All arrays are dense, row-major, and of one number type: float, or double when `is_double`.
struct DgrScene {
  int64_t count;          // N
  int32_t width, height;  // pixels
  int32_t channels;       // C
  int32_t sh_bases;       // B stored per Gaussian; 0 when `colors` is given
  int32_t sh_degree;      // active degree
  int32_t threads;
  int32_t is_double;
  int32_t unused;
  double near_plane, far_plane;
  const void* means;        // N 3
  const void* quats;        // N 4 wxyz, with scales; or null
  const void* scales;       // N 3
  const void* covariances;  // N 6 upper triangle; or null
  const void* opacities;    // N
  const void* sh;           // N B 3, or null
  const void* colors;       // N C, or null
  const void* viewmat;      // 4 4
  const void* K;            // 3 3
  const void* background;   // C, or null for zeros
};

// One (tile, Gaussian) pair. `rows` holds the first row and one past the last row of the tile that
// the Gaussian can reach, for its left eight columns and for its right eight.
struct DgrPair {
  uint32_t gaussian;
  uint32_t slot;  // the pair's number in Gaussian order: where the backward pass leaves its share
  uint8_t rows[4];
};

// What the forward pass leaves for the backward pass.
struct DgrState {
  void* splats;       // N 8, see Splat in project.h; only rows with radii > 0 are written
  void* features;     // N C, only when colours come from sh
  int32_t* radii;     // N
  uint32_t* offsets;  // N + 1: pairs of Gaussian i are slots offsets[i] .. offsets[i + 1]
  DgrPair* pairs;     // sorted by tile, then by depth
  uint32_t* tiles;    // T + 1: pairs of tile t are tiles[t] .. tiles[t + 1]
};

struct DgrImage {
  void* color;  // C H W
  void* depth;  // H W
  void* alpha;  // H W
};

// Room for this many pairs, or null. Called on the thread that called dgr_forward.
typedef DgrPair* (*DgrAllocate)(int64_t pairs);

// Gradients in (of the image; null = none) and out (null = not wanted).
struct DgrGradients {
  const void *color, *depth, *alpha;
  void *means, *quats, *scales, *covariances, *opacities, *sh, *colors, *means2d, *viewmat,
      *background;
};
}

constexpr int kTile = 16;    // pixels
constexpr int kChunk = 512;  // Gaussians per task; fixed, so that sums never depend on the threads
constexpr int kSplat = 8;    // numbers per splat
constexpr int kMoments = 7;  // six moments of the exponent's gradient, and the depth's gradient
constexpr int kPoseNumbers = 12;  // rotation rows, translation

// A pair before sorting, in Gaussian order.
struct Placed {
  uint32_t tile;
  uint8_t rows[4];
};

// Pairs of one chunk. Plain, with malloc behind it: the kernels may not use containers.
struct PlacedList {
  Placed* data;
  int64_t size, capacity;
  bool failed;  // no memory
};

// Scratch of one backward pass: one row of `stride` numbers per pair, written only where `touched`.
struct PairGradients {
  void* rows;
  uint8_t* touched;
  int stride;
  void* poses;        // kPoseNumbers per chunk, or null
  void* backgrounds;  // C per tile, or null
};

inline int pair_stride(int channels) { return (kMoments + channels + 15) / 16 * 16; }

struct Kernels {
  // Bytes of 64-aligned scratch that one thread needs.
  int64_t (*scratch)(const DgrScene&);
  // Rows begin .. end: radii, splats, features, their tiles, and offsets[i + 1] = number of tiles.
  void (*project)(const DgrScene&, const DgrState&, PlacedList&, int64_t begin, int64_t end);
  void (*blend)(const DgrScene&, const DgrState&, const DgrImage&, int tile, void* scratch);
  void (*blend_backward)(const DgrScene&, const DgrState&, const DgrImage&, const DgrGradients&,
                         const PairGradients&, int tile, void* scratch);
  void (*project_backward)(const DgrScene&, const DgrState&, const DgrGradients&,
                           const PairGradients&, int64_t begin, int64_t end, void* scratch);
};
