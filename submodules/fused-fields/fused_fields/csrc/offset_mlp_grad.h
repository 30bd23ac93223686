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
        this->work(task, [this](T* activations, int64_t chunk, int64_t begin, int64_t end) {
            one_chunk(activations, begin, end, sums_.get() + chunk * this->plan_.gradients);
        });
    }

  private:
    void one_chunk(T* activations, int64_t begin, int64_t end, T* sums) {
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
            one_tile(activations, points, count, sums, more);
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
    const T* gathered(int head, const int64_t* points, int64_t count, bool in_a_row,
                      T* room) const {
        const OffsetMlp& mlp = this->plan_.mlp;
        const int64_t size = this->plan_.layer(mlp.body + head).outputs;
        if (!mlp.part_count && in_a_row) return grad_outputs_[head] + points[0] * size;
        T* to = room;
        for (int k = mlp.part_count ? 0 : head; to < room + size; to += this->plan_.width(k++)) {
            this->gather(grad_outputs_[k], [points](int64_t i) { return points[i]; }, count,
                         this->plan_.width(k), to, size);
        }
        return room;
    }

    void one_tile(T* activations, const int64_t* points, int64_t count, T* sums, bool more) {
        const MlpPlan<T>& plan = this->plan_;
        const int64_t stride = plan.at(0).input_stride;
        const bool in_a_row = count && points[count - 1] - points[0] == count - 1;
        this->gather_features([points](int64_t i) { return points[i]; }, count, activations, stride);
        this->run_body(activations, activations, stride, count);
        for (int l = plan.total - 1; l >= plan.mlp.body; --l) {
            const T* grad = gathered(l - plan.mlp.body, points, count, in_a_row,
                                     activations + plan.of_outputs);
            back(l, grad, plan.layer(l).outputs, count, activations, sums, more);
        }
        for (int l = plan.mlp.body - 1; l >= 0; --l) {
            const MlpLayout& told = plan.at(l + 1);
            back(l, activations + told.input + plan.lead(l + 1), told.input_stride, count,
                 activations, sums, more);
        }
        if (!grad_features_) return;
        if (in_a_row && plan.mlp.feature_count == 1) {
            const int64_t width = plan.layer(0).inputs;
            return to_features(count, activations, grad_features_[0] + points[0] * width, width);
        }
        to_features(count, activations, activations, stride);
        of_features([&](T* grad, int64_t width, int64_t at) {
            for (int64_t i = 0; i < count; ++i) {
                copy_some(grad + points[i] * width, activations + i * stride + at, width);
            }
        });
    }

    // One layer: gradients of its weights, of its biases, then, in their place, of the activations it
    // read; those of the features wait for to_features.
    void back(int index, const T* grad, int64_t grad_stride, int64_t count, T* activations, T* sums,
              bool more) {
        const MlpPlan<T>& plan = this->plan_;
        const int64_t inputs = plan.layer(index).inputs, outputs = plan.layer(index).outputs;
        const MlpLayout& at = plan.at(index);
        T* input = activations + at.input;
        T* weight_sums = sums + at.grads;
        plan.product(activations, {outputs, inputs, count, grad, 1, grad_stride, input,
                                   at.input_stride, more ? weight_sums : nullptr, inputs,
                                   weight_sums, inputs, Finish::kPlain});
        sum_rows(grad, grad_stride, count, outputs, weight_sums + outputs * inputs, more);
        const T* weights = plan.by_input(index);
        const int64_t step = row_stride<T>(inputs), lead = plan.lead(index);
        if (index) {
            plan.product(activations, {count, inputs - lead, outputs, grad, grad_stride, 1,
                                       weights + lead, step, nullptr, 0, input + lead,
                                       at.input_stride, plan.activation_grad()});
        }
        if (lead && grad_features_) {  // takes the features' place, until layer 0 adds its own
            plan.product(activations, {count, lead, outputs, grad, grad_stride, 1, weights, step,
                                       nullptr, 0, input, at.input_stride, Finish::kPlain});
        }
    }

    // Gradients of a tile's features, from those of what layer 0 told.
    void to_features(int64_t count, T* activations, T* to, int64_t to_row) const {
        const MlpPlan<T>& plan = this->plan_;
        const MlpLayout& told = plan.at(1);
        const MlpLayout& again = plan.at(plan.mlp.again);
        const int64_t inputs = plan.layer(0).inputs;
        plan.product(activations, {count, inputs, plan.layer(0).outputs,
                                   activations + told.input + plan.lead(1), told.input_stride, 1,
                                   plan.by_input(0), row_stride<T>(inputs),
                                   plan.mlp.again ? activations + again.input : nullptr,
                                   again.input_stride, to, to_row, Finish::kPlain});
    }

    // Several columns at once: a sum waits for the one before it.
    static void sum_rows(const T* rows, int64_t stride, int64_t count, int64_t cols, T* sums,
                         bool more) {
        int64_t c = 0;
        for (; c + 4 * kLanes<T> <= cols; c += 4 * kLanes<T>) {
            sum_columns<kLanes<T>, 4>(rows + c, stride, count, sums + c, more);
        }
        for_widths<T>(static_cast<int>(cols), [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            for (int at = begin; at < end; at += W) {
                sum_columns<W, 1>(rows + at, stride, count, sums + at, more);
            }
        }, static_cast<int>(c));
    }

    template <int W, int Vectors>
    SIMD_FN void sum_columns(const T* rows, int64_t stride, int64_t count, T* sums, bool more) {
        Vec<T, W> sum[Vectors] = {};
        for (int v = 0; more && v < Vectors; ++v) sum[v] = load<T, W>(sums + v * W);
        for (int64_t i = 0; i < count; ++i) {
            for (int v = 0; v < Vectors; ++v) sum[v] += load<T, W>(rows + i * stride + v * W);
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
    MlpPlan<T> plan(*mlp);
    if (!plan.ok()) return 1;
    MlpBackward<T> work(plan, features, n, grad_outputs, grad_features, threads);
    if (!work.ok()) return 1;
    fused_fields::run_stages(work, MlpBackward<T>::kStages, threads);
    return 0;
}

}  // namespace
