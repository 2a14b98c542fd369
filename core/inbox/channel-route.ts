/** A request to a channel's own web hook, with the body as it came: signatures are over its bytes. */
export interface HookRequest {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
}

export interface HookReply {
  readonly status: number;
  readonly contentType?: string;
  readonly body?: string;
}

/**
 * A path of the gateway on which a platform delivers events. The channel checks who is calling; an answer of 200 is
 * given only when the event is stored.
 */
export interface ChannelRoute {
  /** Below `/hooks/`, such as `slack/events`. */
  readonly path: string;
  handle(request: HookRequest): Promise<HookReply>;
}
