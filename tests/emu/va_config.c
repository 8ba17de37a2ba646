/* SPDX-License-Identifier: MIT */
/*
 * What the emulated VA devices can do: profiles, entry points and rate control by driver, after the
 * tables of the real drivers (iHD, Mesa 22.3 and 25.0).
 */
#include <stdlib.h>
#include <string.h>

#include "va_driver.h"

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

#define BASIC (VA_RC_CQP | VA_RC_CBR | VA_RC_VBR)
#define WITH_QUALITY (BASIC | VA_RC_ICQ | VA_RC_QVBR)

enum { INTEL_FREE = 1, INTEL_NONFREE = 2, AMD_OLD = 4, AMD_NEW = 8 };

#define INTEL (INTEL_FREE | INTEL_NONFREE)
#define AMD (AMD_OLD | AMD_NEW)

struct capability {
    int drivers;
    VAProfile profile;
    VAEntrypoint entrypoint;
    uint32_t rc;
};

/* EncSlice stands before EncSliceLP, since programs take the first that they know. */
static const struct capability capabilities[] = {
    {INTEL | AMD, VAProfileH264ConstrainedBaseline, VAEntrypointVLD, 0},
    {INTEL | AMD, VAProfileH264Main, VAEntrypointVLD, 0},
    {INTEL | AMD, VAProfileH264High, VAEntrypointVLD, 0},
    {INTEL | AMD, VAProfileHEVCMain, VAEntrypointVLD, 0},
    {INTEL | AMD, VAProfileHEVCMain10, VAEntrypointVLD, 0},
    {INTEL | AMD, VAProfileVP9Profile0, VAEntrypointVLD, 0},
    {INTEL_NONFREE, VAProfileH264ConstrainedBaseline, VAEntrypointEncSlice,
     WITH_QUALITY | VA_RC_AVBR},
    {INTEL_NONFREE, VAProfileH264Main, VAEntrypointEncSlice, WITH_QUALITY | VA_RC_AVBR},
    {INTEL_NONFREE, VAProfileH264High, VAEntrypointEncSlice, WITH_QUALITY | VA_RC_AVBR},
    {INTEL, VAProfileH264ConstrainedBaseline, VAEntrypointEncSliceLP, VA_RC_CQP},
    {INTEL, VAProfileH264Main, VAEntrypointEncSliceLP, VA_RC_CQP},
    {INTEL, VAProfileH264High, VAEntrypointEncSliceLP, VA_RC_CQP},
    {INTEL_NONFREE, VAProfileHEVCMain, VAEntrypointEncSlice, WITH_QUALITY},
    {INTEL_NONFREE, VAProfileHEVCMain10, VAEntrypointEncSlice, WITH_QUALITY},
    {AMD, VAProfileH264ConstrainedBaseline, VAEntrypointEncSlice, BASIC},
    {AMD, VAProfileH264Main, VAEntrypointEncSlice, BASIC},
    {AMD, VAProfileH264High, VAEntrypointEncSlice, BASIC},
    {AMD, VAProfileHEVCMain, VAEntrypointEncSlice, BASIC},
    {AMD, VAProfileHEVCMain10, VAEntrypointEncSlice, BASIC},
    {INTEL | AMD, VAProfileNone, VAEntrypointVideoProc, 0},
};

static int driver_bit(void)
{
    const char *name = emu_va_profile()->name;

    if (strcmp(name, "intel-free") == 0)
        return INTEL_FREE;
    if (strcmp(name, "intel-nonfree") == 0)
        return INTEL_NONFREE;
    return strcmp(name, "amd-old") == 0 ? AMD_OLD : strcmp(name, "amd-new") == 0 ? AMD_NEW : 0;
}

static bool is_encode(VAEntrypoint entrypoint)
{
    return entrypoint == VAEntrypointEncSlice || entrypoint == VAEntrypointEncSliceLP;
}

static bool is_offered(const struct capability *c)
{
    const struct emu_profile *profile = emu_va_profile();
    bool hevc = c->profile == VAProfileHEVCMain || c->profile == VAProfileHEVCMain10;

    if (!(c->drivers & driver_bit()))
        return false;
    if (is_encode(c->entrypoint))
        return profile->encoder && (!hevc || profile->hevc) &&
               (c->profile != VAProfileHEVCMain10 || profile->ten_bit);
    if (c->entrypoint == VAEntrypointVideoProc)
        return profile->scaler;
    return c->profile != VAProfileHEVCMain10 || profile->ten_bit_decode;
}

