// The C ABI of the library and the table of kernels that each instruction set fills in.
#pragma once
#include <cstdint>

namespace fused_fields {

// One plane, rows x cols x channels, contiguous, channels last.
struct FieldPlane {
    const void* values;
    void* grad;  // same shape; null: not wanted
    int32_t rows, cols;
    int32_t col_axis, row_axis;  // columns of `points`; row_axis -1: the shared time
};

struct Field {
    const FieldPlane* planes;  // level-major: planes[level * planes_per_level + plane]
    int32_t levels, planes_per_level, channels;
    int32_t axes;  // columns of `points`
    double time;   // in [-1, 1], for planes whose row_axis is -1
};

struct PenaltyPlane {
    const void* values;
    void* grad;
    int32_t rows, cols;
};

struct SsimShape {
    int64_t images;  // batch * channels
    int32_t height, width, margin;  // margin: 0 for "same", 5 for "valid"
};

// A linear layer: weight "outputs x inputs", bias "outputs", and where their gradients go.
struct DenseLayer {
    const void* weight;
    const void* bias;
    void* grad_weight;
    void* grad_bias;
    int32_t inputs, outputs;
};

// `body` layers in a row, each followed by a ReLU or a sigmoid, then `heads` layers that read equal
// parts of the last activations.
struct OffsetMlp {
    const DenseLayer* layers;
    int32_t body, heads, sigmoid;
};

// rows x row_size numbers that one learning rate moves.
struct AdamTensor {
    void* param;
    const void* grad;
    void *exp_avg, *exp_avg_sq;
    int64_t rows, row_size;
    double rate, spread;  // lr / (1 - beta1^step), 1 / sqrt(1 - beta2^step)
};

struct AdamStep {
    const AdamTensor* tensors;
    int32_t count;
    double beta1, beta2, eps;
};

// Each returns 0, or 1 when memory ran out.
template <class T>
struct Kernels {
    int (*lookup_forward)(const Field*, const T* points, int64_t n, T* features, int threads);
    int (*lookup_backward)(const Field*, const T* points, int64_t n, const T* grad_features,
                           T* grad_points, int threads);
    int (*penalties_forward)(const PenaltyPlane*, int32_t planes, int32_t channels, T* terms,
                             int threads);
    int (*penalties_backward)(const PenaltyPlane*, int32_t planes, int32_t channels,
                              const T* grad_terms, int threads);
    int (*ssim_forward)(const SsimShape*, const T* a, const T* b, T* mean, T* partials,
                        int threads);
    int (*ssim_backward)(const SsimShape*, const T* a, const T* b, const T* partials, T scale,
                         T* grad_a, T* grad_b, int threads);
    int (*mlp_forward)(const OffsetMlp*, const T* features, int64_t n, T* const* outputs,
                       int threads);
    int (*mlp_backward)(const OffsetMlp*, const T* features, int64_t n,
                        const T* const* grad_outputs, T* grad_features, int threads);
    // rows: one flag per row, null for all of them
    int (*adam_step)(const AdamStep*, const uint8_t* rows, int threads);
};

struct KernelSet {
    const char* name;
    Kernels<float> f32;
    Kernels<double> f64;
};

extern const KernelSet kPortableKernels;
extern const KernelSet kAvx2Kernels;
extern const KernelSet kAvx512Kernels;

}  // namespace fused_fields
