// Backward pass of offset_mlp.h, with the same bits for any number of threads.
//
// Nothing but features and weights is kept from the forward pass: a tile computes its activations
// again, then goes back from the heads to the features. Gradients of activations replace them, so
// a tile needs no more memory than before. Every chunk of points sums the gradients of the weights
// on its own; the chunks are then added up in their order.
#pragma once
#include "offset_mlp.h"

namespace {

constexpr int64_t kSlice = 4096;  // numbers of a chunk's gradients that one task adds up

template <class T>
class MlpBackward final : public MlpWork<T> {
  public:
    MlpBackward(MlpPlan<T>& plan, const T* features, int64_t n, const T* const* grad_outputs,
                T* grad_features, int threads)
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
        this->work(task, [this](T* activations, int64_t chunk, int64_t first, int64_t count) {
            T* sums = sums_.get() + chunk * this->plan_.gradients;
            one_tile(activations, first, count, sums, first > chunk * this->chunk_points_);
        });
    }

  private:
    void one_tile(T* activations, int64_t first, int64_t count, T* sums, bool more) {
        const MlpPlan<T>& plan = this->plan_;
        const int64_t width = plan.layer(0).inputs, stride = plan.at(0).input_stride;
        for (int64_t i = 0; i < count; ++i) {
            std::memcpy(activations + i * stride, this->features_ + (first + i) * width,
                        width * sizeof(T));
        }
        this->run_body(activations, activations, stride, count);
        for (int l = plan.total - 1; l >= plan.mlp.body; --l) {
            const int64_t size = plan.layer(l).outputs;
            back(l, grad_outputs_[l - plan.mlp.body] + first * size, size, count, activations,
                 first, sums, more);
        }
        for (int l = plan.mlp.body - 1; l >= 0; --l) {
            const MlpLayout& told = plan.at(l + 1);
            back(l, activations + told.input + plan.lead(l + 1), told.input_stride, count,
                 activations, first, sums, more);
        }
    }

    // One layer: gradients of its weights, of its biases, then of the activations it read.
    void back(int index, const T* grad, int64_t grad_stride, int64_t count, T* activations,
              int64_t first, T* sums, bool more) {
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
        if (!grad_features_) return;
        if (lead) {  // takes the features' place, until layer 0 adds its own
            plan.product(activations, {count, lead, outputs, grad, grad_stride, 1, weights, step,
                                       nullptr, 0, input, at.input_stride, Finish::kPlain});
        }
        if (!index) {
            const MlpLayout& again = plan.at(plan.mlp.again);
            plan.product(activations, {count, inputs, outputs, grad, grad_stride, 1, weights, step,
                                       plan.mlp.again ? activations + again.input : nullptr,
                                       again.input_stride, grad_features_ + first * inputs, inputs,
                                       Finish::kPlain});
        }
    }

    static void sum_rows(const T* rows, int64_t stride, int64_t count, int64_t cols, T* sums,
                         bool more) {
        for_widths<T>(static_cast<int>(cols), [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            for (int c = begin; c < end; c += W) {
                Vec<T, W> sum = more ? load<T, W>(sums + c) : Vec<T, W>{};
                for (int64_t i = 0; i < count; ++i) sum += load<T, W>(rows + i * stride + c);
                store<T, W>(sums + c, sum);
            }
        });
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
    T* grad_features_;  // null: not wanted
    AlignedBuffer<T> sums_;  // "chunks x gradients"
};

template <class T>
int mlp_backward(const OffsetMlp* mlp, const T* features, int64_t n, const T* const* grad_outputs,
                 T* grad_features, int threads) {
    MlpPlan<T> plan(*mlp);
    if (!plan.ok()) return 1;
    MlpBackward<T> work(plan, features, n, grad_outputs, grad_features, threads);
    if (!work.ok()) return 1;
    fused_fields::run_stages(work, MlpBackward<T>::kStages, threads);
    return 0;
}

}  // namespace
