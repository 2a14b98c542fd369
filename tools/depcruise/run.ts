/**
 * Runs dependency-cruiser with the room rules and fails when it saw no modules: with a TypeScript it cannot read it
 * reports "0 modules, no violations" and looks green.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

const here = import.meta.dirname;
const root = path.resolve(here, '../..');

if (!existsSync(path.join(here, 'node_modules'))) {
  execFileSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: here,
    stdio: 'inherit',
    // Behind a company's proxy only the system knows the proxy's certificate.
    env: { ...process.env, NODE_USE_SYSTEM_CA: '1' },
  });
}

const rooms = ['app', 'bots', 'cli', 'core', 'server', 'workers', 'migrations'].filter((room) =>
  existsSync(path.join(root, room)),
);

interface CruiseSummary {
  summary: {
    totalCruised: number;
    violations: { rule: { name: string; severity: string }; from: string; to: string }[];
  };
}

const output = execFileSync(
  path.join(here, 'node_modules/.bin/depcruise'),
  ['--config', path.join(here, 'rules.json'), '--output-type', 'json', ...rooms],
  { cwd: root, maxBuffer: 256 * 1024 * 1024, encoding: 'utf8' },
);
const { summary } = JSON.parse(output) as CruiseSummary;

for (const violation of summary.violations) {
  console.error(`${violation.rule.severity} ${violation.rule.name}: ${violation.from} -> ${violation.to}`);
}
if (summary.totalCruised === 0) {
  console.error('dependency-cruiser read no modules: its TypeScript does not understand these files');
  process.exit(1);
}
if (summary.violations.some((violation) => violation.rule.severity === 'error')) process.exit(1);
console.log(`${summary.totalCruised} modules, no violations`);
