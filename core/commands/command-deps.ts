import type { InboundEvent } from '../inbox/inbound.ts';
import type { Db } from '../kit/database.ts';
import type { LaneWake } from '../lanes/lane.ts';

export interface CommandDeps {
  readonly db: Db;
  readonly defaultAgent: string;
  readonly findAgent: (name: string) => Promise<{ readonly name: string; readonly version: string } | undefined>;
  readonly listAgents: () => Promise<readonly { readonly name: string; readonly description: string }[]>;
  /** The model an agent would use now, as a person should read it. */
  readonly modelOf: (agentName: string) => Promise<string>;
  /** Answers a button press where the platform waits for it; best effort, after the commit. */
  readonly acknowledge: (
    event: Extract<InboundEvent, { type: 'action' }>,
    text: string,
    isAlert: boolean,
  ) => Promise<void>;
  /** Rings the bells of lanes that became ready. */
  readonly ring: (wakes: readonly LaneWake[]) => Promise<void>;
}
