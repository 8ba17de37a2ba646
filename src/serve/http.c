/* SPDX-License-Identifier: MIT */
/*
 * The three pages, on libmicrohttpd's one thread. A slow or hostile client costs a connection for
 * some seconds and nothing else: connections, their memory and their time are limited.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#include "lathe/base.h"
#include "lathe/metrics.h"
#include "lathe/serve.h"

#define CONNECTIONS_MAX 64
#define CONNECTION_SECONDS 10
#define CONNECTION_BYTES 32768

#define TEXT_PLAIN "text/plain; charset=utf-8"
#define TEXT_PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"
#define TEXT_OPEN_METRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

struct lathe_serve {
    struct MHD_Daemon *daemon;
    struct lathe_serve_options options;
};

static enum MHD_Result answer(struct MHD_Connection *connection, const char *route, unsigned code,
                              const char *type, char *text)
{
    char code_text[16];
    snprintf(code_text, sizeof code_text, "%u", code);
    lathe_metrics_add(LATHE_METRIC_HTTP_REQUESTS, LATHE_LABELS(route, code_text), 1);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    enum MHD_Result r = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return r;
}

static enum MHD_Result answer_metrics(struct MHD_Connection *connection)
{
    const char *accept =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    bool open_metrics = accept && strstr(accept, "application/openmetrics-text");
    _cleanup_free_ char *text = lathe_metrics_render(open_metrics);
    if (!text)
        return MHD_NO;
    return answer(connection, "/metrics", MHD_HTTP_OK,
                  open_metrics ? TEXT_OPEN_METRICS : TEXT_PROMETHEUS, text);
}

static enum MHD_Result answer_health(struct MHD_Connection *connection, const char *route,
                                     bool (*is_well)(void *, char *, size_t), void *opaque)
{
    char why[512] = "";
    bool well = !is_well || is_well(opaque, why, sizeof why - 1);
    snprintf(why + strlen(why), sizeof why - strlen(why), "%s\n", well ? "ok" : "");
    return answer(connection, route, well ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, TEXT_PLAIN,
                  why);
}

static enum MHD_Result serve_request(void *opaque, struct MHD_Connection *connection,
                                     const char *url, const char *method, const char *version,
                                     const char *data, size_t *size, void **state)
{
    (void)version;
    (void)data;
    const struct lathe_serve_options *options = &((struct lathe_serve *)opaque)->options;
    static int seen; /* the first call has the headers only */
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    if (*size) { /* a body, which no page wants */
        *size = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer(connection, "other", MHD_HTTP_METHOD_NOT_ALLOWED, TEXT_PLAIN,
                      "only GET and HEAD\n");
    if (strcmp(url, "/metrics") == 0)
        return answer_metrics(connection);
    if (strcmp(url, "/healthz") == 0)
        return answer_health(connection, "/healthz", options->is_healthy, options->opaque);
    if (strcmp(url, "/readyz") == 0)
        return answer_health(connection, "/readyz", options->is_ready, options->opaque);
    return answer(connection, "other", MHD_HTTP_NOT_FOUND, TEXT_PLAIN,
                  "/metrics, /healthz or /readyz\n");
}

/* "HOST:PORT" with a numeric host, which may be in brackets. */
static int parse_listen(const char *listen, struct sockaddr_storage *ret, socklen_t *ret_size,
                        struct lathe_error *err)
{
    char host[64] = "";
    const char *colon = strrchr(listen, ':');
    size_t n = colon ? (size_t)(colon - listen) : 0;
    if (n > 1 && n < sizeof host) {
        bool brackets = listen[0] == '[' && colon[-1] == ']';
        snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n), listen + brackets);
    }
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (!host[0] || getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                        "\"%.100s\" is not an address to listen on", listen);
        lathe_error_hint(err, "write it like 127.0.0.1:9640 or [::1]:9640");
        return -EINVAL;
    }
    memcpy(ret, found->ai_addr, found->ai_addrlen);
    *ret_size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int listen_on(const char *text, int *ret_fd, struct lathe_error *err)
{
    struct sockaddr_storage address;
    socklen_t size;
    int r = parse_listen(text, &address, &size, err);
    if (r < 0)
        return r;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    if (fd < 0)
        return lathe_error_errno(err, -errno, "cannot listen on %.100s", text);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, SOMAXCONN) < 0) {
        r = -errno;
        close(fd);
        lathe_error_set(err, r, LATHE_FAULT_CONFIG, "cannot listen on %.100s: %s", text,
                        strerror(-r));
        lathe_error_hint(err, "choose another address for the metrics, or none");
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int lathe_serve_start(const struct lathe_serve_options *options, struct lathe_serve **ret,
                      struct lathe_error *err)
{
    int fd = -1;
    int r = listen_on(options->listen, &fd, err);
    if (r < 0)
        return r;
    struct lathe_serve *serve = calloc(1, sizeof *serve);
    if (serve) {
        serve->options = *options;
        serve->options.listen = NULL; /* the caller's, and of no more use */
        serve->daemon = MHD_start_daemon(
            MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC, 0, NULL, NULL,
            serve_request, serve, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
            (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_SECONDS,
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_END);
    }
    if (!serve || !serve->daemon) {
        r = serve ? lathe_error_set(err, -EAGAIN, LATHE_FAULT_RESOURCE,
                                    "the server for metrics does not start")
                  : lathe_error_nomem(err);
        free(serve);
        close(fd);
        return r;
    }
    *ret = serve;
    return 0;
}

void lathe_serve_stop(struct lathe_serve *serve)
{
    if (!serve)
        return;
    MHD_stop_daemon(serve->daemon);
    free(serve);
}

unsigned lathe_serve_port(const struct lathe_serve *serve)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(serve->daemon, MHD_DAEMON_INFO_LISTEN_FD);
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (!info || getsockname(info->listen_fd, (struct sockaddr *)&address, &size) < 0)
        return 0;
    /* The port lies at the same place in both families' addresses. */
    return ntohs(((const struct sockaddr_in *)&address)->sin_port);
}
