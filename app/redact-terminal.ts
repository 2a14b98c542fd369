import type { Redactor } from '#core/redaction/redactor.ts';
import { readSetVariables, secretSettings } from './config.ts';
import { openRedaction } from './open-redaction.ts';

/** What is said about a failure, without the secrets of the settings; they are read when something is said first. */
export function redactErrors(stderr: { write(text: string): unknown }): { write(text: string): void } {
  let redactor: Redactor | undefined;
  return {
    write: (text) => {
      redactor ??= open();
      stderr.write(redactor.text(text));
    },
  };
}

function open(): Redactor {
  try {
    return openRedaction(secretSettings(readSetVariables().values)).redactor;
  } catch {
    // The settings cannot be read, which is what will be said.
    return openRedaction([]).redactor;
  }
}
