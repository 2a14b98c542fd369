/** The steps a crash test may stop at. */
export type FailpointName =
  | 'accept.committed'
  | 'wake.added'
  | 'claim.committed'
  | 'handler.mid'
  | 'finish.committed'
  | 'wake.readded'
  | 'inbox.before'
  | 'inbox.committed'
  | 'inbox.routed'
  | 'inbox.joined'
  | 'delivery.claimed'
  | 'delivery.sent';

// Module state, because a failpoint ends this very process: there is nothing to hand to a second instance.
let armed: string | undefined;
let hitsLeft = 1;

/**
 * Arms one failpoint for the rest of this process; the composition root calls it from its settings. `name:3` lets two
 * hits pass, so that a crash comes in the middle of the work.
 */
export function armFailpoint(setting: string | undefined): void {
  const [name, hits] = setting?.split(':') ?? [];
  armed = name;
  hitsLeft = Math.max(1, Number(hits ?? 1) || 1);
}

/**
 * Marks a step between two durable writes. When armed under this name the process kills itself with SIGKILL here, so
 * that a crash test hits exactly this step; otherwise it costs one comparison.
 */
export function failpoint(name: FailpointName): void {
  if (armed !== name) return;
  hitsLeft -= 1;
  if (hitsLeft === 0) process.kill(process.pid, 'SIGKILL');
}
