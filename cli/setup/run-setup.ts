import { AppError } from '#core/kit/errors.ts';
import type { CliDeps } from '../cli-deps.ts';
import { ExitCode } from '../exit-code.ts';
import type { Questions } from '../questions.ts';
import { paint, printLine, type Terminal } from '../terminal.ts';
import type { KeyCheck, SetupValues } from './check-key.ts';
import { mergeEnv, readEnvFile, readNever, writeEnvFile } from './env-file.ts';
import { type SetupItem, type SetupKey, setupItems } from './setup-items.ts';

type SetupDeps = Pick<CliDeps, 'terminal' | 'openQuestions' | 'readVariables' | 'describeInvalid'>;

/** Tries of one key before the setup goes on without it. */
const triesMax = 5;

interface Pass {
  readonly deps: SetupDeps;
  readonly questions: Questions;
  /** Accepted in this run, not yet written. */
  readonly fresh: Map<string, string>;
  readonly never: Set<string>;
  readonly values: SetupValues;
}

/**
 * Asks for a model key and the tokens of the chat platforms, one by one, checks each with whoever gave it out, and writes
 * what was accepted to `.env`. What works already is not asked for again.
 * @throws AppError `command.invalid` when nobody can be asked.
 */
export async function runSetup(deps: SetupDeps, options: { readonly again: boolean }): Promise<void> {
  using questions = deps.openQuestions();
  if (questions === undefined) {
    throw new AppError('command.invalid', 'There is nobody to ask: this is not a terminal.', {
      mend: 'Put the settings into .env (see .env.example) and check them with ./switchyard setup --no-input.',
    });
  }
  const { terminal } = deps;
  const { envFile, values } = deps.readVariables();
  const text = await readEnvFile(envFile);
  const fresh = new Map<string, string>();
  const pass: Pass = {
    deps,
    questions,
    fresh,
    never: new Set(options.again ? [] : readNever(text)),
    values: (name) => fresh.get(name) ?? values.get(name)?.value,
  };
  printLine(terminal, `Every answer is checked at once and written to ${envFile}. Enter skips a question.`);
  for (const item of setupItems) {
    await offer(pass, item);
    // After each item: whoever leaves half-way keeps what was accepted.
    await save(envFile, pass);
  }
  printLine(terminal);
  printLine(
    terminal,
    fresh.size === 0 ? 'Nothing was changed.' : `Written to ${envFile}: ${[...fresh.keys()].join(', ')}.`,
  );
  printLine(terminal, 'Start with ./switchyard up; ./switchyard setup changes this later.');
}

/**
 * Checks what is set, asks nothing, writes nothing.
 * @throws ExitCode 1 when something that is set is refused; a network that is away is only told.
 */
export async function checkSetup(deps: SetupDeps): Promise<void> {
  const { values } = deps.readVariables();
  let isRefused = false;
  for (const item of setupItems) {
    const set = item.keys.filter((key) => values.has(key.variable));
    if (set.length === 0) printLine(deps.terminal, `- ${item.title}: not set up`);
    for (const key of set) {
      const check = await key.check((name) => values.get(name)?.value);
      tell(deps.terminal, `${item.title}: ${key.variable}`, check);
      isRefused ||= !check.isOk && check.isRefused;
    }
  }
  if (isRefused) throw new ExitCode(1);
}

async function offer(pass: Pass, item: SetupItem): Promise<void> {
  const { deps, questions, never, values } = pass;
  const { terminal } = deps;
  printLine(terminal);
  printLine(terminal, paint(terminal, 'bold', item.title));
  const set = item.keys.filter((key) => values(key.variable) !== undefined);
  let isWorking = set.length > 0 && (item.name === 'model' || set.length === item.keys.length);
  for (const key of set) {
    const check = await key.check(values);
    tell(terminal, key.variable, check);
    if (!check.isOk) isWorking = false;
  }
  if (isWorking) return;
  if (set.length === 0 && never.has(item.name)) {
    printLine(terminal, 'Not asked, because you said never. --again asks.');
    return;
  }
  printLine(terminal, `${item.why} ${item.how}`);
  const question =
    set.length === 0 ? 'Set it up now? [y]es, [s]kip, [n]ever: ' : 'Set it anew? [y]es, [s]kip, [n]ever: ';
  const answer = (await questions.ask(question, 's')).toLowerCase();
  if (answer === 'n' || answer === 'never') never.add(item.name);
  if (answer !== 'y' && answer !== 'yes') return;
  never.delete(item.name);
  const keys = item.name === 'model' ? await chooseModel(pass, item.keys) : item.keys;
  const accepted = new Map<string, string>();
  for (const key of keys) {
    const value = await askKey(pass, key, accepted);
    if (value === undefined) {
      if (accepted.size > 0) printLine(terminal, `${item.title} needs both, so nothing of it is kept.`);
      return;
    }
    accepted.set(key.variable, value);
  }
  for (const [name, value] of accepted) pass.fresh.set(name, value);
}

async function chooseModel(pass: Pass, keys: readonly SetupKey[]): Promise<readonly SetupKey[]> {
  const { terminal } = pass.deps;
  keys.forEach((key, index) => {
    printLine(terminal, `  ${index + 1}  ${key.question.replace(/^Key for /, '')}`);
  });
  const answer = await pass.questions.ask('Which one? [1] ', '1');
  const chosen = keys[Number(answer) - 1];
  if (chosen !== undefined) return [chosen];
  printLine(terminal, `There is no number ${answer.slice(0, 20)}; the first one is taken.`);
  return keys.slice(0, 1);
}

/** @returns the accepted value; undefined when it was skipped. */
async function askKey(pass: Pass, key: SetupKey, accepted: ReadonlyMap<string, string>): Promise<string | undefined> {
  const { deps, questions } = pass;
  for (let tries = 0; tries < triesMax; tries += 1) {
    const value = await questions.secret(`${key.question} (not shown; Enter skips): `);
    if (value === '') return undefined;
    const wrong = deps.describeInvalid(key.variable, value);
    if (wrong !== undefined) {
      printLine(deps.terminal, `✗ ${wrong}`);
      continue;
    }
    const check = await key.check((name) =>
      name === key.variable ? value : (accepted.get(name) ?? pass.values(name)),
    );
    tell(deps.terminal, key.variable, check);
    if (check.isOk) return value;
    if (!check.isRefused) {
      const answer = await questions.ask('Keep it unchecked? [y]es, [n]o: ', 'n');
      if (/^y(?:es)?$/i.test(answer)) return value;
    }
  }
  printLine(deps.terminal, 'That is enough for now; start the setup again when you have the right one.');
  return undefined;
}

function tell(terminal: Terminal, what: string, check: KeyCheck): void {
  const mark = check.isOk ? paint(terminal, 'green', '✓') : paint(terminal, check.isRefused ? 'red' : 'yellow', '✗');
  printLine(terminal, `${mark} ${what}: ${check.detail}`);
  if (check.isOk && check.warning !== undefined) {
    printLine(terminal, `${paint(terminal, 'yellow', '!')} ${check.warning}`);
  }
}

async function save(envFile: string, { fresh, never }: Pass): Promise<void> {
  const text = await readEnvFile(envFile);
  const known = readNever(text);
  const isSame = known.size === never.size && [...known].every((name) => never.has(name));
  if (fresh.size === 0 && isSame) return;
  await writeEnvFile(envFile, mergeEnv(text, { values: fresh, never }));
}
