/* SPDX-License-Identifier: MIT */
/* The table of libva's objects. Ids are reused, as real drivers do. */
#include <stdlib.h>

#include "va_driver.h"

/* Far from 0 and from small numbers, so that an index used as an id is noticed. */
#define FIRST_ID 0x1000

VAStatus emu_va_add(struct emu_va *va, struct emu_va_object *object, enum emu_va_kind kind,
                    void (*destroy)(struct emu_va_object *))
{
    struct emu_va_object **grown;
    size_t slot;

    object->kind = kind;
    object->destroy = destroy;
    atomic_init(&object->refs, 1);
    pthread_mutex_lock(&va->lock);
    for (slot = 0; slot < va->num_objects; slot++)
        if (!va->objects[slot])
            break;
    if (slot == va->num_objects) {
        grown = reallocarray(va->objects, slot + 1, sizeof(*grown));
        if (!grown) {
            pthread_mutex_unlock(&va->lock);
            destroy(object);
            return VA_STATUS_ERROR_ALLOCATION_FAILED;
        }
        va->objects = grown;
        va->num_objects++;
    }
    va->objects[slot] = object;
    object->id = FIRST_ID + (VAGenericID)slot;
    pthread_mutex_unlock(&va->lock);
    return VA_STATUS_SUCCESS;
}

/* Call with the lock held. */
static struct emu_va_object **slot_of(struct emu_va *va, VAGenericID id, enum emu_va_kind kind)
{
    size_t slot = (size_t)id - FIRST_ID;

    if (id < FIRST_ID || slot >= va->num_objects || !va->objects[slot] ||
        va->objects[slot]->kind != kind)
        return NULL;
    return &va->objects[slot];
}

void *emu_va_find(struct emu_va *va, VAGenericID id, enum emu_va_kind kind)
{
    struct emu_va_object **slot, *found;

    pthread_mutex_lock(&va->lock);
    slot = slot_of(va, id, kind);
    found = slot ? *slot : NULL;
    pthread_mutex_unlock(&va->lock);
    return found;
}

VAStatus emu_va_remove(struct emu_va *va, VAGenericID id, enum emu_va_kind kind, VAStatus unknown)
{
    struct emu_va_object **slot, *found;

    pthread_mutex_lock(&va->lock);
    slot = slot_of(va, id, kind);
    found = slot ? *slot : NULL;
    if (slot)
        *slot = NULL;
    pthread_mutex_unlock(&va->lock);
    emu_va_unref(found);
    return found ? VA_STATUS_SUCCESS : unknown;
}

void emu_va_ref(struct emu_va_object *object)
{
    atomic_fetch_add(&object->refs, 1);
}

void emu_va_unref(struct emu_va_object *object)
{
    if (object && atomic_fetch_sub(&object->refs, 1) == 1)
        object->destroy(object);
}

void emu_va_remove_all(struct emu_va *va)
{
    for (size_t i = 0; i < va->num_objects; i++)
        emu_va_unref(va->objects[i]);
    free(va->objects);
    va->objects = NULL;
    va->num_objects = 0;
}
