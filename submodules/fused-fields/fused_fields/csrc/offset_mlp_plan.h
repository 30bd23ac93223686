// What the perceptron of offset_mlp.h knows before it sees a point: where everything lies, and its
// weights packed for whole-vector reads.
#pragma once
#include <cstring>

#include "api.h"
#include "buffer.h"
#include "offset_mlp_bf16.h"

namespace {

using fused_fields::DenseLayer;
using fused_fields::OffsetMlp;

constexpr int64_t kTilePoints = 96;  // a multiple of kBlockRows and of kSide

// Room for rows of `cols` numbers: whole vectors, and one more for reads past the last column. The
// odd number of vectors spreads a column of a large matrix over the sets of the cache.
template <class T>
int64_t row_stride(int64_t cols) {
    const int64_t vectors = round_up(cols, kLanes<T>) / kLanes<T> + 1;
    return (vectors | 1) * kLanes<T>;
}

// A buffer that starts at a boundary of vectors.
template <class T>
class AlignedBuffer {
  public:
    explicit AlignedBuffer(int64_t count) : buffer_(count + kLanes<T>) {}
    T* get() const {
        const uintptr_t address = reinterpret_cast<uintptr_t>(buffer_.get());
        return reinterpret_cast<T*>(round_up(address, kVectorBytes));
    }
    bool ok() const { return buffer_.get(); }

  private:
    Buffer<T> buffer_;
};

// Where a Matrix lies, its `rounded` included: how far behind the start of a buffer, in numbers of
// that buffer, and how far from row to row.
struct Place {
    int64_t values, row, in_rows, rounded_row, in_cols, pair_row;
};

// A worker's memory for one tile of points, and what it will read for the next.
template <class T>
struct Tile {
    T* memory;
    Ahead ahead = {};
};

// Where a layer finds what belongs to it: in the packed weights, in the gradients of a chunk, and
// in the memory of a tile.
struct MlpLayout {
    Place by_output;  // weights "inputs x outputs", then a row of biases: for the forward pass
    Place by_input;   // weights "outputs x inputs": for the backward pass
    int64_t grads;    // gradients of the weights, then of the biases
    Place input;      // activations it reads, "points x inputs",
    int64_t first;    // from this column on
    Place told;       // of a head: its outputs or gradients of them, "points x outputs"
};

// The layers with their weights packed for whole-vector reads.
template <class T>
class MlpPlan {
  public:
    MlpPlan(const OffsetMlp& mlp, bool backward)
        : mlp(mlp), total(mlp.body + mlp.heads), pairs(takes_pairs(mlp.bf16)), layouts_(total + 1),
          packed_(lay_out(backward)) {}

    bool ok() const { return layouts_.get() && packed_.ok(); }
    const DenseLayer& layer(int index) const { return mlp.layers[index]; }
    const MlpLayout& at(int index) const { return layouts_.get()[index]; }

    Matrix<T> by_output(int index) const { return matrix(packed_.get(), at(index).by_output); }
    Matrix<T> by_input(int index) const { return matrix(packed_.get(), at(index).by_input); }
    const T* biases(int index) const {
        return by_output(index).values + layer(index).inputs * by_output(index).row;
    }

    // The activations that a layer reads, those that the first head reads for index `body`, and
    // those, or a head's outputs, that it tells; gradients take their places.
    Matrix<T> input(int index, const Tile<T>& tile) const {
        return matrix(tile.memory, at(index).input).from(at(index).first);
    }
    Matrix<T> told(int index, const Tile<T>& tile) const {
        if (index >= mlp.body) return matrix(tile.memory, at(index).told);
        return input(index + 1, tile).from(lead(index + 1));
    }

    void pack(int index) {
        const DenseLayer& layer = mlp.layers[index];
        const T* weight = static_cast<const T*>(layer.weight);
        const T* bias = static_cast<const T*>(layer.bias);
        const Matrix<T> by_output = this->by_output(index), by_input = this->by_input(index);
        for (int64_t i = 0; i <= layer.inputs; ++i) {
            const T* from = i < layer.inputs ? weight + i : bias;
            const int64_t step = i < layer.inputs ? layer.inputs : 1;
            T* to = by_output.values + i * by_output.row;
            for (int64_t o = 0; o < by_output.row; ++o) {
                to[o] = o < layer.outputs ? from[o * step] : 0;
            }
        }
        for (int64_t o = 0; o < layer.outputs; ++o) {
            T* to = by_input.values + o * by_input.row;
            const T* from = weight + o * layer.inputs;
            for (int64_t i = 0; i < by_input.row; ++i) to[i] = i < layer.inputs ? from[i] : 0;
        }
        clear_rounded(packed_.get(), at(index).by_output, layer.inputs);
        clear_rounded(packed_.get(), at(index).by_input, layer.outputs);
        round(by_output, layer.inputs, layer.outputs);
        round(by_input, layer.outputs, layer.inputs);
    }

    // What lies behind the numbers of rounded matrices meets zeros and has to be finite.
    void begin(const Tile<T>& tile) const {
        for (int l = 0; l < total; ++l) {
            if (l <= mlp.body) clear_rounded(tile.memory, at(l).input, kTilePoints);
            if (l >= mlp.body) clear_rounded(tile.memory, at(l).told, kTilePoints);
        }
    }

