import type { Log } from '#core/kit/log.ts';
import type { ToolResult } from '../tools/tool.ts';
import { truncateMiddle } from '../tools/tool-output.ts';
import { builtIn } from './built-in.ts';
import type { Hook } from './hook.ts';
import type { HookedResult } from './turn-hooks.ts';

/** Where uncut results are kept, below the workspace. */
const outputFolder = '.switchyard/output';
/** More than this of one output is not kept either. */
const keptCharsMax = 4 * 1024 * 1024;
/** A container may have to be started to keep it. */
const keepMs = 20_000;

export interface TruncateOutputOptions {
  /** Characters of a result that a model reads. */
  readonly charsMax: number;
  /** The same for single tools, by name. */
  readonly byTool: Readonly<Record<string, number>>;
}

/**
 * Cuts the middle out of long results and keeps what the tool returned in the workspace, where the agent can search it.
 * What a tool itself leaves out, as `exec` does of very long output, is not in it.
 */
export function truncateOutputHook(deps: { readonly log: Log }, options: TruncateOutputOptions): Hook {
  return {
    ...builtIn('output-truncation'),
    timeoutMs: keepMs,
    afterTool: async (call, result, signal) => {
      const charsMax = Math.min(options.byTool[call.tool] ?? options.charsMax, options.charsMax);
      if (result.text.length <= charsMax) return result;
      const file = await keep(deps, call, result, signal);
      const note =
        file === undefined ? '' : `\n\n[All that the tool returned is in ${file}; search or read the part you need.]`;
      return { ...result, text: truncateMiddle(result.text, Math.max(200, charsMax - note.length - 60)) + note };
    },
  };
}

/** @returns the path of the whole output; undefined where there is no workspace to keep it in. */
async function keep(
  { log }: { readonly log: Log },
  call: HookedResult,
  { text }: ToolResult,
  signal: AbortSignal,
): Promise<string | undefined> {
  const name = `${call.work.turnId.slice(-12)}-${call.callKey}`.replaceAll(/[^\w-]+/g, '-').slice(0, 100);
  const file = `${outputFolder}/${name}.txt`;
  try {
    const sandbox = await call.sandbox();
    await sandbox.writeFile(file, text.slice(0, keptCharsMax), { append: false, signal });
    return `/workspace/${file}`;
  } catch (err) {
    log.debug({ err, tool: call.tool, turnId: call.work.turnId }, 'whole output could not be kept');
    return undefined;
  }
}
