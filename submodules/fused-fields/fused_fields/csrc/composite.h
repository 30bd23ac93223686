// A picture of bytes as floats, its colours laid over a background.
#pragma once
#include "api.h"
#include "parallel.h"
#include "vectors.h"

namespace {

using namespace simd;
using fused_fields::Picture;
using fused_fields::StagedWork;

constexpr int64_t kPicturePixels = 1 << 14;  // of a task
constexpr int kPictureStrip = 256;           // pixels whose bytes are turned into floats at once
constexpr int kColors = 3;
// Fewer pixels than this take one thread as little time as two.
constexpr int64_t kPictureAlone = 1 << 16;

template <class T>
class CompositeWork final : public StagedWork {
  public:
    explicit CompositeWork(const Picture& picture) : picture_(picture) {}

    int64_t tasks(int64_t) const override {
        return (picture_.pixels + kPicturePixels - 1) / kPicturePixels;
    }

    void run(int64_t, int64_t task) override {
        const int64_t end = min_of((task + 1) * kPicturePixels, picture_.pixels);
        for (int64_t first = task * kPicturePixels; first < end; first += kPictureStrip) {
            const int count = static_cast<int>(min_of<int64_t>(kPictureStrip, end - first));
            picture_.channels == kColors ? one_strip<kColors>(first, count)
                                         : one_strip<kColors + 1>(first, count);
        }
    }

  private:
    template <int Channels>
    void one_strip(int64_t first, int count) const {
        const uint8_t* bytes = static_cast<const uint8_t*>(picture_.bytes) + first * Channels;
        T part[kColors + 1][kPictureStrip];
        for (int i = 0; i < count; ++i) {
            for (int c = 0; c < Channels; ++c) part[c][i] = bytes[i * Channels + c] / T(255);
        }
        T* alpha = static_cast<T*>(picture_.alpha) + first;
        for (int i = 0; i < count; ++i) alpha[i] = Channels > kColors ? part[kColors][i] : T(1);
        for (int c = 0; c < kColors; ++c) {
            T* image = static_cast<T*>(picture_.image) + c * picture_.pixels + first;
            const T* behind = static_cast<const T*>(picture_.background) + c;
            if (Channels == kColors) {
                for (int i = 0; i < count; ++i) image[i] = part[c][i];
            } else if (picture_.plain) {
                for (int i = 0; i < count; ++i) image[i] = mixed(*behind, part[c][i], alpha[i]);
            } else {
                behind += c * (picture_.pixels - 1) + first;
                for (int i = 0; i < count; ++i) image[i] = mixed(behind[i], part[c][i], alpha[i]);
            }
        }
    }

    // From the nearer end, so that both ends are met exactly.
    SIMD_MEMBER static T mixed(T from, T to, T part) {
        return part < T(0.5) ? from + part * (to - from) : to - (1 - part) * (to - from);
    }

    const Picture picture_;
};

template <class T>
int composite(const Picture* picture, int threads) {
    CompositeWork<T> work(*picture);
    fused_fields::run_stages(work, 1, picture->pixels < kPictureAlone ? 1 : threads);
    return 0;
}

}  // namespace
