/* SPDX-License-Identifier: MIT */
/* The part of libva's interface that video processing has for itself. */
#ifndef LATHE_EMU_VA_PROCESS_H
#define LATHE_EMU_VA_PROCESS_H

#include <va/va.h>
#include <va/va_backend.h>
#include <va/va_backend_vpp.h>

void emu_va_install_process(struct VADriverVTableVPP *vtable);

#endif
