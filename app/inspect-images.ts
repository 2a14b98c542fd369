import { openEngine } from '#workers/sandbox/docker-engine.ts';
import { type ImageFinding, inspectImage, readBill } from '#workers/sandbox/inspect-image.ts';
import type { Config } from './config.ts';
import { browserImage, sandboxImage } from './sandbox-image.ts';

const ours: Readonly<Record<string, string>> = { core: sandboxImage, browser: browserImage };

/** Whether an image can be a sandbox, on the first engine of this installation. @throws as `inspectImage`. */
export async function checkImage(config: Pick<Config, 'dockerHosts'>, image: string): Promise<ImageFinding> {
  return await inspectImage(engineOf(config), image);
}

/** The bill of materials of `core`, `browser` or an image of one's own. @throws as `readBill`. */
export async function billOf(config: Pick<Config, 'dockerHosts'>, image: string): Promise<string> {
  return await readBill(engineOf(config), ours[image] ?? image);
}

function engineOf({ dockerHosts }: Pick<Config, 'dockerHosts'>): ReturnType<typeof openEngine> {
  const [first] = dockerHosts;
  return openEngine(first?.url, first?.certPath);
}
