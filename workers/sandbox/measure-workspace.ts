import type Docker from 'dockerode';
import { AppError } from '#core/kit/errors.ts';
import { agentUser } from './container-spec.ts';

/** Two numbers and what `du` complains about; more is not read. */
const answerBytesMax = 64 << 10;
/** A tree that takes longer to walk is measured the next time. */
const measureMs = 30_000;

const command = 'du -skx /workspace 2>/dev/null; du -sx --inodes /workspace 2>/dev/null; true';

/**
 * Room and files a workspace takes, counted by `du` in its container. It runs as the agent's user, which alone may read
 * everything there: an agent that means to can make it fail or lie, so this bounds accidents, not attacks.
 * @throws AppError `sandbox.protocol` when there is no answer that makes sense, or what the engine says.
 */
export async function measureWorkspace(
  engine: Docker,
  containerId: string,
): Promise<{ readonly usedMb: number; readonly files: number }> {
  const exec = await engine.getContainer(containerId).exec({
    Cmd: ['sh', '-c', command],
    User: agentUser,
    // A terminal gives one plain stream.
    Tty: true,
    AttachStdout: true,
  });
  const stream = await exec.start({ Tty: true });
  const timer = setTimeout(() => stream.destroy(), measureMs);
  let text = '';
  try {
    for await (const chunk of stream) {
      text += String(chunk);
      if (text.length > answerBytesMax) break;
    }
  } finally {
    clearTimeout(timer);
    stream.destroy();
  }
  const [kilobytes, files] = [...text.matchAll(/^(\d{1,15})\s+\/workspace\s*$/gm)].map((match) => Number(match[1]));
  if (kilobytes === undefined || files === undefined) {
    throw new AppError('sandbox.protocol', 'The workspace could not be measured.');
  }
  return { usedMb: kilobytes / 1024, files };
}
