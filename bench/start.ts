/**
 * Start and idle: `up` on existing data until it is ready, the memory of its idle Node process, and the cost of hands.
 *
 *   ./switchyard bench start --json
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { measureSandbox } from './support/sandbox-probe.ts';
import { quantile, round, Stage } from './support/stage.ts';

const runs = 5;
/** Long enough for start-up garbage to be collected, short enough to be run often. */
const idleMs = 5000;

await using stage = new Stage();
const env = {
  HOME: stage.folder,
  SWITCHYARD_DATA_DIR: `${stage.folder}/data`,
  SWITCHYARD_PORT: '0',
  SWITCHYARD_MODEL: 'demo',
};
const up = async () => await stage.startNode('app/switchyard.main.ts', ['up'], env, /Switchyard is running/);

// The first start makes the database; only starts on existing data count.
await stage.stop((await up()).child);
const readyMs: number[] = [];
let rssMb = Number.NaN;
for (let run = 0; run < runs; run += 1) {
  const { child, tookMs } = await up();
  readyMs.push(tookMs);
  if (run === runs - 1) {
    await delay(idleMs);
    rssMb = residentMb(child.pid ?? 0);
  }
  await stage.stop(child);
}
const hands = await measureSandbox();
console.log(
  JSON.stringify({
    ready_ms: round(quantile(readyMs, 0.5)),
    idle_rss_mb: round(rssMb),
    first_tool_ms: round(hands.first_tool_ms),
    tool_overhead_ms_p50: round(hands.tool_overhead_ms_p50),
    tool_overhead_ms_p95: round(hands.tool_overhead_ms_p95),
    wake_ms: round(hands.wake_ms),
  }),
);

function residentMb(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) / 1024;
}
