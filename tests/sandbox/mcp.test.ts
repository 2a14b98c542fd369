import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decideTools } from '#core/mcp/decide-tools.ts';
import { writeServerFolder } from '#tests/fakes/mcp/write-server-folder.ts';
import { eventually } from '#tests/support/eventually.ts';
import { McpStage, type McpWorker } from '#tests/support/mcp-stage.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';

let sandboxes: SandboxStage;
let stage: McpStage;
let worker: McpWorker;

beforeAll(async () => {
  sandboxes = openSandboxStage();
  stage = await McpStage.open();
  writeServerFolder(path.join(stage.folder, 'mcp/notes'));
  worker = stage.worker({
    notes: { command: ['node', '/run/host/mcp/notes/server.mjs'], files: 'mcp/notes' },
  });
  const hands = sandboxes.worker(
    { poolSize: 0, pauseAfterMs: 1_000 },
    { prepareFolders: [async (spec, directory) => await worker.clients.prepareFolder(spec, directory)] },
  );
  stage.openSandbox = async (sessionId) => await sandboxes.open(hands, sessionId);
  // A server has twenty seconds to start, its container included.
  await eventually(async () => await worker.look('notes'), { timeout: 100_000, interval: 1_000 });
  const tools = (await stage.known('notes')).map(({ name, digest }) => ({ name, digest }));
  await stage.database.db
    .transaction()
    .execute(
      async (tx) =>
        await decideTools(tx, { server: 'notes', tools, isApproved: true, personId: stage.owner, via: 'cli' }),
    );
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await sandboxes[Symbol.asyncDispose]();
});

/** A turn of a session in whose container the server runs. */
async function begun() {
  const sessionId = await stage.session();
  const work = await stage.turn(sessionId);
  await eventually(
    async () => expect(await worker.call(work, 'notes__look_around', {})).toMatchObject({ isError: false }),
    { timeout: 60_000, interval: 1_000 },
  );
  return { sessionId, work };
}

test('a server runs in the session’s container, works on its files and outlives the call', async () => {
  const { sessionId, work } = await begun();
  await worker.call(work, 'notes__add_note', { line: 'one' });
  const sandbox = await stage.openSandbox(sessionId);
  expect((await run(sandbox, 'cat notes.txt; echo two >> notes.txt')).output).toBe('one\n');
  const later = { callKey: '2:call' };
  expect((await worker.call(work, 'notes__read_notes', {}, later)).text).toMatch(/one\ntwo\n$/);
  expect((await run(sandbox, 'ps -eo args | grep -c "[s]erver.mjs"')).output.trim()).toBe('1');
}, 120_000);

test('a server has what the agent’s own code has, and nothing more', async () => {
  const { work } = await begun();
  const { text } = await worker.call(work, 'notes__look_around', {});
  const seen: unknown = JSON.parse(text.slice(text.indexOf('{')));
  expect(seen).toEqual({
    uid: 10_001,
    own: 'EROFS',
    shadow: 'EACCES',
    docker: false,
    secrets: [],
    network: expect.not.stringContaining('reached'),
    folder: ['notes'],
  });
}, 120_000);

test('an idle server does not keep its container awake, and the next call wakes both', async () => {
  const { sessionId, work } = await begun();
  await worker.call(work, 'notes__add_note', { line: 'before' });
  await eventually(async () => expect((await sandboxes.container(sessionId))?.State.Paused).toBe(true), {
    interval: 200,
  });
  expect((await worker.call(work, 'notes__read_notes', {}, { callKey: '2:call' })).text).toMatch(/before\n$/);
}, 120_000);

test('a container that is gone costs one error at most, and the next call starts the server anew', async () => {
  const { sessionId, work } = await begun();
  await worker.call(work, 'notes__add_note', { line: 'kept' });
  const container = await sandboxes.container(sessionId);
  await sandboxes.engine.getContainer(container?.Id ?? '').remove({ force: true });
  await eventually(
    async () =>
      expect((await worker.call(work, 'notes__read_notes', {}, { callKey: '2:call' })).text).toMatch(/kept\n$/),
    { interval: 500 },
  );
}, 120_000);
