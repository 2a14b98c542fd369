import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { release } from 'node:os';
import { afterAll, beforeAll, expect } from 'vitest';
import { attack, limit } from '#tests/support/attack.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';
import type { Sandbox } from '#workers/sandbox/sandbox.ts';

let stage: SandboxStage;
let sandbox: Sandbox;

beforeAll(async () => {
  stage = openSandboxStage();
  sandbox = await stage.open(stage.worker(), stage.newSession());
});
afterAll(async () => await stage[Symbol.asyncDispose]());

const shell = async (command: string): Promise<string> => (await run(sandbox, command)).output.trim();
const python = async (script: string): Promise<string> =>
  (await run(sandbox, 'python3 -', { stdin: script })).output.trim();

attack(
  'kernel',
  'sockets of the host’s programs without a name in the file system',
  'a network of its own has none of them',
  async () => {
    const name = `\0switchyard-canary-${process.pid}`;
    let taken = 0;
    const server = createServer(() => {
      taken += 1;
    });
    await new Promise<void>((resolve) => server.listen(name, resolve));
    try {
      expect(readFileSync('/proc/net/unix', 'utf8')).toContain(name.slice(1));
      const said = await python(`
import socket, errno
s = socket.socket(socket.AF_UNIX)
print(errno.errorcode[s.connect_ex('\\0switchyard-canary-${process.pid}')])
print(sum('canary' in line or 'containerd' in line for line in open('/proc/net/unix')))
`);
      expect(said).toBe('ECONNREFUSED\n0');
      expect(taken).toBe(0);
    } finally {
      server.close();
    }
  },
);

attack('kernel', 'a descriptor of the host left open', 'none leads out of the container', async () => {
  const said = await shell(
    'for p in /proc/[0-9]*; do for f in $p/fd/*; do readlink $f 2>/dev/null; done; done | grep -v -E "^(pipe:|socket:|anon_inode:|/dev/(null|zero|urandom|random|tty|pts/)|/proc/|/workspace|/tmp|/usr/|/run/toolbox|/$)" | sort -u',
  );
  expect(said).toBe('');
});

attack('kernel', 'the working directory of an open descriptor', 'no path climbs out of the root', async () => {
  expect(
    await shell(
      'for n in 3 4 5 6 7 8 9 10; do cat /proc/self/fd/$n/../../../../etc/hostname 2>/dev/null; done; cd /; for i in $(seq 50); do cd ..; done; pwd',
    ),
  ).toBe('/');
});

attack('kernel', 'programs that the operator’s shell would run', 'nothing on the path can be replaced', async () => {
  expect(
    await shell(
      'IFS=:; for d in $PATH /bin /sbin /usr/sbin /lib /usr/lib /etc /etc/ld.so.preload /usr/local/lib/switchyard; do test -w "$d" && echo "writable $d"; done; for f in /usr/local/bin/toolbox /bin/sh /bin/bash; do (echo x >> "$f") 2>/dev/null && echo "wrote $f"; done; echo end',
    ),
  ).toBe('end');
});

for (const [what, how, script] of [
  ['the clock', 'the right to it is taken away', 'import time; time.clock_settime(time.CLOCK_REALTIME, 1e9)'],
  ['the name of the machine', 'the right to it is taken away', 'import socket; socket.sethostname("evil")'],
  [
    'routes and interfaces',
    'the right to them is taken away',
    'import socket, fcntl, struct; s = socket.socket(); fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0))',
  ],
  [
    'file capabilities',
    'the right to them is taken away',
    'import os; open("/workspace/c", "w"); os.setxattr("/workspace/c", "security.capability", bytes.fromhex("0100000200ffffff00000000ffffff0000000000"))',
  ],
  [
    'files given to root',
    'the right to it is taken away',
    'import os; open("/workspace/o", "w"); os.chown("/workspace/o", 0, 0)',
  ],
  ['another user', 'the right to it is taken away', 'import os; os.setuid(10002)'],
  ['another group', 'the right to it is taken away', 'import os; os.setgroups([0])'],
  [
    'the messages of the kernel',
    'the call is closed',
    'import ctypes, os; b = ctypes.create_string_buffer(99); r = ctypes.CDLL(None, use_errno=True).klogctl(3, b, 99); r >= 0 or (_ for _ in ()).throw(OSError())',
  ],
  [
    'swap and accounting',
    'the call is closed',
    'import ctypes; r = ctypes.CDLL(None).swapon(b"/workspace/x", 0) & ctypes.CDLL(None).acct(b"/workspace/x"); r >= 0 or (_ for _ in ()).throw(OSError())',
  ],
  [
    'a port of the machine',
    'the right to it is taken away',
    'import ctypes; r = ctypes.CDLL(None).iopl(3); r >= 0 or (_ for _ in ()).throw(OSError())',
  ],
] as const) {
  attack('kernel', `changes of ${what}`, how, async () => {
    expect(
      await python(`try:\n  exec(${JSON.stringify(script)})\n  print('DONE')\nexcept OSError: print('refused')`),
    ).toBe('refused');
  });
}

