import { AppError } from '#core/kit/errors.ts';
import type { LiveContainer } from './live-container.ts';
import { ToolboxRefusal } from './toolbox-connection.ts';

/**
 * Does what starts a process; when the process limit leaves no room for it, ends what is left in the background and
 * tries again.
 */
export async function withRoom<T>(live: LiveContainer, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (err) {
    if (!(err instanceof ToolboxRefusal) || err.errno !== 'EAGAIN') throw err;
    await live.connection.call({ op: 'killAll' }, { bytesMax: 0 }).result;
    return await work();
  }
}

/** Why a command, program or job could not be started, as something to tell; other errors stay what they are. */
export function refusedCommand(err: unknown, place = '/workspace'): unknown {
  if (!(err instanceof ToolboxRefusal)) return err;
  switch (err.errno) {
    case 'ENOENT':
    case 'ENOTDIR':
      return invalid(`There is no directory ${place} in the workspace.`, err);
    case 'EXDEV':
    case 'ELOOP':
      return invalid(`${place} is outside the workspace.`, err);
    case 'EACCES':
    case 'EPERM':
      return invalid(`${place} may not be accessed.`, err);
    case 'E2BIG':
      return invalid('The command line is too long. Write it to a file and run that.', err);
    case 'EAGAIN':
      return invalid('Too many processes run in the sandbox. End some of them first.', err);
    case 'EUSERS':
      return invalid('Eight jobs run already. Stop one of them first.', err);
    default:
      return new AppError('sandbox.protocol', `The sandbox could not start the command (${err.errno}).`, {
        cause: err,
      });
  }
}

/** Why something could not be done with a file. */
export function refusedFile(err: unknown, path: string): unknown {
  if (!(err instanceof ToolboxRefusal)) return err;
  switch (err.errno) {
    case 'ENOENT':
      return invalid(`There is no ${path} in the workspace.`, err);
    case 'EISDIR':
      return invalid(`${path} is a directory.`, err);
    case 'ENOTDIR':
      return invalid(`${path} is not a directory.`, err);
    case 'EXDEV':
    case 'ELOOP':
      return invalid(`${path} is outside the workspace or a link that leads out of it.`, err);
    case 'EACCES':
    case 'EPERM':
      return invalid(`${path} may not be accessed.`, err);
    case 'EROFS':
      return invalid(`${path} is read-only.`, err);
    case 'EINVAL':
    case 'ENXIO':
      return invalid(`${path} is not a plain file.`, err);
    case 'ENAMETOOLONG':
      return invalid('The path is too long.', err);
    case 'EEXIST':
      return invalid(`${path} exists already.`, err);
    case 'ENOTEMPTY':
      return invalid(`${path} is a directory that is not empty.`, err);
    case 'EBUSY':
      return invalid('The workspace itself cannot be moved or deleted.', err);
    case 'ESTALE':
      return invalid(`${path} was changed meanwhile. Read it again.`, err);
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new AppError('sandbox.disk_full', `There is no room to write ${path}.`, {
        mend: 'Delete files that are no longer needed, or raise sandbox.disk_mb of the agent.',
        cause: err,
      });
    default:
      return new AppError('sandbox.protocol', `The sandbox could not access ${path} (${err.errno}).`, { cause: err });
  }
}

/** Why something could not be done with a job. */
export function refusedJob(err: unknown, id: string): unknown {
  if (!(err instanceof ToolboxRefusal)) return err;
  switch (err.errno) {
    case 'ESRCH':
      return invalid(`There is no job ${id}. Jobs end when their sandbox is replaced.`, err);
    case 'EPIPE':
      return invalid(`Job ${id} takes no more input.`, err);
    case 'EAGAIN':
      return invalid(`Job ${id} has not read what it was given before.`, err);
    default:
      return new AppError('sandbox.protocol', `The sandbox could not access job ${id} (${err.errno}).`, { cause: err });
  }
}

function invalid(message: string, cause: ToolboxRefusal): AppError {
  return new AppError('tool.invalid_arguments', message, { cause, details: { errno: cause.errno } });
}
