// Where one Gaussian can be seen: the ellipse on which its alpha falls to 1/255, in strips of eight
// pixel columns, and in tiles of two strips.
#pragma once

#include "border.h"
#include "gaussian_math.h"

namespace dgr {

// T a number, or a vector with one Gaussian per lane.
template <class T>
struct Outline {
  T u, v;           // centre, pixels
  T slope, spread;  // as in Footprint
  T bend;           // -1 / variance
  T square;         // squared Mahalanobis radius
  T half_x;         // half the width of the box around it
  T top_x;          // where, right of the centre, its highest point lies
};

template <class T>
DGR_FN Outline<T> outline(T u, T v, const Footprint<T>& f, T log_opacity) {
  // log2(255 · opacity), with a margin for rounding: in the end each pixel decides for itself.
  const T square = T(2 * kLn2 * 1.00001) * (log_opacity + T(7.994353436858858)) + T(1e-5);
  const T top_x = f.slope * f.variance * root(square / variance_y(f));
  return {u, v, f.slope, f.spread, T(-1) / f.variance, square, root(square * f.variance), top_x};
}

// The pixel rows [begin, end), once truncated to whole numbers, that a strip can hold; both 0 when
// it holds none. `x` is the centre of the strip's first pixel. Within a strip the outline y(x) is
// concave, so its highest point lies at the ellipse's own or at the strip's edge. Every sum of a
// product is an fma: whoever evaluates this twice gets the same bits, whatever the compiler fuses.
template <class T>
DGR_FN void strip_rows(const Outline<T>& o, T x, T height, T& begin, T& end) {
  const T x0 = x - o.u, x1 = x0 + T(7), zero(0);
  const T at_top = clamp(o.top_x, x0, x1), at_bottom = clamp(zero - o.top_x, x0, x1);
  const T rise = root(o.spread * maximum(zero, fma(at_top * o.bend, at_top, o.square)));
  const T fall = root(o.spread * maximum(zero, fma(at_bottom * o.bend, at_bottom, o.square)));
  // ceil(low - 1/2) and floor(high - 1/2) + 1, each moved outwards a little.
  const T low = clamp(fma(o.slope, at_bottom, o.v + T(0.499)) - fall, zero, height);
  const T high = clamp(fma(o.slope, at_top, o.v + T(0.501)) + rise, zero, height);
  const auto left_of_it = x0 > o.half_x;
  const auto reaches = x1 >= zero - o.half_x;
  begin = select(left_of_it, zero, select(reaches, low, zero));
  end = select(left_of_it, zero, select(reaches, high, zero));
}

// Strips [first, end) of the image that the ellipse can reach; `first` is even, so a tile's left.
struct Strips {
  int first, end;
};
template <class S>
DGR_FN Strips reached_strips(const Outline<S>& o, int width) {
  const S left = o.u - o.half_x - S(0.501), right = o.u + o.half_x - S(0.499);
  if (!(right >= 0 && left <= width - 1)) return {0, 0};
  return {(left > 0 ? (int)left : 0) / kTile * 2,
          (right < width - 1 ? (int)right : width - 1) / 8 + 1};
}

// Rows [begin, end), of pixels or of tiles; empty when both are equal.
struct Rows {
  int begin, end;
};

// Tile rows from the first to the last that a tile column's two strips reach. In between, some may
// hold neither.
DGR_FN Rows reached_tiles(Rows left, Rows right) {
  const int end = left.end > right.end ? left.end : right.end;
  const int begin = left.begin >= left.end     ? right.begin
                    : right.begin >= right.end ? left.begin
                    : left.begin < right.begin ? left.begin
                                               : right.begin;
  return {begin / kTile, (end + kTile - 1) / kTile};
}

DGR_FN Rows tiles_of_strip(Rows rows) {
  if (rows.begin >= rows.end) return {0, 0};
  return {rows.begin / kTile, (rows.end + kTile - 1) / kTile};
}

// How many tiles of a tile column hold a row of its two strips.
DGR_FN int count_tiles(Rows left, Rows right) {
  const Rows a = tiles_of_strip(left), b = tiles_of_strip(right);
  const int both = (a.end < b.end ? a.end : b.end) - (a.begin > b.begin ? a.begin : b.begin);
  return a.end - a.begin + b.end - b.begin - (both > 0 ? both : 0);
}

// A pixel row as one of the tile's own, 0 to 16.
DGR_FN uint8_t within(int y, int tile_row) {
  const int local = y - tile_row * kTile;
  return (uint8_t)(local < 0 ? 0 : local > kTile ? kTile : local);
}

}  // namespace dgr
