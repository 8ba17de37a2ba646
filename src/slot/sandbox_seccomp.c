/* SPDX-License-Identifier: MIT */
/*
 * System calls that a slot never needs answer EPERM.
 *
 * A list of what is denied, not of what is allowed: GPU drivers make calls that differ from
 * version to version, and an allow list would turn every driver update into an outage. What is
 * denied is what an intruder wants: the network, other programs and processes, mounts and
 * namespaces, the kernel's large and young interfaces, and changes to files that landlock does not
 * see (modes, owners, links; truncation before its version 3).
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lathe/base.h"

static const int denied[] = {
    /* network */
    SCMP_SYS(socket),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    /* other programs and processes */
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(kcmp),
    SCMP_SYS(tkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    /* mounts, namespaces, roots */
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(name_to_handle_at),
    SCMP_SYS(open_by_handle_at),
    /* the kernel itself */
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(syslog),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(personality),
    SCMP_SYS(vhangup),
    SCMP_SYS(fanotify_init),
    /* files beyond their content */
    SCMP_SYS(chmod),
    SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(chown),
    SCMP_SYS(lchown),
    SCMP_SYS(fchown),
    SCMP_SYS(fchownat),
    SCMP_SYS(setxattr),
    SCMP_SYS(lsetxattr),
    SCMP_SYS(fsetxattr),
    SCMP_SYS(removexattr),
    SCMP_SYS(lremovexattr),
    SCMP_SYS(fremovexattr),
    SCMP_SYS(utime),
    SCMP_SYS(utimes),
    SCMP_SYS(futimesat),
    SCMP_SYS(utimensat),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(truncate),
};

static int add_denied(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < LATHE_COUNT(denied); i++) {
        int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
        if (r < 0)
            return r;
    }
    return 0;
}

/* No new processes, only threads. clone3 hides its flags behind a pointer; ENOSYS makes the C
 * library use clone. The leak checker of a sanitizer needs both a helper process and ptrace. */
static int add_processes(scmp_filter_ctx filter)
{
    if (LATHE_SLOT_SANITIZED)
        return 0;
    const uint32_t deny = SCMP_ACT_ERRNO(EPERM);
    int r = seccomp_rule_add(filter, deny, SCMP_SYS(ptrace), 0);
    if (r == 0)
        r = seccomp_rule_add(filter, deny, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return r;
}

/* Calls that are denied by what they are asked to do. */
static int add_conditional(scmp_filter_ctx filter)
{
    const scmp_datum_t self = (scmp_datum_t)getpid();
    const uint32_t deny = SCMP_ACT_ERRNO(EPERM);
    /* abort() and assertions signal the process itself; nobody else is. */
    int r = seccomp_rule_add(filter, deny, SCMP_SYS(kill), 1, SCMP_A0(SCMP_CMP_NE, self));
    if (r == 0)
        r = seccomp_rule_add(filter, deny, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_NE, self));
    if (r == 0)
        r = seccomp_rule_add(filter, deny, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_NE, 0));
    /* Typing into the terminal that the parent may have. */
    if (r == 0)
        r = seccomp_rule_add(filter, deny, SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCSTI));
    /* Landlock before its version 3 lets a file that may only be read be cut to nothing. */
    const scmp_datum_t mask = O_ACCMODE | O_TRUNC;
    if (r == 0)
        r = seccomp_rule_add(filter, deny, SCMP_SYS(open), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, mask, O_TRUNC | O_RDONLY));
    if (r == 0)
        r = seccomp_rule_add(filter, deny, SCMP_SYS(openat), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, mask, O_TRUNC | O_RDONLY));
    /* Its arguments are behind a pointer; ENOSYS makes callers use openat. */
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0);
    return r;
}

int lathe_sandbox_syscalls(struct lathe_error *err)
{
    if (prctl(PR_GET_SECCOMP) < 0)
        return 0; /* a kernel without filters */
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return lathe_error_nomem(err);
    /* Threads that a driver started before this are to be bound as well. */
    int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = add_denied(filter);
    if (r == 0)
        r = add_processes(filter);
    if (r == 0)
        r = add_conditional(filter);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    if (r < 0)
        return lathe_error_set(err, r, LATHE_FAULT_INTERNAL, "the system call filter: %s",
                               strerror(-r));
    return 0;
}
