// Backward pass of offset_mlp.h, with the same bits for any number of threads.
//
// Nothing but features and weights is kept from the forward pass: a tile computes its activations
// again, then goes back from the heads to the features. Gradients of activations replace them, so
// a tile needs no more memory than before. Every chunk of points sums the gradients of the weights
// on its own; the chunks are then added up in their order. Points whose outputs have no gradient, such
// as Gaussians that others hide, are left out of the tiles.
#pragma once
#include "offset_mlp.h"

namespace {

constexpr int64_t kSlice = 4096;  // numbers of a chunk's gradients that one task adds up

template <class T>
class MlpBackward final : public MlpWork<T> {
  public:
    MlpBackward(MlpPlan<T>& plan, const T* const* features, int64_t n,
                const T* const* grad_outputs, T* const* grad_features, int threads)
        : MlpWork<T>(plan, features, n, threads), grad_outputs_(grad_outputs),
          grad_features_(grad_features),
          sums_((this->chunks_ > 0 ? this->chunks_ : 1) * plan.gradients) {}

    static constexpr int64_t kStages = 4;

    bool ok() const { return MlpWork<T>::ok() && sums_.ok(); }

    int64_t tasks(int64_t stage) const override {
        const int64_t slices = (this->plan_.gradients + kSlice - 1) / kSlice;
        const int64_t count[kStages] = {this->plan_.total, this->workers_, slices,
                                        this->plan_.total};
        return count[stage];
    }

    void run(int64_t stage, int64_t task) override {
        if (stage == 0) return this->plan_.pack(static_cast<int>(task));
        if (stage == 2) return add_up(task * kSlice);
        if (stage == 3) return hand_over(static_cast<int>(task));
        this->work(task, [this](Tile<T>& tile, int64_t chunk, int64_t begin, int64_t end) {
            one_chunk(tile, begin, end, sums_.get() + chunk * this->plan_.gradients);
        });
    }

  private:
    void one_chunk(Tile<T>& tile, int64_t begin, int64_t end, T* sums) {
        int64_t points[kTilePoints], count = 0;
        bool more = false;
        for (int64_t i = begin; i < end; ++i) {
            if (told(i)) {
                points[count++] = i;
            } else if (grad_features_) {
                of_features([i](T* grad, int64_t width, int64_t) {
                    std::memset(grad + i * width, 0, width * sizeof(T));
                });
            }
            if (count < kTilePoints && (i + 1 < end || (count == 0 && more))) continue;
            one_tile(tile, points, count, sums, more);
            more = true;
            count = 0;
        }
    }

    // Calls visit(gradient, width, place) for the tensors of the features whose gradients are wanted;
    // the place is among all features.
    template <class Visit>
    void of_features(Visit visit) const {
        const OffsetMlp& mlp = this->plan_.mlp;
        for (int64_t k = 0, at = 0; k < mlp.feature_count; at += mlp.feature_widths[k++]) {
            if (grad_features_[k]) visit(grad_features_[k], mlp.feature_widths[k], at);
        }
    }

    // Whether an output of a point has a gradient.
    bool told(int64_t point) const {
        const MlpPlan<T>& plan = this->plan_;
        for (int k = 0; k < plan.tensors(); ++k) {
            const int64_t width = plan.width(k);
            const T* grad = grad_outputs_[k] + point * width;
            for (int64_t i = 0; i < width; ++i) {
                if (grad[i] != 0) return true;
            }
        }
        return false;
    }

    // Gradients of a head's outputs, "points x outputs": gathered in `room`, or where they are.
    Matrix<const T> gathered(int index, const int64_t* points, int64_t count, bool in_a_row,
                             Tile<T>& tile) const {
        const MlpPlan<T>& plan = this->plan_;
        const int head = index - plan.mlp.body, parts = plan.mlp.part_count;
        const Matrix<T> room = plan.told(index, tile);
        Matrix<const T> grad = room;
        if (!parts && in_a_row) {
            grad.values = grad_outputs_[head] + points[0] * room.row;
        } else {
            T* to = room.values;
            for (int k = parts ? 0 : head; to < room.values + room.row; to += plan.width(k++)) {
                this->gather(grad_outputs_[k], [points](int64_t i) { return points[i]; }, count,
                             plan.width(k), to, room.row);
            }
        }
        return grad;
    }

    void one_tile(Tile<T>& tile, const int64_t* points, int64_t count, T* sums, bool more) {
        const MlpPlan<T>& plan = this->plan_;
        const Matrix<T> features = plan.input(0, tile);
        const bool in_a_row = count && points[count - 1] - points[0] == count - 1;
        if (plan.mlp.bf16 == kTiles && count < kTilePoints) plan.begin(tile);
        for (int l = 0; !more && l < plan.total; ++l) {
            std::memset(bias_sums(l, sums), 0, plan.layer(l).outputs * sizeof(T));
        }
        if (count) this->look_ahead(points[count - 1] + 1, tile);
        if (plan.pairs && in_a_row && plan.mlp.feature_count == 1) {
            this->run_body(tile, this->features_from(points[0], tile), count);
        } else {
            this->gather_features([points](int64_t i) { return points[i]; }, count, features);
            this->run_body(tile, features, count);
        }
        for (int l = plan.total - 1; l >= plan.mlp.body; --l) {
            const Matrix<const T> grad = gathered(l, points, count, in_a_row, tile);
            plan.round(grad, count, grad.row, bias_sums(l, sums));
            back(l, grad, count, tile, sums, more);
        }
        for (int l = plan.mlp.body - 1; l >= 0; --l) {
            back(l, plan.told(l, tile), count, tile, sums, more);
        }
        if (!grad_features_) return;
        if (in_a_row && plan.mlp.feature_count == 1) {
            const int64_t width = plan.layer(0).inputs;
            return to_features(count, tile, {grad_features_[0] + points[0] * width, width});
        }
        to_features(count, tile, {features.values, features.row});
        of_features([&](T* grad, int64_t width, int64_t at) {
            for (int64_t i = 0; i < count; ++i) {
                copy_some(grad + points[i] * width, features.values + i * features.row + at, width);
            }
        });
    }

