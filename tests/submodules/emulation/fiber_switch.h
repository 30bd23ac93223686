// One stack for another, in nanoseconds: what lets a thousand CUDA threads run on one OS thread.
//
// switch_stack(&from, to) saves the registers that the calling convention makes the callee keep,
// stores the stack pointer in *from and continues where `to` was saved. Nothing else needs saving:
// for the compiler this is an ordinary call. (System V x86-64 psABI 3.2.1, AAPCS64 6.1.)
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulation {

using Entry = void (*)();

#if defined(__x86_64__)

extern "C" void emulation_switch_stack(void** from, void* to);
asm(R"(
  .text
  .local emulation_switch_stack
  .type emulation_switch_stack, @function
emulation_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size emulation_switch_stack, .-emulation_switch_stack
)");

// A stack that continues at `entry`. At a function's first instruction the stack pointer is 8 off a
// multiple of 16; the zero above `entry` is its return address, since it never returns.
inline void* new_stack(unsigned char* bottom, size_t bytes, Entry entry) {
  void** top = reinterpret_cast<void**>(bottom + bytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  return top;
}

#elif defined(__aarch64__)

extern "C" void emulation_switch_stack(void** from, void* to);
asm(R"(
  .text
  .local emulation_switch_stack
  .type emulation_switch_stack, %function
emulation_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
  .size emulation_switch_stack, .-emulation_switch_stack
)");

inline void* new_stack(unsigned char* bottom, size_t bytes, Entry entry) {
  void** saved = reinterpret_cast<void**>(bottom + bytes - 160);
  for (int i = 0; i < 20; i++) saved[i] = nullptr;
  saved[11] = reinterpret_cast<void*>(entry);  // x30, where `ret` goes
  return saved;
}

#else
#error "the emulation's stack switch is written for x86-64 and aarch64"
#endif

inline void switch_stack(void** from, void* to) { emulation_switch_stack(from, to); }

}  // namespace emulation
