import { type TestContext, test } from 'vitest';

/** What a check of the adversarial suite says about itself; `AttackReporter` makes a table of them. */
export interface AttackMeta {
  /** What is attacked: `kernel`, `files`, `gateway`, … */
  readonly area: string;
  readonly check: string;
  /** What holds it: one short phrase. For a limit, the setting that makes it hold elsewhere. */
  readonly how: string;
  readonly isLimit: boolean;
}

declare module 'vitest' {
  interface TaskMeta {
    attack?: AttackMeta;
  }
}

type Body = (context: TestContext) => Promise<void> | void;

/** One check of the adversarial suite: `body` attacks and asserts that the attack fails. */
export function attack(area: string, check: string, how: string, body: Body, timeoutMs?: number): void {
  declare({ area, check, how, isLimit: false }, body, timeoutMs);
}

/**
 * A check that cannot hold on every engine: `body` asserts what an attacker gets and no more, and the table names it a
 * limit. Each has its line in docs/guide/security.md.
 */
export function limit(area: string, check: string, how: string, body: Body, timeoutMs?: number): void {
  declare({ area, check, how, isLimit: true }, body, timeoutMs);
}

function declare(meta: AttackMeta, body: Body, timeoutMs: number | undefined): void {
  const run: Body = async (context) => {
    context.task.meta.attack = meta;
    await body(context);
  };
  test(`${meta.area}: ${meta.check}`, run, timeoutMs);
}
