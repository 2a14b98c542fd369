/**
 * The system calls a sandbox may make; everything else fails with EPERM. The engine's own default lets through
 * AF_VSOCK (the hypervisor's socket), io_uring (a second way around any filter), ptrace, process_vm_* and
 * memfd_secret; here they are absent, as are namespaces, mounts, keyrings, bpf, perf, userfaultfd and modules.
 * Names that an architecture or kernel does not have are skipped by the runtime, so one list serves x86_64 and arm64.
 */
const groups = {
  files: `access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
    fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fremovexattr
    fsetxattr fstat fstatfs fsync ftruncate getcwd getdents getdents64 getxattr lchown lgetxattr link linkat listxattr
    llistxattr lremovexattr lseek lsetxattr lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 pread64
    preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr rename renameat
    renameat2 rmdir sendfile setxattr splice stat statfs statx symlink symlinkat sync sync_file_range syncfs tee
    truncate umask unlink unlinkat utime utimensat utimes vmsplice write writev cachestat`,
  waiting: `epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
    io_pgetevents io_setup io_submit ioctl pipe pipe2 poll ppoll pselect6 select signalfd signalfd4 timerfd_create
    timerfd_gettime timerfd_settime`,
  memory: `brk madvise membarrier memfd_create mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall
    munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages map_shadow_stack mseal`,
  processes: `alarm arch_prctl capget capset execve execveat exit exit_group fork getcpu getegid geteuid getgid getgroups
    getitimer getpgid getpgrp getpid getppid getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid
    kill landlock_add_rule landlock_create_ruleset landlock_restrict_self pause pidfd_open pidfd_send_signal prctl
    prlimit64 process_mrelease restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp set_robust_list get_robust_list set_tid_address
    setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit
    setsid setuid sigaltstack tgkill tkill times uname vfork wait4 waitid ioprio_get ioprio_set sysinfo`,
  time: `clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep time timer_create timer_delete
    timer_getoverrun timer_gettime timer_settime`,
  talking: `accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg
    sendto setsockopt shutdown socketpair futex futex_requeue futex_wait futex_waitv futex_wake getrandom
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl semget
    semop semtimedop shmat shmctl shmdt shmget`,
};

const allow = 'SCMP_ACT_ALLOW';
const equal = 'SCMP_CMP_EQ';

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: a clone with any of them set is refused. */
const namespaceFlags = 0x7e02_0000;

/** AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK (interface lists of common runtimes). */
const socketFamilies = [1, 2, 10, 16];

/** PER_LINUX, UNAME26, PER_LINUX32, both, and the query: what `setarch` needs, without address randomisation off. */
const personalities = [0x0, 0x2_0000, 0x8, 0x2_0008, 0xffff_ffff];

/** The profile as the engine takes it, inline, in `SecurityOpt`. */
export const seccompProfile = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: 1,
  archMap: [
    { architecture: 'SCMP_ARCH_X86_64', subArchitectures: [] },
    { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: [] },
  ],
  syscalls: [
    { names: Object.values(groups).flatMap((names) => names.split(/\s+/)), action: allow, args: [] },
    {
      names: ['clone'],
      action: allow,
      args: [{ index: 0, value: namespaceFlags, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
    },
    // Its flags lie in memory, where a filter cannot look. ENOSYS makes the C library fall back to clone.
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38, args: [] },
    ...socketFamilies.map((family) => ({
      names: ['socket'],
      action: allow,
      args: [{ index: 0, value: family, valueTwo: 0, op: equal }],
    })),
    ...personalities.map((value) => ({
      names: ['personality'],
      action: allow,
      args: [{ index: 0, value, valueTwo: 0, op: equal }],
    })),
  ],
};
