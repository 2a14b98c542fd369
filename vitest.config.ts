import { defineConfig } from 'vitest/config';
import { AttackReporter } from './tests/support/attack-reporter.ts';
import { HangReporter } from './tests/support/hang-reporter.ts';

/** A poll ends as soon as it holds: on a busy machine vitest's own limit of one second says nothing about the product. */
const expect = { poll: { timeout: 30_000 } };

/** A limit is for what hangs, not for what is slow; files that start servers or containers get more room. */
const quick = { testTimeout: 40_000, expect };
const slow = { testTimeout: 180_000, hookTimeout: 300_000, expect };

/** Where a test process blocks for ever, the run ends with the place instead of hanging. */
const setupFiles = ['tests/support/stall-watch.ts'];

export default defineConfig({
  test: {
    // The default reporter is last: what failed and the counts close the output, where a log that keeps its end only still has them.
    reporters: [new HangReporter(), new AttackReporter(), 'default'],
    projects: [
      { test: { name: 'unit', include: ['tests/unit/**/*.test.ts'], setupFiles, ...quick } },
      {
        test: {
          name: 'integration',
          include: ['tests/integration/**/*.test.ts'],
          globalSetup: ['tests/support/global-setup.ts'],
          setupFiles,
          ...slow,
        },
      },
      {
        test: {
          name: 'sandbox',
          include: ['tests/sandbox/**/*.test.ts'],
          globalSetup: ['tests/support/global-setup.ts', 'tests/support/docker-setup.ts'],
          setupFiles,
          ...slow,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['tests/e2e/**/*.test.ts', 'tests/chaos/**/*.test.ts'],
          globalSetup: ['tests/support/global-setup.ts', 'tests/support/docker-setup.ts'],
          setupFiles,
          ...slow,
        },
      },
    ],
  },
});
