// Which tiles, and which of their rows, one Gaussian can reach.
#pragma once

#include <cstdlib>

#include "rasterizer.h"
#include "columns.h"

namespace DGR_NAMESPACE {

// The ellipse on which alpha falls to 1/255, T a vector (one Gaussian per lane) or a number.
template <class T>
struct Outline {
  T u, v;           // centre, pixels
  T slope, spread;  // as in Footprint
  T per_variance;   // 1 / variance
  T square;         // squared Mahalanobis radius
  T half_x;         // half the width of the box around it
  T top_x;          // where, right of the centre, its highest point lies
};
constexpr int kOutlineNumbers = 8;

template <class T>
DGR_FN Outline<T> outline(T u, T v, const Footprint<T>& f, T log_opacity) {
  // log2(255 · opacity), with a margin for rounding: in the end each pixel decides for itself.
  const T square = T(2 * kLn2 * 1.00001) * (log_opacity + T(7.994353436858858)) + T(1e-5);
  const T top_x = f.slope * f.variance * root(square / variance_y(f));
  return {u, v, f.slope, f.spread, T(1) / f.variance, square, root(square * f.variance), top_x};
}

// The pixel rows [begin, end) that strips of eight pixel columns can hold, one strip per lane;
// columns `first`, first + 8, and so on. Within a strip the outline y(x) is concave, so its highest
// point lies at the ellipse's own or at the strip's edge.
template <class S>
DGR_FN void strip_rows(const Outline<S>& o, int first, int height, typename Lane<S>::Int& begin,
                       typename Lane<S>::Int& end) {
  typedef Vec<S> V;
  alignas(kVectorBytes) S starts[V::kLanes];
  for (int i = 0; i < V::kLanes; ++i) starts[i] = S(8 * i);
  const V x0 = V::load(starts) + V(S(first) + S(0.5) - o.u), x1 = x0 + V(S(7)), zero(S(0));
  const V at_top = clamp(V(o.top_x), x0, x1), at_bottom = clamp(V(-o.top_x), x0, x1);
  const V spread(o.spread), square(o.square), per_variance(o.per_variance), slope(o.slope);
  const V rise = root(spread * maximum(zero, square - at_top * at_top * per_variance));
  const V fall = root(spread * maximum(zero, square - at_bottom * at_bottom * per_variance));
  const Mask<S> inside = and_not(x1 >= V(-o.half_x), x0 > V(o.half_x));
  // ceil(low - 1/2) and floor(high - 1/2) + 1, each moved outwards a little.
  const V low = V(o.v + S(0.499)) + slope * at_bottom - fall;
  const V high = V(o.v + S(0.501)) + slope * at_top + rise, edge{S(height)};
  typedef typename Lane<S>::Int Int;
  begin = __builtin_convertvector(zero_unless(inside, clamp(low, zero, edge)).v, Int);
  end = __builtin_convertvector(zero_unless(inside, clamp(high, zero, edge)).v, Int);
}

// Calls visit(tile, rows) for each tile that can hold a pixel of the ellipse, tile columns from
// left to right, in each from top to bottom; `rows` as in DgrPair.
template <class S, class Visit>
DGR_FN void visit_tiles(const Outline<S>& o, int width, int height, Visit visit) {
  typedef typename Lane<S>::Int Int;
  constexpr int W = Vec<S>::kLanes;
  const S left = o.u - o.half_x - S(0.501), right = o.u + o.half_x - S(0.499);
  if (!(right >= 0 && left <= width - 1)) return;
  const int first = (left > 0 ? (int)left : 0) / kTile * 2;
  const int last = (right < width - 1 ? (int)right : width - 1) / 8;
  const int tiles_across = (width + kTile - 1) / kTile;
  for (int base = first; base <= last; base += W) {
    Int begin, end;
    strip_rows(o, 8 * base, height, begin, end);
    for (int i = 0; i < W && base + i <= last; i += 2) {
      // An empty strip has begin = end = 0; so has one that lies in the tile but not in the image.
      const bool second = base + i < last;
      const int b0 = (int)begin[i], e0 = (int)end[i];
      const int b1 = second ? (int)begin[i + 1] : 0, e1 = second ? (int)end[i + 1] : 0;
      const int to = e0 > e1 ? e0 : e1;
      const int from = b0 >= e0 ? b1 : b1 >= e1 ? b0 : b0 < b1 ? b0 : b1;
      for (int row = from / kTile; row * kTile < to; ++row) {
        const auto within = [row](int y) DGR_INLINE {
          const int local = y - row * kTile;
          return (uint8_t)(local < 0 ? 0 : local > kTile ? kTile : local);
        };
        const uint8_t rows[4] = {within(b0), within(e0), within(b1), within(e1)};
        if (rows[1] > rows[0] || rows[3] > rows[2])
          visit((uint32_t)(row * tiles_across + (base + i) / 2), rows);
      }
    }
  }
}

inline void append(PlacedList& list, uint32_t tile, const uint8_t* rows) {
  if (list.size == list.capacity) {
    const int64_t capacity = list.capacity ? 2 * list.capacity : 8 * kChunk;
    void* grown = list.failed ? nullptr : std::realloc(list.data, capacity * sizeof(Placed));
    list.failed = !grown;
    if (!grown) return;
    list.data = (Placed*)grown;
    list.capacity = capacity;
  }
  Placed& placed = list.data[list.size++];
  placed.tile = tile;
  for (int k = 0; k < 4; ++k) placed.rows[k] = rows[k];
}

// Appends the tiles of those lanes whose bits are set; counts[i] = how many lane i got.
template <class S>
DGR_FN void place_group(const Outline<Vec<S>>& outlines, uint32_t bits, int width, int height,
                        PlacedList& list, uint32_t* counts) {
  constexpr int W = Vec<S>::kLanes;
  static_assert(sizeof(Outline<Vec<S>>) == sizeof(S) * W * kOutlineNumbers, "");
  alignas(kVectorBytes) S o[kOutlineNumbers][W];
  std::memcpy(o, &outlines, sizeof o);
  for (; bits; bits &= bits - 1) {
    const int i = __builtin_ctz(bits);
    const int64_t before = list.size;
    visit_tiles<S>(
        {o[0][i], o[1][i], o[2][i], o[3][i], o[4][i], o[5][i], o[6][i], o[7][i]}, width, height,
        [&](uint32_t tile, const uint8_t* rows) DGR_INLINE { append(list, tile, rows); });
    counts[i] = (uint32_t)(list.size - before);
  }
}

}  // namespace DGR_NAMESPACE
