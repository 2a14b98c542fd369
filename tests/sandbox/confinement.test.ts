import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attack } from '#tests/support/attack.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let sandbox: Sandbox;
let sessionId: string;

/** Prints the errno of a raw system call; numbers of both architectures, because they differ. */
const probe = `import ctypes, errno, platform, sys
numbers = dict(ptrace=(101,117), mount=(165,40), fsopen=(430,430), pivot_root=(155,41), setns=(308,268), unshare=(272,97),
  clone3=(435,435), keyctl=(250,219), add_key=(248,217), bpf=(321,280), perf_event_open=(298,241), userfaultfd=(323,282),
  kexec_load=(246,104), init_module=(175,105), io_uring_setup=(425,425), memfd_secret=(447,447), mknodat=(259,33),
  process_vm_readv=(310,270), open_by_handle_at=(304,265), chroot=(161,51), personality=(135,92), socket=(41,198),
  clone=(56,220))
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
name, args = sys.argv[1], [a.encode() if not a.lstrip('-').isdigit() else ctypes.c_long(int(a)) for a in sys.argv[2:]]
r = libc.syscall(ctypes.c_long(numbers[name][platform.machine() == 'aarch64']), *args)
print('OK' if r >= 0 else errno.errorcode[ctypes.get_errno()])
`;

beforeAll(async () => {
  stage = openSandboxStage();
  sessionId = stage.newSession();
  sandbox = await stage.open(stage.worker(), sessionId);
  await sandbox.writeFile('probe.py', probe, { append: false, signal: new AbortController().signal });
});
afterAll(async () => await stage[Symbol.asyncDispose]());

const call = (words: string) => `python3 probe.py ${words}`;
const connectTo = (host: string, type = 'STREAM') =>
  `python3 -c 'import socket as s,errno; k=s.socket(s.AF_INET,s.SOCK_${type}); k.settimeout(3); print(errno.errorcode.get(k.connect_ex(("${host}",80))))'`;

