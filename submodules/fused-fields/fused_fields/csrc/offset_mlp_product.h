// Products of small matrices that are in cache, on which every pass of offset_mlp.h runs.
//
// A block of kBlockRows x kBlockVectors vectors of the result stays in registers while the steps
// of the sum go by: per step one broadcast per row and one load per vector feed all of them.
#pragma once
#include "exponential.h"
#include "partial.h"

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

// What a matrix is in bfloat16, for the forms of offset_mlp_bf16.h that multiply pairs of steps:
// once for sums along its rows, once for sums along its columns.
typedef int32_t Pair;  // two steps of a sum, the earlier one in the lower half
struct Rounded {
    uint16_t* in_rows = nullptr;  // "rows x columns": pairs are neighbours in a row
    int64_t row = 0;              // from one row to the next
    Pair* in_cols = nullptr;      // "rows / 2 x columns": pairs are neighbours in a column
    int64_t pair_row = 0;         // 0: `in_cols` is not wanted
};

template <class T>
struct Matrix {
    T* values;
    int64_t row;
    Rounded rounded = {};

    Matrix from(int64_t col) const {
        Rounded later = rounded;
        if (later.in_rows) later.in_rows += col;
        if (later.in_cols) later.in_cols += col;
        return {values + col, row, later};
    }
    template <class Other>
    operator Matrix<Other>() const {
        return {values, row, rounded};
    }
};

// Memory that will be needed next, asked for bit by bit, so that nothing waits for it.
struct Ahead {
    const char* at = nullptr;
    const char* end = nullptr;

    void ask() {
        for (int line = 0; line < 8 && at < end; ++line, at += 64) __builtin_prefetch(at);
    }
};

// How the rows of a product's left operand lie in a matrix.
enum class Lies { kInRows, kInCols };

// c[row][col] = finish(start[row][col] + sum over steps of a[row][step] * b[step][col]).
// `b` and `start`, and `c` for a gradient, are read in whole vectors: up to kLanes<T> - 1 numbers
// after their last column. Only the columns asked for are written.
template <class T>
struct Product {
    int64_t rows, cols, steps;
    Matrix<const T> a;
    Lies a_lies;
    Matrix<const T> b;
    const T* start;  // null: zeros
    int64_t start_row;
    Matrix<T> c;
    Finish finish;
    Matrix<const T> b_by_col = {};  // `b` once more, its columns in rows, if at hand
    int bf16 = 0;                   // a Bf16Form of offset_mlp_bf16.h, or 0: in full precision
    T* scratch = nullptr;           // for operands in bfloat16
    Ahead* ahead = nullptr;
    // Products of pairs that finish a gradient add the sums of its columns to these.
    T* col_sums = nullptr;

    int64_t a_row() const { return a_lies == Lies::kInRows ? a.row : 1; }
    int64_t a_step() const { return a_lies == Lies::kInRows ? 1 : a.row; }
};

constexpr bool reads_output(Finish finish) {
    return finish == Finish::kMask || finish == Finish::kSlope;
}

// `output`: what `c` holds, where finishing reads it.
template <class T, Finish kFinish>
SIMD_FN Vec<T, kLanes<T>> finished(Vec<T, kLanes<T>> sum, Vec<T, kLanes<T>> output) {
    using V = Vec<T, kLanes<T>>;
    if constexpr (kFinish == Finish::kRelu) return sum < V{} ? V{} : sum;
    if constexpr (kFinish == Finish::kMask) return output <= V{} ? V{} : sum;
    if constexpr (kFinish == Finish::kSigmoid) return sigmoid<T>(sum);
    if constexpr (kFinish == Finish::kSlope) return sum * output * (1 - output);
    return sum;
}

// Stores the sums of a block of `rows` and `cols` that begins at `row` and `col`.
template <class T, Finish kFinish>
void finish_block(const Product<T>& product, int64_t row, int64_t col, int64_t rows, int64_t cols,
                  const T* sums, int64_t stride) {
    constexpr int W = kLanes<T>;
    const Product<T> m = product;
    const int64_t last_row = min_of(row + rows, m.rows), last_col = min_of(col + cols, m.cols);
    for (; row < last_row; ++row, sums += stride) {
        const T* start = m.start ? m.start + row * m.start_row : nullptr;
        T* c = m.c.values + row * m.c.row;
        for (int64_t at = col; at < last_col; at += W) {
            Vec<T, W> sum = load<T, W>(sums + at - col), output = {};
            if (start) sum += load<T, W>(start + at);
            if (reads_output(kFinish)) output = load<T, W>(c + at);
            store_some<T>(c + at, finished<T, kFinish>(sum, output), last_col - at);
        }
    }
}

template <class T>
auto finisher(Finish kind) {
    switch (kind) {
        case Finish::kRelu: return &finish_block<T, Finish::kRelu>;
        case Finish::kMask: return &finish_block<T, Finish::kMask>;
        case Finish::kSigmoid: return &finish_block<T, Finish::kSigmoid>;
        case Finish::kSlope: return &finish_block<T, Finish::kSlope>;
        default: return &finish_block<T, Finish::kPlain>;
    }
}

