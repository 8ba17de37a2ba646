/* SPDX-License-Identifier: MIT */
/*
 * Leaks that are not ours, linked into lathe-slot in builds with the address sanitizer. A file of
 * suppressions would be read at exit, when the sandbox no longer lets the slot open one.
 */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    /* x265 never frees some strings and tables of an encoder that it has closed. */
    return "leak:libx265\n";
}