bool emu_va_supports(VAProfile profile, VAEntrypoint entrypoint, uint32_t *ret_rc)
{
    for (size_t i = 0; i < LENGTH(capabilities); i++) {
        const struct capability *c = &capabilities[i];

        if (c->profile != profile || c->entrypoint != entrypoint || !is_offered(c))
            continue;
        *ret_rc = c->rc;
        /* Rate control of the low-power encoder runs on the HuC, which needs its firmware. */
        if (entrypoint == VAEntrypointEncSliceLP && emu_setting("huc", 0))
            *ret_rc |= VA_RC_CBR | VA_RC_VBR | VA_RC_QVBR;
        if (c->rc && driver_bit() == AMD_NEW)
            *ret_rc |= VA_RC_QVBR;
        return true;
    }
    return false;
}

const char *emu_va_profile_name(VAProfile profile)
{
    switch (profile) {
    case VAProfileH264ConstrainedBaseline:
        return "h264-baseline";
    case VAProfileH264Main:
        return "h264-main";
    case VAProfileH264High:
        return "h264-high";
    case VAProfileHEVCMain:
        return "hevc-main";
    case VAProfileHEVCMain10:
        return "hevc-main10";
    case VAProfileVP9Profile0:
        return "vp9-0";
    default:
        return "none";
    }
}

const char *emu_va_rc_name(uint32_t rc)
{
    switch (rc) {
    case VA_RC_CQP:
        return "cqp";
    case VA_RC_CBR:
        return "cbr";
    case VA_RC_VBR:
        return "vbr";
    case VA_RC_ICQ:
        return "icq";
    case VA_RC_QVBR:
        return "qvbr";
    case VA_RC_AVBR:
        return "avbr";
    default:
        return "none";
    }
}

static VAStatus query_profiles(VADriverContextP ctx, VAProfile *list, int *count)
{
    (void)ctx;
    *count = 0;
    for (size_t i = 0; i < LENGTH(capabilities); i++) {
        bool known = false;

        if (!is_offered(&capabilities[i]))
            continue;
        for (int j = 0; j < *count; j++)
            known |= list[j] == capabilities[i].profile;
        if (!known)
            list[(*count)++] = capabilities[i].profile;
    }
    return VA_STATUS_SUCCESS;
}

static VAStatus query_entrypoints(VADriverContextP ctx, VAProfile profile, VAEntrypoint *list,
                                  int *count)
{
    (void)ctx;
    *count = 0;
    for (size_t i = 0; i < LENGTH(capabilities); i++)
        if (capabilities[i].profile == profile && is_offered(&capabilities[i]))
            list[(*count)++] = capabilities[i].entrypoint;
    return *count ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
}

static uint32_t rt_formats(VAProfile profile)
{
    switch (profile) {
    case VAProfileNone:
        return VA_RT_FORMAT_YUV420 | VA_RT_FORMAT_YUV420_10;
    case VAProfileHEVCMain10:
        return VA_RT_FORMAT_YUV420_10;
    default:
        return VA_RT_FORMAT_YUV420;
    }
}

static uint32_t attribute(VAProfile profile, VAEntrypoint entrypoint, uint32_t rc,
                          VAConfigAttribType type)
{
    switch (type) {
    case VAConfigAttribRTFormat:
        return rt_formats(profile);
    case VAConfigAttribMaxPictureWidth:
    case VAConfigAttribMaxPictureHeight:
        return 4096;
    case VAConfigAttribDecSliceMode:
        return entrypoint == VAEntrypointVLD ? VA_DEC_SLICE_MODE_NORMAL : VA_ATTRIB_NOT_SUPPORTED;
    default:
        break;
    }
    if (!is_encode(entrypoint))
        return VA_ATTRIB_NOT_SUPPORTED;
    switch (type) {
    case VAConfigAttribRateControl:
        return rc;
    case VAConfigAttribEncPackedHeaders:
        return VA_ENC_PACKED_HEADER_NONE;
    case VAConfigAttribEncMaxRefFrames:
        return 1; /* one backwards, none forwards: no B-frames */
    case VAConfigAttribEncMaxSlices:
        return 1;
    case VAConfigAttribEncQualityRange:
        return emu_va_profile()->family == EMU_INTEL ? 7 : 32;
    default:
        return VA_ATTRIB_NOT_SUPPORTED;
    }
}

