// Which tiles, and which of their rows, Gaussians can reach.
#pragma once

#include <cstdlib>
#include <cstring>

#include "columns.h"
#include "ellipse.h"
#include "rasterizer.h"

namespace dgr {

// Calls visit(column, left, right) for each tile column that can hold a pixel of the ellipse, from
// left to right: the rows that its two strips hold. One strip per lane.
template <class S, class Visit>
DGR_FN void visit_columns(const Outline<S>& o, int width, int height, Visit visit) {
  typedef Vec<S> V;
  typedef typename Vec<S>::Int Int;
  constexpr int W = V::kLanes;
  const Strips strips = reached_strips(o, width);
  const Outline<V> wide = {o.u, o.v, o.slope, o.spread, o.bend, o.square, o.half_x, o.top_x};
  alignas(kVectorBytes) S starts[W];
  for (int i = 0; i < W; ++i) starts[i] = S(8 * i);
  for (int base = strips.first; base < strips.end; base += W) {
    V low, high;
    strip_rows(wide, V::load(starts) + V(S(8 * base) + S(0.5)), V(S(height)), low, high);
    const Int begin = __builtin_convertvector(low.v, Int),
              end = __builtin_convertvector(high.v, Int);
    for (int i = 0; i < W && base + i < strips.end; i += 2) {
      // A strip that lies in the tile but not in the image holds no rows.
      const bool second = base + i + 1 < strips.end;
      visit((base + i) / 2, Rows{(int)begin[i], (int)end[i]},
            second ? Rows{(int)begin[i + 1], (int)end[i + 1]} : Rows{0, 0});
    }
  }
}

// The tile columns that Gaussians can reach, one Gaussian per lane: how many from which one on, and,
// where these are few, the rows that the two strips of each hold.
template <class S>
class ReachedColumns {
 public:
  typedef Vec<S> V;
  typedef typename V::Int Int;
  static constexpr int kFew = 4;

  // bits: the lanes that count.
  DGR_FN ReachedColumns(const Outline<V>& o, uint32_t bits, int width, int height) {
    // As reached_strips has it.
    const V last(S(width - 1)), zero(S(0));
    const V left = o.u - o.half_x - V(S(0.501)), right = o.u + o.half_x - V(S(0.499));
    const Int first = __builtin_convertvector(maximum(left, zero).v, Int) / kTile,
              last_strip = __builtin_convertvector(minimum(right, last).v, Int) / 8;
    const Int seen = (right.v >= zero.v) & (left.v <= last.v);
    const Int count = (last_strip / 2 - first + 1) & seen;
    std::memcpy(first_, &first, sizeof first);
    std::memcpy(count_, &count, sizeof count);
    int steps = 0;
    for (; bits; bits &= bits - 1) {
      const int lane = __builtin_ctz(bits);
      if (few(lane) && steps < this->count(lane)) steps = this->count(lane);
    }
    for (int step = 0; step < steps; ++step) {
      const Int column = first + step;
      const V x = V(__builtin_convertvector(column * kTile, typename V::Native)) + V(S(0.5));
      add(o, x, height, Int{} - 1, rows_[step]);
      // A strip that lies in the tile but not in the image holds no rows.
      add(o, x + V(S(8)), height, column * 2 + 1 <= last_strip, rows_[step] + 2);
    }
  }

  int first(int lane) const { return (int)first_[lane]; }
  int count(int lane) const { return (int)count_[lane]; }
  bool few(int lane) const { return count_[lane] <= kFew; }
  Rows left(int lane, int step) const { return rows(rows_[step], lane); }
  Rows right(int lane, int step) const { return rows(rows_[step] + 2, lane); }

 private:
  typedef simd::Bits<S> Whole[V::kLanes];

  static DGR_FN void add(const Outline<V>& o, V x, int height, Int wanted, Whole* rows) {
    V low, high;
    strip_rows(o, x, V(S(height)), low, high);
    const Int begin = __builtin_convertvector(low.v, Int) & wanted,
              end = __builtin_convertvector(high.v, Int) & wanted;
    std::memcpy(rows[0], &begin, sizeof begin);
    std::memcpy(rows[1], &end, sizeof end);
  }
  static Rows rows(const Whole* both, int lane) { return {(int)both[0][lane], (int)both[1][lane]}; }

