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

/** One check of the adversarial suite: `body` attacks and asserts that the attack fails. */
export function attack(area: string, check: string, how: string, body: (context: TestContext) => Promise<void> | void) {
  declare({ area, check, how, isLimit: false }, body);
}

/**
 * A check that cannot hold on every engine: `body` asserts what an attacker gets and no more, and the table names it a
 * limit. Each has its line in docs/guide/security.md.
 */
export function limit(area: string, check: string, how: string, body: (context: TestContext) => Promise<void> | void) {
  declare({ area, check, how, isLimit: true }, body);
}

function declare(meta: AttackMeta, body: (context: TestContext) => Promise<void> | void): void {
  test(`${meta.area}: ${meta.check}`, async (context) => {
    context.task.meta.attack = meta;
    await body(context);
  });
}
