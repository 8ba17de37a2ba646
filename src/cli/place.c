/* SPDX-License-Identifier: MIT */
/*
 * The same decision that `lathe run` makes for a chunk on an idle host, shown with its reasons.
 */
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "lathe/agent.h"
#include "lathe/hardware.h"

/* Software that was asked for needs no look at the hardware. */
static int learn(struct lathe_placement *placement, const struct lathe_job *job,
                 struct lathe_error *err)
{
    struct lathe_hardware hardware;
    struct lathe_error why = {0};
    if (job->encoder == LATHE_ENCODER_SOFTWARE) {
        lathe_placement_set_hardware(placement, NULL, "");
        return 0;
    }
    int r = lathe_hardware_load(NULL, lathe_cli_cancel, &hardware, &why);
    lathe_placement_set_hardware(placement, r == 0 ? &hardware : NULL, why.what);
    if (r == 0)
        lathe_hardware_finish(&hardware);
    else if (r == -ECANCELED && err)
        *err = why;
    return r == -ECANCELED ? r : 0;
}

static json_t *describe(struct lathe_placement *placement, const struct lathe_ladder_choice *choice,
                        const struct lathe_hw_device *device)
{
    json_t *reasons = json_array(), *hardware = lathe_placement_to_json(placement);
    for (int s = LATHE_STEP_ALL_GPU; s < (int)choice->step; s++)
        (void)json_array_append_new(reasons,
                                    json_pack("{s:s, s:s}", "step",
                                              lathe_ladder_step_name((enum lathe_ladder_step)s),
                                              "reason", choice->reasons[s]));
    json_t *ret =
        json_pack("{s:s, s:s, s:o, s:o, s:o}", "step", lathe_ladder_step_name(choice->step),
                  "encoder", lathe_encoder_name(choice->encoder), "device",
                  device->path[0] ? json_string(device->path) : json_null(), "reasons", reasons,
                  "hardware", json_incref(json_object_get(hardware, "summary")));
    json_decref(hardware);
    return ret;
}

int lathe_cli_place(struct lathe_pool *pool, const struct lathe_plan *plan,
                    const struct lathe_job *job, json_t **ret, struct lathe_error *err)
{
    const struct lathe_placement_options options = {.slots = 1};
    struct lathe_placement *placement = NULL;
    struct lathe_ladder_request request;
    struct lathe_ladder_choice choice;
    struct lathe_hw_device device;
    int r = lathe_placement_create(&options, pool, &placement, err);
    if (r == 0)
        r = learn(placement, job, err);
    lathe_flow_ladder_request(plan, job, &request);
    if (r == 0)
        r = lathe_placement_check(placement, &request, lathe_cli_cancel, &choice, &device, err);
    if (r == 0) {
        *ret = describe(placement, &choice, &device);
        r = *ret ? 0 : lathe_error_nomem(err);
    }
    lathe_placement_destroy(placement);
    return r;
}

void lathe_cli_print_place(const json_t *place)
{
    const char *device = json_string_value(json_object_get(place, "device"));
    const json_t *one;
    size_t i;
    printf("placement  %s, encoder %s%s%s\n", json_string_value(json_object_get(place, "step")),
           json_string_value(json_object_get(place, "encoder")), device ? ", device " : "",
           device ? device : "");
    json_array_foreach (json_object_get(place, "reasons"), i, one)
        printf("           not \"%s\": %s\n", json_string_value(json_object_get(one, "step")),
               json_string_value(json_object_get(one, "reason")));
    if (!device && json_string_length(json_object_get(place, "hardware")) > 0)
        printf("hardware   %s\n", json_string_value(json_object_get(place, "hardware")));
}
