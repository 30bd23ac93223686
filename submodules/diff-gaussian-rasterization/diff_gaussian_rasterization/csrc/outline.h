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

// DgrPair's rows of one tile as a number, the first in its lowest byte; 0 where no row is reached. I:
// an integer or a vector of them; l and r: the rows that the left and the right strip hold.
template <class I>
DGR_FN I rows_in_tile(I l_begin, I l_end, I r_begin, I r_end, I tile_row) {
  const I zero{}, most = zero + kTile;
  const auto local = [&](I y) DGR_INLINE {
    const I row = y - tile_row * kTile;
    return row < zero ? zero : row > most ? most : row;
  };
  const I a = local(l_begin), b = local(l_end), c = local(r_begin), d = local(r_end);
  return ((a < b) | (c < d)) ? (a | b << 8 | c << 16 | d << 24) : zero;
}

DGR_FN Placed placed(uint32_t tile, uint32_t rows) {
  return {tile,
          {(uint8_t)rows, (uint8_t)(rows >> 8), (uint8_t)(rows >> 16), (uint8_t)(rows >> 24)}};
}

// The pairs of Gaussians that reach few tiles, one Gaussian per lane: each tile that one of them may
// reach is looked at for all at once.
template <class S>
class FewTiles {
 public:
  typedef Vec<S> V;
  typedef typename V::Int Int;
  static constexpr int kColumns = 4, kRows = 4;  // of tiles, at most
  static constexpr int kRoom = kColumns * kRows;

  // bits: the lanes that count.
  DGR_FN FewTiles(const Outline<V>& o, uint32_t bits, int width, int height) {
    // As reached_strips has it.
    const V last(S(width - 1)), zero(S(0));
    const V left = o.u - o.half_x - V(S(0.501)), right = o.u + o.half_x - V(S(0.499));
    const Int first = __builtin_convertvector(maximum(left, zero).v, Int) / kTile,
              last_strip = __builtin_convertvector(minimum(right, last).v, Int) / 8;
    const Int seen = (right.v >= zero.v) & (left.v <= last.v);
    few_ = bits;
    const int columns = keep_few((last_strip / 2 - first + 1) & seen, kColumns);
    Column all[kColumns];
    Int tall{};
    for (int step = 0; step < columns; ++step) {
      const Int column = first + step;
      const V x = V(__builtin_convertvector(column * kTile, typename V::Native)) + V(S(0.5));
      // A strip that lies in the tile but not in the image holds no rows.
      all[step] = {strip(o, x, height, column * 2 <= last_strip),
                   strip(o, x + V(S(8)), height, column * 2 + 1 <= last_strip)};
      const Int rows = all[step].end() - all[step].begin();
      tall = tall < rows ? rows : tall;
    }
    const int rows = keep_few(tall, kRows), across = (width + kTile - 1) / kTile;
    for (int step = 0; step < columns; ++step)
      for (int k = 0; k < rows; ++k) {
        const Column& c = all[step];
        const Int row = c.begin() + k;
        keep(row * across + first + step, tiles_[count_]);
        keep(rows_in_tile(c.left.begin, c.left.end, c.right.begin, c.right.end, row),
             rows_[count_++]);
      }
  }

  // Whether write() knows the lane's pairs.
  DGR_FN bool few(int lane) const { return few_ >> lane & 1; }

  // Writes the pairs of a lane, tile columns from left to right, in each from top to bottom, and
  // returns how many they are. What lies behind them, in room for kRoom in all, may change, too.
  DGR_FN int write(int lane, Placed* to) const {
    int pairs = 0;
    for (int k = 0; k < count_; ++k) {
      to[pairs] = placed((uint32_t)tiles_[k][lane], (uint32_t)rows_[k][lane]);
      pairs += rows_[k][lane] != 0;
    }
    return pairs;
  }

 private:
  typedef simd::Bits<S> Whole[V::kLanes];
  struct Strip {
    Int begin, end;
  };
  // The two strips of a tile column.
  struct Column {
    Strip left, right;
    // As reached_tiles has it.
    DGR_FN Int begin() const {
      const Int least = left.begin < right.begin ? left.begin : right.begin;
      return (left.begin >= left.end     ? right.begin
              : right.begin >= right.end ? left.begin
                                         : least) /
             kTile;
    }
    DGR_FN Int end() const {
      return ((left.end > right.end ? left.end : right.end) + (kTile - 1)) / kTile;
    }
  };

  static DGR_FN void keep(Int x, Whole& to) { std::memcpy(to, &x, sizeof x); }

