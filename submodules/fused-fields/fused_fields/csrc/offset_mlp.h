// A multi-layer perceptron with several heads, on tiles of points whose activations stay in cache.
//
// Layer l of the body turns activations l into activations l + 1, ReLU or sigmoid included; the heads
// read equal parts of the last activations. Activations 0 are the features; they stand once more in
// front of the activations that layer `again` reads.
#pragma once
#include <cstring>

#include "offset_mlp_plan.h"
#include "parallel.h"

namespace {

using fused_fields::StagedWork;

constexpr int64_t kMostChunks = 32;

// Points are cut into chunks by their number alone, so that sums do not depend on threads.
inline static int64_t chunk_points(int64_t n) {
    return round_up(n / kMostChunks + 1, kTilePoints);
}

// Hands out the chunks of a stage to as many workers as there are threads, each with memory for a
// tile of its own.
template <class T>
class MlpWork : public StagedWork {
  public:
    MlpWork(MlpPlan<T>& plan, const T* const* features, int64_t n, int threads)
        : plan_(plan), features_(features), n_(n), chunk_points_(chunk_points(n)),
          chunks_((n + chunk_points_ - 1) / chunk_points_),
          workers_(min_of<int64_t>(threads, chunks_)),
          tiles_(workers_ * plan.tile_size) {}

    bool ok() const { return tiles_.ok(); }

  protected:
    // Calls chunk(tile, number, begin, end) for the chunks a worker gets, ranges of points.
    template <class Chunk>
    void work(int64_t worker, Chunk chunk) {
        Tile<T> tile = {tiles_.get() + worker * plan_.tile_size};
        plan_.begin(tile);
        for (;;) {
            const int64_t number = __atomic_fetch_add(&next_chunk_, 1, __ATOMIC_RELAXED);
            if (number >= chunks_) return;
            chunk(tile, number, number * chunk_points_,
                  min_of(n_, (number + 1) * chunk_points_));
        }
    }

    // `width` numbers of each of `count` points, point(0), point(1), ..., to rows that lie `stride`
    // apart.
    template <class Point>
    static void gather(const T* from, Point point, int64_t count, int64_t width, T* to,
                       int64_t stride) {
        for (int64_t i = 0; i < count; ++i) {
            copy_some(to + i * stride, from + point(i) * width, width);
        }
    }

    template <class Point>
    void gather_features(Point point, int64_t count, const Matrix<T>& all) const {
        T* to = all.values;
        for (int k = 0; k < plan_.mlp.feature_count; to += plan_.mlp.feature_widths[k++]) {
            gather(features_[k], point, count, plan_.mlp.feature_widths[k], to, all.row);
        }
    }

    // Features of points in a row from `first` on, from the only tensor, where they are.
    Matrix<const T> features_from(int64_t first, const Tile<T>& tile) const {
        const int64_t width = plan_.layer(0).inputs;
        return {features_[0] + first * width, width, plan_.input(0, tile).rounded};
    }

    // The next tile will read features from `next` on.
    void look_ahead(int64_t next, Tile<T>& tile) const {
        if (plan_.mlp.feature_count > 1) return;
        const int64_t width = plan_.layer(0).inputs, end = min_of(next + kTilePoints, n_);
        tile.ahead = {reinterpret_cast<const char*>(features_[0] + next * width),
                      reinterpret_cast<const char*>(features_[0] + end * width)};
    }

    // All layers of the body: activations 1, 2, ... from the features of `count` points.
    void run_body(Tile<T>& tile, const Matrix<const T>& features, int64_t count) const {
        const int64_t width = plan_.layer(0).inputs;
        plan_.round(features, count, width);
        if (plan_.mlp.again) {
            const Matrix<T> to = plan_.input(plan_.mlp.again, tile);
            plan_.round({features.values, features.row, to.rounded}, count, width);
            for (int64_t i = 0; i < count && !plan_.pairs; ++i) {
                std::memcpy(to.values + i * to.row, features.values + i * features.row,
                            width * sizeof(T));
            }
        }
        for (int l = 0; l < plan_.mlp.body; ++l) {
            Matrix<const T> from = features;
            if (l) from = plan_.input(l, tile);
            plan_.apply(l, tile, from, count, plan_.told(l, tile));
        }
    }

    MlpPlan<T>& plan_;
    const T* const* features_;
    const int64_t n_, chunk_points_, chunks_, workers_;

  private:
    AlignedBuffer<T> tiles_;
    int64_t next_chunk_ = 0;
};

template <class T>
class MlpForward final : public MlpWork<T> {
  public:
    MlpForward(MlpPlan<T>& plan, const T* const* features, int64_t n, T* const* outputs,
               int threads)
        : MlpWork<T>(plan, features, n, threads), outputs_(outputs) {}

    int64_t tasks(int64_t stage) const override {
        return stage == 0 ? this->plan_.total : this->workers_;
    }

    void run(int64_t stage, int64_t task) override {
        if (stage == 0) return this->plan_.pack(static_cast<int>(task));
        const MlpPlan<T>& plan = this->plan_;
        this->work(task, [&](Tile<T>& tile, int64_t, int64_t begin, int64_t end) {
            for (int64_t first = begin; first < end; first += kTilePoints) {
                const int64_t count = min_of(kTilePoints, end - first);
                Matrix<const T> features = plan.input(0, tile);
                if (plan.mlp.feature_count == 1) {
                    features = this->features_from(first, tile);
                } else {
                    this->gather_features([first](int64_t i) { return first + i; }, count,
                                          plan.input(0, tile));
                }
                this->look_ahead(first + count, tile);
                this->run_body(tile, features, count);
                for (int h = 0; h < plan.mlp.heads; ++h) run_head(h, tile, first, count);
            }
        });
    }

  private:
    void run_head(int head, Tile<T>& tile, int64_t first, int64_t count) const {
        const MlpPlan<T>& plan = this->plan_;
        const int index = plan.mlp.body + head;
        const int64_t size = plan.layer(index).outputs;
        T* all = plan.told(index, tile).values;
        T* to = plan.mlp.part_count ? all : outputs_[head] + first * size;
        plan.apply(index, tile, plan.input(index, tile), count, {to, size});
        if (plan.mlp.part_count) hand_out(all, size, first, count);
    }

    // The parts of the outputs of a tile, "points x outputs", to their tensors.
    void hand_out(const T* all, int64_t size, int64_t first, int64_t count) const {
        for (int k = 0; k < this->plan_.mlp.part_count; ++k) {
            const int64_t width = this->plan_.mlp.parts[k];
            T* to = outputs_[k] + first * width;
            for (int64_t i = 0; i < count; ++i) {
                copy_some(to + i * width, all + i * size, width);
            }
            all += width;
        }
    }

    T* const* outputs_;
};

template <class T>
int mlp_forward(const OffsetMlp* mlp, const T* const* features, int64_t n, T* const* outputs,
                int threads) {
    MlpPlan<T> plan(*mlp, false);
    if (!plan.ok()) return 1;
    MlpForward<T> work(plan, features, n, outputs, threads);
    if (!work.ok()) return 1;
    fused_fields::run_stages(work, 2, threads);
    return 0;
}

}  // namespace
