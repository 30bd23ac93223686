// One tile of the image while its Gaussians pass: one SIMD lane per pixel.
//
// A tile of 16 x 16 pixels is cut into blocks of one vector each: eight pixels wide where the
// vector has that many lanes (8 x 2 for 16 floats), so that a block is nearly square and few lanes
// miss the ellipse. All of a tile's state stays in the first-level cache while its Gaussians pass,
// nearest first.
#pragma once

#include "project.h"

namespace dgr {

template <class S>
struct Blocks {
  static constexpr int kLanes = Vec<S>::kLanes;
  static constexpr int kWidth = kLanes < 8 ? kLanes : 8;
  static constexpr int kHeight = kLanes / kWidth;
  static constexpr int kColumns = kTile / kWidth;  // of blocks in a tile
  static constexpr int kRows = kTile / kHeight;
  // Blocks are numbered column by column. Sets of them are words of bits: one word, or, where
  // vectors are short, several.
  static constexpr int kCount = kColumns * kRows;
  static constexpr int kPerWord = kCount < 64 ? kCount : 64;
  static constexpr int kWords = kCount / kPerWord;
};

inline int tiles_across(const DgrScene& scene) { return (scene.width + kTile - 1) / kTile; }

// Asks for a tile's part of an image plane, to read (kWrite 0) or to write it (1) soon.
template <int kWrite, class S>
DGR_FN void prefetch_tile(const DgrScene& scene, int tile, const S* plane) {
  const int x0 = tile % tiles_across(scene) * kTile, y0 = tile / tiles_across(scene) * kTile;
  for (int y = y0; y < y0 + kTile && y < scene.height; ++y)
    __builtin_prefetch(plane + (int64_t)y * scene.width + x0, kWrite);
}

// The rows of one block in an image whose rows are `width` apart.
template <class S, int kHeight>
struct BlockRows {
  static_assert(kHeight == 1, "one row of pixels fills a vector");
  static DGR_FN Vec<S> read(const S* p, int64_t) { return Vec<S>::load(p); }
  static DGR_FN void write(Vec<S> x, S* p, int64_t) { x.store(p); }
};
#if defined(__AVX512F__)
template <>
struct BlockRows<float, 2> {
  static DGR_FN Vec<float> read(const float* p, int64_t width) {
    const __m512 top = _mm512_castps256_ps512(_mm256_loadu_ps(p));
    return (Vec<float>::Native)_mm512_insertf32x8(top, _mm256_loadu_ps(p + width), 1);
  }
  static DGR_FN void write(Vec<float> x, float* p, int64_t width) {
    _mm256_storeu_ps(p, _mm512_castps512_ps256((__m512)x.v));
    _mm256_storeu_ps(p + width, _mm512_extractf32x8_ps((__m512)x.v, 1));
  }
};
#endif

// Offsets of a block's lanes from its first pixel.
template <class S>
struct Lanes {
  Vec<S> x, y;
  Lanes() {
    alignas(kVectorBytes) S xs[Vec<S>::kLanes], ys[Vec<S>::kLanes];
    for (int i = 0; i < Vec<S>::kLanes; ++i) {
      xs[i] = S(i % Blocks<S>::kWidth);
      ys[i] = S(i / Blocks<S>::kWidth);
    }
    x = Vec<S>::load(xs), y = Vec<S>::load(ys);
  }
};

// What a tile keeps per block while Gaussians pass, one vector each; then one per channel: the
// colour so far, or its gradient. kLight is what still comes through; it turns negative when a
// pixel is closed, and then no Gaussian leaves enough of it to be drawn.
enum BlockField { kLight, kDepthSum, kAlphaSum, kRest, kColors };

template <class S, int kC>
class Tile {
 public:
  typedef Blocks<S> B;
  typedef Vec<S> V;
  const int x0, y0;

  Tile(const DgrScene& scene, int tile, void* scratch)
      : x0(tile % tiles_across(scene) * kTile),
        y0(tile / tiles_across(scene) * kTile),
        width_(scene.width),
        height_(scene.height),
        channels_(scene.channels),
        data_((S*)scratch) {
    for (int number = 0; number < B::kCount; ++number) {
      const Mask<S> open = inside(number / B::kRows, number % B::kRows);
      S* p = block(number);
      select(open, V(S(1)), V(S(-1))).store(p + kLight * B::kLanes);
      for (int k = kDepthSum; k < kColors + channels(); ++k) V(S(0)).store(p + k * B::kLanes);
      live[number / B::kPerWord] |= (uint64_t)any(open) << number % B::kPerWord;
    }
  }