    T* bias_sums(int index, T* sums) const {
        const DenseLayer& layer = this->plan_.layer(index);
        return sums + this->plan_.at(index).grads + int64_t{layer.inputs} * layer.outputs;
    }

    // One layer: gradients of its weights, of its biases unless they were summed where `grad` was
    // rounded, then, in their place, of the activations it read; those of the features wait for
    // to_features.
    void back(int index, const Matrix<const T>& grad, int64_t count, Tile<T>& tile, T* sums,
              bool more) {
        const MlpPlan<T>& plan = this->plan_;
        const int64_t inputs = plan.layer(index).inputs, outputs = plan.layer(index).outputs;
        const Matrix<T> input = plan.input(index, tile), weights = plan.by_input(index);
        T* weight_sums = sums + plan.at(index).grads;
        plan.product(tile, {outputs, inputs, count, grad, Lies::kInCols, input,
                            more ? weight_sums : nullptr, inputs, {weight_sums, inputs},
                            Finish::kPlain});
        if (!plan.pairs) sum_rows(grad, count, outputs, bias_sums(index, sums), more);
        const int64_t lead = plan.lead(index);
        if (index) {
            Product<T> made = {count, inputs - lead, outputs, grad, Lies::kInRows,
                               weights.from(lead), nullptr, 0, input.from(lead),
                               plan.activation_grad()};
            const int before = min_of(index, int{plan.mlp.body}) - 1;
            made.col_sums = bias_sums(before, sums) + plan.at(index).first;
            plan.product(tile, made);
        }
        if (lead && grad_features_) {  // takes the features' place, until layer 0 adds its own
            plan.product(tile, {count, lead, outputs, grad, Lies::kInRows, weights, nullptr, 0,
                                {input.values, input.row}, Finish::kPlain});
        }
    }

    // Gradients of a tile's features, from those of what layer 0 told.
    void to_features(int64_t count, Tile<T>& tile, const Matrix<T>& to) const {
        const MlpPlan<T>& plan = this->plan_;
        const Matrix<T> again = plan.input(plan.mlp.again, tile);
        plan.product(tile, {count, plan.layer(0).inputs, plan.layer(0).outputs, plan.told(0, tile),
                            Lies::kInRows, plan.by_input(0),
                            plan.mlp.again ? again.values : nullptr, again.row, to,
                            Finish::kPlain});
    }

    // Several columns at once: a sum waits for the one before it.
    static void sum_rows(const Matrix<const T>& rows, int64_t count, int64_t cols, T* sums,
                         bool more) {
        int64_t c = 0;
        for (; c + 4 * kLanes<T> <= cols; c += 4 * kLanes<T>) {
            sum_columns<kLanes<T>, 4>(rows.from(c), count, sums + c, more);
        }
        for_widths<T>(static_cast<int>(cols), [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            for (int at = begin; at < end; at += W) {
                sum_columns<W, 1>(rows.from(at), count, sums + at, more);
            }
        }, static_cast<int>(c));
    }

    template <int W, int Vectors>
    SIMD_FN void sum_columns(const Matrix<const T>& rows, int64_t count, T* sums, bool more) {
        Vec<T, W> sum[Vectors] = {};
        for (int v = 0; more && v < Vectors; ++v) sum[v] = load<T, W>(sums + v * W);
        for (int64_t i = 0; i < count; ++i) {
            const T* row = rows.values + i * rows.row;
            for (int v = 0; v < Vectors; ++v) sum[v] += load<T, W>(row + v * W);
        }
        for (int v = 0; v < Vectors; ++v) store<T, W>(sums + v * W, sum[v]);
    }

    void add_up(int64_t begin) {
        const int64_t stride = this->plan_.gradients, end = min_of(begin + kSlice, stride);
        T* sums = sums_.get();
        if (this->chunks_ == 0) std::memset(sums + begin, 0, (end - begin) * sizeof(T));
        for (int64_t chunk = 1; chunk < this->chunks_; ++chunk) {
            const T* more = sums + chunk * stride;
            for (int64_t i = begin; i < end; ++i) sums[i] += more[i];
        }
    }

    void hand_over(int index) {
        const DenseLayer& layer = this->plan_.layer(index);
        const int64_t weights = int64_t{layer.inputs} * layer.outputs;
        const T* sums = sums_.get() + this->plan_.at(index).grads;
        std::memcpy(layer.grad_weight, sums, weights * sizeof(T));
        std::memcpy(layer.grad_bias, sums + weights, layer.outputs * sizeof(T));
    }

    const T* const* grad_outputs_;
    T* const* grad_features_;  // null, all of them or one: not wanted
    AlignedBuffer<T> sums_;  // "chunks x gradients"
};

template <class T>
int mlp_backward(const OffsetMlp* mlp, const T* const* features, int64_t n,
                 const T* const* grad_outputs, T* const* grad_features, int threads) {
    MlpPlan<T> plan(*mlp, true);
    if (!plan.ok()) return 1;
    MlpBackward<T> work(plan, features, n, grad_outputs, grad_features, threads);
    if (!work.ok()) return 1;
    fused_fields::run_stages(work, MlpBackward<T>::kStages, threads);
    return 0;
}

}  // namespace
