/** A failure the fake produces instead of, or around, the normal answer. */
export type Fault =
  | { readonly kind: 'throttle'; readonly retryAfter: number }
  /** Where a platform refuses with HTTP 200, `code` is 200 and `description` its error string. */
  | { readonly kind: 'status'; readonly code: number; readonly description: string }
  /** The connection breaks before anything happened. */
  | { readonly kind: 'dropBefore' }
  /** The call takes effect, then the connection breaks without an answer. */
  | { readonly kind: 'dropAfter' }
  | { readonly kind: 'delay'; readonly ms: number }
  /** The answer is not JSON, as from a proxy in front of the server. */
  | { readonly kind: 'html'; readonly code: number };

interface Planned {
  readonly method: string;
  readonly fault: Fault;
  readonly chatId: number | string | undefined;
  left: number;
}

/** Failures planned for the next calls. */
export class FaultPlan {
  readonly #planned: Planned[] = [];

  /** The next `times` calls of a method fail; `chatId` narrows it to one chat. */
  next(method: string, fault: Fault, times = 1, chatId?: number | string): void {
    this.#planned.push({ method, fault, chatId, left: times });
  }

  clear(): void {
    this.#planned.length = 0;
  }

  /** Uses up one planned failure that fits the call. */
  take(method: string, chatId: unknown): Fault | undefined {
    const planned = this.#planned.find(
      (candidate) =>
        candidate.method === method && (candidate.chatId === undefined || String(candidate.chatId) === String(chatId)),
    );
    if (planned === undefined) return undefined;
    planned.left -= 1;
    if (planned.left === 0) this.#planned.splice(this.#planned.indexOf(planned), 1);
    return planned.fault;
  }
}
