import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { openEngine, removeContainer } from '#workers/sandbox/docker-engine.ts';

/** An engine that answers each kind of request with these states in turn, the last one again and again. */
async function engineOf(answers: Readonly<Record<string, readonly (readonly [status: number, id?: string])[]>>) {
  const asked: string[] = [];
  const server = createServer(({ method = '' }, response) => {
    const list = answers[method] ?? [];
    const [status, id] = list[Math.min(asked.filter((each) => each === method).length, list.length - 1)] ?? [500];
    asked.push(method);
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(status === 204 ? undefined : JSON.stringify(status === 200 ? { Id: id } : { message: 'no' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  return { engine: openEngine(`tcp://127.0.0.1:${port}`), asked };
}

test('a container that somebody else is removing is waited for: until then its name is taken', async () => {
  const { engine, asked } = await engineOf({ DELETE: [[409]], GET: [[200, 'a'], [200, 'a'], [404]] });
  await removeContainer(engine, 'name');
  expect(asked).toEqual(['DELETE', 'GET', 'GET', 'GET']);
});

test('one that was made under the same name meanwhile is not waited for', async () => {
  const { engine, asked } = await engineOf({
    DELETE: [[409]],
    GET: [
      [200, 'a'],
      [200, 'b'],
    ],
  });
  await removeContainer(engine, 'name');
  expect(asked).toEqual(['DELETE', 'GET', 'GET']);
});

test.each([
  ['is removed', 204],
  ['is gone already', 404],
])('one that %s takes one request', async (_what, status) => {
  const { engine, asked } = await engineOf({ DELETE: [[status]] });
  await removeContainer(engine, 'name');
  expect(asked).toEqual(['DELETE']);
});

test('an engine that fails is told', async () => {
  const { engine } = await engineOf({ DELETE: [[500]] });
  await expect(removeContainer(engine, 'name')).rejects.toMatchObject({ code: 'sandbox.unavailable' });
});
