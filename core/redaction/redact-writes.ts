import {
  type KyselyPlugin,
  OperationNodeTransformer,
  type PluginTransformQueryArgs,
  RawNode,
  type ValueNode,
} from 'kysely';
import type { Db } from '../kit/database.ts';
import type { Redactor } from './redactor.ts';

/**
 * Everything that keeps what people, models, tools and platforms said, or passes it on: session events, turns, the
 * outbox, the audit, calls to the outside, memory, what is asked and answered, our own chats. Raw platform events are not among them:
 * they are the platform's, and what is told to us as a secret comes in by them.
 */
const written: Readonly<Record<'call' | 'insert' | 'update', ReadonlySet<string>>> = {
  call: new Set([
    'outbox_put',
    'audit_append',
    'lane_accept',
    'lane_boundary',
    'lane_finish',
    'append_session_events',
    'outgoing_put',
    // How deliveries ended, with what the platform said to it.
    'jsonb_to_recordset',
  ]),
  insert: new Set([
    'approval',
    'approval_verdict',
    'broadcast',
    'broadcast_target',
    'console_thread',
    'memory_fact',
    'offer',
    'outbox',
    'outgoing',
    'question',
    'sandbox_event',
  ]),
  update: new Set([
    'approval',
    'broadcast',
    'console_thread',
    'inbox',
    'memory_fact',
    'offer',
    'outbox',
    'outgoing',
    'question',
    'turn',
  ]),
};

/** A database that keeps no secret it is given to say: all of the writes above go past the redactor. */
export function redactWrites(db: Db, redactor: Redactor): Db {
  return db.withPlugin(new RedactingPlugin(redactor));
}

class RedactingPlugin implements KyselyPlugin {
  readonly #transformer: RedactingTransformer;

  constructor(redactor: Redactor) {
    this.#transformer = new RedactingTransformer(redactor);
  }

  transformQuery({ node, queryId }: PluginTransformQueryArgs): PluginTransformQueryArgs['node'] {
    return RawNode.is(node) && isWritten(node.sqlFragments[0] ?? '')
      ? this.#transformer.transformNode(node, queryId)
      : node;
  }

  async transformResult<Args extends { readonly result: unknown }>({ result }: Args): Promise<Args['result']> {
    return result;
  }
}

class RedactingTransformer extends OperationNodeTransformer {
  readonly #redactor: Redactor;

  constructor(redactor: Redactor) {
    super();
    this.#redactor = redactor;
  }

  protected override transformValue(node: ValueNode): ValueNode {
    const value = this.#redact(node.value);
    return value === node.value ? node : { ...node, value };
  }

  #redact(value: unknown): unknown {
    if (typeof value !== 'string') return Array.isArray(value) ? this.#redactor.json(value) : value;
    if (!/^\s*[[{]/.test(value)) return this.#redactor.text(value);
    try {
      return this.#redactor.jsonText(value);
    } catch {
      return this.#redactor.text(value);
    }
  }
}

/** What a statement does first, also one that begins with the first of its parts. */
const head =
  /^\s*(?:with\s+[a-z_]+\s+as\s+(?:materialized\s+)?\(\s*)?(?:select\s+(?:\*\s+from\s+)?(?<call>[a-z_]+)\s*\(|insert\s+into\s+(?<insert>[a-z_]+)|update\s+(?<update>[a-z_]+))/;

/** Whether a statement that begins like this goes past the redactor. */
export function isWritten(text: string): boolean {
  const groups = head.exec(text)?.groups;
  if (groups === undefined) return false;
  const { call, insert, update } = groups;
  if (call !== undefined) return written.call.has(call);
  return insert === undefined ? written.update.has(update ?? '') : written.insert.has(insert);
}