/** Number of the check, claim, command, what it must print. */
const checks: readonly (readonly [number: string, claim: string, command: string, expected: string | RegExp])[] = [
  [
    '1',
    'no Docker socket is in sight',
    'ls /var/run/docker.sock /run/docker.sock /run/host/docker.sock 2>/dev/null | wc -l',
    '0',
  ],
  ['1', 'the host’s directory holds the one socket', 'ls -A /run/host', 'toolbox.sock'],
  [
    '1',
    'the host’s directory cannot be written',
    'touch /run/host/x 2>&1; rm -f /run/host/toolbox.sock 2>&1; ls /run/host',
    /Read-only.*toolbox\.sock$/s,
  ],
  ['2', 'sysrq cannot be triggered', 'echo b > /proc/sysrq-trigger', /Permission denied|No such|Read-only/],
  [
    '3',
    'core_pattern cannot be written and no core is dumped',
    'echo "|/x" > /proc/sys/kernel/core_pattern; ulimit -c',
    /(Permission denied|Read-only).*\n0$/s,
  ],
  ['4', 'mount fails', call('mount none /tmp tmpfs 0 0'), 'EPERM'],
  ['4', 'fsopen fails', call('fsopen ext4 0'), 'EPERM'],
  ['4', 'pivot_root fails', call('pivot_root / /'), 'EPERM'],
  ['4', 'setns fails', call('setns 0 0'), 'EPERM'],
  ['4', 'chroot fails', call('chroot /tmp'), 'EPERM'],
  ['5', 'ptrace fails', call('ptrace 0 0 0 0'), 'EPERM'],
  ['5', 'process_vm_readv fails', call('process_vm_readv 1 0 0 0 0 0'), 'EPERM'],
  ['6', 'the memory of the first process is closed', 'cat /proc/1/mem', /Permission denied/],
  ['6', 'the environment of the first process is closed', 'cat /proc/1/environ', /Permission denied/],
  ['6', 'the first process cannot be killed', 'kill -9 1', /not permitted/],
  ['6', 'the memory of the toolbox is closed', 'cat /proc/$(cat /run/toolbox.pid)/mem', /Permission denied/],
  ['7', 'no file of the image raises privileges', 'find / -xdev -perm /6000 -type f 2>/dev/null | wc -l', '0'],
  [
    '7',
    'privileges cannot be gained',
    'grep -E "NoNewPrivs|CapEff|CapBnd|CapPrm|CapAmb" /proc/self/status',
    'CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1',
  ],
  ['8', 'su does not help', 'su -c id root </dev/null', /su: |command not found/],
  ['9', 'unshare of a user namespace fails', call(`unshare ${0x1000_0000}`), 'EPERM'],
  ['9', 'clone into a user namespace fails', call(`clone ${0x1000_0000 + 17} 0 0 0 0`), 'EPERM'],
  ['9', 'clone3 is not there', call('clone3 0 0'), 'ENOSYS'],
  ['10', 'keyctl fails', call('keyctl 0 -3 0'), 'EPERM'],
  ['10', 'add_key fails', call('add_key user k v 1 -3'), 'EPERM'],
  ['11', 'bpf fails', call('bpf 0 0 0'), 'EPERM'],
  ['11', 'perf_event_open fails', call('perf_event_open 0 0 -1 -1 0'), 'EPERM'],
  ['11', 'userfaultfd fails', call('userfaultfd 0'), 'EPERM'],
  ['11', 'kexec_load fails', call('kexec_load 0 0 0 0'), 'EPERM'],
  ['11', 'init_module fails', call('init_module 0 0 x'), 'EPERM'],
  ['12', 'io_uring fails', call('io_uring_setup 1 0'), 'EPERM'],
  ['12', 'memfd_secret fails', call('memfd_secret 0'), 'EPERM'],
  ['13', 'AF_VSOCK fails', call('socket 40 1 0'), 'EPERM'],
  ['13', 'AF_ALG fails', call('socket 38 5 0'), 'EPERM'],
  ['14', 'AF_PACKET fails', call('socket 17 3 0'), 'EPERM'],
  ['14', 'raw IP fails', call('socket 2 3 1'), 'EPERM'],
  ['14', 'AF_XDP fails', call('socket 44 3 0'), 'EPERM'],
  [
    '15',
    'no device of the host is there',
    'ls /dev/mem /dev/kmsg /dev/kvm /dev/fuse /dev/net /dev/sda /dev/vda 2>/dev/null | wc -l',
    '0',
  ],
  ['15', 'a device node cannot be made', call(`mknodat -100 /tmp/null ${0o20666} ${(1 << 8) + 3}`), 'EPERM'],
  [
    '16',
    'no cgroup can be written',
    'find /sys/fs/cgroup -name release_agent -writable 2>/dev/null | wc -l; touch /sys/fs/cgroup/x',
    /^0\n.*(Read-only|denied)/s,
  ],
  [
    '17',
    'the root, hosts and resolv.conf cannot be written',
    'for f in /x /usr/bin/x /etc/hosts /etc/resolv.conf /etc/passwd; do echo x 2>/dev/null >> $f && echo WROTE $f; done; echo end',
    /^(?!.*WROTE).*end$/s,
  ],
  ['18', 'the gateway of the bridge cannot be reached', connectTo('172.17.0.1'), 'ENETUNREACH'],
  ['18', 'there is no interface but loopback', 'ls /sys/class/net', 'lo'],
  ['19', 'the metadata service cannot be reached', connectTo('169.254.169.254'), 'ENETUNREACH'],
  ['19', 'the metadata service cannot be reached by UDP', connectTo('169.254.169.254', 'DGRAM'), 'ENETUNREACH'],
  ['20', 'names do not resolve', 'getent hosts example.com; echo $?', '2'],
  [
    '24',
    'no secret of the worker is in the environment',
    'env | cut -d= -f1 | sort | grep -v -x -E "HOME|HOSTNAME|LANG|PATH|PWD|OLDPWD|SHLVL|TERM|_"; true',
    '',
  ],
  ['24', 'only the sandbox’s own processes are visible', 'ps -e -o uid= | sort -u | tr -d " "', '10001\n10002'],
  ['24', 'the agent is an ordinary user with no groups', 'id', 'uid=10001(agent) gid=10001(agent) groups=10001(agent)'],
  [
    '32',
    'the temporary directory has an end',
    'head -c 80000000 /dev/zero > /tmp/fill; du -m /tmp/fill | cut -f1; rm /tmp/fill',
    /No space left.*\n6[0-9]$/s,
  ],
  ['33', 'one file has an end', 'truncate -s 2G /workspace/big; echo $?', /[1-9]\d*$/],
  [
    '34',
    'so have the files of the temporary directory',
    'mkdir /tmp/n; cd /tmp/n; seq 20000 | xargs touch 2>/dev/null; ls | wc -l; cd; rm -rf /tmp/n',
    /^1[56]\d{3}$/,
  ],
  [
    '35',
    'open files have an end',
    `python3 -c 'import os\ntry:\n while 1: os.dup(0)\nexcept OSError as e: print(e.errno)'`,
    '24',
  ],
  [
    '38',
    'no zombie stays',
    'for i in $(seq 50); do (sleep 0.01 & exec true); done; for i in $(seq 100); do ps -e -o stat= | grep -q Z || break; sleep 0.1; done; ps -e -o stat= | grep -c Z',
    '0',
  ],
];

