import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { checkEngine } from '#workers/sandbox/check-engine.ts';
import { DockerHost } from '#workers/sandbox/docker-host.ts';
import { WorkspaceDisks } from '#workers/sandbox/workspace-disks.ts';

/** An engine that knows its version and has no image, and what it was asked for. */
async function emptyEngine(): Promise<{ readonly host: DockerHost; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    const isVersion = request.url?.endsWith('/version') === true;
    response.writeHead(isVersion ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(isVersion ? { Version: '28.0.0' } : { message: 'No such image' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  return { host: new DockerHost({ name: 'local', url: `tcp://127.0.0.1:${port}`, sharesFiles: false }), asked };
}

const disks = new WorkspaceDisks({ choice: 'auto', directory: undefined, instance: 'test' });

test('an image with a name that is none is told as that, and the engine is not asked for it', async () => {
  for (const image of ['../containers/json?all=1', '//evil.test/x', 'Name With Blanks']) {
    const { host, asked } = await emptyEngine();
    expect(await checkEngine([host], disks, image)).toEqual({
      ok: false,
      detail: `${JSON.stringify(image)} is no name of an image.`,
      mend: 'Write it as name:tag, such as switchyard-sandbox:latest.',
    });
    expect(asked).toEqual(['/version']);
  }
});

test('an image that is not there, and none at all, are missing', async () => {
  const { host } = await emptyEngine();
  expect(await checkEngine([host], disks, 'switchyard-sandbox:latest')).toMatchObject({
    ok: false,
    missing: 'image',
    detail: 'The sandbox image switchyard-sandbox:latest is not there.',
  });
  expect(await checkEngine([host], disks, undefined)).toMatchObject({ ok: false, missing: 'image' });
});
