// Sums of every row's bases, each number times a weight that all rows share, and their gradients.
//
// A base of `width` numbers is read in whole vectors, which reach into the base behind it; lanes
// beyond its own width come out as anything and are overwritten by what is computed next, or
// dropped. Fixed chunks of rows sum their own gradients of the weights, added up in order. Rows may
// share out between two sets of weights; each base is read once for both.
#pragma once
#if defined(__AVX512F__)
#include <immintrin.h>
#endif
#include <cstring>

#include "api.h"
#include "buffer.h"
#include "parallel.h"
#include "partial.h"

namespace {

using namespace simd;
using fused_fields::AddedColumns;
using fused_fields::BasisTable;
using fused_fields::StagedWork;

constexpr int64_t kBasisRows = 512;  // of a chunk

// `load_some` from float16, by the processor's instruction or by hand: its bits, moved into a
// float's, count 2^112 times too little.
template <class T>
SIMD_FN Vec<T, kLanes<T>> load_some(const uint16_t* from, int64_t left) {
    constexpr int W = kLanes<T>;
    using Words = Vec<uint32_t, W>;
    Vec<uint16_t, W> halves = {};
    if (left >= W) {
        std::memcpy(&halves, from, sizeof halves);
    } else {
        std::memcpy(&halves, from, left * sizeof(uint16_t));
    }
#if defined(__AVX512F__)
    if constexpr (W == 16) return (Vec<T, W>)_mm512_cvtph_ps((__m256i)halves);
#endif
    const Words bits = __builtin_convertvector(halves, Words);
    const Words magnitude = (bits & 0x7fff) << 13;
    Vec<float, W> value;
    std::memcpy(&value, &magnitude, sizeof value);
    value *= 0x1p112f;
    Words found;
    std::memcpy(&found, &value, sizeof found);
    found |= (bits & 0x8000) << 16;
    std::memcpy(&value, &found, sizeof value);
    return __builtin_convertvector(value, Vec<T, W>);
}

template <class T>
class MixWork : public StagedWork {
  public:
    MixWork(const BasisTable& table, const T* weights)
        : table_(table), share_(static_cast<const T*>(table.share)),
          count_((share_ ? 2 : 1) * table.count), stride_((table.width + W - 1) / W * W),
          weights_(count_ * stride_), chunks_((table.rows + kBasisRows - 1) / kBasisRows) {
        if (!weights_.get()) return;
        std::memset(weights_.get(), 0, count_ * stride_ * sizeof(T));
        for (int64_t k = 0; k < count_; ++k) {
            std::memcpy(weights_.get() + k * stride_, weights + k * table.width,
                        table.width * sizeof(T));
        }
    }

    bool ok() const { return weights_.get(); }

  protected:
    static constexpr int W = kLanes<T>;
    using V = Vec<T, W>;

    const BasisTable& table_;
    const T* const share_;    // of the second weights in each row, or null
    const int64_t count_;     // of weights, a row's bases once or twice
    const int64_t stride_;    // numbers from one base's padded weights to the next one's
    const Buffer<T> weights_;
    const int64_t chunks_;
};

template <class T, class Stored>
class MixSums : public MixWork<T> {
  public:
    using MixWork<T>::MixWork;

    int64_t tasks(int64_t) const final { return this->chunks_; }

  protected:
    using MixWork<T>::W;
    using V = typename MixWork<T>::V;

    // Of a row from one of its numbers on.
    SIMD_MEMBER V of_row(int64_t row, int64_t col) const {
        const int64_t from = row * this->table_.count * this->table_.width + col;
        const T* weights = this->weights_.get() + col;
        V found[2];
        if (!this->share_) {
            sums<1>(from, weights, found);
            return found[0];
        }
        sums<2>(from, weights, found);
        return found[0] + this->share_[row] * (found[1] - found[0]);
    }

