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
    const Lanes<S> lanes;
    for (int column = 0; column < B::kColumns; ++column)
      center_x[column] = lanes.x + V(S(x0 + column * B::kWidth) + S(0.5));
    for (int row = 0; row < B::kRows; ++row)
      center_y[row] = lanes.y + V(S(y0 + row * B::kHeight) + S(0.5));
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

  V center_x[B::kColumns], center_y[B::kRows];  // of the blocks' pixels
  uint64_t live[B::kWords] = {};                // blocks that have an open pixel

  DGR_FN bool dark() const {
    uint64_t all = 0;
    for (uint64_t word : live) all |= word;
    return all == 0;
  }

  // Leaves out the blocks whose pixels are all closed.
  DGR_FN void update_live() {
    for (int word = 0; word < B::kWords; ++word)
      for (uint64_t blocks = live[word]; blocks; blocks &= blocks - 1) {
        const int bit = __builtin_ctzll(blocks);
        const V light = V::load(block(word * B::kPerWord + bit) + kLight * B::kLanes);
        live[word] &= ~((uint64_t)all_negative(light) << bit);
      }
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

template <class S>
DGR_FN Hit<S> hit_block(S* block, Vec<S> raw) {
  typedef Vec<S> V;
  Hit<S> hit;
  hit.raw = raw;
  hit.alpha = minimum(hit.raw, V(S(kMaxAlpha)));
  hit.before = V::load(block + kLight * V::kLanes);
  const V after = fnma(hit.before, hit.alpha, hit.before);
  const Mask<S> reached = hit.alpha >= V(S(kMinAlpha));
  hit.drawn = at_least(reached, after, V(S(kMinTransmittance)));
  const V light = select(hit.drawn, after, negative_where(reached, hit.before));
  light.store(block + kLight * V::kLanes);
  return hit;
}

// Where the rows of blocks of a tile begin, in pixels.
template <class S>
struct BlockStarts {
  S y[Blocks<S>::kRows];
  constexpr BlockStarts() : y() {
    for (int i = 0; i < Blocks<S>::kRows; ++i) y[i] = S(i * Blocks<S>::kHeight);
  }
};
template <class S>
constexpr BlockStarts<S> kBlockStarts{};

// The rows of blocks, one bit each, that a Gaussian can reach whose first row of pixels is this one of
// the tile, and those that it can whose last row lies above this one.
template <class S>
struct ReachedRows {
  uint32_t from[kTile + 1], above[kTile + 1];
  constexpr ReachedRows() : from(), above() {
    constexpr int h = Blocks<S>::kHeight;
    for (int row = 0; row <= kTile; ++row) {
      from[row] = ~((1u << row / h) - 1);
      above[row] = (1u << (row + h - 1) / h) - 1;
    }
  }
};
template <class S>
constexpr ReachedRows<S> kReachedRows{};

// The blocks of one word that a pair can reach.
template <class S>
DGR_FN uint64_t reach(const DgrPair& pair, int word) {
  typedef Blocks<S> B;
  constexpr int kPerHalf = 8 / B::kWidth, kColumnsPerWord = B::kPerWord / B::kRows;
  uint64_t blocks = 0;
  for (int column = 0; column < kColumnsPerWord; ++column) {
    const uint8_t* rows = pair.rows + (word * kColumnsPerWord + column) / kPerHalf * 2;
    const uint32_t reached = kReachedRows<S>.from[rows[0]] & kReachedRows<S>.above[rows[1]];
    blocks |= (uint64_t)reached << column * B::kRows;
  }
  return blocks;
}

// A few of a tile's pairs, and their visits to the live blocks that they can reach.
//
// Where a set of blocks is as wide as a vector, all visits are listed, and what one needs of no other,
// alpha before its bound, is computed for all of them before the first takes place: the processor
// then has many of these long chains of instructions in work at once, and no branch between them.
// kOffs: a visit is told dx and off = dy - slope dx, too.
template <class S, int kC, bool kOffs>
class Run {
 public:
  typedef Blocks<S> B;
  typedef Vec<S> V;
  static constexpr int kPairs = 16;

  const DgrPair *pairs, *last;  // this run's first, and the end of the tile's
  int count;
  const S *splat[kPairs], *color[kPairs];  // of each pair

  // Takes as many as it can of a tile's pairs [first, last).
  DGR_FN void start(const DgrScene& scene, const DgrState& state, const Tile<S, kC>& tile,
                    const DgrPair* first, const DgrPair* end) {
    pairs = first, last = end;
    count = last - first < kPairs ? (int)(last - first) : kPairs;
    const int channels = tile.channels();
    const S *splats = (const S*)state.splats,
            *features = (const S*)(scene.sh ? state.features : scene.colors);
    int visits = 0;
    for (int i = 0; i < count; ++i) {
      const DgrPair& next = ahead(i, kPairs);  // splats lie all over the second-level cache
      __builtin_prefetch(splats + (int64_t)next.gaussian * kSplat);
      __builtin_prefetch(features + (int64_t)next.gaussian * channels);
      splat[i] = splats + (int64_t)first[i].gaussian * kSplat;
      color[i] = features + (int64_t)first[i].gaussian * channels;
      if constexpr (!kListed) continue;
      begin_[i] = visits;
      visits += list_bits(tile.live[0] & reach<S>(first[i], 0), i * B::kCount, visits_ + visits);
    }
    if constexpr (!kListed) return;
    begin_[count] = visits;
    for (int k = 0; k < visits; ++k) {
      const S* s = splat[pair(k)];
      const V dx = tile.center_x[block(k) / B::kRows] - V(s[kU]);
      const V off = fnma(V(s[kSlope]), dx, tile.center_y[block(k) % B::kRows] - V(s[kV]));
      if (kOffs) offs_[k] = off, dxs_[k] = dx;
      const V part_x = log2_alpha_x(dx, V(s[kWeightX]), V(s[kLogOpacity]));
      raw_[k] = exp2(log2_alpha(off, V(s[kWeightY]), part_x));
    }
  }

  // The pair that comes `by` after pair i, or, where there is none, pair i itself.
  DGR_FN const DgrPair& ahead(int i, int by) const {
    return pairs[pairs + i + by < last ? i + by : i];
  }

  // Calls body(block, raw, dx, off) for each visit of pair i; false when there is none.
  template <class Body>
  DGR_FN bool visit(const Tile<S, kC>& tile, int i, Body body) const {
    if constexpr (kListed) {
      for (int k = begin_[i]; k < begin_[i + 1]; ++k)
        body(tile.block(block(k)), raw_[k], dxs_[k], offs_[k]);
      return begin_[i] < begin_[i + 1];
    }
    const S* s = splat[i];
    V dx[B::kColumns], part_x[B::kColumns], from_ridge[B::kColumns];
    for (int column = 0; column < B::kColumns; ++column) {
      dx[column] = tile.center_x[column] - V(s[kU]);
      part_x[column] = log2_alpha_x(dx[column], V(s[kWeightX]), V(s[kLogOpacity]));
      from_ridge[column] = fnma(V(s[kSlope]), dx[column], tile.center_y[0] - V(s[kV]));
    }
    bool some = false;
    for (int word = 0; word < B::kWords; ++word) {
      uint64_t blocks = tile.live[word] & reach<S>(pairs[i], word);
      some |= blocks != 0;
      for (; blocks; blocks &= blocks - 1) {
        const int number = word * B::kPerWord + __builtin_ctzll(blocks);
        const int column = number / B::kRows, row = number % B::kRows;
        const V off = from_ridge[column] + V(kBlockStarts<S>.y[row]);
        body(tile.block(number), exp2(log2_alpha(off, V(s[kWeightY]), part_x[column])),
             dx[column], off);
      }
    }
    return some;
  }

  // Calls body(i, block, raw) for each visit of every pair i.
  template <class Body>
  DGR_FN void visit_all(const Tile<S, kC>& tile, Body body) const {
    if constexpr (kListed)
      for (int k = 0; k < begin_[count]; ++k) body(pair(k), tile.block(block(k)), raw_[k]);
    else
      for (int i = 0; i < count; ++i)
        visit(tile, i, [&](S* block, V raw, V, V) DGR_INLINE { body(i, block, raw); });
  }

 private:
  static constexpr bool kListed = B::kCount == 16;
  static constexpr int kMost = kListed ? kPairs * B::kCount : 1;

  DGR_FN int pair(int k) const { return (int)(visits_[k] / B::kCount); }
  DGR_FN int block(int k) const { return (int)(visits_[k] % B::kCount); }

  int begin_[kPairs + 1];  // of each pair's visits
  V raw_[kMost], offs_[kOffs ? kMost : 1], dxs_[kOffs ? kMost : 1];
  uint32_t visits_[kMost + 16];  // number of the pair · kCount + number of the block
};

// The pairs of a tile, nearest first, run by run, until no pixel is open; returns the first one not
// visited.
template <class S, int kC, bool kOffs, class Draw>
DGR_FN const DgrPair* visit_runs(const DgrScene& scene, const DgrState& state,
                                 Tile<S, kC>& tile, int number, Run<S, kC, kOffs>& run,
                                 Draw draw) {
  const DgrPair *pair = state.pairs + state.tiles[number],
                *last = state.pairs + state.tiles[number + 1];
  while (pair < last && !tile.dark()) {
    run.start(scene, state, tile, pair, last);
    draw();
    tile.update_live();
    pair += run.count;
  }
  return pair;
}

}  // namespace dgr
