import { randomBytes } from 'node:crypto';
import type { Server } from 'node:http';
import { type WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import { guildObject, userObject } from './wire.ts';
import type { World } from './world.ts';

/** One event as it goes over the wire. */
interface Sent {
  readonly op: 0;
  readonly t: string;
  readonly s: number;
  readonly d: unknown;
}

interface Session {
  readonly id: string;
  readonly intents: number;
  readonly sent: Sent[];
  sequence: number;
  socket: WebSocket | undefined;
}

/** Bits of the intents a dispatch needs. */
export const intentBits = {
  guilds: 1 << 0,
  guildMessages: 1 << 9,
  guildReactions: 1 << 10,
  directMessages: 1 << 12,
  directReactions: 1 << 13,
  messageContent: 1 << 15,
} as const;

const knownIntents = (1 << 26) - 1;
const privileged = [
  { intent: 1 << 1, flags: (1 << 14) | (1 << 15) },
  { intent: 1 << 8, flags: (1 << 12) | (1 << 13) },
  { intent: intentBits.messageContent, flags: (1 << 18) | (1 << 19) },
];
/** As many dispatches as a resume replays. */
const replayMax = 5_000;

const frameSchema = z.object({ op: z.number(), d: z.unknown().optional() });
const identifySchema = z.object({ token: z.string(), intents: z.number(), shard: z.array(z.number()).optional() });
const resumeSchema = z.object({ token: z.string(), session_id: z.string(), seq: z.number() });

export interface GatewayOptions {
  readonly world: World;
  readonly heartbeatMs: number;
  readonly isTokenGood: (token: string) => boolean;
}

/** The gateway: identify, resume with replay, heartbeats, close codes. */
export class Gateway {
  readonly #options: GatewayOptions;
  readonly #server = new WebSocketServer({ noServer: true });
  readonly #sessions = new Map<string, Session>();
  readonly #sockets = new Set<WebSocket>();
  identifies = 0;
  resumes = 0;
  heartbeats = 0;
  /** Nothing is delivered while set: sockets stay open and what happens is lost to them until a resume. */
  isMute = false;
  /** Whoever connects while it is set is greeted only at `greet`, so that nobody is connected meanwhile. */
  isHolding = false;
  readonly #ungreeted = new Set<WebSocket>();

  constructor(options: GatewayOptions) {
    this.#options = options;
  }

  attach(server: Server): void {
    server.on('upgrade', (request, socket, head) => {
      this.#server.handleUpgrade(request, socket, head, (client) => this.#accept(client));
    });
  }

  /** Sessions with an open connection. */
  get connected(): number {
    return [...this.#sessions.values()].filter(({ socket }) => socket !== undefined).length;
  }

  /** Sends an event to every session that asked for its intent. `make` sees whether message content is allowed. */
  dispatch(t: string, intent: number, make: (hasContent: boolean) => unknown): void {
    for (const session of this.#sessions.values()) {
      if (intent !== 0 && (session.intents & intent) === 0) continue;
      const data = make((session.intents & intentBits.messageContent) !== 0);
      session.sequence += 1;
      const frame: Sent = { op: 0, t, s: session.sequence, d: data };
      session.sent.push(frame);
      if (session.sent.length > replayMax) session.sent.shift();
      if (!this.isMute) send(session.socket, frame);
    }
  }

  /** Delivers the newest message or interaction once more, as an overlapping resume does. */
  repeat(): void {
    for (const { sent, socket } of this.#sessions.values()) {
      const last = sent.findLast(({ t }) => t === 'MESSAGE_CREATE' || t === 'INTERACTION_CREATE');
      if (last !== undefined) send(socket, last);
    }
  }

  /** Breaks every connection; 4000 lets the client resume, 4004 and the like do not. */
  disconnect(code: number): void {
    for (const socket of this.#sockets) socket.close(code);
  }

  /** Cuts every connection without a word. */
  cut(): void {
    for (const socket of this.#sockets) socket.terminate();
  }

  /** Asks every client to connect again (op 7). */
  askToReconnect(): void {
    for (const socket of this.#sockets) send(socket, { op: 7, d: null });
  }

  /** Forgets all sessions, so that nobody can resume: what was not delivered is found by REST only. */
  forgetSessions(): void {
    this.#sessions.clear();
  }

  /** Says that the session is over (op 9). */
  invalidate(canResume: boolean): void {
    if (!canResume) this.#sessions.clear();
    for (const socket of this.#sockets) send(socket, { op: 9, d: canResume });
  }

  close(): void {
    this.cut();
    this.#sessions.clear();
  }

  /** Greets those who wait, and whoever connects from now on. */
  greet(): void {
    this.isHolding = false;
    for (const socket of this.#ungreeted) this.#hello(socket);
    this.#ungreeted.clear();
  }

  #accept(socket: WebSocket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.terminate());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      for (const session of this.#sessions.values()) if (session.socket === socket) session.socket = undefined;
    });
    socket.on('message', (data) => this.#read(socket, String(data)));
    if (this.isHolding) this.#ungreeted.add(socket);
    else this.#hello(socket);
  }

  #hello(socket: WebSocket): void {
    send(socket, { op: 10, d: { heartbeat_interval: this.#options.heartbeatMs } });
  }

  #read(socket: WebSocket, text: string): void {
    let frame: z.infer<typeof frameSchema>;
    try {
      frame = frameSchema.parse(JSON.parse(text));
    } catch {
      socket.close(4_002);
      return;
    }
    switch (frame.op) {
      case 1:
        this.heartbeats += 1;
        send(socket, { op: 11 });
        return;
      case 2:
        this.#identify(socket, identifySchema.safeParse(frame.d).data);
        return;
      case 3:
        if (!this.#isIdentified(socket)) socket.close(4_003);
        return;
      case 6:
        this.#resume(socket, resumeSchema.safeParse(frame.d).data);
        return;
      default:
        socket.close(4_001);
    }
  }

  #isIdentified(socket: WebSocket): boolean {
    return [...this.#sessions.values()].some((session) => session.socket === socket);
  }

  #identify(socket: WebSocket, identify: z.infer<typeof identifySchema> | undefined): void {
    const { world } = this.#options;
    this.identifies += 1;
    if (identify === undefined) return void socket.close(4_002);
    if (this.#isIdentified(socket)) return void socket.close(4_005);
    if (!this.#options.isTokenGood(identify.token)) return void socket.close(4_004);
    if ((identify.intents & ~knownIntents) !== 0) return void socket.close(4_013);
    const isDisallowed = privileged.some(
      ({ intent, flags }) => (identify.intents & intent) !== 0 && (world.applicationFlags & flags) === 0,
    );
    if (isDisallowed) return void socket.close(4_014);
    const session: Session = {
      id: randomBytes(16).toString('hex'),
      intents: identify.intents,
      sent: [],
      sequence: 0,
      socket,
    };
    this.#sessions.set(session.id, session);
    const guilds = [...world.guilds.values()].filter(({ hasBot }) => hasBot);
    this.#say(session, 'READY', {
      v: 10,
      user: userObject(world.bot),
      guilds: guilds.map(({ id }) => ({ id, unavailable: true })),
      session_id: session.id,
      resume_gateway_url: this.resumeUrl,
      shard: identify.shard ?? [0, 1],
      application: { id: world.applicationId, flags: world.applicationFlags },
    });
    if ((session.intents & intentBits.guilds) === 0) return;
    for (const guild of guilds) this.#say(session, 'GUILD_CREATE', guildObject(world, guild));
  }

  /** Set by the server once it knows its port. */
  resumeUrl = '';

  #resume(socket: WebSocket, resume: z.infer<typeof resumeSchema> | undefined): void {
    this.resumes += 1;
    if (resume === undefined) return void socket.close(4_002);
    if (!this.#options.isTokenGood(resume.token)) return void socket.close(4_004);
    const session = this.#sessions.get(resume.session_id);
    if (session === undefined) return void send(socket, { op: 9, d: false });
    if (resume.seq > session.sequence) return void socket.close(4_007);
    session.socket = socket;
    for (const frame of session.sent) if (frame.s > resume.seq) send(socket, frame);
    this.#say(session, 'RESUMED', {});
  }

  #say(session: Session, t: string, d: unknown): void {
    session.sequence += 1;
    const frame: Sent = { op: 0, t, s: session.sequence, d };
    session.sent.push(frame);
    send(session.socket, frame);
  }
}

function send(socket: WebSocket | undefined, frame: unknown): void {
  if (socket?.readyState === 1) socket.send(JSON.stringify(frame));
}