    // Of the bases that begin `from` numbers into the table with every set of weights, in two
    // halves that do not wait for each other.
    template <int Sets>
    SIMD_MEMBER void sums(int64_t from, const T* weights, V* found) const {
        const BasisTable& table = this->table_;
        const int64_t width = table.width, last = table.rows * table.count * width;
        const int64_t apart = table.count * this->stride_;
        const Stored* bases = static_cast<const Stored*>(table.bases) + from;
        V even[Sets] = {}, odd[Sets] = {};
        int64_t k = 0, left = last - from;
        for (; k + 1 < table.count; k += 2, left -= 2 * width) {
            const V first = load_some<T>(bases + k * width, left);
            const V second = load_some<T>(bases + (k + 1) * width, left - width);
            for (int set = 0; set < Sets; ++set) {
                const T* of_set = weights + set * apart + k * this->stride_;
                even[set] += first * load<T, W>(of_set);
                odd[set] += second * load<T, W>(of_set + this->stride_);
            }
        }
        if (k < table.count) {
            const V first = load_some<T>(bases + k * width, left);
            for (int set = 0; set < Sets; ++set) {
                even[set] += first * load<T, W>(weights + set * apart + k * this->stride_);
            }
        }
        for (int set = 0; set < Sets; ++set) found[set] = even[set] + odd[set];
    }
};

template <class T, class Stored>
class MixForward final : public MixSums<T, Stored> {
  public:
    MixForward(const BasisTable& table, const T* weights, T* sums)
        : MixSums<T, Stored>(table, weights), sums_(sums) {}

    void run(int64_t, int64_t chunk) override {
        const int64_t width = this->table_.width, first = chunk * kBasisRows;
        const int64_t end = min_of(first + kBasisRows, this->table_.rows);
        for (int64_t row = first; row < end; ++row) {
            for (int64_t col = 0; col < width; col += W) {
                const int64_t at = row * width + col;
                store_some<T>(sums_ + at, this->of_row(row, col), end * width - at);
            }
        }
    }

  private:
    using MixWork<T>::W;

    T* sums_;
};

// Sums that are added to columns and written to others, an array per column: what the next kernels
// read, without sums that go through the memory.
template <class T, class Stored>
class MixOnto final : public MixSums<T, Stored> {
  public:
    MixOnto(const BasisTable& table, const T* weights, const AddedColumns& columns)
        : MixSums<T, Stored>(table, weights), columns_(columns),
          sums_(this->chunks_ * kKeptRows * this->stride_) {}

    bool ok() const { return MixWork<T>::ok() && sums_.get(); }

    void run(int64_t, int64_t chunk) override {
        const BasisTable& table = this->table_;
        const int64_t width = table.width;
        const int64_t end = min_of((chunk + 1) * kBasisRows, table.rows);
        T* sums = sums_.get() + chunk * kKeptRows * this->stride_;
        for (int64_t first = chunk * kBasisRows; first < end; first += kKeptRows) {
            const int64_t rows = min_of(kKeptRows, end - first);
            for (int64_t row = 0; row < rows; ++row) {
                for (int64_t col = 0; col < width; col += W) {
                    store<T, W>(sums + row * this->stride_ + col, this->of_row(first + row, col));
                }
            }
            add(sums, first, rows);
        }
    }

  private:
    using MixWork<T>::W;

    static constexpr int64_t kKeptRows = 32;  // whose sums wait for what they are added to

    void add(const T* sums, int64_t first, int64_t rows) const {
        for (int32_t i = 0; i < columns_.count; sums += columns_.widths[i++]) {
            const int64_t width = columns_.widths[i];
            const T* from = static_cast<const T*>(columns_.from[i]) + first * width;
            T* to = static_cast<T*>(columns_.to[i]) + first * width;
            if (width == 1) add_column<1>(from, sums, to, rows, width);
            else if (width == 3) add_column<3>(from, sums, to, rows, width);
            else if (width == 4) add_column<4>(from, sums, to, rows, width);
            else add_column<0>(from, sums, to, rows, width);
        }
    }

    // Of a column whose width the compiler knows, or, with 0, does not.
    template <int64_t Width>
    void add_column(const T* from, const T* sums, T* to, int64_t rows, int64_t width) const {
        if (Width) width = Width;
        for (int64_t row = 0; row < rows; ++row, from += width, to += width) {
            for (int64_t k = 0; k < width; ++k) to[k] = from[k] + sums[row * this->stride_ + k];
        }
    }

