// All kernels for one instruction set; compiled once per set, with FF_TABLE naming its table.
#include "adam.h"
#include "offset_mlp_grad.h"
#include "plane_lookup_grad.h"
#include "plane_penalties.h"
#include "ssim_grad.h"

namespace {

template <class T>
constexpr fused_fields::Kernels<T> kernels() {
    return {lookup_forward<T>,     lookup_backward<T>, penalties_forward<T>,
            penalties_backward<T>, ssim_forward<T>,    ssim_backward<T>,
            mlp_forward<T>,        mlp_backward<T>,    adam_step<T>};
}

}  // namespace

namespace fused_fields {
extern const KernelSet FF_TABLE;
const KernelSet FF_TABLE = {FF_NAME, kernels<float>(), kernels<double>()};
}  // namespace fused_fields
