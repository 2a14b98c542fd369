import type { Reporter, TestModule } from 'vitest/node';
import type { AttackMeta } from './attack.ts';

interface Row extends AttackMeta {
  readonly state: string;
}

/** Prints the checks of the adversarial suite as a table: area, check, held or not, how. */
export class AttackReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const rows = modules.flatMap((module) =>
      [...module.children.allTests()].flatMap((found): Row[] => {
        const { attack } = found.meta();
        return attack === undefined ? [] : [{ ...attack, state: found.result().state }];
      }),
    );
    if (rows.length > 0) process.stdout.write(`${attackTable(rows)}\n`);
  }
}

/** The table, one line a check, grouped by area. */
export function attackTable(rows: readonly Row[]): string {
  const sorted = rows.toSorted((a, b) => a.area.localeCompare(b.area));
  const areaWidth = Math.max(...rows.map(({ area }) => area.length));
  const checkWidth = Math.max(...rows.map(({ check }) => check.length));
  const lines = sorted.map(
    (row) => `${row.area.padEnd(areaWidth)}  ${row.check.padEnd(checkWidth)}  ${outcome(row).padEnd(8)}  ${row.how}`,
  );
  const count = (word: string) => rows.filter((row) => outcome(row) === word).length;
  return [
    '',
    'Adversarial suite',
    ...lines,
    `${count('held')} held, ${count('NOT HELD')} not held, ${count('limit')} documented limits.`,
  ].join('\n');
}

function outcome({ state, isLimit }: Row): string {
  if (state !== 'passed') return 'NOT HELD';
  return isLimit ? 'limit' : 'held';
}
