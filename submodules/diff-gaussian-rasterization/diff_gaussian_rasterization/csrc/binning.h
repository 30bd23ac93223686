// Which Gaussians meet which tile, nearest first: the pairs are counted, then placed in Gaussian
// order; one radix sort of all drawn Gaussians by depth; then one counting sort by tile that keeps
// this order. The result is the same for any number of
// threads.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "rasterizer.h"
#include "team.h"

// Bits: as wide as the depth, whose bits order as the numbers do, since all are positive.
template <class Bits>
struct SortKey {
  Bits depth;
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
        keys_(scene.is_double ? nullptr : new SortKey<uint32_t>[2 * scene.count]),
        long_keys_(scene.is_double ? new SortKey<uint64_t>[2 * scene.count] : nullptr),
        order_(new uint32_t[scene.count]),
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
        scene_.is_double ? sort_by_depth<double>(long_keys_) : sort_by_depth<float>(keys_);
      else if (const PlacedList& list = chunks_[task - 1]; list.size > list.capacity)
        place(task - 1, placed_.get());
      else if (list.size > 0)
        std::memcpy(placed_.get() + state_.offsets[(task - 1) * kChunk], list.data,
                    list.size * sizeof(Placed));
    }
    team.meet();
    uint32_t* counts = counts_.get() + tiles_ * rank;
    std::memset(counts, 0, sizeof(uint32_t) * tiles_);
    const auto count = [&](uint32_t, uint32_t slot) { ++counts[placed_[slot].tile]; };
    if (team.size() > 1) {
      visit_share(team, rank, count);
    } else {  // whose share is all: in any order
      const uint32_t pairs = state_.offsets[scene_.count];
      for (uint32_t slot = 0; slot < pairs; ++slot) count(0, slot);
    }
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
  // S: a depth. all: room for twice the keys.
  template <class S, class Bits>
  void sort_by_depth(const std::unique_ptr<SortKey<Bits>[]>& all) {
    constexpr int kDigit = 11, kBuckets = 1 << kDigit, kDigits = (8 * sizeof(S) - 1) / kDigit + 1;
    constexpr int kDepth = 6;  // its place in a splat
    const auto digit = [](const SortKey<Bits>& key, int k) {
      return key.depth >> k * kDigit & (kBuckets - 1);
    };
    SortKey<Bits>*keys = all.get(), *spare = keys + scene_.count;
    uint32_t counts[kDigits][kBuckets] = {};
    drawn_ = 0;
    for (int64_t i = 0; i < scene_.count; ++i) {
      if (state_.radii[i] == 0) continue;
      SortKey<Bits>& key = keys[drawn_++];
      std::memcpy(&key.depth, (const S*)state_.splats + i * kSplat + kDepth, sizeof key.depth);
      key.gaussian = (uint32_t)i;
      for (int k = 0; k < kDigits; ++k) ++counts[k][digit(key, k)];
    }
    for (int k = 0; k < kDigits; ++k) {
      uint32_t total = 0;
      for (uint32_t& start : counts[k]) {
        const uint32_t count = start;
        start = total;
        total += count;
      }
      for (int64_t i = 0; i < drawn_; ++i) spare[counts[k][digit(keys[i], k)]++] = keys[i];
      std::swap(keys, spare);
    }
    for (int64_t i = 0; i < drawn_; ++i) order_[i] = keys[i].gaussian;
  }

  // The thread's share of the drawn Gaussians, nearest first: visit(gaussian, slot) for each of
  // their pairs.
  template <class Visit>
  void visit_share(const Team& team, int rank, const Visit& visit) const {
    const int64_t begin = drawn_ * rank / team.size(), end = drawn_ * (rank + 1) / team.size();
    const auto ahead = [&](int64_t i) { return order_[i < end ? i : end - 1]; };
    for (int64_t i = begin; i < end; ++i) {
      __builtin_prefetch(&state_.offsets[ahead(i + 16)]);
      __builtin_prefetch(&placed_[state_.offsets[ahead(i + 8)]]);
      const uint32_t gaussian = order_[i], last = state_.offsets[gaussian + 1];
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
  const std::unique_ptr<SortKey<uint32_t>[]> keys_;       // of floats
  const std::unique_ptr<SortKey<uint64_t>[]> long_keys_;  // of doubles
  const std::unique_ptr<uint32_t[]> order_;  // the drawn Gaussians, nearest first
  std::unique_ptr<uint32_t[]> counts_;
  Tasks tasks_;
};
