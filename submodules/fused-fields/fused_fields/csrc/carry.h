// Rows carried along by one rigid motion, each as far as its weight says, and the gradients: a lane
// per row.
//
// With M = (R | t) and turn q of the motion, a row (p, r) of weight w comes to
// p + w (R p + t - p) and r + w (q r - r), where q r is the Hamilton product.
#pragma once
#include "activate.h"
#include "buffer.h"

namespace {

using fused_fields::CarriedRows;

constexpr int kPlaces = 3, kMotionSize = 16;  // numbers of a place; of M by rows, then q

// The product with a quaternion on the left, by rows; transposed it is that with its conjugate.
template <class T>
struct LeftProduct {
    T row[kQuat][kQuat];

    explicit LeftProduct(const T* q)
        : row{{q[0], -q[1], -q[2], -q[3]},
              {q[1], q[0], -q[3], q[2]},
              {q[2], q[3], q[0], -q[1]},
              {q[3], -q[2], q[1], q[0]}} {}
};

template <class T>
class CarryWork : public StagedWork {
  public:
    explicit CarryWork(const CarriedRows& table)
        : table_(table), motion_(static_cast<const T*>(table.motion)), turn_(motion_ + kTurnAt) {}

    int64_t tasks(int64_t) const override { return (table_.rows + kTableRows - 1) / kTableRows; }

    void run(int64_t, int64_t task) override {
        const int64_t end = min_of((task + 1) * kTableRows, table_.rows);
        begin(task);
        for (int64_t row = task * kTableRows; row < end; row += W) {
            some_rows(row, static_cast<int>(min_of<int64_t>(W, end - row)));
        }
    }

  protected:
    static constexpr int W = kLanes<T>, kTurnAt = 12;
    using V = Vec<T, W>;

    // Rows, their weights, and by how far the whole motion would carry them.
    struct Rows {
        V place[kPlaces], quat[kQuat], weight, way[kPlaces], turn[kQuat];
    };

    virtual void begin(int64_t) {}
    virtual void some_rows(int64_t row, int count) = 0;

    SIMD_MEMBER void read(int64_t row, int count, Rows& rows) const {
        gather_rows<T, kPlaces>(static_cast<const T*>(table_.means) + row * kPlaces, kPlaces, count,
                                rows.place);
        gather_rows<T, kQuat>(static_cast<const T*>(table_.quats) + row * kQuat, kQuat, count,
                              rows.quat);
        rows.weight = sigmoid<T>(load_some<T>(static_cast<const T*>(table_.logits) + row, count));
        for (int r = 0; r < kPlaces; ++r) {
            const T* m = motion_ + 4 * r;
            rows.way[r] = m[0] * rows.place[0] + m[1] * rows.place[1] + m[2] * rows.place[2] +
                          m[3] - rows.place[r];
        }
        for (int r = 0; r < kQuat; ++r) {
            const T* m = turn_.row[r];
            rows.turn[r] = m[0] * rows.quat[0] + m[1] * rows.quat[1] + m[2] * rows.quat[2] +
                           m[3] * rows.quat[3] - rows.quat[r];
        }
    }

    ~CarryWork() = default;

    const CarriedRows table_;
    const T* const motion_;
    const LeftProduct<T> turn_;
};

template <class T>
class CarryForward final : public CarryWork<T> {
  public:
    CarryForward(const CarriedRows& table, T* means, T* quats)
        : CarryWork<T>(table), means_(means), quats_(quats) {}

  private:
    void some_rows(int64_t row, int count) override {
        typename CarryWork<T>::Rows rows;
        this->read(row, count, rows);
        for (int r = 0; r < kPlaces; ++r) rows.place[r] += rows.weight * rows.way[r];
        for (int r = 0; r < kQuat; ++r) rows.quat[r] += rows.weight * rows.turn[r];
        scatter_rows<T, kPlaces>(rows.place, means_ + row * kPlaces, kPlaces, count);
        scatter_rows<T, kQuat>(rows.quat, quats_ + row * kQuat, kQuat, count);
    }

    T *means_, *quats_;
};

// Where gradients go.
template <class T>
struct CarryGrads {
    T *means, *quats, *logits, *motion;
};

template <class T>
class CarryBackward final : public CarryWork<T> {
  public:
    CarryBackward(const CarriedRows& table, const T* of_means, const T* of_quats,
                  const CarryGrads<T>& grads)
        : CarryWork<T>(table), of_means_(of_means), of_quats_(of_quats), grads_(grads),
          parts_(this->tasks(0) * kMotionSize * W) {}

    bool ok() const { return parts_.get(); }

