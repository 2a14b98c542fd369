import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { inject } from 'vitest';
import { browserImage } from '#app/sandbox-image.ts';

const root = path.resolve(import.meta.dirname, '../..');

export const browserTag = browserImage;

/**
 * Builds the browser's image, which only the tests of browsers need: about a minute where it is not there, a blink where
 * it is.
 */
export function buildBrowserImage(): void {
  const build = spawnSync(path.join(root, 'sandbox-image/build'), ['--browser'], {
    env: { ...process.env, DOCKER_HOST: inject('dockerHost') },
    encoding: 'utf8',
  });
  if (build.status !== 0) throw new Error(`The browser's image could not be built.\n${build.stdout}${build.stderr}`);
}
