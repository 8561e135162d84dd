/* spin.h - a lock for a few instructions (pin a version, post to a mailbox). Never held across I/O or a callback, so a
 * single-threaded executor never finds it taken. */
#pragma once

#include <stdatomic.h>

struct kap_spin {
    atomic_flag flag;
};

static inline void kap_spin_lock(struct kap_spin *spin)
{
    while (atomic_flag_test_and_set_explicit(&spin->flag, memory_order_acquire))
        __builtin_ia32_pause();
}

static inline void kap_spin_unlock(struct kap_spin *spin)
{
    atomic_flag_clear_explicit(&spin->flag, memory_order_release);
}