  alignas(kVectorBytes) Whole first_, count_, rows_[kFew][4];
};

// Calls visit(lane, column, left, right) for those lanes whose bits are set, one after the other, as
// visit_columns does for each.
template <class S, class Visit>
DGR_FN void visit_group(const Outline<Vec<S>>& outlines, uint32_t bits, int width, int height,
                        Visit visit) {
  constexpr int W = Vec<S>::kLanes;
  const ReachedColumns<S> reached(outlines, bits, width, height);
  for (; bits; bits &= bits - 1) {
    const int lane = __builtin_ctz(bits);
    if (__builtin_expect(reached.few(lane), 1)) {
      for (int step = 0; step < reached.count(lane); ++step)
        visit(lane, reached.first(lane) + step, reached.left(lane, step),
              reached.right(lane, step));
      continue;
    }
    static_assert(sizeof(Outline<Vec<S>>) == sizeof(S) * W * kOutlineNumbers, "");
    const S(*o)[W] = (const S(*)[W])&outlines;
    const Outline<S> one = {o[0][lane], o[1][lane], o[2][lane], o[3][lane],
                            o[4][lane], o[5][lane], o[6][lane], o[7][lane]};
    visit_columns<S>(one, width, height, [&](int column, Rows left, Rows right) DGR_INLINE {
      visit(lane, column, left, right);
    });
  }
}

// Calls visit(lane, pair) for the tiles of those lanes whose bits are set: lane after lane, tile
// columns from left to right, in each from top to bottom.
template <class S, class Visit>
DGR_FN void visit_tiles(const Outline<Vec<S>>& outlines, uint32_t bits, int width, int height,
                        Visit visit) {
  const int across = (width + kTile - 1) / kTile;
  visit_group<S>(outlines, bits, width, height,
                 [&](int lane, int column, Rows left, Rows right) DGR_INLINE {
                   const Rows tiles = reached_tiles(left, right);
                   for (int row = tiles.begin; row < tiles.end; ++row) {
                     const Placed pair = {(uint32_t)(row * across + column),
                                          {within(left.begin, row), within(left.end, row),
                                           within(right.begin, row), within(right.end, row)}};
                     if (pair.rows[1] > pair.rows[0] || pair.rows[3] > pair.rows[2])
                       visit(lane, pair);
                   }
                 });
}

constexpr int64_t kMostKept = 16 * kChunk;  // pairs of a chunk, before all are counted

inline bool grow(PlacedList& list) {
  if (list.capacity == kMostKept) return false;
  void* grown = std::realloc(list.data, kMostKept / 2 * (list.data ? 2 : 1) * sizeof(Placed));
  if (!grown) return false;
  list.capacity = list.data ? kMostKept : kMostKept / 2;
  list.data = (Placed*)grown;
  return true;
}

// Appends the tiles of those lanes whose bits are set, or, once the list is full, counts them;
// counts[i] = how many lane i has.
template <class S>
DGR_FN void list_group(const Outline<Vec<S>>& outlines, uint32_t bits, int width, int height,
                       PlacedList& list, uint32_t* counts) {
  if (list.size > list.capacity) {
    visit_group<S>(outlines, bits, width, height,
                   [&](int i, int, Rows left, Rows right) DGR_INLINE {
                     const int tiles = count_tiles(left, right);
                     counts[i] += (uint32_t)tiles;
                     list.size += tiles;
                   });
    return;
  }
  visit_tiles<S>(outlines, bits, width, height, [&](int i, const Placed& pair) DGR_INLINE {
    ++counts[i];
    if (list.size < list.capacity || (list.size == list.capacity && grow(list)))
      list.data[list.size] = pair;
    ++list.size;
  });
}

// The pairs of rows begin .. end, to the slots that `offsets` give them.
template <class S>
void place_rows(const DgrScene& scene, const DgrState& state, const void* outlines, Placed* placed,
                int64_t begin, int64_t end) {
  constexpr int W = Vec<S>::kLanes;
  Placed* next = placed + state.offsets[begin];
  for (int64_t first = begin; first < end; first += W) {
    const uint32_t* slots = state.offsets + first;
    uint32_t bits = 0;
    for (int i = 0; i < W && first + i < end; ++i)
      bits |= (uint32_t)(slots[i + 1] > slots[i]) << i;
    visit_tiles<S>(((const Outline<Vec<S>>*)outlines)[first / W], bits, scene.width, scene.height,
                   [&](int, const Placed& pair) DGR_INLINE { *next++ = pair; });
  }
}

}  // namespace dgr
