import { existsSync } from 'node:fs';
import { mkdir, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { agentFrontMatterSchema } from '#core/agents/agent-profile.ts';
import { AppError, toAppError } from '#core/kit/errors.ts';
import { didYouMean } from '#core/kit/nearest-word.ts';
import { modelRef, parseModelRef } from '#core/models/model-ref.ts';
import { type AgentDraft, defaultDescription, defaultPrompt, defaultTools, renderAgentFile } from './agent-template.ts';
import { cleanLine, cleanText } from './chat/clean-text.ts';
import type { CliDeps } from './cli-deps.ts';
import type { Questions } from './questions.ts';
import { printLine } from './terminal.ts';

/** What the command line says about a new agent; what is missing is asked for, or has a default. */
export interface AgentWishes {
  readonly description?: string;
  readonly model?: string;
  /** Names with commas between them; `none` for no tools. */
  readonly tools?: string;
  readonly prompt?: string;
}

interface CreateDeps extends Pick<CliDeps, 'loadAgents' | 'listTools' | 'openQuestions' | 'terminal'> {
  /** The project's own folder of agent files; made when it is not there. */
  readonly agentsDir: string;
}

/**
 * Writes the file of a new agent into the project's folder and checks it together with all the others.
 * @throws AppError `command.invalid`, `tool.unknown` or `model.unknown` for a wish that cannot be, `agent.invalid` when
 * the files do not go together. Nothing is left behind then.
 */
export async function createAgent(deps: CreateDeps, name: string, wishes: AgentWishes): Promise<void> {
  if (!agentFrontMatterSchema.shape.name.safeParse(name).success) {
    throw new AppError('command.invalid', `"${cleanLine(name).slice(0, 60)}" cannot be the name of an agent.`, {
      mend: 'Begin with a small letter and go on with small letters, digits and -, at most 32 in all.',
    });
  }
  const file = path.join(deps.agentsDir, `${name}.md`);
  if (existsSync(file)) throw alreadyThere(file);
  // Before anybody is asked anything: files that are broken already would only be found at the end.
  const before = await deps.loadAgents();
  const draft = await completeDraft(deps, name, wishes);

  await writeNew(file, renderAgentFile(draft));
  try {
    await deps.loadAgents();
  } catch (err) {
    await unlink(file);
    throw err;
  }
  const { terminal } = deps;
  printLine(terminal, `Written: ${relative(file)}`);
  const replaced = before.find((profile) => profile.name === name);
  if (replaced !== undefined) printLine(terminal, `It takes the place of ${relative(replaced.source)}.`);
  printLine(terminal, 'Read it, then put it in force:  ./switchyard apply');
  printLine(terminal, `Talk to it:                     ./switchyard chat --agent ${name}`);
}

async function completeDraft(deps: CreateDeps, name: string, wishes: AgentWishes): Promise<AgentDraft> {
  const known = await deps.listTools();
  // What was given is checked before the first question is put.
  if (wishes.tools !== undefined) toTools(wishes.tools, known);
  if (wishes.model !== undefined) toModel(wishes.model);
  const isComplete = [wishes.description, wishes.model, wishes.tools, wishes.prompt].every(
    (wish) => wish !== undefined,
  );
  using questions = isComplete ? undefined : deps.openQuestions();
  const { terminal } = deps;
  const standard = { description: defaultDescription(name), tools: defaultTools.join(', ') };
  const description =
    wishes.description ?? (await ask(questions, `What is it for? [${standard.description}] `, standard.description));
  const model = await decide(deps, questions, wishes.model, 'Model? [default] ', 'default', toModel);
  if (questions !== undefined && wishes.tools === undefined)
    printLine(terminal, `Tools: ${known.join(', ')}, or none.`);
  const tools = await decide(
    deps,
    questions,
    wishes.tools,
    `Which tools? [${standard.tools}] `,
    standard.tools,
    (text) => toTools(text, known),
  );
  const prompt =
    wishes.prompt ?? (await ask(questions, 'Its instructions, on one line? [a general text to edit later] ', ''));
  return {
    name,
    description: cleanLine(description) || standard.description,
    model,
    tools,
    prompt: cleanText(prompt).trim() || defaultPrompt(name),
  };
}

async function ask(questions: Questions | undefined, question: string, otherwise: string): Promise<string> {
  return questions === undefined ? otherwise : await questions.ask(question, otherwise);
}

/** Takes what was given, or asks until the answer can be read; a slip at the terminal does not cost the other answers. */
async function decide<Value>(
  deps: CreateDeps,
  questions: Questions | undefined,
  wish: string | undefined,
  question: string,
  otherwise: string,
  read: (text: string) => Value,
): Promise<Value> {
  if (wish !== undefined || questions === undefined) return read(wish ?? otherwise);
  for (;;) {
    const answer = await questions.ask(question, otherwise);
    try {
      return read(answer);
    } catch (err) {
      printLine(deps.terminal, toAppError(err).text);
    }
  }
}

/** @throws AppError `tool.unknown` that names the tools there are. */
function toTools(text: string, known: readonly string[]): readonly string[] {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  if (names.length === 1 && names[0] === 'none') return [];
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const shown = cleanLine(unknown).slice(0, 60);
    throw new AppError('tool.unknown', `There is no tool "${shown}"${didYouMean(shown, known) || '.'}`, {
      mend: `There are: ${known.join(', ')}.`,
    });
  }
  return [...new Set(names)];
}

/** @throws AppError `model.unknown` with the accepted spellings. */
function toModel(text: string): string {
  const model = cleanLine(text);
  // Only the spelling is looked at, so what "default" stands for does not matter.
  parseModelRef(model, modelRef('demo', 'demo'));
  return model;
}

async function writeNew(file: string, text: string): Promise<void> {
  try {
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text, { flag: 'wx' });
  } catch (err) {
    const code = err instanceof Error && 'code' in err ? String(err.code) : 'an error';
    if (code === 'EEXIST' && existsSync(file)) throw alreadyThere(file);
    throw new AppError('command.invalid', `${file} cannot be written: ${code}.`, {
      mend: 'Check SWITCHYARD_AGENTS_DIR and who may write there.',
      cause: err,
    });
  }
}

function alreadyThere(file: string): AppError {
  return new AppError('command.invalid', `${relative(file)} is there already.`, {
    mend: 'Edit it, or choose another name.',
  });
}

/** The shorter way to say where a file is. */
function relative(file: string): string {
  const short = path.relative(process.cwd(), file);
  return short.startsWith('..') ? file : short;
}
