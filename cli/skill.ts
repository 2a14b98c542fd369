import type { Command } from 'commander';
import { describeBytes } from '#core/files/file-name.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import { didYouMean } from '#core/kit/nearest-word.ts';
import { describeLimit, readToolLimit } from '#core/skills/allowed-tools.ts';
import { acceptSkill, putSkillBack, type SkillActor, takeSkillAway } from '#core/skills/change-skill.ts';
import { checkSkill } from '#core/skills/check-skill.ts';
import { fetchSkill } from '#core/skills/fetch-skill.ts';
import { type PendingSkill, prepareSkill, prepareTrust } from '#core/skills/install-skill.ts';
import { readFolder } from '#core/skills/read-folder.ts';
import type { SkillReview } from '#core/skills/review-skill.ts';
import { agentSkillsFolder, type KnownSkill, type SkillLibrary } from '#core/skills/skill-library.ts';
import type { CliDeps } from './cli-deps.ts';
import { ExitCode } from './exit-code.ts';
import { operatorId } from './operator.ts';
import { type Cell, paint, printJson, printLine, printTable } from './terminal.ts';

interface Wishes {
  readonly agent?: string;
  readonly yes?: true;
  readonly json?: true;
}

/** Skills: what is there, what of it is trusted, and how more of them come in. */
export function addSkill(program: Command, deps: CliDeps): void {
  const skill = program.command('skill').description('instructions and scripts that agents load when they need them');
  skill
    .command('list')
    .description('show every skill, where it comes from, and why one is not used')
    .option('--agent <name>', 'as this agent sees them')
    .option('--json', 'print one JSON object')
    .action(async (wishes: Wishes) => {
      const { library } = deps.openSkills();
      const skills = await library.list(wishes.agent);
      if (wishes.json === true) return printJson(deps.terminal, { skills: skills.map(toJson) });
      printTable(deps.terminal, ['NAME', 'FROM', 'STATE', 'DIGEST', 'WHAT'], skills.map(toRow));
    });
  skill
    .command('add')
    .description('bring in a skill from a folder, a .tar.gz or a git repository; shows what is in it and asks')
    .argument('<source>', 'folder, archive, or https://….git[#revision[:folder]]')
    .option('--agent <name>', 'for this agent alone')
    .option('--yes', 'do not ask; for those who have read it')
    .option('--json', 'print one JSON object')
    .action(async (source: string, wishes: Wishes) => {
      const { library, keepFolder } = deps.openSkills();
      const fetched = await fetchSkill(source, deps.signal);
      const { project, agentsDir } = library.places;
      const folder =
        wishes.agent === undefined ? project : agentSkillsFolder(agentsDir, await requireAgent(deps, wishes.agent));
      const pending = await prepareSkill({ keepFolder }, fetched, folder);
      await decide(deps, pending, wishes, `Put it into ${folder} and let agents use it?`);
    });
  skill
    .command('trust')
    .description('allow a skill as it lies in its folder now; shows what is in it, what changed, and asks')
    .argument('<name>')
    .option('--agent <name>', 'the one of this agent')
    .option('--yes', 'do not ask; for those who have read it')
    .option('--json', 'print one JSON object')
    .action(async (name: string, wishes: Wishes) => {
      const { library, keepFolder } = deps.openSkills();
      const pending = await prepareTrust({ keepFolder }, await requireSkill(library, name, wishes));
      await decide(deps, pending, wishes, 'Let agents use it as it is now?');
    });
  skill
    .command('test')
    .description('check a skill against the format and run its scripts/test* in a sandbox')
    .argument('<name>', 'a skill, or a folder with one')
    .option('--agent <name>', 'the one of this agent')
    .option('--json', 'print one JSON object')
    .action(async (name: string, wishes: Wishes) => await test(deps, name, wishes));
  skill
    .command('restore')
    .description('put the reviewed files of a changed skill back')
    .argument('<name>')
    .option('--agent <name>', 'the one of this agent')
    .action(async (name: string, wishes: Wishes) => {
      const { library, keepFolder } = deps.openSkills();
      const known = await requireSkill(library, name, wishes);
      await using database = await deps.openDatabase();
      const { db } = database;
      await putSkillBack({ db, keepFolder }, known, await actorOf(db));
      printLine(deps.terminal, `${name} is again what was reviewed.`);
    });
  skill
    .command('rm')
    .description('delete a skill of the project')
    .argument('<name>')
    .option('--agent <name>', 'the one of this agent')
    .option('--yes', 'do not ask')
    .action(async (name: string, wishes: Wishes) => {
      const { library } = deps.openSkills();
      const known = await requireSkill(library, name, wishes);
      if (!(await confirm(deps, wishes, `Delete ${known.folder}?`))) throw new ExitCode(1);
      await using database = await deps.openDatabase();
      await takeSkillAway(database.db, known, await actorOf(database.db));
      printLine(deps.terminal, `${name} is gone.`);
    });
}

async function decide(deps: CliDeps, pending: PendingSkill, wishes: Wishes, question: string): Promise<void> {
  if (wishes.json !== true) printReview(deps, pending.review);
  if (!(await confirm(deps, wishes, question))) {
    printLine(deps.terminal, 'Nothing was changed.');
    throw new ExitCode(1);
  }
  {
    await using database = await deps.openDatabase();
    await acceptSkill(database.db, pending, await actorOf(database.db));
  }
  if (wishes.json === true) return printJson(deps.terminal, { trusted: pending.review });
  printLine(
    deps.terminal,
    `${pending.review.name} is trusted. Agents whose file lists it under "skills:" can use it now.`,
  );
}

async function actorOf(db: Db): Promise<SkillActor> {
  return { personId: await operatorId(db), via: 'cli' };
}

