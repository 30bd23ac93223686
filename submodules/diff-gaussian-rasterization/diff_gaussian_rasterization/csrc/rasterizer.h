// What the CPU library's parts share: the table of kernels that kernels.cpp fills in, and
// what those hand each other.
#pragma once

#include "border.h"

// Room for this many pairs, or null, as there must be for 2^32 and more. Called on the thread that
// called dgr_forward.
extern "C" {
typedef DgrPair* (*DgrAllocate)(int64_t pairs);
}

constexpr int kChunk = 512;  // Gaussians per task; fixed, so that sums never depend on the threads
constexpr int kOutlineNumbers = 8;  // of an Outline
constexpr int kAbsolute = 2;  // sums of the absolute gradients to u and v
constexpr int kMoments = 7;  // six moments of the exponent's gradient, and the depth's gradient

// A pair before sorting, in Gaussian order.
struct Placed {
  uint32_t tile;
  uint8_t rows[4];
};

// Pairs of one chunk, kept while they are few. Plain, with malloc behind it: no exception may leave
// a thread of a team.
struct PlacedList {
  Placed* data;
  int64_t size, capacity;  // size: of all pairs, kept or not
};

// Scratch of one backward pass: one row of `stride` numbers per pair, written only where `touched`:
// moments, channels and, where `means2d_abs` is wanted, kAbsolute more.
struct PairGradients {
  void* rows;
  uint8_t* touched;
  int stride;
  void* poses;        // kPoseNumbers per chunk, or null
  void* backgrounds;  // C per tile, or null
};

inline int pair_stride(int columns) { return (kMoments + columns + 15) / 16 * 16; }

struct Kernels {
  // Bytes of 64-aligned scratch that one thread needs.
  int64_t (*scratch)(const DgrScene&);
  // Rows begin .. end: radii, splats, features, outlines, and offsets[i + 1] = number of tiles. The
  // list keeps the pairs themselves while they are few.
  // outlines: kOutlineNumbers per row, rows rounded up to kChunk, 64-aligned.
  void (*project)(const DgrScene&, const DgrState&, void* outlines, PlacedList&, int64_t begin,
                  int64_t end);
  // The same rows' pairs from the outlines, once offsets are a running sum.
  void (*place)(const DgrScene&, const DgrState&, const void* outlines, Placed*, int64_t begin,
                int64_t end);
  void (*blend)(const DgrScene&, const DgrState&, const DgrImage&, int tile, void* scratch);
  void (*blend_backward)(const DgrScene&, const DgrState&, const DgrImage&, const DgrGradients&,
                         const PairGradients&, int tile, void* scratch);
  void (*project_backward)(const DgrScene&, const DgrState&, const DgrGradients&,
                           const PairGradients&, int64_t begin, int64_t end, void* scratch);
};

namespace dgr {
extern const Kernels kernels[2];  // of float and double
}
