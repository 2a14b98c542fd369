import { appendFile, mkdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Redactor } from '#core/redaction/redactor.ts';
import { builtIn } from './built-in.ts';
import type { Hook } from './hook.ts';
import { shownNews } from './show-news.ts';

export interface TrajectoryLogOptions {
  /** The newest file; older ones are `<file>.1`, `<file>.2` and so on. */
  readonly file: string;
  /** Size at which the file is put aside. */
  readonly bytesMax: number;
  /** Files that are kept, the newest included. */
  readonly filesMax: number;
}

/**
 * Writes one line of JSON for each turn that has ended: where, how, and every call with its outcome and time. Known
 * secrets are taken out. Several workers may write to one file.
 */
export function trajectoryLogHook(deps: { readonly redactor: Redactor }, options: TrajectoryLogOptions): Hook {
  const { file, bytesMax, filesMax } = options;
  return {
    ...builtIn('trajectory-log'),
    news: {
      kinds: ['turn_trajectory'],
      tell: async (news) => {
        const { agent, work } = news;
        const { turnId, sessionId, kind, origin } = work;
        const place = { agent: agent.name, session: sessionId, turn: turnId, kind };
        const line = deps.redactor.jsonText(
          JSON.stringify({
            at: new Date().toISOString(),
            ...place,
            channel: origin.channel,
            room: origin.room,
            person: origin.personId,
            ...shownNews(news),
          }),
        );
        await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
        await rotate(file, bytesMax - Buffer.byteLength(line), filesMax);
        // One write of a line at the end of the file: those of two workers do not mix.
        await appendFile(file, `${line}\n`, { mode: 0o600 });
      },
    },
  };
}

/** Puts the file aside when it is fuller than that, and the oldest away. */
async function rotate(file: string, bytesMax: number, filesMax: number): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (found === undefined || found.size <= Math.max(0, bytesMax)) return;
  if (filesMax <= 1) {
    await rm(file, { force: true });
    return;
  }
  for (let number = filesMax - 1; number >= 1; number--) {
    const from = number === 1 ? file : `${file}.${number - 1}`;
    await rename(from, `${file}.${number}`).catch((err: unknown) => {
      // There are not so many yet, or another worker was faster.
      if (!(err instanceof Error && 'code' in err && err.code === 'ENOENT')) throw err;
    });
  }
}
