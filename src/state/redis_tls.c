/* SPDX-License-Identifier: MIT */
/*
 * TLS to the Redis server. hiredis checks certificates but not whose they are, so the session is
 * made here, with the name that must stand in it.
 */
#include <errno.h>

#include "redis_link.h"

#ifdef LATHE_REDIS_TLS
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

bool redis_tls_is_built_in(void)
{
    return true;
}

static SSL *new_session(const struct redis_address *a)
{
    SSL *ssl = NULL;
    SSL_CTX *settings = SSL_CTX_new(TLS_client_method());
    bool is_good = settings && SSL_CTX_set_min_proto_version(settings, TLS1_2_VERSION) &&
                   (a->ca_path ? SSL_CTX_load_verify_locations(settings, a->ca_path, NULL)
                               : SSL_CTX_set_default_verify_paths(settings)) == 1;
    if (is_good && (ssl = SSL_new(settings))) {
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
        /* An address stands in another place of a certificate than a name. */
        is_good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), a->host) == 1 ||
                  (SSL_set1_host(ssl, a->host) == 1 && SSL_set_tlsext_host_name(ssl, a->host) == 1);
    }
    SSL_CTX_free(settings); /* the session holds it */
    if (is_good)
        return ssl;
    SSL_free(ssl);
    return NULL;
}

int redis_tls_begin(const struct redis_address *a, redisContext *context, struct lathe_error *err)
{
    char server[REDIS_SERVER_TEXT_MAX];
    redis_address_describe(a, server, sizeof(server));
    SSL *ssl = new_session(a);
    if (!ssl) {
        const char *why = ERR_reason_error_string(ERR_get_error());
        ERR_clear_error();
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                               "Redis at %s: the certificates in %s cannot be used: %s", server,
                               a->ca_path ? a->ca_path : "the system's store", why ? why : "?");
    }
    if (redisInitiateSSL(context, ssl) == REDIS_OK)
        return 0; /* which owns the session now */
    long verdict = SSL_get_verify_result(ssl);
    SSL_free(ssl);
    ERR_clear_error();
    if (verdict == X509_V_OK)
        return redis_unreachable(a, context->errstr, err);
    lathe_error_set(err, -EACCES, LATHE_FAULT_CONFIG, "Redis at %s is not to be trusted: %s",
                    server, X509_verify_cert_error_string(verdict));
    lathe_error_hint(err, "name the file with the authority's certificate: ca=FILE");
    return -EACCES;
}

#else

bool redis_tls_is_built_in(void)
{
    return false;
}

int redis_tls_begin(const struct redis_address *a, redisContext *context, struct lathe_error *err)
{
    (void)context;
    return redis_unreachable(a, "this build has no TLS for Redis", err);
}
#endif
