// A multi-layer perceptron with several heads, on tiles of points whose activations stay in cache.
//
// Layer l of the body turns activations l into activations l + 1, ReLU or sigmoid included; the heads
// read equal parts of the last activations. Activations 0 are the features; they stand once more in
// front of the activations that layer `again` reads.
#pragma once
#include <cstring>

#include "api.h"
#include "buffer.h"
#include "offset_mlp_bf16.h"
#include "parallel.h"

namespace {

using fused_fields::DenseLayer;
using fused_fields::OffsetMlp;
using fused_fields::StagedWork;

constexpr int64_t kTilePoints = 96;  // a multiple of kBlockRows
constexpr int64_t kMostChunks = 32;

inline static int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Points are cut into chunks by their number alone, so that sums do not depend on threads.
inline static int64_t chunk_points(int64_t n) {
    return round_up(n / kMostChunks + 1, kTilePoints);
}

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

// Where a layer finds what belongs to it: offsets into the packed weights, into the gradients of a
// chunk, and into the activations of a tile.
struct MlpLayout {
    int64_t by_output;  // weights "inputs x outputs", then a row of biases: for the forward pass
    int64_t by_input;   // weights "outputs x inputs": for the backward pass
    int64_t grads;      // gradients of the weights, then of the biases
    int64_t input;      // activations it reads, "points x inputs"
    int64_t input_stride;
};

// The layers with their weights packed for whole-vector reads.
template <class T>
class MlpPlan {
  public:
    explicit MlpPlan(const OffsetMlp& mlp)
        : mlp(mlp), total(mlp.body + mlp.heads), layouts_(total + 1), packed_(place()) {}

    bool ok() const { return layouts_.get() && packed_.ok(); }
    const DenseLayer& layer(int index) const { return mlp.layers[index]; }
    const MlpLayout& at(int index) const { return layouts_.get()[index]; }
    const T* by_output(int index) const { return packed_.get() + at(index).by_output; }
    const T* by_input(int index) const { return packed_.get() + at(index).by_input; }

    void pack(int index) {
        const DenseLayer& layer = mlp.layers[index];
        const T* weight = static_cast<const T*>(layer.weight);
        const T* bias = static_cast<const T*>(layer.bias);
        const int64_t across = row_stride<T>(layer.outputs), along = row_stride<T>(layer.inputs);
        T* by_output = packed_.get() + at(index).by_output;
        T* by_input = packed_.get() + at(index).by_input;
        for (int64_t i = 0; i <= layer.inputs; ++i) {
            const T* from = i < layer.inputs ? weight + i : bias;
            const int64_t step = i < layer.inputs ? layer.inputs : 1;
            T* to = by_output + i * across;
            for (int64_t o = 0; o < across; ++o) to[o] = o < layer.outputs ? from[o * step] : 0;
        }
        for (int64_t o = 0; o < layer.outputs; ++o) {
            T* to = by_input + o * along;
            const T* from = weight + o * layer.inputs;
            for (int64_t i = 0; i < along; ++i) to[i] = i < layer.inputs ? from[i] : 0;
        }
    }

    // Activations l + 1 of `count` points from activations l, or the output of a head. `tile`: see
    // product().
    void apply(int index, T* tile, const T* input, int64_t stride, int64_t count, T* output,
               int64_t output_stride) const {
        const int64_t across = row_stride<T>(layer(index).outputs);
        const T* weight = by_output(index);
        product(tile, {count, layer(index).outputs, layer(index).inputs, input, stride, 1, weight,
                       across, weight + layer(index).inputs * across, 0, output, output_stride,
                       index < mlp.body ? activation() : Finish::kPlain, by_input(index),
                       row_stride<T>(layer(index).inputs)});
    }

    // `tile`: the worker's activations, behind which there is room to round operands.
    void product(T* tile, Product<T> m) const {
        m.bf16 = mlp.bf16;
        m.scratch = tile + scratch_;
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
    const int total;  // layers, heads included
    int64_t activations = 0, gradients = 0;  // numbers per tile, per chunk
    int64_t of_outputs = 0;  // of a tile: where outputs, or gradients of them, lie side by side

  private:
    // Fills the layouts; returns the size of the packed weights.
    int64_t place() {
        MlpLayout* layouts = layouts_.get();
        if (!layouts) return 0;
        int64_t packed = 0, widest = kTilePoints;
        for (int l = 0; l < total; ++l) {
            const DenseLayer& layer = mlp.layers[l];
            for (int64_t size : {layer.inputs, layer.outputs}) widest = size > widest ? size : widest;
            MlpLayout& here = layouts[l];
            here.by_output = packed;
            packed += (layer.inputs + int64_t{1}) * row_stride<T>(layer.outputs);
            here.by_input = packed;
            packed += layer.outputs * row_stride<T>(layer.inputs);
            here.grads = gradients;
            gradients += round_up((layer.inputs + int64_t{1}) * layer.outputs, kLanes<T>);
            if (l > mlp.body) {
                here.input = layouts[l - 1].input + layer.inputs;
                here.input_stride = layouts[l - 1].input_stride;
                continue;
            }
            here.input = activations;
            // The first head sees the activations of all heads.
            const int64_t width = l < mlp.body ? layer.inputs : mlp.layers[l - 1].outputs;
            here.input_stride = row_stride<T>(width);
            activations += kTilePoints * here.input_stride;
        }
        gradients += kLanes<T>;
        of_outputs = activations;
        for (int l = mlp.body; l < total; ++l) activations += kTilePoints * mlp.layers[l].outputs;
        scratch_ = round_up(activations, kLanes<T>);
        activations = scratch_ + (mlp.bf16 ? bf16_scratch(widest) : 0);
        return packed;
    }

    int64_t scratch_ = 0;
    Buffer<MlpLayout> layouts_;
    AlignedBuffer<T> packed_;
};

// Hands out the chunks of a stage to as many workers as there are threads, each with a tile of
// activations of its own.
template <class T>
class MlpWork : public StagedWork {
  public:
    MlpWork(MlpPlan<T>& plan, const T* const* features, int64_t n, int threads)
        : plan_(plan), features_(features), n_(n), chunk_points_(chunk_points(n)),
          chunks_((n + chunk_points_ - 1) / chunk_points_),
          workers_(min_of<int64_t>(threads, chunks_)),
          activations_(workers_ * plan.activations) {}

