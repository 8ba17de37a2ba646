/* SPDX-License-Identifier: MIT */
/*
 * Leaks that are not ours, linked into lathe-slot in builds with the address sanitizer. A file of
 * suppressions would be read at exit, when the sandbox no longer lets the slot open one.
 */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    /* Of an encoder that it has closed, x264 keeps the parsed `zones` (32 bytes), and x265 some
     * strings and tables. An encoder that we forget to close also leaks in libavcodec, and shows.
     */
    return "leak:libx264\nleak:libx265\n";
}
