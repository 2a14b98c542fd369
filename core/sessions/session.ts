import type { Conversation, Origin } from './origin.ts';

/** How a message that arrives while a turn runs is treated. */
export type QueueMode = 'followup' | 'steer' | 'collect' | 'interrupt';

/** The settings of one conversation place. */
export interface Thread {
  readonly threadKey: string;
  readonly conversation: Conversation;
  /** The agent chosen with `/use`; undefined means the default one. */
  readonly agentName: string | undefined;
  readonly queueMode: QueueMode;
}

/** Our durable state of one conversation with one agent. */
export interface Session {
  readonly id: string;
  readonly threadKey: string;
  readonly agentName: string;
  readonly origin: Origin;
  readonly state: 'active' | 'ended';
  readonly createdAt: Date;
}

/** One line of `switchyard session list`. */
export interface SessionSummary {
  readonly id: string;
  readonly threadKey: string;
  readonly agentName: string;
  readonly state: string;
  readonly laneState: string;
  readonly queuedTurns: number;
  readonly updatedAt: Date;
}

/** A fact of a session as it was recorded. */
export interface SessionEvent {
  readonly seq: number;
  readonly turnId: string | undefined;
  readonly kind: string;
  readonly payload: unknown;
  readonly createdAt: Date;
}
