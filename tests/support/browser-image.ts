import { spawn } from 'node:child_process';
import path from 'node:path';
import { inject } from 'vitest';
import { browserImage } from '#app/sandbox-image.ts';

const root = path.resolve(import.meta.dirname, '../..');

export const browserTag = browserImage;

/**
 * Builds the browser's image, which only the tests of browsers need: about a minute where it is not there, a blink where
 * it is.
 */
export async function buildBrowserImage(): Promise<void> {
  const build = spawn(path.join(root, 'sandbox-image/build'), ['--browser'], {
    env: { ...process.env, DOCKER_HOST: inject('dockerHost') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [build.stdout, build.stderr]) {
    stream.on('data', (part: Buffer) => {
      said += part.toString();
    });
  }
  const code = await new Promise((resolve) => build.once('close', resolve));
  if (code !== 0) throw new Error(`The browser's image could not be built.\n${said}`);
}
