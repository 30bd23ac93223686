// What the library's C functions take.
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
    int64_t feature_step;  // numbers from the features of a point to those of the next one
};

struct PenaltyPlane {
    const void* values;
    void* grad;
    int32_t rows, cols;
    double weights[3];  // of the terms along rows, along columns, and of |1 - P|
};

struct CarriedRows {
    const void* means;   // rows x 3
    const void* quats;   // rows x 4
    const void* logits;  // rows
    const void* motion;  // 16: a 3 x 4 matrix, then a quaternion
    int64_t rows;
};

struct Picture {
    const void* bytes;       // pixels x channels, uint8
    const void* background;  // 3, or 3 x pixels
    void* image;             // 3 x pixels
    void* alpha;             // pixels
    int64_t pixels;
    int32_t channels;  // 3 or 4
    int32_t plain;     // whether the background is one colour
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
// parts of the last activations. The layer `again` of the body, unless it is 0, reads the features
// once more, ahead of what the layer before it says. `bf16`: the form in which operands of products
// are rounded to bfloat16, at most what bf16_form says; 0: none, and always in double.
struct OffsetMlp {
    const DenseLayer* layers;
    int32_t body, heads, sigmoid, again, bf16;
    int32_t part_count;  // 0, or in how many tensors the outputs of the only head come,
    const int32_t* parts;  // and their widths
    int32_t feature_count;  // in how many tensors the features come, side by side,
    const int32_t* feature_widths;
};

// Positions and what they are encoded to.
struct EncodedTable {
    const void* points;  // rows x 3
    void* encoded;       // rows x (3 + 6 * octaves)
    void* grad_points;   // rows x 3
    int64_t rows;
    int32_t octaves;
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

// Bases of a table of Gaussians, rows x bases x width, contiguous.
struct BasisTable {
    const void* bases;
    void* grad;  // same shape; null: not wanted
    int64_t rows;
    int32_t count, width;  // bases of a row, numbers of a base
    int32_t half;          // the bases are float16, weights and sums float
    // Of each row, how far it goes from the first weights to the second ones, which then lie behind
    // them; null: there are no second ones.
    const void* share;
};

// Columns of a table of Gaussians, rows x widths[i] each, contiguous, that together have the numbers
// of a base; what is added to `from` goes to `to`.
struct AddedColumns {
    const void* const* from;
    void* const* to;
    const int32_t* widths;
    int32_t count;
};

// Points, how they move at rest, how much they follow each bone, and their own turns: rows x 3, 3,
// bones and 4, contiguous.
struct SkinTable {
    const void *points, *shifts, *weights, *quats;
    int64_t rows;
    int32_t bones;
};

// A table of Gaussians: its rows, the bands of SH that are drawn, and those stored beside the first.
struct TableShape {
    int64_t rows;
    int32_t bands, rest;
};

// Its raw columns, or their gradients: rows x 4, 3, 1, 3 and 3 rest.
struct RawColumns {
    void *quats, *log_scales, *opacity_logits, *sh_dc, *sh_rest;
};

// What is drawn of it, or the gradients of that: rows x 4, 3, 1 and 3 bands.
struct DrawnColumns {
    void *quats, *scales, *opacities, *sh;
};

// A column of `numbers`, what is added to it within +- `limit` (0: none), and where the sum goes.
struct MovedColumn {
    const void *from, *offset;
    void* to;
    int64_t numbers;
    double limit;
};

// Points, and quaternions of so many copies of each: rows x 3 and rows x copies x 4, contiguous. The
// gradients have the same shapes; null: not wanted.
struct TurnedTable {
    const void *points, *quats;
    void *grad_points, *grad_quats;
    int64_t rows;
    int32_t copies;
};

// Rows of `width` numbers, what is taken from each, or null, and where what is found of them goes.
struct UnitTable {
    const void *from, *origin;
    void* to;
    int64_t rows;
    int32_t width;
};

}  // namespace fused_fields