  static int64_t bytes(int channels) {
    return (int64_t)(kColors + channels) * kTile * kTile * sizeof(S);
  }

  DGR_FN int channels() const { return kC ? kC : channels_; }

  uint64_t live[B::kWords] = {};  // blocks that have an open pixel

  DGR_FN bool dark() const {
    uint64_t all = 0;
    for (uint64_t word : live) all |= word;
    return all == 0;
  }

  DGR_FN S* block(int number) const {
    return data_ + (int64_t)number * (kColors + channels()) * B::kLanes;
  }

  // A block of an image plane; pixels outside the image read as zero and are not written.
  DGR_FN V read(const void* plane, int number) const {
    const int column = number / B::kRows, row = number % B::kRows;
    const S* p = (const S*)plane + first_pixel(column, row);
    if (complete(column, row)) return Rows::read(p, width_);
    alignas(kVectorBytes) S out[B::kLanes] = {};
    for_pixels(column, row, [&](int lane, int64_t offset) { out[lane] = p[offset]; });
    return V::load(out);
  }
  DGR_FN void write(V x, void* plane, int number) const {
    const int column = number / B::kRows, row = number % B::kRows;
    S* p = (S*)plane + first_pixel(column, row);
    if (complete(column, row)) return Rows::write(x, p, width_);
    alignas(kVectorBytes) S in[B::kLanes];
    x.store(in);
    for_pixels(column, row, [&](int lane, int64_t offset) { p[offset] = in[lane]; });
  }

  template <class Visit>
  DGR_FN void for_blocks(Visit visit) const {
    for (int column = 0; column < B::kColumns && x0 + column * B::kWidth < width_; ++column)
      for (int row = 0; row < B::kRows && y0 + row * B::kHeight < height_; ++row)
        visit(column * B::kRows + row);
  }

 private:
  typedef BlockRows<S, B::kHeight> Rows;

  int64_t first_pixel(int column, int row) const {
    return (int64_t)(y0 + row * B::kHeight) * width_ + x0 + column * B::kWidth;
  }
  bool complete(int column, int row) const {
    return x0 + (column + 1) * B::kWidth <= width_ && y0 + (row + 1) * B::kHeight <= height_;
  }
  template <class Visit>
  void for_pixels(int column, int row, Visit visit) const {
    for (int i = 0; i < B::kLanes; ++i)
      if (x0 + column * B::kWidth + i % B::kWidth < width_ &&
          y0 + row * B::kHeight + i / B::kWidth < height_)
        visit(i, (int64_t)(i / B::kWidth) * width_ + i % B::kWidth);
  }
  Mask<S> inside(int column, int row) const {
    if (complete(column, row)) return V(S(1)) > V(S(0));
    alignas(kVectorBytes) S one[B::kLanes] = {};
    for_pixels(column, row, [&](int lane, int64_t) { one[lane] = 1; });
    return V::load(one) > V(S(0));
  }

