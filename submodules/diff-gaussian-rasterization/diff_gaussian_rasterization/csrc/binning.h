// Which Gaussians meet which tile, nearest first: the pairs are counted, then placed in Gaussian
// order; one radix sort of all drawn Gaussians by depth; then one counting sort by tile that keeps
// this order. The result is the same for any number of threads.
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

// What a chunk has: rows that are drawn, their pairs, as far as these were kept, and how many pairs
// the chunks before it have.
struct alignas(64) Chunk {  // a cache line: neighbours are other threads' work
  PlacedList pairs;
  int64_t first_slot;
  int drawn;
};

class Binning {
 public:
  Binning(const DgrScene& scene, const DgrState& state, int threads)
      : scene_(scene),
        state_(state),
        tiles_((int64_t)((scene.width + kTile - 1) / kTile) * ((scene.height + kTile - 1) / kTile)),
        chunks_((scene.count + kChunk - 1) / kChunk),
        keys_(scene.is_double ? nullptr : new SortKey<uint32_t>[2 * scene.count]),
        long_keys_(scene.is_double ? new SortKey<uint64_t>[2 * scene.count] : nullptr),
        order_(new uint32_t[scene.count]),
        counts_(new uint32_t[tiles_ * threads]),
        copies_((int64_t)chunks_.size(), threads) {}
  Binning(const Binning&) = delete;
  ~Binning() {
    for (Chunk& chunk : chunks_) std::free(chunk.pairs.data);
  }

  // The list of the chunk that begins with row `begin`.
  PlacedList& pairs(int64_t begin) { return chunks_[begin / kChunk].pairs; }

  // Rows begin .. end, once projected: numbers their slots from zero on, and takes their keys.
  void collect(int64_t begin, int64_t end) {
    scene_.is_double ? collect<double>(long_keys_, begin, end) : collect<float>(keys_, begin, end);
  }

  // One thread, once all rows are collected. Returns how many pairs there are.
  int64_t number_chunks() {
    int64_t pairs = 0;
    for (Chunk& chunk : chunks_) {
      chunk.first_slot = pairs;
      pairs += chunk.pairs.size;
    }
    state_.offsets[0] = 0;
    return pairs;
  }
  void make_room(int64_t pairs) { placed_.reset(new Placed[pairs]); }

  // Any threads of the team, once all rows are collected: the first to come sorts.
  void sort() {
    int64_t once;
    while (sorts_.take(once))
      scene_.is_double ? sort_by_depth(long_keys_) : sort_by_depth(keys_);
  }

  // Every thread of the team, after that. place(begin, end, placed): writes the pairs of a chunk's
  // rows that the projection did not keep.
  template <class Place>
  void run(Team& team, int rank, const Place& place) {
    int64_t chunk;
    while (copies_.take(rank, chunk)) {
      const PlacedList& pairs = chunks_[chunk].pairs;
      const int64_t first_slot = chunks_[chunk].first_slot;
      const int64_t begin = chunk * kChunk, end = std::min(begin + kChunk, scene_.count);
      for (int64_t i = begin; i < end; ++i) state_.offsets[i + 1] += (uint32_t)first_slot;
      Placed* to = placed_.get() + first_slot;
      if (pairs.size > pairs.capacity)
        place(begin, end, to);
      else if (pairs.size > 0)
        std::memcpy(to, pairs.data, pairs.size * sizeof(Placed));
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
  // S: a depth. keys: room for those of all rows; a chunk's come to where its rows are.
  template <class S, class Bits>
  void collect(const std::unique_ptr<SortKey<Bits>[]>& keys, int64_t begin, int64_t end) {
    constexpr int kDepth = 6;  // its place in a splat
    SortKey<Bits>* next = keys.get() + begin;
    uint32_t pairs = 0;
    for (int64_t i = begin; i < end; ++i) {
      const uint32_t count = state_.offsets[i + 1];
      state_.offsets[i + 1] = pairs += count;
      if (count == 0) continue;
      std::memcpy(&next->depth, (const S*)state_.splats + i * kSplat + kDepth, sizeof next->depth);
      next++->gaussian = (uint32_t)i;
    }
    chunks_[begin / kChunk].drawn = (int)(next - keys.get() - begin);
  }

  // all: room for twice the keys.
  template <class Bits>
  void sort_by_depth(const std::unique_ptr<SortKey<Bits>[]>& all) {
    // As few digits as the range of the depths allows; the table of a digit of 12 bits still fits
    // into a first-level cache.
    constexpr int kMostBits = 12, kMostDigits = (8 * sizeof(Bits) - 1) / kMostBits + 1;
    SortKey<Bits>*keys = all.get(), *spare = keys + scene_.count;
    drawn_ = 0;
    Bits least = ~Bits(0), most = 0;
    for (size_t chunk = 0; chunk < chunks_.size(); ++chunk)
      for (int i = 0; i < chunks_[chunk].drawn; ++i) {
        const SortKey<Bits> key = keys[chunk * kChunk + i];
        least = std::min(least, key.depth), most = std::max(most, key.depth);
        keys[drawn_++] = key;
      }
    int bits = 1;
    while (drawn_ > 0 && (most - least) >> bits) ++bits;
    const int digits = (bits + kMostBits - 1) / kMostBits, width = (bits + digits - 1) / digits;
    const auto digit = [&](const SortKey<Bits>& key, int k) {
      return (key.depth - least) >> k * width & (((Bits)1 << width) - 1);
    };
    uint32_t counts[kMostDigits][1 << kMostBits];
    std::memset(counts, 0, digits * sizeof counts[0]);
    for (int64_t i = 0; i < drawn_; ++i)
      for (int k = 0; k < digits; ++k) ++counts[k][digit(keys[i], k)];
    for (int k = 0; k < digits; ++k) {
      uint32_t total = 0;
      for (int i = 0; i < 1 << width; ++i) {
        const uint32_t count = counts[k][i];
        counts[k][i] = total;
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
  const int64_t tiles_;
  std::vector<Chunk> chunks_;
  int64_t drawn_ = 0;
  std::unique_ptr<Placed[]> placed_;
  const std::unique_ptr<SortKey<uint32_t>[]> keys_;       // of floats
  const std::unique_ptr<SortKey<uint64_t>[]> long_keys_;  // of doubles
  const std::unique_ptr<uint32_t[]> order_;  // the drawn Gaussians, nearest first
  std::unique_ptr<uint32_t[]> counts_;
  Tasks sorts_{1};
  SharedTasks copies_;
};
