/* SPDX-License-Identifier: MIT */
/*
 * How Lathe talks to Kafka. Each setting below is there because its default loses or delays work.
 */
#include "kafka_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lathe/base.h"

#define METADATA_TIMEOUT_MS 5000
#define CREATE_TIMEOUT_MS 15000

static const char *const common_settings[][2] = {
    {"allow.auto.create.topics", "false"},
    {"message.max.bytes", "2097152"}, /* a body of 1 MiB and what is around it */
    {"reconnect.backoff.max.ms", "2000"},
    {"socket.keepalive.enable", "true"},
};
static const char *const producer_settings[][2] = {
    {"enable.idempotence", "true"}, /* implies acks=all */
    {"message.timeout.ms", "30000"},
    {"linger.ms", "0"}, /* the publisher waits for each */
};
static const char *const consumer_settings[][2] = {
    {"auto.offset.reset", "earliest"}, /* else work from before the first worker is skipped */
    {"enable.auto.offset.store", "false"},
    {"enable.auto.commit", "true"},
    {"auto.commit.interval.ms", "500"},
    {"session.timeout.ms", "10000"}, /* how soon the records of a dead worker go to others */
    {"heartbeat.interval.ms", "2000"},
    /* Cooperative assignment has open bugs in the librdkafka of today's distributions, and the
     * lease in the state removes most of its benefit. */
    {"partition.assignment.strategy", "range"},
    {"queued.min.messages", "100"},
    {"fetch.wait.max.ms", "500"},
};

int kafka_error(struct lathe_error *err, rd_kafka_resp_err_t code, const char *what)
{
    const char *text = rd_kafka_err2str(code);
    switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        lathe_error_set(err, -ENOENT, LATHE_FAULT_CONFIG, "Kafka: %s: %s", what, text);
        lathe_error_hint(err, "make the topics, or add ?create=PARTITIONS to the location");
        return -ENOENT;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        return lathe_error_set(err, -EACCES, LATHE_FAULT_CONFIG, "Kafka: %s: %s", what, text);
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        lathe_error_set(err, -EMSGSIZE, LATHE_FAULT_CONFIG, "Kafka: %s: %s", what, text);
        lathe_error_hint(err, "set max.message.bytes of the topic to 2097152");
        return -EMSGSIZE;
    default:
        return lathe_error_set(err, -EAGAIN, LATHE_FAULT_SERVER, "Kafka: %s: %s", what, text);
    }
}

/* Libraries return errors, programs log: librdkafka's own lines go nowhere. */
static void drop_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk, (void)level, (void)facility, (void)text;
}

static int set_all(rd_kafka_conf_t *conf, const char *const settings[][2], size_t n,
                   struct lathe_error *err)
{
    char why[256];
    for (size_t i = 0; i < n; i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof(why)) !=
            RD_KAFKA_CONF_OK)
            return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "Kafka: %s", why);
    return 0;
}

/* What the user's file says, over what was set before. The text of an error may hold a value, but
 * not that of a secret: those are texts of any form. */
static int set_properties(rd_kafka_conf_t *conf, const struct kafka_address *a,
                          struct lathe_error *err)
{
    char why[256];
    for (size_t i = 0; i < a->n_properties; i++)
        if (rd_kafka_conf_set(conf, a->properties[i].name, a->properties[i].value, why,
                              sizeof(why)) != RD_KAFKA_CONF_OK)
            return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "Kafka: %s: %s",
                                   a->config_path, why);
    return 0;
}

static int make(rd_kafka_type_t type, rd_kafka_conf_t *conf, const struct kafka_address *a,
                rd_kafka_t **ret, struct lathe_error *err)
{
    char why[256];
    const char *const own[][2] = {{"bootstrap.servers", a->brokers}, {"client.id", "lathe"}};
    int r = set_all(conf, own, LATHE_COUNT(own), err);
    if (r == 0)
        r = set_all(conf, common_settings, LATHE_COUNT(common_settings), err);
    if (r == 0)
        r = set_properties(conf, a, err);
    if (r == 0) {
        rd_kafka_conf_set_log_cb(conf, drop_log);
        *ret = rd_kafka_new(type, conf, why, sizeof(why));
        if (*ret)
            return 0; /* which owns the settings now */
        r = lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG, "Kafka: %s", why);
    }
    rd_kafka_conf_destroy(conf);
    return r;
}

/* The first refusal is kept: nothing later says as well why there is no connection. */
static void keep_refusal(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    (void)rk;
    struct kafka_refusal *refusal = opaque;
    bool is_refusal = code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR__SSL;
    if (!is_refusal || atomic_exchange(&refusal->is_taken, true))
        return;
    snprintf(refusal->why, sizeof(refusal->why), "%s", text);
    atomic_store(&refusal->is_set, true);
}