static VAStatus get_attributes(VADriverContextP ctx, VAProfile profile, VAEntrypoint entrypoint,
                               VAConfigAttrib *list, int count)
{
    uint32_t rc;

    (void)ctx;
    if (!emu_va_supports(profile, entrypoint, &rc))
        return VA_STATUS_ERROR_UNSUPPORTED_ENTRYPOINT;
    for (int i = 0; i < count; i++)
        list[i].value = attribute(profile, entrypoint, rc, list[i].type);
    return VA_STATUS_SUCCESS;
}

static void destroy(struct emu_va_object *object)
{
    free(object);
}

static bool is_profile_known(VADriverContextP ctx, VAProfile profile)
{
    VAProfile list[LENGTH(capabilities)];
    int count;

    query_profiles(ctx, list, &count);
    for (int i = 0; i < count; i++)
        if (list[i] == profile)
            return true;
    return false;
}

static VAStatus create_config(VADriverContextP ctx, VAProfile profile, VAEntrypoint entrypoint,
                              VAConfigAttrib *list, int count, VAConfigID *ret)
{
    struct emu_va *va = emu_va_of(ctx);
    struct emu_va_config *config;
    VAStatus status = emu_va_point(va, "va.config", NULL);
    uint32_t rc, wanted = VA_RC_NONE;

    if (status != VA_STATUS_SUCCESS)
        return status;
    if (!is_profile_known(ctx, profile))
        return VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
    if (!emu_va_supports(profile, entrypoint, &rc))
        return VA_STATUS_ERROR_UNSUPPORTED_ENTRYPOINT;
    for (int i = 0; i < count; i++) {
        if (list[i].type == VAConfigAttribRTFormat && !(list[i].value & rt_formats(profile)))
            return VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
        if (list[i].type == VAConfigAttribRateControl)
            wanted = list[i].value;
    }
    if (is_encode(entrypoint) && wanted != VA_RC_NONE && (wanted & rc) != wanted)
        return VA_STATUS_ERROR_ATTR_NOT_SUPPORTED;
    config = calloc(1, sizeof(*config));
    if (!config)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    config->profile = profile;
    config->entrypoint = entrypoint;
    config->rc = is_encode(entrypoint) && wanted == VA_RC_NONE ? VA_RC_CQP : wanted;
    status = emu_va_add(va, &config->object, EMU_VA_CONFIG, destroy);
    if (status == VA_STATUS_SUCCESS)
        *ret = config->object.id;
    return status;
}

static VAStatus destroy_config(VADriverContextP ctx, VAConfigID id)
{
    return emu_va_remove(emu_va_of(ctx), id, EMU_VA_CONFIG, VA_STATUS_ERROR_INVALID_CONFIG);
}

static VAStatus query_config(VADriverContextP ctx, VAConfigID id, VAProfile *profile,
                             VAEntrypoint *entrypoint, VAConfigAttrib *list, int *count)
{
    struct emu_va_config *config = emu_va_find(emu_va_of(ctx), id, EMU_VA_CONFIG);

    if (!config)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    *profile = config->profile;
    *entrypoint = config->entrypoint;
    list[0].type = VAConfigAttribRTFormat;
    list[0].value = rt_formats(config->profile);
    *count = 1;
    return VA_STATUS_SUCCESS;
}

void emu_va_install_config(struct VADriverVTable *vtable)
{
    vtable->vaQueryConfigProfiles = query_profiles;
    vtable->vaQueryConfigEntrypoints = query_entrypoints;
    vtable->vaGetConfigAttributes = get_attributes;
    vtable->vaCreateConfig = create_config;
    vtable->vaDestroyConfig = destroy_config;
    vtable->vaQueryConfigAttributes = query_config;
}
