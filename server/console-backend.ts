import type { OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';

/** Where in the console something is said. Names are letters, digits and `._@-`, at most 64 of them. */
interface ConsolePlace {
  readonly room: string;
  readonly thread?: string | undefined;
}

/** One message of a console conversation as it stands now. */
export interface ConsoleMessage {
  readonly id: number;
  readonly change: number;
  readonly messageId: string;
  readonly direction: 'in' | 'out';
  readonly author: string | undefined;
  readonly body: OutboundBody;
  readonly revision: number;
  readonly createdAt: Date;
  readonly isDeleted: boolean;
}

/** What the followers of a conversation are told between messages. */
export type ConsoleNote =
  | { readonly kind: 'message' | 'typing' | 'missed' }
  | {
      readonly kind: 'draft';
      readonly draftId: number;
      readonly markdown: string;
      readonly isTail: boolean;
      readonly from?: number | undefined;
    }
  | { readonly kind: 'form'; readonly actionId: string; readonly form: unknown }
  | {
      readonly kind: 'ack';
      readonly actionId: string;
      readonly text?: string | undefined;
      readonly isAlert?: boolean | undefined;
    }
  | TurnNote;

/** A turn of this conversation began, waits or ended. */
export interface TurnNote {
  readonly kind: 'turn';
  readonly sessionId: string;
  readonly turnId: string;
  readonly state: 'started' | 'waiting' | 'done' | 'failed' | 'cancelled' | 'absorbed';
  readonly messageId?: string | undefined;
  readonly intoTurnId?: string | undefined;
  readonly waitingFor?: string | undefined;
  readonly approvalId?: string | undefined;
}

/** The console as the server needs it; the composition passes the console channel's desk. */
export interface ConsoleBackend {
  /** The thread key of a place, as sessions and turns carry it. */
  keyOf(place: ConsolePlace): string;
  commands(): readonly { readonly name: string; readonly description: string }[];
  /** What `submit` takes; undefined for a request that makes no sense. */
  parse(request: unknown, at: Date): unknown;
  /** Resolves when it is stored. */
  submit(raw: unknown): Promise<void>;
  history(
    place: ConsolePlace,
    options: { readonly rowsMax: number; readonly beforeId?: number | undefined },
  ): Promise<{ readonly messages: readonly ConsoleMessage[]; readonly change: number }>;
  /** The bytes of a file of a message; undefined when it is not kept any more. */
  file(part: Extract<OutboundPart, { type: 'file' }>): Promise<Buffer | undefined>;
  changes(place: ConsolePlace, since: number, rowsMax: number): Promise<readonly ConsoleMessage[]>;
  message(place: ConsolePlace, messageId: string): Promise<ConsoleMessage | undefined>;
  subscribe(place: ConsolePlace, listener: (note: ConsoleNote) => void): () => void;
}