int kafka_producer_new(const struct kafka_address *a,
                       void (*delivered)(rd_kafka_t *, const rd_kafka_message_t *, void *),
                       struct kafka_refusal *refusal, rd_kafka_t **ret, struct lathe_error *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int r = set_all(conf, producer_settings, LATHE_COUNT(producer_settings), err);
    if (r < 0) {
        rd_kafka_conf_destroy(conf);
        return r;
    }
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_error_cb(conf, keep_refusal);
    rd_kafka_conf_set_opaque(conf, refusal);
    return make(RD_KAFKA_PRODUCER, conf, a, ret, err);
}

int kafka_consumer_new(const struct kafka_address *a,
                       void (*rebalanced)(rd_kafka_t *, rd_kafka_resp_err_t,
                                          rd_kafka_topic_partition_list_t *, void *),
                       void *opaque, rd_kafka_t **ret, struct lathe_error *err)
{
    char group[sizeof(a->prefix) + sizeof(KAFKA_GROUP)];
    snprintf(group, sizeof(group), "%s%s", a->prefix, KAFKA_GROUP);
    const char *const own[][2] = {{"group.id", group}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int r = set_all(conf, consumer_settings, LATHE_COUNT(consumer_settings), err);
    if (r == 0)
        r = set_all(conf, own, 1, err);
    if (r < 0) {
        rd_kafka_conf_destroy(conf);
        return r;
    }
    rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
    rd_kafka_conf_set_opaque(conf, opaque);
    r = make(RD_KAFKA_CONSUMER, conf, a, ret, err);
    if (r == 0)
        rd_kafka_poll_set_consumer(*ret);
    return r;
}

static int create_topic(rd_kafka_t *rk, const char *name, int partitions, struct lathe_error *err)
{
    char why[256];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, -1, why, sizeof(why));
    rd_kafka_queue_t *answers = rd_kafka_queue_new(rk);
    if (!topic || !answers)
        return lathe_error_nomem(err);
    rd_kafka_NewTopic_set_config(topic, "max.message.bytes", "2097152");
    rd_kafka_CreateTopics(rk, &topic, 1, NULL, answers);
    rd_kafka_event_t *event = rd_kafka_queue_poll(answers, CREATE_TIMEOUT_MS);
    rd_kafka_resp_err_t code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    const rd_kafka_CreateTopics_result_t *result =
        event ? rd_kafka_event_CreateTopics_result(event) : NULL;
    size_t n = 0;
    const rd_kafka_topic_result_t **topics =
        result ? rd_kafka_CreateTopics_result_topics(result, &n) : NULL;
    if (n == 1 && code == RD_KAFKA_RESP_ERR_NO_ERROR)
        code = rd_kafka_topic_result_error(topics[0]);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(answers);
    rd_kafka_NewTopic_destroy(topic);
    /* Somebody else may have been faster. */
    return code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS
               ? 0
               : kafka_error(err, code, name);
}

static bool is_listed(const struct rd_kafka_metadata *metadata, const char *name)
{
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strcmp(metadata->topics[i].topic, name) == 0)
            return metadata->topics[i].partition_cnt > 0;
    return false;
}

static int unreachable(rd_kafka_t *rk, const struct kafka_address *a, rd_kafka_resp_err_t code,
                       const struct kafka_refusal *refusal, struct lathe_error *err)
{
    rd_kafka_poll(rk, 0);
    if (atomic_load(&refusal->is_set)) {
        lathe_error_set(err, -EACCES, LATHE_FAULT_CONFIG, "Kafka at %s: %s", a->brokers,
                        refusal->why);
        lathe_error_hint(err, "compare security.protocol, certificates and sasl.* of the file in "
                              "config= with the server's");
        return -EACCES;
    }
    lathe_error_set(err, -EAGAIN, LATHE_FAULT_SERVER, "Kafka at %s cannot be reached: %s",
                    a->brokers, rd_kafka_err2str(code));
    lathe_error_hint(err, "is it running, and does it advertise an address that works here?");
    return -EAGAIN;
}

static int say_missing(const struct kafka_address *a, const char *name, struct lathe_error *err)
{
    int r = lathe_error_set(err, -ENOENT, LATHE_FAULT_CONFIG, "Kafka at %s has no topic %s",
                            a->brokers, name);
    lathe_error_hint(err,
                     "kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions 16 "
                     "--config max.message.bytes=2097152, or ?create=16 in the location",
                     a->brokers, name);
    return r;
}

int kafka_check_topics(rd_kafka_t *rk, const struct kafka_address *a,
                       const struct kafka_refusal *refusal, struct lathe_error *err)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 1, NULL, &metadata, METADATA_TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return unreachable(rk, a, code, refusal, err);
    int r = 0;
    for (int topic = 0; topic < LATHE_TOPIC_COUNT && r == 0; topic++) {
        char name[128];
        kafka_address_topic(a, (enum lathe_topic)topic, name, sizeof(name));
        if (is_listed(metadata, name))
            continue;
        r = a->create ? create_topic(rk, name, a->create, err) : say_missing(a, name, err);
    }
    rd_kafka_metadata_destroy(metadata);
    return r;
}
