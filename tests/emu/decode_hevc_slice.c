/* SPDX-License-Identifier: MIT */
/*
 * Rewrites HEVC slice headers so that they spell out their reference picture set, which the
 * private decoder cannot look up (decode_hevc.c says why).
 *
 * The set comes from the list of decoded pictures that came with the picture: what it predicts
 * from is "used", what only later pictures need is not.
 */
#include <errno.h>
#include <stdlib.h>

#include "decode_hevc.h"

static int nal_type(const struct emu_slice *slice)
{
    return slice->size >= 2 ? slice->data[0] >> 1 & 63 : -1;
}

static bool is_idr(int type)
{
    return type == 19 || type == 20;
}

static bool is_irap(int type)
{
    return type >= 16 && type <= 23;
}

static int nearest_first(const void *a, const void *b)
{
    const struct emu_hevc_reference *x = a, *y = b;

    return abs(x->poc) - abs(y->poc);
}

/* Collects one side, sorted by distance, as differences minus 1. */
static int build_side(const struct emu_hevc_picture *p, bool before, struct emu_hevc_rps *rps)
{
    struct emu_hevc_reference side[16];
    int count = 0, last = 0, distance;

    for (int i = 0; i < p->num_refs && count < 16; i++) {
        if (p->refs[i].long_term || p->refs[i].use == EMU_HEVC_LONG_TERM ||
            p->refs[i].poc == p->poc || (p->refs[i].poc < p->poc) != before)
            continue;
        side[count] = p->refs[i];
        side[count++].poc -= p->poc;
    }
    qsort(side, (size_t)count, sizeof(*side), nearest_first);
    for (int i = 0; i < count; i++) {
        distance = abs(side[i].poc);
        if (before) {
            rps->before[i].delta = distance - last - 1;
            rps->before[i].used = side[i].use != EMU_HEVC_FOLLOW;
        } else {
            rps->after[i].delta = distance - last - 1;
            rps->after[i].used = side[i].use != EMU_HEVC_FOLLOW;
        }
        last = distance;
    }
    return count;
}

static int rps_length(const struct emu_hevc_rps *rps)
{
    int length = emu_ue_length((uint32_t)rps->num_before) + emu_ue_length((uint32_t)rps->num_after);

    for (int i = 0; i < rps->num_before; i++)
        length += emu_ue_length((uint32_t)rps->before[i].delta) + 1;
    for (int i = 0; i < rps->num_after; i++)
        length += emu_ue_length((uint32_t)rps->after[i].delta) + 1;
    return length;
}

void emu_hevc_rps_build(const struct emu_hevc_picture *p, const struct emu_slice *slice,
                        struct emu_hevc_rps *ret)
{
    *ret = (struct emu_hevc_rps){.extra_bits = p->num_extra_slice_header_bits};
    if (is_idr(nal_type(slice)))
        return;
    ret->present = true;
    ret->num_before = build_side(p, true, ret);
    ret->num_after = build_side(p, false, ret);
    ret->removed_bits =
        p->st_rps_bits ? p->st_rps_bits : emu_ceil_log2((uint32_t)p->num_short_term_ref_pic_sets);
    ret->extra_bits = (p->num_extra_slice_header_bits + ret->removed_bits - rps_length(ret)) & 7;
}

static void write_rps(struct emu_writer *w, const struct emu_hevc_rps *rps)
{
    emu_put_ue(w, (uint32_t)rps->num_before);
    emu_put_ue(w, (uint32_t)rps->num_after);
    for (int i = 0; i < rps->num_before; i++) {
        emu_put_ue(w, (uint32_t)rps->before[i].delta);
        emu_put(w, 1, rps->before[i].used);
    }
    for (int i = 0; i < rps->num_after; i++) {
        emu_put_ue(w, (uint32_t)rps->after[i].delta);
        emu_put(w, 1, rps->after[i].used);
    }
}

int emu_hevc_slice_pps(const struct emu_slice *slice, uint32_t *ret_id)
{
    struct emu_bytes plain = {0};
    struct emu_reader r = {0};

    emu_append_unescaped(&plain, slice->data, slice->size < 16 ? slice->size : 16);
    if (plain.failed)
        return -ENOMEM;
    r.data = plain.data;
    r.bits = plain.size * 8;
    emu_skip(&r, is_irap(nal_type(slice)) ? 16 + 2 : 16 + 1);
    *ret_id = emu_get_ue(&r);
    emu_bytes_free(&plain);
    return r.overrun || *ret_id >= EMU_HEVC_PPS_MAX ? -EIO : 0;
}

