import { Transform } from 'node:stream';
import { AppError } from '#core/kit/errors.ts';

/** What one request moved so far. */
export interface Moved {
  sentBytes: number;
  receivedBytes: number;
}

/**
 * Lets bytes pass and counts them while they do. Ends with AppError `egress.too_large` at exactly `bytesMax` bytes, or
 * when `spend` says that the bound of the turn or the day is reached.
 * @param spend takes the bytes that pass; false when no more may.
 */
export function countBytes(
  moved: Moved,
  key: keyof Moved,
  bound: { readonly bytesMax: number; readonly what: string; readonly spend: (bytes: number) => boolean },
): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const left = bound.bytesMax - moved[key];
      const passing = chunk.length > left ? chunk.subarray(0, left) : chunk;
      moved[key] += passing.length;
      const mayGoOn = bound.spend(passing.length);
      if (passing.length > 0) this.push(passing);
      if (chunk.length > left) done(tooLarge(bound.what, bound.bytesMax));
      else if (!mayGoOn)
        done(new AppError('egress.too_large', 'The bytes that may be moved in this turn or day are used up.'));
      else done();
    },
  });
}

export function tooLarge(what: string, bytesMax: number): AppError {
  return new AppError('egress.too_large', `${what} has more than the ${bytesMax} bytes allowed.`);
}
