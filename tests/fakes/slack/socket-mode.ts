import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import type { EventPush, Push, PushTransport } from './event-push.ts';
import type { World } from './world.ts';

const pingMs = 5_000;
/** Slack lets an app have so many connections. */
const connectionsMax = 10;

interface Connection {
  readonly number: number;
  readonly socket: WebSocket;
  /** About to be closed: it gets nothing new. */
  isLeaving: boolean;
}

/** The server side of Socket Mode: tickets, greetings, envelopes, acknowledgements, refreshes. */
export class SocketMode implements PushTransport {
  readonly #world: World;
  readonly #push: EventPush;
  readonly #server = new WebSocketServer({ noServer: true });
  readonly #tickets = new Set<string>();
  readonly #connections: Connection[] = [];
  readonly #onChange: () => void;
  readonly #ping: NodeJS.Timeout;
  #next = 1;
  #turn = 0;
  /** Connections that were ever open. */
  opened = 0;
  /** Acknowledgements are thrown away while this is set, as when they get lost on their way. */
  losesAcks = false;

  constructor(world: World, push: EventPush, onChange: () => void) {
    this.#world = world;
    this.#push = push;
    this.#onChange = onChange;
    this.#ping = setInterval(() => {
      for (const { socket } of this.#connections) socket.ping();
    }, pingMs);
    this.#ping.unref();
  }

  get openConnections(): number {
    return this.#connections.length;
  }

  /** For `apps.connections.open`. */
  newTicket(): string {
    const ticket = this.#world.nextId('K');
    this.#tickets.add(ticket);
    return ticket;
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const ticket = new URL(request.url ?? '/', 'http://localhost').searchParams.get('ticket') ?? '';
    if (!this.#tickets.delete(ticket) || this.#connections.length >= connectionsMax) {
      socket.destroy();
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (client) => this.#accept(client));
  }

  send(push: Push, attempt: number): number | undefined {
    const ready = this.#connections.filter(
      ({ isLeaving, socket }) => !isLeaving && socket.readyState === WebSocket.OPEN,
    );
    if (ready.length === 0) return undefined;
    this.#turn += 1;
    const connection = ready[this.#turn % ready.length];
    connection?.socket.send(
      JSON.stringify({
        envelope_id: push.id,
        type: push.kind,
        payload: push.payload,
        accepts_response_payload: push.kind !== 'events_api',
        ...(push.kind === 'events_api' ? { retry_attempt: attempt, retry_reason: attempt === 0 ? '' : 'timeout' } : {}),
      }),
    );
    return connection?.number;
  }

  /**
   * Asks the app for a new connection and closes the old ones after `graceMs`.
   * @returns what closes them at once.
   */
  refresh(graceMs: number, reason = 'refresh_requested'): () => void {
    const leaving = [...this.#connections];
    for (const connection of leaving) {
      connection.isLeaving = reason !== 'warning';
      connection.socket.send(JSON.stringify({ type: 'disconnect', reason, debug_info: { host: 'fake' } }));
      setTimeout(() => connection.socket.close(), graceMs).unref();
    }
    return () => {
      for (const { socket } of leaving) socket.close();
    };
  }

  /** Breaks every connection without a word. */
  drop(): void {
    for (const { socket } of [...this.#connections]) socket.terminate();
  }

  close(): void {
    clearInterval(this.#ping);
    this.drop();
    this.#server.close();
  }

  #accept(socket: WebSocket): void {
    const connection: Connection = { number: this.#next, socket, isLeaving: false };
    this.#next += 1;
    this.opened += 1;
    this.#connections.push(connection);
    socket.on('message', (data: Buffer) => {
      const { envelope_id: id } = JSON.parse(data.toString()) as { envelope_id?: string };
      if (id !== undefined && !this.losesAcks) this.#push.acknowledge(id);
    });
    socket.on('error', () => socket.terminate());
    socket.on('close', () => {
      this.#connections.splice(this.#connections.indexOf(connection), 1);
      this.#onChange();
    });
    socket.send(
      JSON.stringify({
        type: 'hello',
        num_connections: this.#connections.length,
        connection_info: { app_id: this.#world.appId },
      }),
    );
    this.#onChange();
    this.#push.flush();
  }
}
