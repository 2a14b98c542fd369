import type { InboundEvent } from '../inbox/inbound.ts';
import type { Db } from '../kit/database.ts';
import type { LaneWake } from '../lanes/lane.ts';
import type { KekSource } from '../vault/kek-source.ts';

/** A small form to be filled in by one person. */
export interface FormRequest {
  readonly token: string;
  /** At most 45 characters are shown on every platform. */
  readonly title: string;
  readonly submitLabel: string;
  readonly fields: readonly {
    readonly name: string;
    readonly label: string;
    readonly isLong: boolean;
    readonly isRequired: boolean;
    readonly charsMax: number;
  }[];
}

export interface CommandDeps {
  readonly db: Db;
  readonly defaultAgent: string;
  readonly findAgent: (name: string) => Promise<{ readonly name: string; readonly version: string } | undefined>;
  readonly listAgents: () => Promise<
    readonly { readonly name: string; readonly version: string; readonly description: string }[]
  >;
  /** The model an agent would use now, as a person should read it. */
  readonly modelOf: (agentName: string) => Promise<string>;
  /**
   * Answers a press, command or form where the platform waits for it (the event has an `interactionToken`), and does
   * nothing elsewhere; best effort, after the commit.
   */
  readonly acknowledge: (event: InboundEvent, text: string, isAlert: boolean) => Promise<void>;
  /**
   * Opens a form over a press or command; it comes back as a `form` event with the same token.
   * @returns false where there is none, or when it is too late for one.
   */
  readonly openForm: (event: InboundEvent, form: FormRequest) => Promise<boolean>;
  /** The key that seals secrets. */
  readonly kek: KekSource;
  /** Deletes what a person wrote. @returns false where the platform does not let a bot do that. */
  readonly deleteMessage: (event: InboundEvent) => Promise<boolean>;
  /** Rings the bells of lanes that became ready. */
  readonly ring: (wakes: readonly LaneWake[]) => Promise<void>;
}
