import type { DriverFailed } from '../../workers/browser/driver-protocol.ts';

/** A command that could not be carried out, told to the model. */
export class CommandError extends Error {
  readonly kind: DriverFailed['kind'];

  constructor(kind: DriverFailed['kind'], message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.name = 'CommandError';
    this.kind = kind;
  }
}
