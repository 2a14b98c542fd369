/**
 * Aborts at the first SIGINT, SIGTERM or SIGHUP, so that everything stops in order. The second one ends the process at
 * once, for whoever does not want to wait.
 */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort(new Error(`stopped by ${name}`));
    });
  }
  return controller.signal;
}
