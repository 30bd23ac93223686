// What crosses the border between Python and native code: plain structs of pointers, filled through
// ctypes, for CPU and GPU alike.
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
  int32_t antialiased;    // 1: opacities are multiplied by `compensation` of gaussian_math.h
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

// Gradients in (of the image; null = none) and out (null = not wanted).
struct DgrGradients {
  const void *color, *depth, *alpha;
  void *means, *quats, *scales, *covariances, *opacities, *sh, *colors, *means2d, *means2d_abs,
      *viewmat, *background;
};
}

constexpr int kTile = 16;         // pixels
constexpr int kSplat = 8;         // numbers per splat
constexpr int kPoseNumbers = 12;  // of a gradient to the camera: rotation rows, translation
