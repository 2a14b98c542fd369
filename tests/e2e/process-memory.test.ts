import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { eventually } from '../support/eventually.ts';
import { owner, Product } from '../support/product.ts';
import { heldAnswer, scriptedBrain } from '../support/scripted-brain.ts';

/** Takes 900 MB of the process once, when it hears of an answer while the file `greedy` is there. */
const greedy = `
  import { existsSync, renameSync } from 'node:fs';
  import { defineHooks } from 'switchyard/hooks';
  const wish = new URL('./greedy', import.meta.url);
  const taken: Uint8Array[] = [];
  export const hooks = defineHooks({
    name: 'greedy',
    session_idle: () => {
      if (!existsSync(wish)) return;
      renameSync(wish, new URL('./fed', import.meta.url));
      for (let part = 0; part < 9; part++) taken.push(new Uint8Array(100_000_000).fill(1));
    },
  });
`;

const logLineSchema = z.looseObject({ msg: z.string(), pid: z.number() });

test('a process whose memory stays above its limit starts again in its place; nothing said to it is lost or answered twice', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-greedy-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(path.join(folder, 'greedy.ts'), greedy);
  const over = Promise.withResolvers<void>();
  onTestFinished(() => over.resolve());
  let heldCount = 0;
  await using product = await Product.prepare({
    agents: [{ name: 'assistant', frontMatter: 'tools: []\nautonomy: autonomous' }],
    script: (request) => {
      // The first try at the long answer never ends; the one of the next process does.
      if (!JSON.stringify(request.body).includes('a long story')) return scriptedBrain(request);
      heldCount += 1;
      return heldCount === 1 ? heldAnswer(request, 'Half of it', over.promise) : { text: 'The whole story.' };
    },
    env: {
      SWITCHYARD_HOOKS_DIR: folder,
      SWITCHYARD_LIMIT_PROCESS_MEMORY_MB: '800',
      SWITCHYARD_LIMIT_PROCESS_OVER_SECONDS: '1',
      SWITCHYARD_LIMIT_DRAIN_SECONDS: '0',
    },
  });
  const running = await product.start('up');
  await product.pairOwner();
  const log = (): z.infer<typeof logLineSchema>[] =>
    readFileSync(path.join(product.folder, 'data/switchyard.log'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => logLineSchema.parse(JSON.parse(line)));
  const logged = (msg: string) => log().filter((line) => line.msg.startsWith(msg));

  const other = -600;
  product.telegram.people.group(other, { type: 'group' });
  product.telegram.people.says(other, owner, '@switchyard_bot say: a long story');
  await eventually(() => expect(heldCount).toBe(1));
  writeFileSync(path.join(folder, 'greedy'), '');
  product.telegram.people.says(owner, owner, 'say: one');
  await product.hears(owner, /^one$/);
  await eventually(() => expect(existsSync(path.join(folder, 'fed'))).toBe(true));
  await eventually(() => expect(logged('this process hands its work over')).toHaveLength(1));
  product.telegram.people.says(owner, owner, 'say: two');
  await eventually(() => expect(logged('started')).toHaveLength(2));
  await product.hears(owner, /^two$/);
  await product.hears(other, /The whole story\.$/);

  // The same process for whoever looks after it, with its memory given back.
  expect(running.child.exitCode).toBeNull();
  expect(new Set(log().map((line) => line.pid))).toEqual(new Set([running.child.pid]));
  const { process: health } = z
    .object({ process: z.object({ state: z.string(), memoryMb: z.number(), restarts: z.number() }) })
    .parse(
      await eventually(async () => {
        const { url } = z
          .object({ url: z.string() })
          .parse(JSON.parse(readFileSync(path.join(product.folder, 'data/gateway.json'), 'utf8')));
        return await (await fetch(`${url}/readyz`)).json();
      }),
    );
  expect(health).toMatchObject({ state: 'ok', restarts: 1 });
  expect(health.memoryMb).toBeLessThan(640);

  // Each message once, each turn once.
  await eventually(async () =>
    expect(await product.database.query("select 1 from turn where state not in ('done')")).toEqual([]),
  );
  const turns = await product.database.query<{ crashes: number }>('select crashes from turn');
  expect(turns.map(({ crashes }) => crashes)).toEqual([0, 0, 0]);
  for (const text of ['one', 'two']) {
    expect(product.telegram.said(owner).filter((message) => message.text === text)).toHaveLength(1);
  }
  expect(product.telegram.said(other).filter((message) => message.text.includes('story'))).toHaveLength(1);
  expect(logged('this process hands its work over')).toHaveLength(1);
  expect(await product.kill('up', 'SIGTERM')).toBe('exit 0');
});

test('a process that is too large from the beginning starts again once and then not so soon', async () => {
  await using product = await Product.prepare({
    agents: [{ name: 'assistant', frontMatter: 'tools: []' }],
    script: scriptedBrain,
    env: { SWITCHYARD_LIMIT_PROCESS_MEMORY_MB: '50', SWITCHYARD_LIMIT_PROCESS_OVER_SECONDS: '1' },
  });
  const running = await product.start('worker');
  const count = (msg: string): number => running.lines.filter((line) => line.includes(`"msg":"${msg}`)).length;
  await eventually(() => expect(count('started')).toBe(2));
  await eventually(() => expect(count('memory of this process is above its limit')).toBe(2));
  expect(count('this process hands its work over')).toBe(1);
  // Told to stop, it stops, although its memory is still above the limit.
  expect(await product.kill('worker', 'SIGTERM')).toBe('exit 0');
  expect(count('this process hands its work over')).toBe(1);
});
