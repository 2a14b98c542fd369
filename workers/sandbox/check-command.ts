import { AppError } from '#core/kit/errors.ts';

/** Longest command line: the kernel's bound for one argument, its closing NUL not counted. */
const commandBytesMax = 131_071;

/** @throws AppError `tool.invalid_arguments` for a command line that the kernel would not take. */
export function checkCommand(command: string): void {
  const bytes = Buffer.byteLength(command);
  if (bytes <= commandBytesMax) return;
  throw new AppError('tool.invalid_arguments', `The command has ${bytes} bytes; it takes ${commandBytesMax}.`, {
    mend: 'Write it to a file and run that.',
  });
}