/** By the highest number of a group: what is attacked, and what holds it. */
const groups: readonly (readonly [upTo: number, area: string, how: string])[] = [
  [1, 'host', 'nothing of the host is mounted but one folder, read-only'],
  [3, 'kernel', 'kernel settings are read-only and masked, core dumps are off'],
  [5, 'kernel', 'not in the list of system calls'],
  [6, 'privilege', 'the first process is another user’s, the toolbox cannot be dumped'],
  [8, 'privilege', 'no capability, no setuid file, no-new-privileges'],
  [14, 'kernel', 'not in the list of system calls'],
  [15, 'host', 'no device is there and none can be made'],
  [17, 'host', 'control groups and root are read-only'],
  [20, 'network', 'the container has loopback and no route'],
  [24, 'secrets', 'variables, processes and users of its own only'],
  [34, 'resources', 'file systems and single files have a size and a number'],
  [38, 'resources', 'bounds of the kernel; an init that waits for the dead'],
  [40, 'toolbox', 'the container dials, the worker never does'],
];

describe('a sandbox keeps its agent in', () => {
  for (const [number, claim, command, expected] of checks) {
    const [, area, how] = groups.find(([upTo]) => Number(number) <= upTo) ?? [0, 'host', ''];
    attack(area, `${number}: ${claim}`, how, async () => {
      const { output } = await run(sandbox, command);
      if (typeof expected === 'string') expect(output.trim()).toBe(expected);
      else expect(output.trim()).toMatch(expected);
    });
  }

  test('the probe itself works: an allowed call is allowed', async () => {
    expect((await run(sandbox, call('socket 1 1 0'))).output.trim()).toBe('OK');
    expect((await run(sandbox, call('socket 16 3 0'))).output.trim()).toBe('OK');
    expect((await run(sandbox, call('personality 0'))).output.trim()).toBe('OK');
    expect((await run(sandbox, call(`personality ${0x004_0000}`))).output.trim()).toBe('EPERM');
  });

  attack('resources', '37: memory and processor time', 'bounded by the limits of the profile', async () => {
    const info = await stage.container(sessionId);
    expect(info?.HostConfig).toMatchObject({
      Memory: 512 << 20,
      MemorySwap: 512 << 20,
      NanoCpus: 1e9,
      PidsLimit: 256,
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      Privileged: false,
    });
    expect(info?.Config.User).toBe('10002:10002');
  });

  attack('toolbox', '40: a socket planted in the workspace', 'the container dials, the worker never does', async () => {
    const planted =
      'python3 -c \'import socket; s=socket.socket(socket.AF_UNIX); s.bind("/workspace/toolbox.sock"); s.listen(); s.settimeout(1); s.accept()\'';
    expect((await run(sandbox, planted)).output).toContain('timed out');
  });

  attack('toolbox', 'an impostor takes the toolbox’s place', 'it can only spoil its own session', async () => {
    const own = stage.newSession();
    const first = stage.worker();
    const victim = await stage.open(first, own);
    const impostor = `import os,signal,socket,struct,time,fcntl
os.setsid()
def frame(h, b=b''): return struct.pack('>II', 4+len(h)+len(b), len(h)) + h + b
place = '/run/host/toolbox.sock'
pid, first = int(open('/run/toolbox.pid').read()), os.stat(place).st_ino
lock = os.open('/run/toolbox.pid', os.O_RDWR)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
open('/tmp/ready', 'w').close()
while os.path.exists(place) and os.stat(place).st_ino == first: time.sleep(0.005)
os.kill(pid, 9)
fcntl.flock(lock, fcntl.LOCK_EX)
os.pwrite(lock, b'%d\\n' % os.getpid(), 0)
open('/proc/self/comm', 'w').write('in-place')
while True:
  try:
    s = socket.socket(socket.AF_UNIX); s.connect(place)
    s.sendall(frame(b'{"hello":"switchyard-toolbox","version":1}'))
    s.recv(10)
    s.sendall(b'\\xff' * 4096)
    s.recv(10)
  except OSError: time.sleep(0.02)
`;
    await run(victim, `cat > imp.py; python3 imp.py >/dev/null 2>&1 &`, { stdin: impostor });
    await eventually(async () => expect((await run(victim, 'ls /tmp/ready')).exitCode).toBe(0));
    await first[Symbol.asyncDispose]();
    const container = stage.engine.getContainer((await stage.container(own))?.Id ?? '');
    await eventually(async () => {
      expect(JSON.stringify(await container.top({ ps_args: '-o pid,comm' }))).toContain('in-place');
    });
    // It greets as a toolbox of another version, over and over, which is no reason to do without a container.
    const next = await stage.open(stage.worker(), own);
    expect((await run(next, 'echo fine')).output).toBe('fine\n');
    expect((await run(next, 'ls imp.py')).output).toBe('imp.py\n');
  });
});
