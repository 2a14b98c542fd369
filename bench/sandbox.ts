/**
 * Hands: what a tool call costs, how fast a session gets its container, what idle ones weigh, and what the browser and
 * the way out add. Everything is the product's own code on the local Docker engine; only the web server is ours.
 *
 *   ./switchyard bench sandbox --json [--only calls,fleet,first,resume,output,idle,browser,gateway] [--idle 200]
 *
 * Prints a table; its last line is one JSON object. Times are milliseconds.
 */
import { parseArgs } from 'node:util';
import { measureCalls, measureFleet, measureOutput } from './support/sandbox-calls.ts';
import { measureCold, measureIdle, measurePool, measureResume } from './support/sandbox-lives.ts';
import { measureBrowser, measureGateway } from './support/sandbox-outside.ts';
import { SandboxSite } from './support/sandbox-site.ts';
import { round } from './support/stage.ts';

/** One figure: its value, from how many samples, and what was promised. */
export interface Figure {
  readonly value: number;
  readonly samples: number;
  readonly goal?: string;
}

type Figures = Readonly<Record<string, Figure>>;

const { values } = parseArgs({
  options: { json: { type: 'boolean' }, only: { type: 'string' }, idle: { type: 'string', default: '200' } },
});
const parts: Readonly<Record<string, (site: SandboxSite) => Promise<Figures>>> = {
  calls: measureCalls,
  fleet: measureFleet,
  first: async (site) => ({ ...(await measurePool(site)), ...(await measureCold(site)) }),
  resume: measureResume,
  output: measureOutput,
  idle: async (site) => await measureIdle(site, Math.min(500, Math.max(1, Number(values.idle) || 200))),
  browser: measureBrowser,
  gateway: measureGateway,
};
const wanted = values.only?.split(',') ?? Object.keys(parts);
for (const name of wanted) if (parts[name] === undefined) throw new Error(`${name} is none of ${Object.keys(parts)}`);

await using site = await SandboxSite.open({ hasBrowser: wanted.includes('browser') });
const figures: Record<string, Figure> = {};
for (const name of wanted) {
  const measured = await parts[name]?.(site);
  for (const [key, figure] of Object.entries(measured ?? {})) {
    figures[key] = figure;
    const goal = figure.goal === undefined ? '' : `  goal ${figure.goal}`;
    console.log(`${key.padEnd(24)}${String(round(figure.value)).padStart(10)}  n=${figure.samples}${goal}`);
  }
}
console.log(JSON.stringify(Object.fromEntries(Object.entries(figures).map(([key, { value }]) => [key, round(value)]))));
