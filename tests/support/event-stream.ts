/** One server-sent event as it came over the wire. */
export interface WireEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Record<string, unknown>;
}

/** Reads server-sent events into a list until aborted; rejects when the answer is not a stream. */
export async function readEvents(response: Response, into: WireEvent[]): Promise<void> {
  if (response.body === null) throw new Error('the answer has no body');
  let rest = '';
  try {
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const blocks = `${rest}${text}`.split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const field = (name: string) =>
          block
            .split('\n')
            .find((line) => line.startsWith(`${name}: `))
            ?.slice(name.length + 2);
        const data = field('data');
        if (data !== undefined) {
          into.push({
            event: field('event') ?? 'message',
            id: field('id'),
            data: JSON.parse(data) as WireEvent['data'],
          });
        }
      }
    }
  } catch {
    // The stream was cut: the test looks at what arrived.
  }
}
