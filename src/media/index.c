/* SPDX-License-Identifier: MIT */
#include "index.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/adler32.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lathe/base.h"
#include "parameters.h"

#define INDEX_MAGIC "LATHEIX2"
#define INDEX_MAX_PACKETS (100u * 1000 * 1000)

struct index_header {
    char magic[8];
    uint32_t count;
    uint32_t entry_size;
};

uint32_t media_index_checksum(const uint8_t *data, int size)
{
    return (uint32_t)av_adler32_update(1, data, (size_t)size);
}

bool media_index_matches(const struct media_index_entry *entry, const uint8_t *data, int size)
{
    return entry->size == (uint32_t)size && entry->checksum == media_index_checksum(data, size);
}

uint32_t media_index_first_key(const struct media_index *index)
{
    for (uint32_t i = 0; i < index->count; i++)
        if (index->entries[i].flags & MEDIA_INDEX_KEY)
            return i;
    return 0;
}

int media_index_append(struct media_index *index, const struct media_index_entry *entry)
{
    if (index->count >= INDEX_MAX_PACKETS)
        return -EFBIG;
    if (index->count == index->capacity) {
        size_t capacity = index->capacity ? index->capacity * 2 : 4096;
        void *entries = realloc(index->entries, capacity * sizeof(*index->entries));
        if (!entries)
            return -ENOMEM;
        index->entries = entries;
        index->capacity = capacity;
    }
    index->entries[index->count++] = *entry;
    return 0;
}

int media_index_save(const struct media_index *index, const char *path, struct lathe_error *err)
{
    struct index_header header = {.count = index->count, .entry_size = sizeof(*index->entries)};
    memcpy(header.magic, INDEX_MAGIC, sizeof(header.magic));
    _cleanup_fclose_ FILE *file = fopen(path, "wbe");
    if (!file)
        return lathe_error_set(err, -errno, LATHE_FAULT_RESOURCE, "cannot write %s: %s", path,
                               strerror(errno));
    bool ok = fwrite(&header, sizeof(header), 1, file) == 1 &&
              fwrite(index->entries, sizeof(*index->entries), index->count, file) == index->count &&
              media_parameters_write(file, index->video, index->video_time_base) == 0 &&
              fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (!ok)
        return lathe_error_set(err, -errno, LATHE_FAULT_RESOURCE, "cannot write %s: %s", path,
                               strerror(errno));
    return 0;
}

int media_map_file(const char *path, void **ret, size_t *ret_size, struct lathe_error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "cannot read %s: %s", path,
                               strerror(errno));
    void *mapping = MAP_FAILED;
    if (st.st_size > 0)
        mapping = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED)
        return lathe_error_set(err, -EIO, LATHE_FAULT_INTERNAL, "cannot map %s", path);
    *ret = mapping;
    *ret_size = (size_t)st.st_size;
    return 0;
}

static int read_parameters(const struct index_header *header, size_t size, struct media_index *ret)
{
    const uint8_t *begin = (const uint8_t *)header, *end = begin + size;
    const uint8_t *at = begin + sizeof(*header) + (size_t)header->count * header->entry_size;
    return media_parameters_read(&at, end, &ret->video, &ret->video_time_base);
}

int media_index_load(struct media_index *ret, const char *path, struct lathe_error *err)
{
    *ret = (struct media_index){0};
    void *mapping = NULL;
    size_t size = 0;
    int r = media_map_file(path, &mapping, &size, err);
    if (r < 0)
        return r;
    const struct index_header *header = mapping;
    if (size < sizeof(*header) || memcmp(header->magic, INDEX_MAGIC, sizeof(header->magic)) != 0 ||
        header->entry_size != sizeof(struct media_index_entry) || header->count == 0 ||
        size < sizeof(*header) + (size_t)header->count * header->entry_size ||
        read_parameters(header, size, ret) < 0) {
        munmap(mapping, size);
        return lathe_error_set(err, -EILSEQ, LATHE_FAULT_INTERNAL,
                               "%s is not an index of this "
                               "version",
                               path);
    }
    ret->mapping = mapping;
    ret->mapping_size = size;
    ret->count = header->count;
    ret->entries = (struct media_index_entry *)(void *)((char *)mapping + sizeof(*header));
    return 0;
}

void media_index_finish(struct media_index *index)
{
    if (index->mapping)
        munmap(index->mapping, index->mapping_size);
    else
        free(index->entries);
    avcodec_parameters_free(&index->video);
    *index = (struct media_index){0};
}
