import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

const schema = z.object({ url: z.url(), pid: z.int() });

/** Where a gateway notes its address for commands on the same machine. */
export function gatewayFile(dataDir: string): string {
  return path.join(dataDir, 'gateway.json');
}

/** The address of the gateway that runs on this data directory; undefined when none has said so. */
export function findGatewayUrl(dataDir: string): string | undefined {
  const file = gatewayFile(dataDir);
  if (!existsSync(file)) return undefined;
  try {
    return schema.parse(JSON.parse(readFileSync(file, 'utf8'))).url;
  } catch {
    // Half-written by a start that is under way, or left by a crash: both mean that nobody answers there.
    return undefined;
  }
}
