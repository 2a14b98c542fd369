import { defineConfig } from 'vitest/config';
import { AttackReporter } from './tests/support/attack-reporter.ts';
import { HangReporter } from './tests/support/hang-reporter.ts';

/** Files that start servers or containers get room; unit tests do not need it. */
const slow = { testTimeout: 60_000, hookTimeout: 120_000 };

/** Where a test process blocks for ever, the run ends with the place instead of hanging. */
const setupFiles = ['tests/support/stall-watch.ts'];

export default defineConfig({
  test: {
    reporters: ['default', new HangReporter(), new AttackReporter()],
    projects: [
      { test: { name: 'unit', include: ['tests/unit/**/*.test.ts'], setupFiles } },
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