    // Fills `rounded` of a matrix where products read that, and adds its columns to `col_sums`.
    void round(const Matrix<const T>& m, int64_t rows, int64_t cols, T* col_sums = nullptr) const {
        if (pairs) round_matrix<T>(m, rows, cols, col_sums);
    }

    // Activations l + 1 of `count` points from activations l, or the output of a head.
    void apply(int index, Tile<T>& tile, const Matrix<const T>& input, int64_t count,
               const Matrix<T>& output) const {
        product(tile, {count, layer(index).outputs, layer(index).inputs, input, Lies::kInRows,
                       by_output(index), biases(index), 0, output,
                       index < mlp.body ? activation() : Finish::kPlain, by_input(index)});
    }

    void product(Tile<T>& tile, Product<T> m) const {
        m.bf16 = mlp.bf16;
        m.scratch = tile.memory + scratch_;
        m.ahead = &tile.ahead;
        multiply(m);
    }

    // How many numbers stand in front of what layer `index` is told by the one before it.
    int64_t lead(int index) const { return index && index == mlp.again ? layer(0).inputs : 0; }

    // Outputs come in tensors: one for each head, or the parts of the only one.
    int tensors() const { return mlp.part_count ? mlp.part_count : mlp.heads; }
    int64_t width(int tensor) const {
        return mlp.part_count ? mlp.parts[tensor] : layer(mlp.body + tensor).outputs;
    }

    Finish activation() const { return mlp.sigmoid ? Finish::kSigmoid : Finish::kRelu; }
    Finish activation_grad() const { return mlp.sigmoid ? Finish::kSlope : Finish::kMask; }

    const OffsetMlp& mlp;
    const int total;   // layers, heads included
    const bool pairs;  // products read what is rounded
    int64_t tile_size = 0, gradients = 0;  // numbers per tile, per chunk

  private:
    Matrix<T> matrix(T* base, const Place& place) const {
        Matrix<T> found = {base + place.values, place.row};
        if (pairs) {
            found.rounded = {reinterpret_cast<uint16_t*>(base + place.in_rows), place.rounded_row,
                             reinterpret_cast<Pair*>(base + place.in_cols), place.pair_row};
        }
        return found;
    }

    // Room for a matrix with `row` numbers from row to row, behind the first `size` of a buffer.
    // Tiles of AMX read up to kSide - 1 rows and columns too many.
    Place reserve(int64_t rows, int64_t cols, int64_t row, bool in_cols, int64_t& size) const {
        Place place = {size, row, 0, 0, 0, 0};
        size += rows * row;
        if (!pairs) return place;
        const int64_t wide = round_up(cols + kSide - 1, kSide), high = round_up(rows, kSide);
        place.rounded_row = (wide / kSide | 1) * kSide;
        place.pair_row = in_cols ? (wide / kLanes<Pair> | 1) * kLanes<Pair> : 0;
        place.in_rows = round_up(size, kLanes<T>);
        place.in_cols = place.in_rows + high * place.rounded_row / 2;
        size = place.in_cols + high / 2 * place.pair_row;
        return place;
    }

    void clear_rounded(T* base, const Place& place, int64_t rows) const {
        if (!pairs) return;
        const int64_t end = place.in_cols + round_up(rows, kSide) / 2 * place.pair_row;
        std::memset(base + place.in_rows, 0, (end - place.in_rows) * sizeof(T));
    }

    // Fills the layouts; returns the size of the packed weights.
    int64_t lay_out(bool backward) {
        MlpLayout* layouts = layouts_.get();
        if (!layouts) return 0;
        int64_t packed = 0, widest = 0;
        for (int l = 0; l < total; ++l) {
            const DenseLayer& layer = mlp.layers[l];
            for (int64_t size : {layer.inputs, layer.outputs}) {
                widest = size > widest ? size : widest;
            }
            MlpLayout& here = layouts[l];
            here.by_output = reserve(layer.inputs + int64_t{1}, layer.outputs,
                                     row_stride<T>(layer.outputs), true, packed);
            here.by_input = reserve(layer.outputs, layer.inputs, row_stride<T>(layer.inputs), true,
                                    packed);
            here.grads = gradients;
            gradients += round_up((layer.inputs + int64_t{1}) * layer.outputs, kLanes<T>);
            here.first = l > mlp.body ? layouts[l - 1].first + layer.inputs : 0;
            if (l > mlp.body) {
                here.input = layouts[l - 1].input;
            } else {  // the first head sees the activations of all heads
                const int64_t width = l < mlp.body ? layer.inputs : mlp.layers[l - 1].outputs;
                here.input = reserve(kTilePoints, width, row_stride<T>(width), backward, tile_size);
            }
            if (l >= mlp.body) {
                here.told = reserve(kTilePoints, layer.outputs, layer.outputs, backward,
                                    tile_size);
            }
        }
        gradients += kLanes<T>;
        scratch_ = round_up(tile_size, kLanes<T>);
        tile_size = scratch_ + (mlp.bf16 ? bf16_scratch(mlp.bf16, kTilePoints, widest) : 0);
        return packed;
    }

    int64_t scratch_ = 0;
    Buffer<MlpLayout> layouts_;
    AlignedBuffer<T> packed_;
};

}  // namespace
