// The tiles one Gaussian can reach, one tile column at a time.
#pragma once

#include "device.cuh"
#include "ellipse.h"

namespace dgr {

// A tile column: the pixel rows its two strips hold, and the tile rows these span.
struct TileColumn {
  Rows left, right, tiles;
};

DGR_FN Rows strip_rows(const Outline<Real>& o, int strip, int height) {
  Real begin, end;
  strip_rows(o, Real(8 * strip) + Real(0.5), Real(height), begin, end);
  return {(int)begin, (int)end};
}

DGR_FN TileColumn tile_column(const Outline<Real>& o, Strips strips, int column, int height) {
  const Rows left = strip_rows(o, 2 * column, height);
  const bool second = 2 * column + 1 < strips.end;
  const Rows right = second ? strip_rows(o, 2 * column + 1, height) : Rows{0, 0};
  return {left, right, reached_tiles(left, right)};
}

DGR_FN int count_tiles(const TileColumn& column) { return count_tiles(column.left, column.right); }

DGR_FN int64_t count_tiles(const Outline<Real>& o, int width, int height) {
  const Strips strips = reached_strips(o, width);
  int64_t count = 0;
  for (int column = strips.first / 2; 2 * column < strips.end; ++column)
    count += count_tiles(tile_column(o, strips, column, height));
  return count;
}

}  // namespace dgr
