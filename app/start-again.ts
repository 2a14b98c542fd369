import process from 'node:process';

/** Asks whoever started this process to start it again (`EX_TEMPFAIL` of sysexits.h). */
export const startAgainCode = 75;

/**
 * Lets this process end as always, with its last lines written, and then begin anew in its own place: same process id,
 * same terminal, same supervisor, no memory of before. Where the system has no such call it only ends, with
 * `startAgainCode`, for its supervisor to start it.
 * @param environment what the new one reads its settings from.
 */
export function startAgainAtExit(environment: Readonly<Record<string, string>>): void {
  // Registered last, so that everybody else has written what was left.
  process.once('exit', () => {
    process.execve?.(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
      ...environment,
    });
  });
}
