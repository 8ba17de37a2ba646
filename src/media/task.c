/* SPDX-License-Identifier: MIT */
#include "task.h"

#include <errno.h>

#include "lathe/base.h"

#define PLAN_MAX_BYTES (64u << 20)

int media_plan_read(const char *path, struct lathe_plan *ret, struct lathe_error *err)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    int r = lathe_read_file(path, PLAN_MAX_BYTES, &text, &size, err);
    if (r < 0)
        return r;
    json_error_t why;
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    if (!json)
        return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL, "%s is no plan: %s", path,
                               why.text);
    r = lathe_plan_from_json(json, ret, err);
    json_decref(json);
    return r;
}

int media_task_load(struct media_task *ret, const struct lathe_order *order, bool with_index,
                    struct lathe_error *err)
{
    *ret = (struct media_task){0};
    int r = media_plan_read(order->plan_path, &ret->plan, err);
    if (r >= 0 && with_index) {
        r = media_index_load(&ret->index, order->index_path, err);
        if (r < 0)
            lathe_plan_finish(&ret->plan);
    }
    return r;
}

void media_task_finish(struct media_task *task)
{
    media_index_finish(&task->index);
    lathe_plan_finish(&task->plan);
}