// The sums of a block, in rows of kBlockVectors vectors. Not inlined, and nothing else is done here:
// a compiler then keeps all of them in registers.
template <class T, int Rows, int Vectors>
__attribute__((noinline)) void sum_block(const T* a, int64_t a_row, int64_t a_step, const T* b,
                                         int64_t b_step, int64_t steps, T* to) {
    constexpr int W = kLanes<T>;
    Vec<T, W> sums[Rows][Vectors] = {};
    for (int64_t step = 0; step < steps; ++step, a += a_step, b += b_step) {
        Vec<T, W> right[Vectors];
        for (int v = 0; v < Vectors; ++v) right[v] = load<T, W>(b + v * W);
        for (int r = 0; r < Rows; ++r) {
            const T left = a[r * a_row];
            for (int v = 0; v < Vectors; ++v) sums[r][v] += left * right[v];
        }
    }
    SIMD_UNROLL
    for (int r = 0; r < Rows; ++r) {
        SIMD_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            store<T, W>(to + (r * kBlockVectors + v) * W, sums[r][v]);
        }
    }
}

template <class T, int Rows, int Vectors>
void sum_rows_left(const Product<T>& m, int64_t rows, const T* a, const T* b, T* to) {
    if constexpr (Rows > 0) {
        if (rows == Rows) {
            return sum_block<T, Rows, Vectors>(a, m.a_row(), m.a_step(), b, m.b.row, m.steps,
                                                   to);
        }
        sum_rows_left<T, Rows - 1, Vectors>(m, rows, a, b, to);
    }
}

// `Cols` columns from `col` on, of which there are so few that lanes had better go along the sum.
template <class T, int Cols>
void multiply_few(const Product<T>& product, int64_t col) {
    constexpr int W = kLanes<T>, Rows = 4;
    const Product<T> m = product;
    const int64_t whole = m.steps / W * W, left = m.steps - whole;
    const T* b = m.b_by_col.values + col * m.b_by_col.row;
    for (int64_t row = 0; row < m.rows; row += Rows) {
        const T* a[Rows];
        for (int r = 0; r < Rows; ++r) a[r] = m.a.values + min_of(row + r, m.rows - 1) * m.a.row;
        Vec<T, W> lanes[Rows][Cols] = {};
        const auto add = [&](int64_t step, auto load_lanes) {
            Vec<T, W> right[Cols];
            for (int c = 0; c < Cols; ++c) right[c] = load_lanes(b + c * m.b_by_col.row + step);
            for (int r = 0; r < Rows; ++r) {
                const Vec<T, W> of_a = load_lanes(a[r] + step);
                for (int c = 0; c < Cols; ++c) lanes[r][c] += of_a * right[c];
            }
        };
        for (int64_t step = 0; step < whole; step += W) {
            add(step, [](const T* from) { return load<T, W>(from); });
        }
        if (left) add(whole, [left](const T* from) { return load_some<T>(from, left); });
        const int64_t rows = min_of<int64_t>(Rows, m.rows - row);
        for (int r = 0; r < rows; ++r) {
            T* c = m.c.values + (row + r) * m.c.row + col;
            SIMD_UNROLL
            for (int k = 0; k < Cols; ++k) {
                const T start = m.start ? m.start[(row + r) * m.start_row + col + k] : T{0};
                c[k] = start + lane_sum<T>(lanes[r][k]);
            }
        }
    }
}

// The columns from `col` on, in panels of `Vectors` vectors, then of ever fewer.
template <class T, int Vectors = kBlockVectors>
void multiply_exactly(const Product<T>& m, int64_t col = 0) {
    constexpr int64_t kPanel = Vectors * kLanes<T>, kStride = kBlockVectors * kLanes<T>;
    alignas(kVectorBytes) T sums[kBlockRows * kStride];
    const auto store = finisher<T>(m.finish);
    if constexpr (Vectors == 1) {
        if (m.b_by_col.values && m.a_lies == Lies::kInRows && m.finish == Finish::kPlain) {
            const int64_t left = m.cols - col;
            if (left == 1) return multiply_few<T, 1>(m, col);
            if (left == 3) return multiply_few<T, 3>(m, col);
            if (left == 4) return multiply_few<T, 4>(m, col);
        }
    }
    for (; m.cols - col > kPanel - kLanes<T>; col += kPanel) {
        for (int64_t row = 0; row < m.rows; row += kBlockRows) {
            const int64_t rows = min_of<int64_t>(kBlockRows, m.rows - row);
            sum_rows_left<T, kBlockRows, Vectors>(m, rows, m.a.values + row * m.a_row(),
                                                  m.b.values + col, sums);
            store(m, row, col, rows, kPanel, sums, kStride);
        }
    }
    if constexpr (Vectors > 1) multiply_exactly<T, Vectors / 2>(m, col);
}

}  // namespace
