import { execFile } from 'node:child_process';
import path from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { attack } from '#tests/support/attack.ts';

const outputSchema = z.object({
  isAlone: z.boolean(),
  cases: z.array(z.string()),
  results: z.record(z.string(), z.array(z.string())),
  open: z.string(),
});
type Output = z.infer<typeof outputSchema>;

const program = path.resolve(import.meta.dirname, '../../fakes/web/ssrf-cases.main.ts');

/** Runs the cases where the victim may have any address; where that is not allowed, against the plain loopback. */
async function runCases(): Promise<Output> {
  const run = async (command: string, args: readonly string[], isAlone: boolean): Promise<string> =>
    await new Promise((resolve, reject) => {
      const env = { ...process.env, ...(isAlone ? { SSRF_ALONE: '1' } : {}) };
      execFile(command, [...args], { env, timeout: 90_000 }, (err, stdout) =>
        err === null ? resolve(stdout) : reject(err),
      );
    });
  const node = [process.execPath, program];
  for (const flags of [['-n'], ['-rn']]) {
    try {
      return outputSchema.parse(JSON.parse(await run('unshare', [...flags, ...node], true)));
    } catch {
      // This machine does not let us; the next way asks for less.
    }
  }
  return outputSchema.parse(JSON.parse(await run(process.execPath, [program], false)));
}

let output: Output;
beforeAll(async () => {
  output = await runCases();
}, 120_000);

attack(
  'network',
  '21: thirty-five spellings of closed addresses',
  'one guard, over the address that is connected to',
  () => {
    expect(output.cases.length).toBeGreaterThanOrEqual(35);
    expect(output.results['guard']).toEqual([]);
  },
);

test('the ways do lead there without it, and the guard lets the public through', () => {
  const open = new Set(output.results['nothing']);
  const unreachable = output.cases.filter((name) => !open.has(name));
  if (output.isAlone) {
    // One shows its other address only the second time; the others no client of this kind takes.
    expect(unreachable.sort()).toEqual(['a name that changes', 'a zone id', 'user name']);
    expect(output.open).toBe('public');
  } else expect(open.size).toBeGreaterThan(15);
});

test('half a guard is none: a look-up hook misses literal addresses, a check before the request misses what changes', () => {
  const lookupOnly = output.results['look-up alone'] ?? [];
  for (const name of ['decimal', 'hex', 'IPv6 loopback', 'mapped', 'unicode digits'])
    expect(lookupOnly).toContain(name);
  const checkFirst = output.results['check, then fetch'] ?? [];
  if (output.isAlone)
    expect(checkFirst).toEqual(expect.arrayContaining(['a name that changes', 'redirect to an address']));
});
