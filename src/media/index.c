/* SPDX-License-Identifier: MIT */
#include "index.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lathe/base.h"

#define INDEX_MAGIC "LATHEIX1"
#define INDEX_MAX_PACKETS (100u * 1000 * 1000)

struct index_header {
    char magic[8];
    uint32_t count;
    uint32_t entry_size;
};

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
              fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (!ok)
        return lathe_error_set(err, -errno, LATHE_FAULT_RESOURCE, "cannot write %s: %s", path,
                               strerror(errno));
    return 0;
}

int media_index_load(struct media_index *ret, const char *path, struct lathe_error *err)
{
    *ret = (struct media_index){0};
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_INTERNAL, "cannot read %s: %s", path,
                               strerror(errno));
    const struct index_header *header = NULL;
    void *mapping = MAP_FAILED;
    size_t size = (size_t)st.st_size;
    if (size >= sizeof(*header))
        mapping = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED)
        return lathe_error_set(err, -EIO, LATHE_FAULT_INTERNAL, "cannot map %s", path);
    header = mapping;
    if (memcmp(header->magic, INDEX_MAGIC, sizeof(header->magic)) != 0 ||
        header->entry_size != sizeof(struct media_index_entry) || header->count == 0 ||
        size != sizeof(*header) + (size_t)header->count * header->entry_size) {
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
    *index = (struct media_index){0};
}