  static DGR_FN Strip strip(const Outline<V>& o, V x, int height, Int wanted) {
    V low, high;
    strip_rows(o, x, V(S(height)), low, high);
    return {__builtin_convertvector(low.v, Int) & wanted,
            __builtin_convertvector(high.v, Int) & wanted};
  }

  // Leaves out lanes that have more than `most`; returns the most that is left.
  DGR_FN int keep_few(Int counts, int most) {
    Whole each;
    keep(counts, each);
    int left = 0;
    for (uint32_t bits = few_; bits; bits &= bits - 1) {
      const int lane = __builtin_ctz(bits), count = (int)each[lane];
      if (count > most)
        few_ &= ~(1u << lane);
      else if (count > left)
        left = count;
    }
    return left;
  }

  uint32_t few_;
  int count_ = 0;  // of tiles that are looked at
  alignas(kVectorBytes) Whole tiles_[kRoom], rows_[kRoom];
};

template <class S>
DGR_FN Outline<S> outline_of_lane(const Outline<Vec<S>>& outlines, int lane) {
  constexpr int W = Vec<S>::kLanes;
  static_assert(sizeof(Outline<Vec<S>>) == sizeof(S) * W * kOutlineNumbers, "");
  S o[kOutlineNumbers];
  for (int k = 0; k < kOutlineNumbers; ++k)
    std::memcpy(&o[k], (const char*)&outlines + (k * W + lane) * sizeof(S), sizeof(S));
  return {o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7]};
}

// Calls visit(pair) for the pairs of one Gaussian, in the order of FewTiles.
template <class S, class Visit>
DGR_FN void visit_pairs(const Outline<S>& outline, int width, int height, Visit visit) {
  const int across = (width + kTile - 1) / kTile;
  visit_columns<S>(outline, width, height, [&](int column, Rows l, Rows r) DGR_INLINE {
    const Rows tiles = reached_tiles(l, r);
    for (int row = tiles.begin; row < tiles.end; ++row)
      if (const int rows = rows_in_tile(l.begin, l.end, r.begin, r.end, row))
        visit(placed((uint32_t)(row * across + column), (uint32_t)rows));
  });
}

constexpr int64_t kMostKept = 16 * kChunk;  // pairs of a chunk, before all are counted

// Whether the list has, or now gets, room for so many more.
inline bool has_room(PlacedList& list, int pairs) {
  if (list.size + pairs <= list.capacity) return true;
  if (list.capacity == kMostKept || list.size + pairs > kMostKept) return false;
  void* grown = std::realloc(list.data, kMostKept / 2 * (list.data ? 2 : 1) * sizeof(Placed));
  if (!grown) return false;
  list.capacity = list.data ? kMostKept : kMostKept / 2;
  list.data = (Placed*)grown;
  return true;
}

// Appends the pairs of those lanes whose bits are set, lane after lane, or, once the list is full,
// counts them; counts[i] = how many lane i has.
template <class S>
DGR_FN void list_group(const Outline<Vec<S>>& outlines, uint32_t bits, int width, int height,
                       PlacedList& list, uint32_t* counts) {
  if (list.size > list.capacity) {
    for (; bits; bits &= bits - 1) {
      const int i = __builtin_ctz(bits);
      visit_columns<S>(outline_of_lane<S>(outlines, i), width, height,
                       [&](int, Rows left, Rows right) DGR_INLINE {
                         counts[i] += (uint32_t)count_tiles(left, right);
                       });
      list.size += counts[i];
    }
    return;
  }
  const FewTiles<S> tiles(outlines, bits, width, height);
  for (; bits; bits &= bits - 1) {
    const int i = __builtin_ctz(bits);
    const int64_t before = list.size;
    if (tiles.few(i) && has_room(list, tiles.kRoom))
      list.size += tiles.write(i, list.data + list.size);
    else
      visit_pairs<S>(outline_of_lane<S>(outlines, i), width, height,
                     [&](const Placed& pair) DGR_INLINE {
                       if (list.size <= list.capacity && has_room(list, 1))
                         list.data[list.size] = pair;
                       ++list.size;
                     });
    counts[i] = (uint32_t)(list.size - before);
  }
}

// The pairs of rows begin .. end, one after the other.
template <class S>
void place_rows(const DgrScene& scene, const DgrState& state, const void* outlines, Placed* placed,
                int64_t begin, int64_t end) {
  constexpr int W = Vec<S>::kLanes;
  for (int64_t i = begin; i < end; ++i)
    if (state.radii[i] != 0)
      visit_pairs<S>(outline_of_lane<S>(((const Outline<Vec<S>>*)outlines)[i / W], (int)(i % W)),
                     scene.width, scene.height,
                     [&](const Placed& pair) DGR_INLINE { *placed++ = pair; });
}

}  // namespace dgr
