/* SPDX-License-Identifier: MIT */
#ifndef LATHE_BASE_LOG_JOURNAL_H
#define LATHE_BASE_LOG_JOURNAL_H

#include "lathe/log.h"

/* Sends an entry when stderr is the journal's; -EAGAIN when it is not, or cannot be reached, and
 * the line is to be written. */
int lathe_log_to_journal(enum lathe_log_level level, const struct lathe_log_fields *fields,
                         const char *message);

#endif
