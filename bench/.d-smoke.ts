import { measureSandbox } from '/work/main/bench/sandbox-probe.ts';
console.log(await measureSandbox());
