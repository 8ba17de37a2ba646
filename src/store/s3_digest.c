/* SPDX-License-Identifier: MIT */
/*
 * Hashes of what is sent. SHA-256 is what the signature covers; MD5 goes into Content-MD5, since
 * there are servers that check that one and accept any x-amz-content-sha256.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "lathe/base.h"
#include "s3.h"

#define BUFFER_BYTES (256u << 10)

struct hashers {
    EVP_MD_CTX *sha256, *md5; /* md5: NULL where nobody asked, or a policy forbids it */
};

static int begin(struct hashers *h, bool with_md5)
{
    h->sha256 = EVP_MD_CTX_new();
    if (!h->sha256 || !EVP_DigestInit_ex(h->sha256, EVP_sha256(), NULL))
        return -ENOMEM;
    if (!with_md5)
        return 0;
    h->md5 = EVP_MD_CTX_new();
    if (!h->md5)
        return -ENOMEM;
    if (!EVP_DigestInit_ex(h->md5, EVP_md5(), NULL)) {
        EVP_MD_CTX_free(h->md5);
        h->md5 = NULL;
    }
    return 0;
}

static int add(struct hashers *h, const void *data, size_t size)
{
    bool is_good = EVP_DigestUpdate(h->sha256, data, size) &&
                   (!h->md5 || EVP_DigestUpdate(h->md5, data, size));
    return is_good ? 0 : -EIO;
}

static int end(struct hashers *h, struct s3_digest *ret)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    *ret = (struct s3_digest){0};
    if (!EVP_DigestFinal_ex(h->sha256, hash, NULL))
        return -EIO;
    for (size_t i = 0; i < 32; i++)
        snprintf(ret->sha256 + 2 * i, 3, "%02x", hash[i]);
    if (h->md5) {
        if (!EVP_DigestFinal_ex(h->md5, hash, NULL))
            return -EIO;
        EVP_EncodeBlock((unsigned char *)ret->md5_base64, hash, 16);
    }
    return 0;
}

static void done(struct hashers *h)
{
    EVP_MD_CTX_free(h->sha256);
    EVP_MD_CTX_free(h->md5);
}

int s3_digest_data(const char *data, size_t size, struct s3_digest *ret)
{
    struct hashers h = {0};
    int r = begin(&h, false);
    if (r == 0)
        r = add(&h, data, size);
    if (r == 0)
        r = end(&h, ret);
    done(&h);
    return r;
}

int s3_digest_file(int fd, uint64_t offset, uint64_t size_bytes, bool with_md5,
                   const struct lathe_cancel *cancel, struct s3_digest *ret)
{
    struct hashers h = {0};
    _cleanup_free_ char *buffer = malloc(BUFFER_BYTES);
    int r = buffer ? begin(&h, with_md5) : -ENOMEM;
    for (uint64_t at = 0; r == 0 && at < size_bytes;) {
        uint64_t left = size_bytes - at;
        ssize_t n = pread(fd, buffer, left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES,
                          (off_t)(offset + at));
        if (lathe_cancel_is_triggered(cancel))
            r = -ECANCELED;
        else if (n <= 0)
            r = n < 0 ? -errno : -ESTALE;
        else
            r = add(&h, buffer, (size_t)n);
        at += n > 0 ? (uint64_t)n : 0;
    }
    if (r == 0)
        r = end(&h, ret);
    done(&h);
    return r;
}
