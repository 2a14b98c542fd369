import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pino } from 'pino';
import type { CliDeps, SettingsView } from '#cli/cli-deps.ts';
import { ExitCode } from '#cli/exit-code.ts';
import { openQuestions } from '#cli/questions.ts';
import type { Terminal } from '#cli/terminal.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import { redactWrites } from '#core/redaction/redact-writes.ts';
import { keptSkills, openSkills } from './compose/open-skills.ts';
import {
  type Config,
  describeInvalidSetting,
  environmentOfNext,
  installDir,
  loadConfig,
  readSetVariables,
} from './config.ts';
import { joinDatabaseSource, openMigrated } from './database-source.ts';
import { ensureDataDir } from './ensure-data-dir.ts';
import { findGatewayUrl } from './gateway-file.ts';
import { openRedaction } from './open-redaction.ts';
import { openKek } from './open-vault.ts';
import { readStdin } from './read-stdin.ts';
import { startAgainAtExit, startAgainCode } from './start-again.ts';

/** Connects the command line to the rest of the product. What a command does not need is not even loaded. */
export function wireCli(terminal: Terminal, signal: AbortSignal): CliDeps {
  const { version } = JSON.parse(readFileSync(path.join(installDir, 'package.json'), 'utf8')) as { version: string };
  return {
    version,
    installDir,
    terminal,
    signal,
    start: async (mode, stop) => {
      const config = loadConfig();
      ensureDataDir(config.dataDir);
      const [{ openLog }, { start }] = await Promise.all([import('./open-log.ts'), import('./start.ts')]);
      const redaction = openRedaction(config.secrets);
      const log = openLog(config, mode === 'all' ? 'file' : 'stdout', redaction.redactor);
      const end = await start(config, mode, { log, redaction }, stop, (text) => {
        terminal.stdout.write(`${text}\n`);
      });
      // Whoever stopped it meanwhile does not want it back.
      if (end !== 'again' || stop.aborted) return;
      startAgainAtExit(environmentOfNext(config, new Date()));
      throw new ExitCode(startAgainCode);
    },
    diagnose: async () => {
      const [{ diagnose }, { checkSandbox }] = await Promise.all([
        import('./doctor/diagnose.ts'),
        import('./doctor/check-sandbox.ts'),
      ]);
      return await diagnose({ loadConfig, checkSandbox });
    },
    readSettings: () => viewOf(loadConfig()),
    findGateway: () => {
      const { dataDir } = loadConfig();
      const url = findGatewayUrl(dataDir);
      if (url === undefined) {
        throw new AppError('channel.unavailable', 'No gateway runs on this data directory.', {
          mend: 'Start one with ./switchyard up in another terminal.',
        });
      }
      return { url, token: readFileSync(path.join(dataDir, 'operator-token'), 'utf8').trim(), dataDir };
    },
    loadAgents: async () => {
      const { loadProjectAgents } = await import('./load-project-agents.ts');
      return await loadProjectAgents(loadConfig());
    },
    listTools: async () => {
      const { toolNames } = await import('./compose/tools.ts');
      return toolNames;
    },
    slackManifest: async (mode) => {
      const { printableManifest } = await import('./slack-manifest.ts');
      return printableManifest(loadConfig(), mode);
    },
    readVariables: () => readSetVariables(),
    describeInvalid: describeInvalidSetting,
    openQuestions: () => {
      const { stdin, stdout } = process;
      return stdin.isTTY && stdout.isTTY ? openQuestions({ stdin, stdout, signal }) : undefined;
    },
    readStdin: async () => await readStdin(process.stdin),
    openKek: () => openKek(loadConfig()),
    openSkills: () => {
      const config = loadConfig();
      return { library: openSkills(config), keepFolder: keptSkills(config) };
    },
    testSkill: async (skill, onOutput) => {
      const config = loadConfig();
      ensureDataDir(config.dataDir);
      const { testSkill } = await import('./test-skill.ts');
      return await testSkill({ config, log: quietLog(config) }, skill, signal, onOutput);
    },
    listHooks: async () => {
      const config = loadConfig();
      const { listHooks } = await import('./compose/open-hooks.ts');
      return await listHooks(config, quietLog(config));
    },
    openMcp: async (db) => {
      const config = loadConfig();
      ensureDataDir(config.dataDir);
      const { openMcpDesk } = await import('./compose/mcp-desk.ts');
      return openMcpDesk({ db, config, log: quietLog(config) });
    },
    checkImage: async (image) => {
      const { checkImage } = await import('./inspect-images.ts');
      return await checkImage(loadConfig(), image);
    },
    readBill: async (image) => {
      const { billOf } = await import('./inspect-images.ts');
      return await billOf(loadConfig(), image);
    },
    openSandboxes: async () => {
      const { openSandboxes } = await import('./open-sandboxes.ts');
      const config = loadConfig();
      const database = await openDatabase().catch((err: unknown) => {
        // Containers are looked at most of all when something is down.
        if (!isAppError(err, 'database.unavailable')) throw err;
        terminal.stderr.write(`${err.text}\nSessions are told by the labels of containers alone.\n`);
        return undefined;
      });
      const office = openSandboxes({ config, db: database?.db, log: quietLog(config) });
      return {
        ...office,
        [Symbol.asyncDispose]: async () => {
          await office[Symbol.asyncDispose]();
          await database?.[Symbol.asyncDispose]();
        },
      };
    },
    openDatabase,
  };

  async function openDatabase(): ReturnType<CliDeps['openDatabase']> {
    const config = loadConfig();
    const log = pino(
      { level: config.logLevel === 'debug' ? 'debug' : 'silent' },
      {
        write: (line) => terminal.stderr.write(line),
      },
    );
    const source = await joinDatabaseSource(config, log);
    try {
      const options = { connectionsMax: 4, applicationName: 'switchyard-cli', log };
      const database = await openMigrated(source, options);
      return {
        db: redactWrites(database.db, openRedaction(config.secrets).redactor),
        [Symbol.asyncDispose]: async () => {
          await database[Symbol.asyncDispose]();
          await source[Symbol.asyncDispose]();
        },
      };
    } catch (err) {
      await source[Symbol.asyncDispose]();
      throw err;
    }
  }
}

/** Commands speak for themselves; what happens beneath them is told only to somebody who looks for a fault. */
function quietLog(config: Config): Log {
  return pino({ level: config.logLevel === 'debug' ? 'debug' : 'silent' }, pino.destination(2));
}

function viewOf(config: Config): SettingsView {
  return {
    settings: config.settings,
    model: config.defaultModel.text,
    database: config.databaseUrl === undefined ? 'embedded' : new URL(config.databaseUrl).host,
    queue: config.queueBackend,
    dataDir: config.dataDir,
    agentsDir: config.agentsDir,
    limits: config.limits,
    limitClamps: config.limitClamps,
  };
}
