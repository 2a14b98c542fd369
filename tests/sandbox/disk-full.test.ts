import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPlaces } from '#core/sandboxes/open-places.ts';
import { readSandboxEvents } from '#core/sandboxes/read-sandbox-events.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openSandboxStage, run, type SandboxStage } from '#tests/support/sandbox-stage.ts';

let database: TestDatabase;
let stage: SandboxStage;
const folder = mkdtempSync(path.join(tmpdir(), 'syd-full-'));
beforeAll(async () => {
  database = await openTestDatabase();
  stage = openSandboxStage({ places: () => openPlaces({ db: database.db }) });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

test('a command that fills the file system of its workspace is on the record of the sandbox, once each time', async () => {
  const sessionId = stage.newSession();
  const worker = stage.worker({}, { workspaceDirectory: folder, disk: 'loop' });
  const sandbox = await stage.open(worker, sessionId, { disk_mb: 32 });
  const told = async () =>
    (await readSandboxEvents(database.db, sessionId, 100)).filter(({ what }) => what === 'disk_full');
  await run(sandbox, 'echo "No space left on device"; exit 1');
  expect((await run(sandbox, 'head -c 200m /dev/zero > big')).output).toMatch(/No space left on device/);
  await eventually(async () => {
    expect((await told()).map(({ detail }) => detail)).toEqual([
      expect.stringMatching(/^The workspace is full: \d+ KiB of 32 MiB are left\.$/),
    ]);
  });
  await run(sandbox, 'echo more > more');
  await eventually(async () => {
    await run(sandbox, 'rm -f big; true');
    await run(sandbox, 'head -c 200m /dev/zero > big');
    expect((await told()).length).toBeGreaterThan(1);
  });
});
