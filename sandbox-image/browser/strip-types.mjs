/**
 * Turns the driver into plain JavaScript while its image is built: Node would do the same at each start, for a tenth of a
 * second of every session's first page. Removes the TypeScript and itself.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';

for (const name of readdirSync('.')) {
  if (!name.endsWith('.ts')) continue;
  const code = stripTypeScriptTypes(readFileSync(name, 'utf8'));
  writeFileSync(name.replace(/\.ts$/, '.js'), code.replaceAll(/(from '\.\/[a-z-]+)\.ts'/g, "$1.js'"));
  rmSync(name);
}
rmSync('strip-types.mjs');
