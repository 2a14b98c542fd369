import { enableCompileCache } from 'node:module';
import path from 'node:path';

// Before anything else is loaded. Measured for `up` on existing data: ready 0.84 instead of 1.19 s, and 16 MB less. Where
// the folder cannot be written to, as in a container, nothing is kept.
enableCompileCache(path.resolve(import.meta.dirname, '../.switchyard/cache/compile'));

const { main } = await import('./main.ts');
process.exitCode = await main(process.argv.slice(2));
// A connection that nobody waits for any more must not keep a finished process alive.
setTimeout(() => process.exit(), 2000).unref();
