import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { expect, inject } from 'vitest';
import { labels, workspaceVolume } from '#workers/sandbox/container-spec.ts';
import { type ModelServer, type ModelServerOptions, type Script, startModelServer } from '../fakes/model-server.ts';
import { FakeTelegram } from '../fakes/telegram/fake-telegram.ts';
import { openTestDatabase, type TestDatabase } from './database.ts';
import { eventually } from './eventually.ts';

const root = path.resolve(import.meta.dirname, '../..');

type Mode = 'up' | 'gateway' | 'worker';

/** A profile of the tests' own; `grants` and the rest are YAML. */
interface TestAgent {
  readonly name: string;
  readonly frontMatter: string;
  readonly prompt?: string;
}

export interface ProductOptions {
  readonly agents?: readonly TestAgent[];
  readonly script?: Script;
  /** What the vendor's images endpoint gives. */
  readonly images?: ModelServerOptions['images'];
  readonly imageUsage?: ModelServerOptions['imageUsage'];
  readonly env?: Readonly<Record<string, string>>;
  /** Lines of `switchyard.yaml`. */
  readonly yaml?: string;
}

interface Running {
  readonly mode: Mode;
  readonly child: ChildProcess;
  readonly exited: Promise<string>;
  readonly lines: string[];
}

async function docker(args: readonly string[]): Promise<string[]> {
  const { stdout } = await promisify(execFile)('docker', [...args]);
  return stdout.split('\n').filter((line) => line !== '');
}

/** The owner's private chat in every story. */
export const owner = 1001;

/**
 * The whole product as its users run it: real processes over a database of their own, a Telegram and a model vendor
 * that speak the real protocols. Processes can be killed and started again at will.
 */
export class Product implements AsyncDisposable {
  readonly telegram: FakeTelegram;
  readonly model: ModelServer;
  readonly database: TestDatabase;
  readonly folder: string;
  readonly #env: Record<string, string>;
  #running: Running[] = [];

  private constructor(parts: {
    telegram: FakeTelegram;
    model: ModelServer;
    database: TestDatabase;
    folder: string;
    env: Record<string, string>;
  }) {
    this.telegram = parts.telegram;
    this.model = parts.model;
    this.database = parts.database;
    this.folder = parts.folder;
    this.#env = parts.env;
  }

