import type { InboundEvent } from '#core/inbox/inbound.ts';

type Album = Extract<InboundEvent, { type: 'message' | 'command' }>;

/** The album an event is a piece of; undefined for everything that is whole. */
export function albumIdOf(event: InboundEvent | undefined): string | undefined {
  return event?.type === 'message' || event?.type === 'command' ? event.albumId : undefined;
}

const addressedRank = { none: 0, thread: 1, reply: 2, mention: 3, dm: 4 } as const;

/** The strongest way in which one of the pieces addresses us: only the caption names anybody. */
export function addressedOf(events: readonly InboundEvent[]): Extract<InboundEvent, { type: 'message' }>['addressed'] {
  let strongest: Extract<InboundEvent, { type: 'message' }>['addressed'] = 'none';
  for (const event of events) {
    const addressed = event.type === 'message' ? event.addressed : event.type === 'command' ? 'mention' : 'none';
    if (addressedRank[addressed] > addressedRank[strongest]) strongest = addressed;
  }
  return strongest;
}

/**
 * Pieces of an album as the one message they are: the files of all in their order, everything else of the piece with
 * the caption. Other events pass as they are.
 */
export function mergeAlbum(events: readonly InboundEvent[]): readonly InboundEvent[] {
  const pieces = events.filter(
    (event): event is Album => (event.type === 'message' || event.type === 'command') && event.albumId !== undefined,
  );
  const [first] = pieces;
  if (first === undefined || pieces.length < 2) return events;
  pieces.sort((a, b) => (a.sequence ?? 0) - (b.sequence ?? 0));
  const files = pieces.flatMap((piece) => piece.files ?? []);
  const head =
    pieces.find(({ type }) => type === 'command') ??
    pieces.find((piece) => piece.type === 'message' && piece.text.trim() !== '') ??
    first;
  return [head.type === 'command' ? { ...head, files } : { ...head, files, addressed: addressedOf(pieces) }];
}
