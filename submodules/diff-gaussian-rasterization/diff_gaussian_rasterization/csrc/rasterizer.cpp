// The C interface: deals out tasks to threads, and keeps exceptions inside. Compiled for any
// processor.
#include "rasterizer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>

#include "binning.h"
#include "team.h"

namespace {

enum Failure : int64_t { kBadCamera = -1, kNoMemory = -2 };

template <class S>
bool camera_is_good(const DgrScene& scene) {
  const S *w = (const S*)scene.viewmat, *k = (const S*)scene.K;
  for (int i = 0; i < 12; ++i)
    if (!std::isfinite(w[i])) return false;
  for (int i = 0; i < 9; ++i)
    if (!std::isfinite(k[i])) return false;
  return k[0] > 0 && k[4] > 0;
}

template <class Body>
int64_t guarded(const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
typedef std::unique_ptr<void, Free> Buffer;

Buffer aligned(int64_t bytes, int64_t alignment = 64) {
  void* p = nullptr;
  if (posix_memalign(&p, alignment, bytes > 0 ? bytes : 1) != 0) throw std::bad_alloc();
  return Buffer(p);
}

// Memory for what a backward pass scatters over all of it. Pages of 2 MiB, where the system has
// them: with small ones nearly every access misses the processor's address cache. The thread that
// asked keeps it for its next call, since new pages cost more than the pass saves by them.
class KeptBuffer {
 public:
  void* at_least(int64_t bytes) {
    if (bytes <= bytes_) return memory_.get();
    bytes_ = 0;
    memory_.reset();
    const int64_t rounded = (bytes + kPage - 1) / kPage * kPage;
    memory_ = aligned(rounded, kPage);
#ifdef MADV_HUGEPAGE
    madvise(memory_.get(), rounded, MADV_HUGEPAGE);
#endif
    bytes_ = rounded;
    return memory_.get();
  }
  // Gives back what would be too much to hold on to.
  void trim() {
    if (bytes_ <= kMostKept) return;
    bytes_ = 0;
    memory_.reset();
  }

 private:
  static constexpr int64_t kPage = 2 << 20, kMostKept = 64 << 20;
  int64_t bytes_ = 0;
  Buffer memory_;
};

// One aligned piece of scratch per thread.
class Scratch {
 public:
  Scratch(int64_t bytes, int threads)
      : each_((bytes + 63) / 64 * 64), all_(aligned(each_ * threads)) {}
  void* of(int rank) const { return (char*)all_.get() + each_ * rank; }

 private:
  int64_t each_;
  Buffer all_;
};

int64_t number_bytes(const DgrScene& scene) {
  return scene.is_double ? sizeof(double) : sizeof(float);
}

int tile_count(const DgrScene& scene) {
  return ((scene.width + kTile - 1) / kTile) * ((scene.height + kTile - 1) / kTile);
}

int team_size(const DgrScene& scene, int64_t tasks) {
  return (int)std::max<int64_t>(1, std::min<int64_t>(scene.threads, tasks));
}

int64_t chunk_count(const DgrScene& scene) { return (scene.count + kChunk - 1) / kChunk; }

template <class Body>
void for_chunks(const DgrScene& scene, SharedTasks& chunks, int rank, const Body& body) {
  int64_t chunk;
  while (chunks.take(rank, chunk)) {
    const int64_t begin = chunk * kChunk;
    body(begin, std::min(begin + kChunk, scene.count));
  }
}

// out[c] = sum of parts[0 .. count)[c], always in this order.
template <class S>
void add_up(const void* parts, int64_t count, int columns, void* out) {
  for (int c = 0; c < columns; ++c) {
    S total = 0;
    for (int64_t i = 0; i < count; ++i) total += ((const S*)parts)[i * columns + c];
    ((S*)out)[c] = total;
  }
}

template <class S>
void finish_pose(const void* poses, int64_t chunks, void* viewmat) {
  S pose[kPoseNumbers];
  add_up<S>(poses, chunks, kPoseNumbers, pose);
  S* out = (S*)viewmat;
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column) out[4 * row + column] = pose[3 * row + column];
    out[4 * row + 3] = pose[9 + row];
  }
  for (int column = 0; column < 4; ++column) out[12 + column] = 0;
}