    bool ok() const { return activations_.ok(); }

  protected:
    // Calls chunk(activations, number, begin, end) for the chunks a worker gets, ranges of points.
    template <class Chunk>
    void work(int64_t worker, Chunk chunk) {
        T* activations = activations_.get() + worker * plan_.activations;
        for (;;) {
            const int64_t number = __atomic_fetch_add(&next_chunk_, 1, __ATOMIC_RELAXED);
            if (number >= chunks_) return;
            chunk(activations, number, number * chunk_points_,
                  min_of(n_, (number + 1) * chunk_points_));
        }
    }

    // `width` numbers of each of `count` points, point(0), point(1), ..., to rows that lie `stride`
    // apart.
    template <class Point>
    static void gather(const T* from, Point point, int64_t count, int64_t width, T* to,
                       int64_t stride) {
        for (int64_t i = 0; i < count; ++i) {
            copy_some(to + i * stride, from + point(i) * width, width);
        }
    }

    template <class Point>
    void gather_features(Point point, int64_t count, T* to, int64_t stride) const {
        for (int k = 0; k < plan_.mlp.feature_count; to += plan_.mlp.feature_widths[k++]) {
            gather(features_[k], point, count, plan_.mlp.feature_widths[k], to, stride);
        }
    }

    // All layers of the body: activations 1, 2, ... from the features of `count` points.
    void run_body(T* activations, const T* features, int64_t stride, int64_t count) const {
        if (const int again = plan_.mlp.again) {
            const MlpLayout& to = plan_.at(again);
            for (int64_t i = 0; i < count; ++i) {
                std::memcpy(activations + to.input + i * to.input_stride, features + i * stride,
                            plan_.lead(again) * sizeof(T));
            }
        }
        for (int l = 0; l < plan_.mlp.body; ++l) {
            const MlpLayout& from = plan_.at(l);
            const MlpLayout& to = plan_.at(l + 1);
            plan_.apply(l, activations, l ? activations + from.input : features,
                        l ? from.input_stride : stride, count,
                        activations + to.input + plan_.lead(l + 1), to.input_stride);
        }
    }

    MlpPlan<T>& plan_;
    const T* const* features_;
    const int64_t n_, chunk_points_, chunks_, workers_;

  private:
    AlignedBuffer<T> activations_;
    int64_t next_chunk_ = 0;
};

template <class T>
class MlpForward final : public MlpWork<T> {
  public:
    MlpForward(MlpPlan<T>& plan, const T* const* features, int64_t n, T* const* outputs,
               int threads)
        : MlpWork<T>(plan, features, n, threads), outputs_(outputs) {}

    int64_t tasks(int64_t stage) const override {
        return stage == 0 ? this->plan_.total : this->workers_;
    }

    void run(int64_t stage, int64_t task) override {
        if (stage == 0) return this->plan_.pack(static_cast<int>(task));
        const MlpPlan<T>& plan = this->plan_;
        const int64_t width = plan.layer(0).inputs, stride = plan.at(0).input_stride;
        const bool together = plan.mlp.feature_count == 1;
        this->work(task, [&](T* activations, int64_t, int64_t begin, int64_t end) {
            for (int64_t first = begin; first < end; first += kTilePoints) {
                const int64_t count = min_of(kTilePoints, end - first);
                if (together) {
                    this->run_body(activations, this->features_[0] + first * width, width, count);
                } else {
                    this->gather_features([first](int64_t i) { return first + i; }, count,
                                          activations, stride);
                    this->run_body(activations, activations, stride, count);
                }
                for (int h = 0; h < plan.mlp.heads; ++h) {
                    const int l = plan.mlp.body + h;
                    const int64_t size = plan.layer(l).outputs;
                    T* all = activations + plan.of_outputs;
                    plan.apply(l, activations, activations + plan.at(l).input,
                               plan.at(l).input_stride, count,
                               plan.mlp.part_count ? all : outputs_[h] + first * size, size);
                    if (plan.mlp.part_count) hand_out(all, size, first, count);
                }
            }
        });
    }

  private:
    // The parts of the outputs of a tile, "points x outputs", to their tensors.
    void hand_out(const T* all, int64_t size, int64_t first, int64_t count) const {
        for (int k = 0; k < this->plan_.mlp.part_count; ++k) {
            const int64_t width = this->plan_.mlp.parts[k];
            T* to = outputs_[k] + first * width;
            for (int64_t i = 0; i < count; ++i) {
                copy_some(to + i * width, all + i * size, width);
            }
            all += width;
        }
    }

    T* const* outputs_;
};

template <class T>
int mlp_forward(const OffsetMlp* mlp, const T* const* features, int64_t n, T* const* outputs,
                int threads) {
    MlpPlan<T> plan(*mlp);
    if (!plan.ok()) return 1;
    MlpForward<T> work(plan, features, n, outputs, threads);
    if (!work.ok()) return 1;
    fused_fields::run_stages(work, 2, threads);
    return 0;
}

}  // namespace
