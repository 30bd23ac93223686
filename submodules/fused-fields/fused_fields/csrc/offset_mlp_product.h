// Products of small matrices that are in cache, on which every pass of offset_mlp.h runs.
//
// A block of kBlockRows x kBlockVectors vectors of the result stays in registers while the steps
// of the sum go by: per step one broadcast per row and one load per vector feed all of them.
#pragma once
#include "exponential.h"

namespace {

constexpr int kBlockRows = 6;
constexpr int kBlockVectors = kVectorBytes == 64 ? 4 : 2;  // 24 of 32 registers, or 12 of 16

// What becomes of a sum before it is stored over `c`.
enum class Finish {
    kPlain,
    kRelu,  // a NaN stays a NaN
    kMask,  // the gradient of a ReLU whose output `c` holds: 0 where that is not above 0
    kSigmoid,
    kSlope,  // the gradient of a sigmoid whose output `c` holds
};

// c[row][col] = finish(start[row][col] + sum over steps of a[row][step] * b[step][col]).
// `b` and `start`, and `c` for a gradient, are read in whole vectors: up to kLanes<T> - 1 numbers
// after their last column. Only the columns asked for are written.
template <class T>
struct Product {
    int64_t rows, cols, steps;
    const T* a;
    int64_t a_row, a_step;
    const T* b;
    int64_t b_step;
    const T* start;  // null: zeros
    int64_t start_row;
    T* c;
    int64_t c_row;
    Finish finish;
    int bf16 = 0;          // a Bf16Form of offset_mlp_bf16.h, or 0: in full precision
    T* scratch = nullptr;  // for operands in bfloat16
};

template <class T>
SIMD_FN Vec<T, kLanes<T>> finished(Finish finish, Vec<T, kLanes<T>> sum, const T* c) {
    using V = Vec<T, kLanes<T>>;
    if (finish == Finish::kRelu) return sum < V{} ? V{} : sum;
    if (finish == Finish::kMask) return load<T, kLanes<T>>(c) <= V{} ? V{} : sum;
    if (finish == Finish::kSigmoid) return sigmoid<T>(sum);
    if (finish == Finish::kSlope) {
        const V output = load<T, kLanes<T>>(c);
        return sum * output * (1 - output);
    }
    return sum;
}

// Stores a vector of sums that begins at `row` and `col`.
template <class T>
SIMD_FN void finish(const Product<T>& m, int64_t row, int64_t col, Vec<T, kLanes<T>> sum) {
    T* to = m.c + row * m.c_row + col;
    const Vec<T, kLanes<T>> value = finished(m.finish, sum, to);
    if (col + kLanes<T> <= m.cols) return store<T, kLanes<T>>(to, value);
    for (int i = 0; i < m.cols - col; ++i) to[i] = value[i];
}

template <class T, int Rows, int Vectors>
void multiply_block(const Product<T>& product, int64_t row, int64_t col) {
    constexpr int W = kLanes<T>;
    const Product<T> m = product;
    Vec<T, W> sums[Rows][Vectors] = {};
    if (m.start) {
        SIMD_UNROLL
        for (int r = 0; r < Rows; ++r) {
            const T* from = m.start + (row + r) * m.start_row + col;
            SIMD_UNROLL
            for (int v = 0; v < Vectors; ++v) sums[r][v] = load<T, W>(from + v * W);
        }
    }
    const T* a = m.a + row * m.a_row;
    const T* b = m.b + col;
    for (int64_t step = 0; step < m.steps; ++step, a += m.a_step, b += m.b_step) {
        Vec<T, W> right[Vectors];
        for (int v = 0; v < Vectors; ++v) right[v] = load<T, W>(b + v * W);
        for (int r = 0; r < Rows; ++r) {
            const T left = a[r * m.a_row];
            for (int v = 0; v < Vectors; ++v) sums[r][v] += left * right[v];
        }
    }
    SIMD_UNROLL
    for (int r = 0; r < Rows; ++r) {
        SIMD_UNROLL
        for (int v = 0; v < Vectors; ++v) finish(m, row + r, col + v * W, sums[r][v]);
    }
}

template <class T, int Rows, int Vectors>
void multiply_last_rows(const Product<T>& m, int64_t row, int64_t col) {
    if constexpr (Rows > 0) {
        if (m.rows - row == Rows) return multiply_block<T, Rows, Vectors>(m, row, col);
        multiply_last_rows<T, Rows - 1, Vectors>(m, row, col);
    }
}

// The columns from `col` on, in panels of `Vectors` vectors, then of ever fewer.
template <class T, int Vectors = kBlockVectors>
void multiply_exactly(const Product<T>& m, int64_t col = 0) {
    constexpr int64_t kPanel = Vectors * kLanes<T>;
    for (; m.cols - col > kPanel - kLanes<T>; col += kPanel) {
        int64_t row = 0;
        for (; row + kBlockRows <= m.rows; row += kBlockRows) {
            multiply_block<T, kBlockRows, Vectors>(m, row, col);
        }
        multiply_last_rows<T, kBlockRows - 1, Vectors>(m, row, col);
    }
    if constexpr (Vectors > 1) multiply_exactly<T, Vectors / 2>(m, col);
}

}  // namespace