    const AddedColumns& columns_;
    const Buffer<T> sums_;  // of kKeptRows rows for every chunk
};

template <class T, class Stored>
class MixBackward final : public MixWork<T> {
  public:
    MixBackward(const BasisTable& table, const T* weights, const T* grad, T* grad_weights)
        : MixWork<T>(table, weights), grad_(grad), grad_weights_(grad_weights),
          parts_(this->chunks_ * this->count_ * this->stride_) {}

    bool ok() const { return MixWork<T>::ok() && parts_.get(); }

    int64_t tasks(int64_t stage) const override { return stage ? 1 : this->chunks_; }

    void run(int64_t stage, int64_t task) override { stage ? add_up() : one_chunk(task); }

  private:
    using MixWork<T>::W;
    using V = typename MixWork<T>::V;

    T* part(int64_t chunk) const {
        return parts_.get() + chunk * this->count_ * this->stride_;
    }

    void one_chunk(int64_t chunk) {
        const BasisTable& table = this->table_;
        const int64_t width = table.width, count = table.count, stride = this->stride_;
        const int64_t first = chunk * kBasisRows, end = min_of(first + kBasisRows, table.rows);
        const Stored* bases = static_cast<const Stored*>(table.bases);
        T* found = static_cast<T*>(table.grad);
        T* sums = part(chunk);
        std::memset(sums, 0, this->count_ * stride * sizeof(T));
        for (int64_t row = first; row < end; ++row) {
            for (int64_t k = 0; k < count; ++k) {
                for (int64_t col = 0; col < width; col += W) {
                    const int64_t at = (row * count + k) * width + col;
                    V grad = load_some<T>(grad_ + row * width + col,
                                          (table.rows - row) * width - col);
                    const V base = load_some<T>(bases + at, table.rows * count * width - at);
                    V of_base = {};
                    if (this->share_) {
                        const V other = this->share_[row] * grad;
                        grad -= other;
                        of_base = one_set(sums, count + k, col, base, other);
                    }
                    of_base += one_set(sums, k, col, base, grad);
                    if (found) store_some<T>(found + at, of_base, end * count * width - at);
                }
            }
        }
    }

    // Adds to the sums of base `k` of all weights what a row's base gives them, and returns what
    // its weights give the base.
    SIMD_MEMBER V one_set(T* sums, int64_t k, int64_t col, V base, V grad) const {
        T* sum = sums + k * this->stride_ + col;
        store<T, W>(sum, load<T, W>(sum) + base * grad);
        return grad * load<T, W>(this->weights_.get() + k * this->stride_ + col);
    }

    void add_up() {
        const int64_t width = this->table_.width, stride = this->stride_;
        for (int64_t k = 0; k < this->count_; ++k) {
            for (int64_t col = 0; col < width; ++col) {
                T sum = 0;
                for (int64_t chunk = 0; chunk < this->chunks_; ++chunk) {
                    sum += part(chunk)[k * stride + col];
                }
                grad_weights_[k * width + col] = sum;
            }
        }
    }

    const T* grad_;
    T* grad_weights_;
    const Buffer<T> parts_;
};

template <class Work>
int run_mix(Work&& work, int64_t stages, int threads) {
    if (!work.ok()) return 1;
    fused_fields::run_stages(work, stages, threads);
    return 0;
}

template <class T>
int mix_forward(const BasisTable* table, const T* weights, T* sums, int threads) {
    if (table->half) return run_mix(MixForward<T, uint16_t>(*table, weights, sums), 1, threads);
    return run_mix(MixForward<T, T>(*table, weights, sums), 1, threads);
}

template <class T>
int mix_onto(const BasisTable* table, const T* weights, const AddedColumns* columns, int threads) {
    if (table->half) return run_mix(MixOnto<T, uint16_t>(*table, weights, *columns), 1, threads);
    return run_mix(MixOnto<T, T>(*table, weights, *columns), 1, threads);
}

template <class T>
int mix_backward(const BasisTable* table, const T* weights, const T* grad, T* grad_weights,
                 int threads) {
    if (table->half) {
        return run_mix(MixBackward<T, uint16_t>(*table, weights, grad, grad_weights), 2, threads);
    }
    return run_mix(MixBackward<T, T>(*table, weights, grad, grad_weights), 2, threads);
}

}  // namespace
