import type { AgentProfile } from '#core/agents/agent-profile.ts';
import type { Db } from '#core/kit/database.ts';
import type { LimitClamp, Limits } from '#core/kit/limits.ts';
import type { McpServer, RemoteServer } from '#core/mcp/mcp-server.ts';
import type { McpTool } from '#core/mcp/tool-store.ts';
import type { Skill } from '#core/skills/skill.ts';
import type { SkillLibrary } from '#core/skills/skill-library.ts';
import type { KekSource } from '#core/vault/kek-source.ts';
import type { Finding } from './finding.ts';
import type { Questions } from './questions.ts';
import type { Terminal } from './terminal.ts';

/** One variable as `config check` shows it; `value` is `set` for secrets and undefined for defaults. */
interface SettingLine {
  readonly name: string;
  readonly what: string;
  readonly value: string | undefined;
  readonly source: string;
}

/** What the commands show of the settings. */
export interface SettingsView {
  readonly settings: readonly SettingLine[];
  readonly model: string;
  readonly database: string;
  readonly queue: string;
  readonly dataDir: string;
  readonly agentsDir: string;
  readonly limits: Limits;
  readonly limitClamps: readonly LimitClamp[];
}

/** A container as `sandbox list` shows it; what is unknown is undefined. */
export interface SandboxLine {
  readonly id: string;
  /** Empty for one that is kept ready. */
  readonly sessionId: string;
  readonly agent: string;
  readonly kind: string;
  readonly state: string;
  readonly host: string;
  readonly instance: string;
  readonly isOurs: boolean;
  readonly memoryUsedMb: number | undefined;
  readonly memoryMb: number | undefined;
  readonly processesUsed: number | undefined;
  readonly processes: number | undefined;
  readonly diskUsedMb: number | undefined;
  readonly diskMb: number | undefined;
  /** What holds the workspace to its size. */
  readonly disk: string;
  readonly createdAt: string;
}

/** Sandboxes as an operator looks at them, beside the workers that hold them. */
export interface SandboxOffice extends AsyncDisposable {
  /** `away`: what Docker hosts that do not answer said. @throws AppError `sandbox.unavailable` when none answers. */
  list(options: { readonly all: boolean }): Promise<{
    readonly sandboxes: readonly SandboxLine[];
    readonly away: readonly string[];
  }>;
  /** The session that the beginning of an id stands for. @throws AppError `request.not_found`. */
  sessionOf(text: string): Promise<string>;
  /** What the engines say of a session's containers now. */
  describe(sessionId: string): Promise<readonly string[]>;
  /**
   * `isInteractive`: the command wants a terminal, as a shell does.
   * @returns its exit code. @throws AppError `command.invalid` without a terminal where one is needed.
   */
  shell(
    sessionId: string,
    how: { readonly kind: string; readonly command?: string; readonly isInteractive?: boolean },
  ): Promise<number>;
  /** @returns how many containers went. */
  remove(sessionId: string, options: { readonly withWorkspace: boolean }): Promise<number>;
  prune(options: { readonly workspaces: boolean }): Promise<{
    readonly removed: number;
    readonly cleared: number;
    /** Sessions whose files went. */
    readonly forgotten: number;
  }>;
}

/** What one test script of a skill did. */
interface SkillTestLine {
  readonly script: string;
  readonly exitCode: number | undefined;
  readonly output: string;
}

/** A hook, and the file it comes from unless it is built in. */
interface HookLine {
  readonly name: string;
  readonly priority: number;
  readonly source: string;
}

