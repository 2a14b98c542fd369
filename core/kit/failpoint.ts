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
  | 'delivery.claimed'
  | 'delivery.sent';

// Module state, because a failpoint ends this very process: there is nothing to hand to a second instance.
let armed: string | undefined;

/** Arms one failpoint for the rest of this process; the composition root calls it from its settings. */
export function armFailpoint(name: string | undefined): void {
  armed = name;
}

/**
 * Marks a step between two durable writes. When armed under this name the process kills itself with SIGKILL here, so
 * that a crash test hits exactly this step; otherwise it costs one comparison.
 */
export function failpoint(name: FailpointName): void {
  if (armed === name) process.kill(process.pid, 'SIGKILL');
}
