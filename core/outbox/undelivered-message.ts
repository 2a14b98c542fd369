/** A message that did not arrive, or of which nobody knows. */
export interface Undelivered {
  readonly id: string;
  readonly threadKey: string;
  readonly importance: string;
  /** `failing` is still tried, but those behind it overtake it. */
  readonly state: 'unknown' | 'dead' | 'failing';
  /** Why, in the words of the platform's refusal or our own. */
  readonly reason: string;
  readonly attempts: number;
  readonly createdAt: Date;
  /** The beginning of its text. */
  readonly text: string;
}