/** MCP servers, as the commands need them. */
export interface McpDesk {
  readonly servers: ReadonlyMap<string, McpServer>;
  /** Connects and writes down what the server lists. @throws AppError with the reason when it cannot be read. */
  check(server: McpServer, personId: string, signal: AbortSignal): Promise<readonly McpTool[]>;
  /** @returns the address of the page the person opens. */
  begin(server: RemoteServer, personId: string): Promise<string>;
  /** @returns whether there was anything to forget. */
  logout(server: RemoteServer, personId: string): Promise<boolean>;
  /** The copies of servers' files that workers of this machine keep, and when one that is unused is removed. */
  keptFiles(): Promise<
    readonly { readonly server: string; readonly bytes: number; readonly usedAt: Date; readonly removedAt: Date }[]
  >;
}

/** Which of the product's parts a process runs. */
export type ProcessMode = 'all' | 'gateway' | 'worker';

/** What was seen inside an image: a problem keeps it from being a sandbox, a warning does not. */
interface ImageLines {
  readonly id: string;
  readonly bytes: number;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** What the command line needs from the outside. Everything is a function, so that `--help` opens and reads nothing. */
export interface CliDeps {
  readonly version: string;
  readonly installDir: string;
  readonly terminal: Terminal;
  /** Aborts at the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** Runs the parts until the signal aborts and they have stopped. */
  start(mode: ProcessMode, signal: AbortSignal): Promise<void>;
  diagnose(): Promise<readonly Finding[]>;
  /** @throws AppError `config.invalid` listing everything that is wrong. */
  readSettings(): SettingsView;
  /**
   * The migrated database, for a command that looks or changes one thing: the one a running process supervises, or the
   * embedded one started for as long as the command runs.
   */
  openDatabase(): Promise<{ readonly db: Db } & AsyncDisposable>;
  /** The gateway that runs here, with the token that proves who asks. @throws AppError when none runs. */
  findGateway(): { readonly url: string; readonly token: string; readonly dataDir: string };
  /** The bundled and the project's agent files. @throws AppError `agent.invalid` with every problem and its place. */
  loadAgents(): Promise<readonly AgentProfile[]>;
  /** The tools a profile may name. */
  listTools(): Promise<readonly string[]>;
  /**
   * The manifest of the Slack app: `http` for web hooks, else as the settings say.
   * @throws AppError `config.invalid` for web hooks without a public address.
   */
  slackManifest(mode: 'http' | undefined): Promise<unknown>;
  /** Every variable that is set, and the file they are kept in; unlike `readSettings` also when some are wrong. */
  readVariables(): {
    readonly envFile: string;
    readonly values: ReadonlyMap<string, { readonly value: string; readonly source: string }>;
  };
  /** Why a text cannot be the value of a setting, and what to do; undefined when it can. Never repeats a secret. */
  describeInvalid(name: string, value: string): string | undefined;
  /** Whoever sits at the terminal; undefined where nobody can answer. */
  openQuestions(): Questions | undefined;
  /** All of standard input, for where nobody can be asked. @throws AppError `command.invalid` when it is no text. */
  readStdin(): Promise<string>;
  /** The key that seals secrets. */
  openKek(): KekSource;
  /** The skills of this installation and project; reads nothing yet. */
  openSkills(): { readonly library: SkillLibrary; readonly keepFolder: string };
  /** Runs a skill's test scripts in a sandbox. @throws AppError `sandbox.unavailable`, `image.missing`. */
  testSkill(skill: Skill, onOutput: (text: string) => void): Promise<readonly SkillTestLine[]>;
  /** The hooks a worker would run, in their order. @throws AppError `hook.invalid` with each problem and its place. */
  listHooks(): Promise<readonly HookLine[]>;
  /** MCP servers of this project; connects to none yet. */
  openMcp(db: Db): Promise<McpDesk>;
  /** Whether an image of one's own can be a sandbox. @throws AppError `image.missing`, `image.invalid`. */
  checkImage(image: string): Promise<ImageLines>;
  /** What `core`, `browser` or an image of one's own is made of. @throws AppError `image.missing`, `image.invalid`. */
  readBill(image: string): Promise<string>;
  /** The containers of this installation's sessions; dials no engine yet. */
  openSandboxes(): Promise<SandboxOffice>;
}