attack('kernel', 'settings of the kernel under /proc/sys', 'mounted read-only', async () => {
  expect(
    await shell(
      'find /proc/sys /sys -type f -writable 2>/dev/null | head -400 | while read f; do cat "$f" 2>/dev/null > /tmp/v && cat /tmp/v 2>/dev/null > "$f" 2>/dev/null && echo "WROTE $f"; done 2>/dev/null; echo end',
    ),
  ).toBe('end');
});

attack('kernel', 'what the kernel tells of its own memory', 'masked', async () => {
  expect(
    await shell(
      'for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /sys/firmware/acpi /proc/acpi /proc/scsi; do head -c 1 "$f" 2>/dev/null | wc -c; done | sort -u; grep -c -v "^0000000000000000" /proc/kallsyms 2>/dev/null | head -1; cat /sys/kernel/debug/x /sys/fs/bpf/x 2>/dev/null; true',
    ),
  ).toMatch(/^0(?:\n0)?$/);
});

attack('kernel', 'shared memory and queues of others', 'a place of its own for both', async () => {
  expect(
    await shell(
      'tail -n +2 /proc/sysvipc/shm /proc/sysvipc/msg /proc/sysvipc/sem 2>/dev/null | grep -c "^ *[0-9]"; ls /dev/shm /dev/mqueue 2>/dev/null | grep -v : | grep -c .',
    ),
  ).toBe('0\n0');
});

attack('kernel', 'other terminals', 'a terminal list of its own; input cannot be pushed into one', async () => {
  expect(
    await python(`
import fcntl, os, termios
out = []
master, slave = os.openpty()
try: fcntl.ioctl(slave, termios.TIOCSTI, b'x'); out.append('PUSHED')
except OSError: out.append('refused')
print(*out)
print(len([n for n in os.listdir('/dev/pts') if n.isdigit() and os.stat('/dev/pts/' + n).st_uid != 10001]))
`),
  ).toMatch(/^(?:refused|PUSHED)\n0$/);
});

attack('kernel', 'a program for another kind of processor', 'nothing can be registered to run it', async () => {
  expect(
    await shell(
      'echo ":x:M::x::/workspace/x:" > /proc/sys/fs/binfmt_misc/register 2>&1; ls /proc/sys/fs/binfmt_misc | wc -l',
    ),
  ).toMatch(/0$/);
});

limit(
  'kernel',
  '25: facts of the host',
  'the kernel shows them to all: `sandbox.runtime: runsc` or Kata shows its own',
  async () => {
    // Readable: the kernel's version and command line, load, the machine's memory. Not: names, addresses, processes, users.
    expect(await shell('uname -r')).toBe(release());
    expect(await shell('test -r /proc/meminfo && test -r /proc/loadavg && hostname')).toBe('sandbox');
    expect(await shell('cat /proc/[0-9]*/cmdline | tr "\\0" " " | grep -c "[v]itest"')).toBe('0');
  },
);

limit(
  'kernel',
  'a fault of the shared kernel',
  'not tried: the kernel is the wall; `sandbox.runtime: runsc` or Kata puts another one before it',
  async () => {
    expect(readFileSync('/proc/version', 'utf8').trim()).toBe(await shell('cat /proc/version'));
  },
);
