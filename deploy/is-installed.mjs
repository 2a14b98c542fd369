/**
 * Exits 0 when node_modules holds what package-lock.json names; with --production, without the packages for development. npm leaves its own list of what it installed in
 * node_modules; packages for other platforms are in the lockfile only, so a missing optional one is no difference.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

const root = process.argv[2] ?? '.';
const isProduction = process.argv.includes('--production');
const read = (file) => JSON.parse(readFileSync(path.join(root, file), 'utf8')).packages;

function isInstalled() {
  try {
    const wanted = read('package-lock.json');
    const found = read('node_modules/.package-lock.json');
    return Object.entries(wanted).every(([place, entry]) => {
      if (place === '' || (isProduction && (entry.dev === true || entry.devOptional === true))) return true;
      const installed = found[place];
      if (installed === undefined) return entry.optional === true || entry.peer === true;
      return installed.version === entry.version && installed.integrity === entry.integrity;
    });
  } catch {
    return false;
  }
}

process.exit(isInstalled() ? 0 : 1);
