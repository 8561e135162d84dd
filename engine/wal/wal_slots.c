#include "engine/wal/wal_slots.h"

bool kap_wal_slots_take(struct kap_wal_slots *slots, uint64_t file_no, struct kap_wal_slot *slot_out)
{
    bool taken = false;
    kap_spin_lock(&slots->lock);
    for (uint32_t i = 0; i < slots->count && !taken; i++) {
        if (slots->slots[i].file_no != 0)
            continue;
        slots->slots[i].file_no = file_no;
        *slot_out = slots->slots[i];
        taken = true;
    }
    kap_spin_unlock(&slots->lock);
    return taken;
}

bool kap_wal_slots_add(struct kap_wal_slots *slots, struct kap_wal_slot slot)
{
    bool added = false;
    kap_spin_lock(&slots->lock);
    if (slots->count < KAP_WAL_SLOTS_MAX) {
        slots->slots[slots->count++] = slot;
        if (slot.number >= slots->next_number)
            slots->next_number = slot.number + 1;
        added = true;
    }
    kap_spin_unlock(&slots->lock);
    return added;
}

uint32_t kap_wal_slots_release(struct kap_wal_slots *slots, uint64_t file_no)
{
    uint32_t released = 0;
    kap_spin_lock(&slots->lock);
    for (uint32_t i = 0; i < slots->count; i++) {
        if (slots->slots[i].file_no == 0 || slots->slots[i].file_no >= file_no)
            continue;
        slots->slots[i].file_no = 0;
        released++;
    }
    kap_spin_unlock(&slots->lock);
    return released;
}

static uint32_t count_where(struct kap_wal_slots *slots, bool spare)
{
    uint32_t n = 0;
    kap_spin_lock(&slots->lock);
    for (uint32_t i = 0; i < slots->count; i++)
        n += (slots->slots[i].file_no == 0) == spare;
    kap_spin_unlock(&slots->lock);
    return n;
}

uint32_t kap_wal_slots_spares(struct kap_wal_slots *slots)
{
    return count_where(slots, true);
}

uint32_t kap_wal_slots_live(struct kap_wal_slots *slots)
{
    return count_where(slots, false);
}

uint32_t kap_wal_slots_number(struct kap_wal_slots *slots)
{
    kap_spin_lock(&slots->lock);
    uint32_t number = slots->next_number++;
    kap_spin_unlock(&slots->lock);
    return number;
}