/* Copies `bits` bits from the reader to the writer. */
static uint32_t copy(struct emu_reader *r, struct emu_writer *w, int bits)
{
    uint32_t value = emu_get(r, bits);

    emu_put(w, bits, value);
    return value;
}

static uint32_t copy_ue(struct emu_reader *r, struct emu_writer *w)
{
    uint32_t value = emu_get_ue(r);

    emu_put_ue(w, value);
    return value;
}

/* Writes the header up to its reference picture set; *ret_unchanged: there is none to replace. */
static void rewrite_head(const struct emu_hevc_picture *p, const struct emu_hevc_rps *rps, int type,
                         struct emu_reader *r, struct emu_writer *w, bool *ret_unchanged)
{
    int ctb = p->log2_min_cb_minus3 + 3 + p->log2_diff_max_min_cb;
    uint32_t columns = (uint32_t)(p->width + (1 << ctb) - 1) >> ctb;
    uint32_t rows = (uint32_t)(p->height + (1 << ctb) - 1) >> ctb;
    bool first = copy(r, w, 1), explicit_set;

    *ret_unchanged = false;
    if (is_irap(type))
        copy(r, w, 1);
    copy_ue(r, w);
    if (!first) {
        if (p->dependent_slices && copy(r, w, 1)) {
            *ret_unchanged = true;
            return;
        }
        copy(r, w, emu_ceil_log2(columns * rows));
    }
    emu_skip(r, (size_t)p->num_extra_slice_header_bits);
    emu_put(w, rps->extra_bits, 0);
    copy_ue(r, w);
    if (p->output_flag_present)
        copy(r, w, 1);
    copy(r, w, p->log2_max_poc_lsb_minus4 + 4);
    explicit_set = !emu_get(r, 1);
    emu_put(w, 1, 0);
    emu_skip(r, explicit_set ? (size_t)p->st_rps_bits
                             : (size_t)emu_ceil_log2((uint32_t)p->num_short_term_ref_pic_sets));
    write_rps(w, rps);
}

int emu_hevc_slice_rewrite(const struct emu_hevc_picture *p, const struct emu_hevc_rps *rps,
                           const struct emu_slice *slice, struct emu_bytes *out)
{
    struct emu_bytes plain = {0}, payload = {0};
    struct emu_writer w = {.bytes = &payload};
    struct emu_reader r = {0};
    uint8_t header[2];
    int type = nal_type(slice), rc = 0;
    bool unchanged = !rps->present;

    if (slice->size < 3)
        return -EIO;
    header[0] = slice->data[0];
    header[1] = slice->data[1];
    /* Whether a leading picture can be decoded is the caller's decision, and it has been made: the
     * private decoder must not skip it after a flush. RASL becomes RADL. */
    if (type == 8 || type == 9)
        header[0] = (uint8_t)((type - 2) << 1 | (header[0] & 0x81));
    emu_append_unescaped(&plain, slice->data + 2, slice->size - 2);
    if (plain.failed)
        return -ENOMEM;
    r.data = plain.data;
    r.bits = plain.size * 8;
    if (!unchanged)
        rewrite_head(p, rps, type, &r, &w, &unchanged);
    if (r.overrun) {
        rc = -EIO;
        goto out;
    }
    if (unchanged) {
        emu_append_nal(out, header, 2, plain.data, plain.size);
        goto out;
    }
    /* The same phase in both: the rest goes bit by bit up to a byte, then as bytes. */
    while (r.position & 7)
        copy(&r, &w, 1);
    if (w.num_partial) {
        rc = -EIO;
        goto out;
    }
    emu_bytes_append(&payload, plain.data + r.position / 8, plain.size - r.position / 8);
    emu_append_nal(out, header, 2, payload.data, payload.size);
    rc = payload.failed || out->failed ? -ENOMEM : 0;
out:
    emu_bytes_free(&plain);
    emu_bytes_free(&payload);
    return rc;
}
