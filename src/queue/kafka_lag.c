/* SPDX-License-Identifier: MIT */
/*
 * The distance between the end of each partition and what is done of it.
 */
#include "kafka_lag.h"

#include "lathe/metrics.h"

#define ASK_MS 500 /* the polling thread waits that long */

/* The end of a partition as the last fetch said it; who pauses fetches nothing and has to ask. */
static rd_kafka_resp_err_t find_end(rd_kafka_t *rk, const char *topic, int32_t number,
                                    bool is_paused, int64_t *ret)
{
    int64_t low = 0;
    return is_paused ? rd_kafka_query_watermark_offsets(rk, topic, number, &low, ret, ASK_MS)
                     : rd_kafka_get_watermark_offsets(rk, topic, number, &low, ret);
}

void kafka_lag_measure(rd_kafka_t *rk, const char *topic, const struct kafka_window *w,
                       pthread_mutex_t *mutex)
{
    double lag = 0;
    /* Partitions are added by this thread alone; others finish their records. */
    for (size_t i = 0; i < w->n_partitions; i++) {
        pthread_mutex_lock(mutex);
        const struct kafka_partition *p = &w->partitions[i];
        int32_t number = p->number;
        bool is_paused = p->is_paused;
        int64_t next = p->is_owned ? kafka_partition_next(p) : -1, end = 0;
        pthread_mutex_unlock(mutex);
        if (next < 0)
            continue;
        if (find_end(rk, topic, number, is_paused, &end) != RD_KAFKA_RESP_ERR_NO_ERROR)
            return;
        if (end > next)
            lag += (double)(end - next);
    }
    lathe_metrics_set(LATHE_METRIC_KAFKA_LAG, LATHE_LABELS(topic), lag);
}
