// All kernels for one instruction set, as a table of the functions that Python calls. The build compiles
// this file once per set, with the matching -m flags, and links a library of its own for each.
#include "activate.h"
#include "adam.h"
#include "add_offsets.h"
#include "carry.h"
#include "composite.h"
#include "encode.h"
#include "mean_error.h"
#include "mix_bases.h"
#include "offset_mlp_grad.h"
#include "plane_lookup_grad.h"
#include "plane_penalties.h"
#include "skinning.h"
#include "sphere_step.h"
#include "ssim_grad.h"
#include "turned_copies.h"
#include "unit_rows.h"

// Pointers to the functions of float and of double. Each returns 0, or 1 when memory ran out.
#define FF_EXPORT(NAME)                                \
    extern const auto ff_##NAME##_f32 = &NAME<float>;  \
    extern const auto ff_##NAME##_f64 = &NAME<double>;

#pragma GCC visibility push(default)  // the rest of the library is hidden
extern "C" {
FF_EXPORT(lookup_forward)
FF_EXPORT(lookup_backward)
FF_EXPORT(plane_penalties)
FF_EXPORT(composite)
FF_EXPORT(carry_forward)
FF_EXPORT(carry_backward)
FF_EXPORT(ssim_forward)
FF_EXPORT(ssim_backward)
FF_EXPORT(mlp_forward)
FF_EXPORT(mlp_backward)
FF_EXPORT(adam_step)
FF_EXPORT(sphere_step)
FF_EXPORT(mix_forward)
FF_EXPORT(mix_onto)
FF_EXPORT(mix_backward)
FF_EXPORT(skin_forward)
FF_EXPORT(skin_backward)
FF_EXPORT(activate_forward)
FF_EXPORT(activate_backward)
FF_EXPORT(add_offsets_forward)
FF_EXPORT(add_offsets_backward)
FF_EXPORT(error_forward)
FF_EXPORT(error_backward)
FF_EXPORT(encode_forward)
FF_EXPORT(encode_backward)
FF_EXPORT(turn_forward)
FF_EXPORT(turn_backward)
FF_EXPORT(unit_rows)
int ff_bf16_form() { return bf16_form(); }
}
#pragma GCC visibility pop
