// Which Gaussians meet which tile, nearest first: the pairs are counted, then placed in Gaussian
// order; one radix sort of all drawn Gaussians by depth; then one counting sort by tile that keeps
// this order. The result is the same for any number of
// threads.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "rasterizer.h"
#include "team.h"

struct SortKey {
  uint64_t depth;  // bits of a positive number: they order as the numbers do
  uint32_t gaussian;
};

// The pairs of all chunks, as far as they were kept.
class Chunks {
 public:
  explicit Chunks(int64_t count) : lists_(count) {}
  Chunks(const Chunks&) = delete;
  ~Chunks() {
    for (PlacedList& list : lists_) std::free(list.data);
  }
  int64_t count() const { return (int64_t)lists_.size(); }
  PlacedList& operator[](int64_t chunk) { return lists_[chunk]; }

 private:
  std::vector<PlacedList> lists_;
};

class Binning {
 public:
  Binning(const DgrScene& scene, const DgrState& state, Chunks& chunks, int threads)
      : scene_(scene),
        state_(state),
        chunks_(chunks),
        tiles_((int64_t)((scene.width + kTile - 1) / kTile) * ((scene.height + kTile - 1) / kTile)),
        keys_(new SortKey[scene.count]),
        spare_(new SortKey[scene.count]),
        counts_(new uint32_t[tiles_ * threads]),
        tasks_(chunks.count() + 1) {}

  // One thread, once all pairs are counted: numbers the slots. Returns how many there are.
  int64_t number_slots() const {
    int64_t pairs = 0;
    state_.offsets[0] = 0;
    for (int64_t i = 1; i <= scene_.count; ++i) {
      pairs += state_.offsets[i];
      state_.offsets[i] = (uint32_t)pairs;
    }
    return pairs;
  }
  void make_room(int64_t pairs) { placed_.reset(new Placed[pairs]); }

  // Every thread of the team, after that. place(chunk, placed): writes a chunk's pairs that the
  // projection did not keep.
  template <class Place>
  void run(Team& team, int rank, const Place& place) {
    int64_t task;
    while (tasks_.take(task)) {
      if (task == 0)
        sort_by_depth();
      else if (const PlacedList& list = chunks_[task - 1]; list.size > list.capacity)
        place(task - 1, placed_.get());
      else if (list.size > 0)
        std::memcpy(placed_.get() + state_.offsets[(task - 1) * kChunk], list.data,
                    list.size * sizeof(Placed));
    }
    team.meet();
    uint32_t* counts = counts_.get() + tiles_ * rank;
    std::memset(counts, 0, sizeof(uint32_t) * tiles_);
    visit_share(team, rank, [&](uint32_t, uint32_t slot) { ++counts[placed_[slot].tile]; });
    team.meet();
    if (rank == 0) lay_out(team.size());
    team.meet();
    visit_share(team, rank, [&](uint32_t gaussian, uint32_t slot) {
      const Placed& placed = placed_[slot];
      DgrPair& pair = state_.pairs[counts[placed.tile]++];
      pair.gaussian = gaussian;
      pair.slot = slot;
      std::memcpy(pair.rows, placed.rows, 4);
    });
  }

 private:
  void sort_by_depth() {
    drawn_ = 0;
    for (int64_t i = 0; i < scene_.count; ++i)
      if (state_.radii[i] > 0) keys_[drawn_++] = {depth_bits(i), (uint32_t)i};
    constexpr int kDigit = 11, kBuckets = 1 << kDigit;
    for (int shift = 0; shift < (scene_.is_double ? 64 : 32); shift += kDigit) {
      uint32_t starts[kBuckets] = {};
      for (int64_t i = 0; i < drawn_; ++i) ++starts[keys_[i].depth >> shift & (kBuckets - 1)];
      uint32_t total = 0;
      for (uint32_t& start : starts) {
        const uint32_t count = start;
        start = total;
        total += count;
      }
      for (int64_t i = 0; i < drawn_; ++i)
        spare_[starts[keys_[i].depth >> shift & (kBuckets - 1)]++] = keys_[i];
      keys_.swap(spare_);
    }
  }

  uint64_t depth_bits(int64_t i) const {
    constexpr int kDepth = 6;  // its place in a splat
    if (scene_.is_double) {
      uint64_t bits;
      std::memcpy(&bits, (const double*)state_.splats + i * kSplat + kDepth, sizeof bits);
      return bits;
    }
    uint32_t bits;
    std::memcpy(&bits, (const float*)state_.splats + i * kSplat + kDepth, sizeof bits);
    return bits;
  }

  // The thread's share of the drawn Gaussians, nearest first: visit(gaussian, slot) for each of
  // their pairs.
  template <class Visit>
  void visit_share(const Team& team, int rank, const Visit& visit) const {
    const int64_t begin = drawn_ * rank / team.size(), end = drawn_ * (rank + 1) / team.size();
    const auto ahead = [&](int64_t i) { return keys_[i < end ? i : end - 1].gaussian; };
    for (int64_t i = begin; i < end; ++i) {
      __builtin_prefetch(&state_.offsets[ahead(i + 16)]);
      __builtin_prefetch(&placed_[state_.offsets[ahead(i + 8)]]);
      const uint32_t gaussian = keys_[i].gaussian, last = state_.offsets[gaussian + 1];
      for (uint32_t slot = state_.offsets[gaussian]; slot < last; ++slot) visit(gaussian, slot);
    }
  }

  // Turns counts per thread and tile into the place of each thread's first pair in each tile.
  void lay_out(int threads) {
    uint32_t total = 0;
    for (int64_t tile = 0; tile < tiles_; ++tile) {
      state_.tiles[tile] = total;
      for (int rank = 0; rank < threads; ++rank) {
        uint32_t& entry = counts_[tiles_ * rank + tile];
        const uint32_t count = entry;
        entry = total;
        total += count;
      }
    }
    state_.tiles[tiles_] = total;
  }

  const DgrScene& scene_;
  const DgrState& state_;
  Chunks& chunks_;
  const int64_t tiles_;
  int64_t drawn_ = 0;
  std::unique_ptr<Placed[]> placed_;
  std::unique_ptr<SortKey[]> keys_, spare_;
  std::unique_ptr<uint32_t[]> counts_;
  Tasks tasks_;
};
