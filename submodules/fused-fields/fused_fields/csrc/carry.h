// Gaussians that follow a rigid motion as far as a weight of their own says, and the gradients: a lane
// per Gaussian. Fixed chunks sum the gradients of the motion, added up in order.
#pragma once
#include "activate.h"
#include "buffer.h"
#include "turned_copies.h"

namespace {

using fused_fields::CarriedTable;

constexpr int kCarry = 16;  // numbers of a motion: a 3 x 4 matrix, then a quaternion, less identities
constexpr int64_t kCarryRows = 1024;  // of a chunk

template <class T>
struct Quat {
    typename Triple<T>::V w;
    Triple<T> axis;
};

// Hamilton product.
template <class T>
SIMD_FN Quat<T> operator*(const Quat<T>& a, const Quat<T>& b) {
    return {a.w * b.w - dot(a.axis, b.axis),
            a.w * b.axis + b.w * a.axis + cross(a.axis, b.axis)};
}
template <class T>
SIMD_FN Quat<T> conjugate(const Quat<T>& a) {
    return {a.w, T(-1) * a.axis};
}

template <class T>
class CarryWork final : public StagedWork {
  public:
    // `upstream`: of what was carried; null: carry.
    CarryWork(const CarriedTable& table, const CarriedTable* upstream, const CarriedTable& to,
              T* grad_motion)
        : table_(table), upstream_(upstream), to_(to), grad_motion_(grad_motion),
          chunks_((table.rows + kCarryRows - 1) / kCarryRows),
          parts_(upstream ? chunks_ * kCarry : 0) {
        const T* motion = static_cast<const T*>(table.motion);
        for (int r = 0; r < 3; ++r) {
            for (int c = 0; c < 4; ++c) matrix_[r][c] = V{} + motion[r * 4 + c];
        }
        motion += 12;
        turn_ = {V{} + motion[0], {V{} + motion[1], V{} + motion[2], V{} + motion[3]}};
    }

    bool ok() const { return !upstream_ || parts_.get(); }

    int64_t tasks(int64_t stage) const override { return stage ? 1 : chunks_; }

    void run(int64_t stage, int64_t task) override { stage ? add_up() : one_chunk(task); }

  private:
    static constexpr int W = kLanes<T>;
    using V = Vec<T, W>;

    struct Row {
        Triple<T> mean;
        Quat<T> quat;
    };
    static Row read(const CarriedTable& table, int64_t row, int count) {
        V mean[3], quat[kQuat];
        gather_rows<T, 3>(static_cast<const T*>(table.means) + row * 3, 3, count, mean);
        gather_rows<T, kQuat>(static_cast<const T*>(table.quats) + row * kQuat, kQuat, count, quat);
        return {{mean[0], mean[1], mean[2]}, {quat[0], {quat[1], quat[2], quat[3]}}};
    }
    void write(const Row& what, int64_t row, int count) const {
        const V mean[3] = {what.mean.x, what.mean.y, what.mean.z};
        const V quat[kQuat] = {what.quat.w, what.quat.axis.x, what.quat.axis.y, what.quat.axis.z};
        scatter_rows<T, 3>(mean, static_cast<T*>(to_.means) + row * 3, 3, count);
        scatter_rows<T, kQuat>(quat, static_cast<T*>(to_.quats) + row * kQuat, kQuat, count);
    }

    void one_chunk(int64_t chunk) {
        V sums[kCarry] = {};
        const int64_t end = min_of((chunk + 1) * kCarryRows, table_.rows);
        for (int64_t row = chunk * kCarryRows; row < end; row += W) {
            const int count = static_cast<int>(min_of<int64_t>(W, end - row));
            const V logit = load_some<T>(static_cast<const T*>(table_.logits) + row, count);
            const Row at = read(table_, row, count);
            upstream_ ? backward(row, count, at, sigmoid<T>(logit), sums)
                      : forward(row, count, at, sigmoid<T>(logit));
        }
        for (int k = 0; upstream_ && k < kCarry; ++k) {
            parts_.get()[chunk * kCarry + k] = lane_sum<T>(sums[k]);
        }
    }

    // How the whole motion would move a row.
    Row way(const Row& at) const {
        const auto along = [&](const V* row) {
            return row[0] * at.mean.x + row[1] * at.mean.y + row[2] * at.mean.z + row[3];
        };
        return {{along(matrix_[0]), along(matrix_[1]), along(matrix_[2])}, turn_ * at.quat};
    }

    static Row added(const Row& a, V weight, const Row& b) {
        return {a.mean + weight * b.mean,
                {a.quat.w + weight * b.quat.w, a.quat.axis + weight * b.quat.axis}};
    }

    void forward(int64_t row, int count, const Row& at, V weight) const {
        write(added(at, weight, way(at)), row, count);
    }

    void backward(int64_t row, int count, const Row& at, V weight, V* sums) const {
        const Row pull = read(*upstream_, row, count), moved = way(at);
        const V of_weight = dot(pull.mean, moved.mean) + pull.quat.w * moved.quat.w +
                            dot(pull.quat.axis, moved.quat.axis);
        store_some<T>(static_cast<T*>(to_.logits) + row, of_weight * weight * (1 - weight), count);
        const auto across = [&](int c) {
            return matrix_[0][c] * pull.mean.x + matrix_[1][c] * pull.mean.y +
                   matrix_[2][c] * pull.mean.z;
        };
        const Row back = {{across(0), across(1), across(2)}, conjugate(turn_) * pull.quat};
        write(added(pull, weight, back), row, count);
        for (int i = count; i < W; ++i) weight[i] = 0;  // those lanes repeat the last row
        const Triple<T> push = weight * pull.mean;
        const V pushes[3] = {push.x, push.y, push.z}, mean[3] = {at.mean.x, at.mean.y, at.mean.z};
        for (int r = 0; r < 3; ++r) {
            for (int c = 0; c < 3; ++c) sums[r * 4 + c] += pushes[r] * mean[c];
            sums[r * 4 + 3] += pushes[r];
        }
        const Quat<T> of_turn = pull.quat * conjugate(at.quat);
        sums[12] += weight * of_turn.w;
        sums[13] += weight * of_turn.axis.x;
        sums[14] += weight * of_turn.axis.y;
        sums[15] += weight * of_turn.axis.z;
    }

    void add_up() {
        for (int k = 0; k < kCarry; ++k) {
            T sum = 0;
            for (int64_t chunk = 0; chunk < chunks_; ++chunk) sum += parts_.get()[chunk * kCarry + k];
            grad_motion_[k] = sum;
        }
    }

    const CarriedTable table_;
    const CarriedTable* const upstream_;
    const CarriedTable to_;
    T* const grad_motion_;
    const int64_t chunks_;
    const Buffer<T> parts_;
    V matrix_[3][4];
    Quat<T> turn_;
};

template <class T>
int carry_forward(const CarriedTable* table, const CarriedTable* to, int threads) {
    CarryWork<T> work(*table, nullptr, *to, nullptr);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

template <class T>
int carry_backward(const CarriedTable* table, const CarriedTable* upstream, const CarriedTable* to,
                   T* grad_motion, int threads) {
    CarryWork<T> work(*table, upstream, *to, grad_motion);
    if (!work.ok()) return 1;
    fused_fields::run_stages(work, 2, threads);
    return 0;
}

}  // namespace
