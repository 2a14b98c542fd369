import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { planContainer, type WorkspaceMount, workspaceVolume } from '#workers/sandbox/container-spec.ts';
import { openEngine } from '#workers/sandbox/docker-engine.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import { resolveSandboxLimits, sandboxLimits } from '#workers/sandbox/sandbox-limits.ts';
import { seccompProfile } from '#workers/sandbox/seccomp-profile.ts';

const mount: WorkspaceMount = { kind: 'volume', name: 'v' };
const site = {
  image: 'i',
  imageId: 'sha256:1',
  instance: 'test',
  host: 'local',
  workspace: 's',
  mount,
  hostDirectory: '/x',
  createdAt: new Date(0),
};
const spec = { sessionId: 's', agent: 'a', limits: sandboxLimitsSchema.parse({}) };

describe('a container plan', () => {
  test('has the same digest for the same wishes and another for each that differs', () => {
    const { digest } = planContainer(spec, site);
    expect(planContainer(spec, { ...site, createdAt: new Date() }).digest).toBe(digest);
    const others = [
      planContainer({ ...spec, limits: { ...spec.limits, pids: 99 } }, site),
      planContainer(spec, { ...site, imageId: 'sha256:2' }),
      planContainer(spec, { ...site, hostDirectory: '/y' }),
      planContainer(spec, { ...site, mount: { kind: 'volume', name: 'w' } }),
    ];
    expect(new Set([digest, ...others.map((plan) => plan.digest)]).size).toBe(5);
  });

  test('names another container for each installation, workspace and kind', () => {
    const names = [site, { ...site, instance: 'other' }].flatMap((place) =>
      ['s', 't'].flatMap((workspace) =>
        (['core', 'browser'] as const).map((kind) => planContainer({ ...spec, kind }, { ...place, workspace }).name),
      ),
    );
    expect(new Set(names).size).toBe(8);
  });

  test('asks for a volume of the right size where the engine has quotas, and keeps it when the limit changes', () => {
    const quota = (quotaMb: number): WorkspaceMount => ({ kind: 'volume', name: 'v', quotaMb });
    const [small, large] = [quota(64), quota(128)].map((each) => planContainer(spec, { ...site, mount: each }));
    expect(small?.options.HostConfig?.Mounts?.[0]?.VolumeOptions).toMatchObject({
      DriverConfig: { Name: 'local', Options: { size: '64m' } },
    });
    // A volume cannot be made larger: another container would bring nothing.
    expect(large?.digest).toBe(small?.digest);
  });

  test('is replaced for a larger file system, whichever worker mounts it where', () => {
    const bind = (path: string): WorkspaceMount => ({ kind: 'bind', path, name: 'w' });
    const one = planContainer(spec, { ...site, mount: bind('/a') });
    expect(planContainer(spec, { ...site, mount: bind('/b') }).digest).toBe(one.digest);
    const larger = { ...spec, limits: { ...spec.limits, disk_mb: 2048 } };
    expect(planContainer(larger, { ...site, mount: bind('/a') }).digest).not.toBe(one.digest);
  });

  test('never has a network, and with the gateway only the way to it', () => {
    const open = planContainer({ ...spec, limits: { ...spec.limits, network: 'gateway' } }, site);
    expect(open.options.HostConfig?.NetworkMode).toBe('none');
    expect(open.options.Env).toContain('HTTPS_PROXY=http://127.0.0.1:3128');
    expect(planContainer(spec, site).options.Env?.join(' ')).not.toMatch(/proxy/i);
  });

  test('keeps odd session ids out of volume names', () => {
    expect(workspaceVolume('0199-ab')).toBe('switchyard-ws-0199-ab');
    expect(workspaceVolume('../../etc')).toMatch(/^switchyard-ws-[0-9a-f]{32}$/);
    expect(workspaceVolume('a/b:rw')).toMatch(/^switchyard-ws-[0-9a-f]{32}$/);
  });
});

test('the system call list has no way around itself in it', () => {
  const allowed = new Set(
    seccompProfile.syscalls
      .filter((rule) => rule.action === 'SCMP_ACT_ALLOW' && rule.args.length === 0)
      .flatMap((rule) => rule.names),
  );
  const forbidden =
    'ptrace process_vm_readv process_vm_writev io_uring_setup io_uring_enter memfd_secret bpf perf_event_open userfaultfd ' +
    'mount umount2 fsopen open_tree move_mount pivot_root chroot setns unshare clone clone3 keyctl add_key request_key ' +
    'kexec_load init_module finit_module delete_module reboot swapon sethostname iopl ioperm open_by_handle_at kcmp ' +
    'pidfd_getfd socket personality syslog acct quotactl settimeofday clock_settime modify_ldt';
  expect(forbidden.split(' ').filter((name) => allowed.has(name))).toEqual([]);
  expect(allowed.size).toBeGreaterThan(250);
});

test('limits are clamped into their ranges', () => {
  expect(resolveSandboxLimits()).toEqual(
    Object.fromEntries(Object.entries(sandboxLimits).map(([name, limit]) => [name, limit.default])),
  );
  expect(resolveSandboxLimits({ pauseAfterMs: -1, dialMs: 1e12 })).toMatchObject({ pauseAfterMs: 100, dialMs: 60_000 });
});

test('an engine address that is none is refused before anything starts', () => {
  expect(() => openEngine('ftp://x')).toThrow(expect.objectContaining({ code: 'config.invalid' }));
  const options = { image: 'i', instance: 'x', socketDirectory: '/tmp/x', dockerHost: 'nonsense' };
  expect(() => new DockerSandboxes({ log: pino({ level: 'silent' }) }, options)).toThrow(
    expect.objectContaining({ code: 'config.invalid' }),
  );
});