  const int width_, height_, channels_;
  S* const data_;
};

// One Gaussian over one block: what both passes must find alike.
template <class S>
struct Hit {
  Vec<S> alpha, before;  // before: light in front of the Gaussian
  Vec<S> raw;            // alpha without its upper bound
  Mask<S> drawn;
};

template <class S, int kC>
DGR_FN Hit<S> hit_block(Tile<S, kC>& tile, S* block, int number, Vec<S> exponent) {
  typedef Blocks<S> B;
  typedef Vec<S> V;
  Hit<S> hit;
  hit.raw = exp2(exponent);
  hit.alpha = minimum(hit.raw, V(S(kMaxAlpha)));
  hit.before = V::load(block + kLight * V::kLanes);
  const V after = fnma(hit.before, hit.alpha, hit.before);
  const Mask<S> reached = hit.alpha >= V(S(kMinAlpha));
  hit.drawn = at_least(reached, after, V(S(kMinTransmittance)));
  const V light = select(hit.drawn, after, negative_where(reached, hit.before));
  light.store(block + kLight * V::kLanes);
  if (__builtin_expect(all_negative(light), 0))
    tile.live[number / B::kPerWord] &= ~(1ull << number % B::kPerWord);
  return hit;
}

// Where the blocks of a tile begin, in pixels from its corner.
template <class S>
struct BlockStarts {
  S x[Blocks<S>::kColumns], y[Blocks<S>::kRows];
  constexpr BlockStarts() : x(), y() {
    for (int i = 0; i < Blocks<S>::kColumns; ++i) x[i] = S(i * Blocks<S>::kWidth);
    for (int i = 0; i < Blocks<S>::kRows; ++i) y[i] = S(i * Blocks<S>::kHeight);
  }
};
template <class S>
constexpr BlockStarts<S> kBlockStarts{};

// For a pixel row of the tile as where a Gaussian's rows begin, or end: the rows of blocks above it.
template <class S>
struct RowsAbove {
  uint32_t begin[kTile + 1], end[kTile + 1];  // one bit each
  constexpr RowsAbove() : begin(), end() {
    constexpr int h = Blocks<S>::kHeight;
    for (int row = 0; row <= kTile; ++row) {
      begin[row] = (1u << row / h) - 1;
      end[row] = (1u << (row + h - 1) / h) - 1;
    }
  }
};
template <class S>
constexpr RowsAbove<S> kRowsAbove{};

// The blocks of one word that a pair can reach.
template <class S>
DGR_FN uint64_t reach(const DgrPair& pair, int word) {
  typedef Blocks<S> B;
  constexpr int kPerHalf = 8 / B::kWidth, kColumnsPerWord = B::kPerWord / B::kRows;
  uint64_t blocks = 0;
  for (int column = 0; column < kColumnsPerWord; ++column) {
    const uint8_t* rows = pair.rows + (word * kColumnsPerWord + column) / kPerHalf * 2;
    const uint32_t reached = kRowsAbove<S>.end[rows[1]] & ~kRowsAbove<S>.begin[rows[0]];
    blocks |= (uint64_t)reached << column * B::kRows;
  }
  return blocks;
}

// Calls body(block, number, dx, off, log2 of alpha) for every live block that a pair can reach.
template <class S, int kC, class Body>
DGR_FN void visit_blocks(const Tile<S, kC>& tile, const Lanes<S>& lanes, const DgrPair& pair,
                         const S* splat, Body body) {
  typedef Blocks<S> B;
  typedef Vec<S> V;
  const V weight_x(splat[kWeightX]), weight_y(splat[kWeightY]), log_opacity(splat[kLogOpacity]);
  const V x = lanes.x + V(S(tile.x0) + S(0.5) - splat[kU]);
  const V y = lanes.y + V(S(tile.y0) + S(0.5) - splat[kV]), slope(splat[kSlope]);
  V dx[B::kColumns], part_x[B::kColumns], from_ridge[B::kColumns];
  for (int column = 0; column < B::kColumns; ++column) {
    dx[column] = x + V(kBlockStarts<S>.x[column]);
    part_x[column] = log2_alpha_x(dx[column], weight_x, log_opacity);
    from_ridge[column] = y - slope * dx[column];
  }
  for (int word = 0; word < B::kWords; ++word) {
    uint64_t blocks = tile.live[word] & reach<S>(pair, word);
    while (blocks) {
      const int number = word * B::kPerWord + __builtin_ctzll(blocks);
      blocks &= blocks - 1;
      const int column = number / B::kRows, row = number % B::kRows;
      const V off = from_ridge[column] + V(kBlockStarts<S>.y[row]);
      body(tile.block(number), number, dx[column], off, log2_alpha(off, weight_y, part_x[column]));
    }
  }
}

// The pairs of a tile, nearest first, until no pixel is open; returns the first one not visited.
template <class S, int kC, class Visit>
DGR_FN const DgrPair* visit_pairs(const DgrScene& scene, const DgrState& state,
                                  const Tile<S, kC>& tile, int number, Visit visit) {
  const int channels = tile.channels();
  const S *splats = (const S*)state.splats,
          *features = (const S*)(scene.sh ? state.features : scene.colors);
  const DgrPair *pair = state.pairs + state.tiles[number],
                *last = state.pairs + state.tiles[number + 1];
  for (; pair < last && !tile.dark(); ++pair) {
    constexpr int kAhead = 8;  // pairs; splats lie all over the second-level cache
    const DgrPair& next = pair[pair + kAhead < last ? kAhead : 0];
    __builtin_prefetch(splats + (int64_t)next.gaussian * kSplat);
    __builtin_prefetch(features + (int64_t)next.gaussian * channels);
    visit(*pair, next, splats + (int64_t)pair->gaussian * kSplat,
          features + (int64_t)pair->gaussian * channels);
  }
  return pair;
}

}  // namespace dgr