    // Adds up the tasks' shares of the motion's gradient, in order.
    void add_up() const {
        double sums[kMotionSize] = {};
        for (int64_t task = 0; task < this->tasks(0); ++task) {
            const T* part = parts_.get() + task * kMotionSize * W;
            for (int k = 0; k < kMotionSize; ++k) sums[k] += lane_sum<T>(load<T>(part + k * W));
        }
        for (int k = 0; k < kMotionSize; ++k) grads_.motion[k] = static_cast<T>(sums[k]);
    }

  private:
    using CarryWork<T>::W;
    using typename CarryWork<T>::V;

    void begin(int64_t task) override {
        T* part = parts_.get() + task * kMotionSize * W;
        for (int k = 0; k < kMotionSize * W; ++k) part[k] = 0;
    }

    void some_rows(int64_t row, int count) override {
        typename CarryWork<T>::Rows rows;
        this->read(row, count, rows);
        V of_place[kPlaces], of_quat[kQuat];
        gather_rows<T, kPlaces>(of_means_ + row * kPlaces, kPlaces, count, of_place);
        gather_rows<T, kQuat>(of_quats_ + row * kQuat, kQuat, count, of_quat);
        V to_weight = {}, to_place[kPlaces], to_quat[kQuat], pull[kQuat];
        for (int r = 0; r < kPlaces; ++r) to_weight += of_place[r] * rows.way[r];
        for (int r = 0; r < kQuat; ++r) to_weight += of_quat[r] * rows.turn[r];
        const V to_logit = to_weight * rows.weight * (1 - rows.weight);
        store_some<T>(grads_.logits + row, to_logit, count);
        // Lanes behind the last row repeat it, and count for nothing.
        for (int i = count; i < W; ++i) rows.weight[i] = 0;
        for (int r = 0; r < kQuat; ++r) pull[r] = rows.weight * of_quat[r];
        for (int c = 0; c < kQuat; ++c) {
            to_quat[c] = of_quat[c] - pull[c];
            for (int r = 0; r < kQuat; ++r) to_quat[c] += this->turn_.row[r][c] * pull[r];
        }
        scatter_rows<T, kQuat>(to_quat, grads_.quats + row * kQuat, kQuat, count);
        T* part = parts_.get() + row / kTableRows * kMotionSize * W;
        const V* q = rows.quat;
        add(part + (CarryWork<T>::kTurnAt + 0) * W,
            pull[0] * q[0] + pull[1] * q[1] + pull[2] * q[2] + pull[3] * q[3]);
        add(part + (CarryWork<T>::kTurnAt + 1) * W,
            pull[1] * q[0] - pull[0] * q[1] + pull[3] * q[2] - pull[2] * q[3]);
        add(part + (CarryWork<T>::kTurnAt + 2) * W,
            pull[2] * q[0] - pull[3] * q[1] - pull[0] * q[2] + pull[1] * q[3]);
        add(part + (CarryWork<T>::kTurnAt + 3) * W,
            pull[3] * q[0] + pull[2] * q[1] - pull[1] * q[2] - pull[0] * q[3]);
        for (int r = 0; r < kPlaces; ++r) pull[r] = rows.weight * of_place[r];
        for (int c = 0; c < kPlaces; ++c) {
            to_place[c] = of_place[c] - pull[c];
            for (int r = 0; r < kPlaces; ++r) to_place[c] += this->motion_[4 * r + c] * pull[r];
        }
        scatter_rows<T, kPlaces>(to_place, grads_.means + row * kPlaces, kPlaces, count);
        for (int r = 0; r < kPlaces; ++r) {
            for (int c = 0; c < kPlaces; ++c) add(part + (4 * r + c) * W, pull[r] * rows.place[c]);
            add(part + (4 * r + 3) * W, pull[r]);
        }
    }

    SIMD_MEMBER static void add(T* to, V what) { store<T>(to, load<T>(to) + what); }

    const T *of_means_, *of_quats_;
    const CarryGrads<T> grads_;
    const Buffer<T> parts_;
};

template <class T>
int carry_forward(const CarriedRows* table, T* means, T* quats, int threads) {
    CarryForward<T> work(*table, means, quats);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

template <class T>
int carry_backward(const CarriedRows* table, const T* of_means, const T* of_quats, T* means, T* quats,
                   T* logits, T* motion, int threads) {
    CarryBackward<T> work(*table, of_means, of_quats, {means, quats, logits, motion});
    if (!work.ok()) return 1;
    fused_fields::run_stages(work, 1, threads);
    work.add_up();
    return 0;
}

}  // namespace