int64_t forward(const DgrScene& scene, DgrState state, const DgrImage& image,
                DgrAllocate allocate) {
  if (!(scene.is_double ? camera_is_good<double>(scene) : camera_is_good<float>(scene)))
    return kBadCamera;
  const Kernels& kernels = dgr::kernels[scene.is_double];
  const int tile_total = tile_count(scene), threads = team_size(scene, tile_total);
  const int64_t chunk_total = chunk_count(scene);
  Binning binning(scene, state, threads);
  const Scratch scratch(kernels.scratch(scene), threads);
  const Buffer outlines = aligned(chunk_total * kChunk * kOutlineNumbers * number_bytes(scene));
  SharedTasks chunks(chunk_total, threads), tiles(tile_total, threads);
  int64_t result = 0;
  const auto allocate_pairs = [&] {
    result = guarded([&]() -> int64_t {
      const int64_t pairs = binning.number_chunks();
      state.pairs = allocate(pairs);
      if (!state.pairs) return kNoMemory;
      binning.make_room(pairs);
      return pairs;
    });
  };
  Team::run(threads, [&](Team& team, int rank) {
    for_chunks(scene, chunks, rank, [&](int64_t begin, int64_t end) {
      kernels.project(scene, state, outlines.get(), binning.pairs(begin), begin, end);
      binning.collect(begin, end);
    });
    team.meet();
    if (rank == 0) allocate_pairs();
    binning.sort();
    team.meet();
    if (result < 0) return;
    binning.run(team, rank, [&](int64_t begin, int64_t end, Placed* placed) {
      kernels.place(scene, state, outlines.get(), placed, begin, end);
    });
    team.meet();
    int64_t tile;
    while (tiles.take(rank, tile)) kernels.blend(scene, state, image, (int)tile, scratch.of(rank));
  });
  return result;
}

int64_t backward(const DgrScene& scene, const DgrState& state, const DgrImage& image,
                 const DgrGradients& grad) {
  const Kernels& kernels = dgr::kernels[scene.is_double];
  const int64_t number = number_bytes(scene), pair_count = state.offsets[scene.count],
                chunk_total = chunk_count(scene);
  const int tiles_count = tile_count(scene), threads = team_size(scene, tiles_count);
  const int stride = pair_stride(scene.channels + (grad.means2d_abs ? kAbsolute : 0));
  static thread_local KeptBuffer rows;
  const Buffer touched = aligned(pair_count);
  const Buffer poses = aligned(grad.viewmat ? chunk_total * kPoseNumbers * number : 0);
  const Buffer backgrounds = aligned(grad.background ? tiles_count * scene.channels * number : 0);
  const PairGradients pairs = {rows.at_least(pair_count * stride * number),
                               (uint8_t*)touched.get(), stride,
                               grad.viewmat ? poses.get() : nullptr,
                               grad.background ? backgrounds.get() : nullptr};
  const Scratch scratch(kernels.scratch(scene), threads);
  SharedTasks tiles(tiles_count, threads), chunks(chunk_total, threads);
  Team::run(threads, [&](Team& team, int rank) {
    int64_t tile;
    while (tiles.take(rank, tile))
      kernels.blend_backward(scene, state, image, grad, pairs, (int)tile, scratch.of(rank));
    team.meet();
    for_chunks(scene, chunks, rank, [&](int64_t begin, int64_t end) {
      kernels.project_backward(scene, state, grad, pairs, begin, end, scratch.of(rank));
    });
  });
  rows.trim();
  if (grad.viewmat)
    (scene.is_double ? finish_pose<double> : finish_pose<float>)(poses.get(), chunk_total,
                                                                 grad.viewmat);
  if (grad.background)
    (scene.is_double ? add_up<double> : add_up<float>)(backgrounds.get(), tiles_count,
                                                       scene.channels, grad.background);
  return 0;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// Fills the image and the state; asks for memory for its pairs once their number is known. Returns
// that number, or a Failure.
int64_t dgr_forward(const DgrScene* scene, const DgrState* state, const DgrImage* image,
                    DgrAllocate allocate) {
  return guarded([&] { return forward(*scene, *state, *image, allocate); });
}

// Fills every gradient that is not null. Returns 0 or a Failure.
int64_t dgr_backward(const DgrScene* scene, const DgrState* state, const DgrImage* image,
                     const DgrGradients* grad) {
  return guarded([&] { return backward(*scene, *state, *image, *grad); });
}
}
#pragma GCC visibility pop