  /** Prepares everything around the product; `start` starts it. */
  static async prepare(options: ProductOptions = {}): Promise<Product> {
    const folder = mkdtempSync(path.join(tmpdir(), 'sw-e2e-'));
    const agentsDir = path.join(folder, 'agents');
    const telegram = await FakeTelegram.start();
    const model = await startModelServer({
      script: options.script ?? [{ text: 'Hello.' }],
      ...(options.images === undefined ? {} : { images: options.images }),
      ...(options.imageUsage === undefined ? {} : { imageUsage: options.imageUsage }),
    });
    const database = await openTestDatabase(4);
    mkdirSync(agentsDir);
    for (const agent of options.agents ?? []) {
      const text = `---\nname: ${agent.name}\ndescription: A test agent.\n${agent.frontMatter}\n---\n${agent.prompt ?? 'Help.'}\n`;
      writeFileSync(path.join(agentsDir, `${agent.name}.md`), text);
    }
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOME: folder,
      DATABASE_URL: database.url,
      SWITCHYARD_DATA_DIR: path.join(folder, 'data'),
      SWITCHYARD_AGENTS_DIR: agentsDir,
      SWITCHYARD_PORT: '0',
      SWITCHYARD_MODEL: 'openai:gpt-4o',
      OPENAI_API_KEY: 'sk-test',
      OPENAI_BASE_URL: model.openAiBaseUrl,
      ANTHROPIC_API_KEY: 'sk-ant-test',
      ANTHROPIC_BASE_URL: model.anthropicBaseUrl,
      TELEGRAM_BOT_TOKEN: telegram.token,
      TELEGRAM_API_ROOT: telegram.apiRoot,
      DOCKER_HOST: inject('dockerHost'),
      LOG_LEVEL: 'debug',
      SWITCHYARD_CONFIG: path.join(folder, 'switchyard.yaml'),
      ...options.env,
    };
    if (options.yaml !== undefined) writeFileSync(path.join(folder, 'switchyard.yaml'), options.yaml);
    return new Product({ telegram, model, database, folder, env });
  }

  /** Prepares, starts `up` and pairs the owner. */
  static async up(options: ProductOptions = {}): Promise<Product> {
    const product = await Product.prepare(options);
    await product.start('up');
    await product.pairOwner();
    return product;
  }

  /** Starts a process and resolves when it is ready. */
  async start(mode: Mode, env: Readonly<Record<string, string>> = {}): Promise<Running> {
    const child = spawn(process.execPath, [path.join(root, 'app/switchyard.main.ts'), mode], {
      cwd: this.folder,
      env: { ...this.#env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const lines: string[] = [];
    // Not at its exit: its last words may still be unread then.
    const exited = new Promise<string>((resolve) =>
      child.once('close', (code, signal) => resolve(signal ?? `exit ${code}`)),
    );
    const wanted = mode === 'up' ? 'Switchyard is running' : mode === 'gateway' ? '"msg":"ready"' : '"msg":"started"';
    await new Promise<void>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream }).on('line', (line) => {
          lines.push(line);
          if (line.includes(wanted)) resolve();
        });
      }
      void exited.then((end) => reject(new Error(`${mode} ended with ${end}:\n${lines.slice(-20).join('\n')}`)));
    });
    const running = { mode, child, exited, lines };
    this.#running.push(running);
    return running;
  }

  /** Ends a process, the hard way unless told. @returns how it ended. */
  async kill(mode: Mode, signal: NodeJS.Signals = 'SIGKILL'): Promise<string> {
    const [victim] = this.#running.filter((running) => running.mode === mode);
    if (victim === undefined) throw new Error(`no ${mode} is running`);
    this.#running = this.#running.filter((running) => running !== victim);
    victim.child.kill(signal);
    return await victim.exited;
  }

  /** Waits until a process has ended by itself, as one with an armed failpoint does. */
  async ended(mode: Mode): Promise<string> {
    const [victim] = this.#running.filter((running) => running.mode === mode);
    if (victim === undefined) throw new Error(`no ${mode} is running`);
    const end = await victim.exited;
    this.#running = this.#running.filter((running) => running !== victim);
    return end;
  }

  /** Runs one command of the command line to its end, with this text on its standard input, or typed at a terminal. */
  async cli(
    args: readonly string[],
    input = '',
    { isTerminal = false }: { readonly isTerminal?: boolean } = {},
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
    const program = [process.execPath, path.join(root, 'app/switchyard.main.ts'), ...args];
    const words = isTerminal ? ['script', '-qfec', program.join(' '), '/dev/null'] : program;
    const child = spawn(words[0] ?? '', words.slice(1), {
      cwd: this.folder,
      env: this.#env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    // A command that does not read it may have ended before it came.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const code = await new Promise<number>((resolve) => child.once('close', (value) => resolve(value ?? -1)));
    return { code, stdout, stderr };
  }

  /** What the processes wrote to their terminals. */
  get output(): string {
    return this.#running.flatMap((running) => running.lines).join('\n');
  }

  /** Pairs the owner through the chat with the code the product printed. */
  async pairOwner(): Promise<void> {
    const code = /\/start ([0-9A-Z]{4}-[0-9A-Z]{4})/.exec(this.output)?.[1];
    if (code === undefined) throw new Error(`no pairing code was printed:\n${this.output}`);
    this.telegram.people.says(owner, owner, `/start ${code}`);
    await this.hears(owner, /We are paired/);
  }

  /** Waits for a message of the bot that matches, anywhere in the chat; one that is still being written does not count. */
  async hears(chat: number, pattern: RegExp, timeoutMs = 30_000): Promise<string> {
    return await this.telegram.waitFor(
      () => this.telegram.said(chat).find(({ text }) => !text.endsWith(' …') && pattern.test(text))?.text,
      timeoutMs,
    );
  }

  /**
   * Waits for an enabled button with this label, on a message that says `about`, and presses it as `user`.
   * @returns the query's id.
   */
  async presses(chat: number, user: number, label: string, about = ''): Promise<string> {
    const data = await this.offers(chat, label, about);
    return this.telegram.people.presses(chat, user, data);
  }

  /** Waits for an enabled button with this label, on a message that says `about`. @returns its token. */
  async offers(chat: number, label: string, about = ''): Promise<string> {
    return await this.telegram.waitFor(() => this.button(chat, label, about));
  }

  /** The token of the last enabled button with this label, on a message that says `about`. */
  button(chat: number, label: string, about = ''): string | undefined {
    return this.telegram
      .said(chat)
      .filter(({ text }) => text.includes(about))
      .flatMap((message) => message.buttons)
      .findLast((button) => button.text === label && !button.isDisabled)?.data;
  }

  /** Waits until no turn runs or is about to. */
  async rests(): Promise<void> {
    await eventually(async () =>
      expect(await this.database.query(`select 1 from turn where state in ('queued', 'running')`)).toEqual([]),
    );
  }

  /** Containers and workspaces outlive their worker on purpose; those of a test do not outlive the test. */
  async #removeHands(): Promise<void> {
    const label = `label=${labels.instance}=${path.join(this.folder, 'data')}`;
    // The engine may still be at the last order of a worker that was killed.
    await eventually(async () => {
      const ids = await docker(['ps', '-aq', '--filter', label]);
      if (ids.length > 0) await docker(['rm', '-f', ...ids]);
      expect(await docker(['ps', '-aq', '--filter', label])).toEqual([]);
    });
    // A worker that was killed while a container started leaves its mount to the next sweep, which here never comes.
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '');
    for (const place of mounts.filter((each) => each.startsWith(`${this.folder}/`))) spawnSync('umount', ['-l', place]);
    const sessions = await this.database.query<{ id: string }>('select id from session');
    await eventually(async () => {
      const volumes = new Set(await docker(['volume', 'ls', '-q']));
      const own = sessions.map((session) => workspaceVolume(session.id)).filter((volume) => volumes.has(volume));
      if (own.length > 0) await docker(['volume', 'rm', '-f', ...own]);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#running.reverse()) running.child.kill('SIGTERM');
    await Promise.all(this.#running.map(async (running) => await running.exited));
    await this.#removeHands();
    await this.telegram[Symbol.asyncDispose]();
    await this.model[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }
}