/** @throws AppError when nobody is there to say yes. */
async function confirm(deps: CliDeps, wishes: Wishes, question: string): Promise<boolean> {
  if (wishes.yes === true) return true;
  using questions = deps.openQuestions();
  if (questions === undefined || wishes.json === true) {
    throw new AppError('command.invalid', 'Nobody is at the terminal to answer, so nothing was changed.', {
      mend: 'Read what is shown, then run it again with --yes.',
    });
  }
  return /^y(?:es)?$/i.test(await questions.ask(`${question} [y/N] `, 'n'));
}

function printReview({ terminal }: CliDeps, review: SkillReview): void {
  const line = (text = ''): void => printLine(terminal, clean(text));
  const head = (text: string): void => printLine(terminal, paint(terminal, 'bold', text));
  head(review.name);
  line(review.description);
  line(`License: ${review.license ?? 'not told'}`);
  line(`Digest:  ${review.digest}`);
  line();
  head(`${review.files.length} files, ${describeBytes(review.totalBytes)}`);
  for (const file of review.files) {
    const marks = [
      file.isScript ? 'script' : '',
      file.change === undefined || file.change === 'same' ? '' : file.change,
    ];
    line(`  ${file.path}  ${describeBytes(file.bytes)}  ${marks.filter((mark) => mark !== '').join(', ')}`.trimEnd());
  }
  for (const path of review.removed) line(`  ${path}  removed`);
  line();
  head('Tools');
  line(
    review.allowedTools === undefined
      ? "  does not limit itself; the agent's own grants hold"
      : `  limits itself to ${describeLimit(readToolLimit(review.name, review.allowedTools))}; the agent's own grants hold as well`,
  );
  head('Addresses in it');
  if (review.urls.length === 0) line('  none');
  for (const { url, path } of review.urls) line(`  ${url}  (${path})`);
  if (review.hints.length > 0) {
    printLine(terminal, paint(terminal, 'yellow', 'Look at these before you trust it'));
    for (const hint of review.hints) line(`  ${hint}`);
  }
  line();
}

async function test(deps: CliDeps, name: string, wishes: Wishes): Promise<void> {
  const { library } = deps.openSkills();
  const known = (await library.list(wishes.agent)).find((item) => item.name === name);
  const folder = known?.folder ?? name;
  const read = await readFolder(folder).catch((err: unknown) => {
    if (known !== undefined) throw err;
    throw unknownSkill(name, []);
  });
  const checked =
    read.problems.length > 0
      ? { skill: undefined, problems: read.problems }
      : checkSkill(read.files, folder, undefined);
  const { skill, problems } = checked;
  if (skill === undefined) {
    if (wishes.json === true) printJson(deps.terminal, { ok: false, problems, tests: [] });
    else for (const problem of problems) printLine(deps.terminal, clean(problem));
    throw new ExitCode(1);
  }
  if (wishes.json !== true)
    printLine(deps.terminal, `${skill.manifest.name}: the format is right, ${skill.files.length} files.`);
  const tests = await deps.testSkill(skill, (text) => {
    if (wishes.json !== true)
      deps.terminal.stdout.write(text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, ''));
  });
  const ok = tests.every((result) => result.exitCode === 0);
  if (wishes.json === true) printJson(deps.terminal, { ok, problems: [], tests });
  else if (tests.length === 0) printLine(deps.terminal, 'It has no scripts/test*, so there is nothing to run.');
  else
    for (const { script, exitCode } of tests)
      printLine(deps.terminal, `${script}: ${exitCode === 0 ? 'passed' : `failed (exit code ${exitCode ?? 'none'})`}`);
  if (!ok) throw new ExitCode(1);
}

async function requireSkill(library: SkillLibrary, name: string, { agent }: Wishes): Promise<KnownSkill> {
  const skills = await library.list(agent);
  const found = skills.find((item) => item.name === name && (agent === undefined || item.scope === 'agent'));
  if (found !== undefined) return found;
  throw unknownSkill(
    name,
    skills.map((item) => item.name),
  );
}

function unknownSkill(name: string, names: readonly string[]): AppError {
  return new AppError('skill.unknown', `There is no skill "${name}"${didYouMean(name, names) || '.'}`, {
    mend: './switchyard skill list shows those there are; --agent looks among those of one agent.',
  });
}

async function requireAgent(deps: CliDeps, name: string): Promise<string> {
  const names = (await deps.loadAgents()).map((agent) => agent.name);
  if (names.includes(name)) return name;
  throw new AppError('agent.unknown', `There is no agent "${name}"${didYouMean(name, names) || '.'}`, {
    mend: `There are: ${names.join(', ')}.`,
  });
}

function toRow({ name, scope, entry, status, shadows }: KnownSkill): readonly Cell[] {
  const isReady = status.state === 'ready';
  const note = shadows.length === 0 ? '' : ` (in place of the one that is ${shadows.join(' and ')})`;
  return [
    name,
    scope,
    { text: isReady ? 'ready' : status.state, format: isReady ? 'green' : 'yellow' },
    entry?.digest.slice('sha256:'.length, 'sha256:'.length + 12) ?? '-',
    `${isReady ? status.manifest.description : status.reason}${note}`,
  ];
}

function toJson({ name, scope, folder, entry, status, shadows }: KnownSkill) {
  return {
    name,
    scope,
    folder,
    state: status.state,
    shadows,
    ...(entry === undefined ? {} : { source: entry.source, digest: entry.digest }),
    ...(status.state === 'ready' ? { description: status.manifest.description } : { reason: status.reason }),
  };
}

/** Text of a stranger on a terminal: no control characters, no sequences. */
function clean(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/g, ' ');
}
