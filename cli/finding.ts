/** One line of `switchyard doctor`. */
export interface Finding {
  /** What was looked at, in one or two words. */
  readonly name: string;
  /** `broken` stops the product or a part somebody asked for; `warn` leaves something out; both carry a mend. */
  readonly status: 'ok' | 'warn' | 'broken';
  readonly detail: string;
  readonly mend?: string;
}
