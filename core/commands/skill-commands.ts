import { endEvent } from '../inbox/end-event.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import type { Db } from '../kit/database.ts';
import { AppError, isAppError } from '../kit/errors.ts';
import { didYouMean } from '../kit/nearest-word.ts';
import type { OfferSubject } from '../offers/offer.ts';
import { putOffer } from '../offers/put-offer.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { isAdministrator } from '../people/person.ts';
import { acceptSkill, type SkillActor, takeSkillAway } from '../skills/change-skill.ts';
import { type ChatSourceRules, chatSource } from '../skills/chat-source.ts';
import { fetchSkill } from '../skills/fetch-skill.ts';
import { type PendingSkill, prepareSkill } from '../skills/install-skill.ts';
import { agentSkillsFolder, type KnownSkill, type SkillLibrary, type SkillOwner } from '../skills/skill-library.ts';
import type { Command } from './command.ts';
import { plain, skillLine, skillReview } from './skill-review.ts';

/** Skills as a chat reaches them. */
export interface SkillDesk {
  readonly library: SkillLibrary;
  /** Where the bytes of trusted files are kept by their hash. */
  readonly keepFolder: string;
  readonly sources: ChatSourceRules;
  readonly findAgent: (name: string) => Promise<SkillOwner | undefined>;
}

export interface SkillCommandDeps {
  readonly db: Db;
  readonly defaultAgent: string;
  readonly skills: SkillDesk;
}

type SkillOffer = Extract<OfferSubject, { kind: 'skill_add' | 'skill_remove' }>;

/** How long the question whether a skill is let in waits. */
const offerMs = 60 * 60_000;
/** A repository that takes longer is added at the terminal, where somebody sees what it waits for. */
const fetchMs = 60_000;

/** `/skills`: what the agent of this thread has. */
export function skillCommands({ defaultAgent, skills }: SkillCommandDeps): Record<string, Command> {
  return {
    skills: async (_tx, known) => {
      const agent = await requireAgent(skills, known.thread.agentName ?? defaultAgent);
      const lines = (await skills.library.forAgent(agent)).map(skillLine);
      const more = isAdministrator(known.person.role) ? ['', '`/skill add source` brings in another one.'] : [];
      return {
        markdown:
          lines.length === 0
            ? [`**${agent.name}** has no skills.`, ...more].join('\n')
            : [`Skills of **${agent.name}**:`, '', ...lines, ...more].join('\n'),
      };
    },
  };
}

/** `/skill add` and `/skill rm`: what they fetch takes time, so they bring their own transaction. */
export function skillChanges(
  deps: SkillCommandDeps,
): Record<'skill', (known: KnownEvent, args: string) => Promise<void>> {
  return {
    skill: async (known, args) => {
      requireAdministrator(known);
      const wish = readWish(args);
      const agent = wish.agent === undefined ? undefined : (await requireAgent(deps.skills, wish.agent)).name;
      const { subject, markdown } = await forChat(async () =>
        wish.what === 'add'
          ? await offerToAdd(deps.skills, wish.name, agent)
          : await offerToRemove(deps.skills, wish.name, agent),
      );
      await deps.db.transaction().execute(async (tx) => {
        if (!(await endEvent(tx, known.inboxId, 'routed'))) return;
        await putOffer(tx, {
          subject,
          markdown,
          places: [known.event.conversation],
          validMs: offerMs,
          interactionToken: known.event.interactionToken,
        });
      });
    },
  };
}

/**
 * Does what was offered, to the same bytes that were shown, and ends the event with what came of it. Run again for the
 * same event after a crash it does it once more, which changes nothing.
 */
export async function carryOutSkillOffer(
  deps: SkillCommandDeps,
  known: KnownEvent,
  offer: { readonly id: string; readonly subject: SkillOffer },
): Promise<void> {
  const actor: SkillActor = { personId: known.person.id, via: 'chat' };
  const { subject } = offer;
  const told = await forChat(async () =>
    subject.kind === 'skill_add' ? await add(deps, subject, actor) : await remove(deps, subject, actor),
  ).then(
    (markdown) => ({ level: 'success' as const, markdown }),
    (err: unknown) => {
      if (isAppError(err) && err.isForChat) return { level: 'warn' as const, markdown: err.text };
      throw err;
    },
  );
  await deps.db.transaction().execute(async (tx) => {
    if (!(await endEvent(tx, known.inboxId, 'routed'))) return;
    await putMessages(tx, [
      {
        key: `offer:${offer.id}:outcome`,
        conversation: known.event.conversation,
        importance: 'notice',
        body: { parts: [{ type: 'notice', ...told }] },
      },
    ]);
  });
}

async function offerToAdd(
  skills: SkillDesk,
  text: string,
  agent: string | undefined,
): Promise<{ readonly subject: SkillOffer; readonly markdown: string }> {
  const pending = await prepare(skills, { source: text, agent });
  const { name, digest } = pending.review;
  const { commit } = pending;
  return {
    subject: {
      kind: 'skill_add',
      // As it was said: where it leads is judged again when it is done.
      source: text,
      name,
      digest,
      ...(commit === undefined ? {} : { commit }),
      ...(agent === undefined ? {} : { agent }),
    },
    markdown: skillReview(pending, agent === undefined ? 'agents that list it' : `**${agent}**`),
  };
}

async function offerToRemove(
  skills: SkillDesk,
  name: string,
  agent: string | undefined,
): Promise<{ readonly subject: SkillOffer; readonly markdown: string }> {
  const known = await requireSkill(skills, name, agent);
  const { entry } = known;
  if (entry?.source === 'bundled') {
    throw new AppError('command.invalid', `The skill ${known.name} comes with the product.`, {
      mend: 'Leave it out of "skills:" in the agents’ files.',
    });
  }
  return {
    subject: {
      kind: 'skill_remove',
      name: known.name,
      ...(entry === undefined ? {} : { digest: entry.digest }),
      ...(agent === undefined ? {} : { agent }),
    },
    markdown: `Delete the skill and its files?\n\n${skillLine(known)}`,
  };
}

async function add(
  { db, skills }: SkillCommandDeps,
  subject: Extract<SkillOffer, { kind: 'skill_add' }>,
  actor: SkillActor,
): Promise<string> {
  const pending = await prepare(skills, subject);
  if (pending.review.digest !== subject.digest) {
    throw new AppError('command.invalid', `The skill ${subject.name} is not what was shown any more.`, {
      mend: 'Send /skill add again and look at what changed.',
    });
  }
  await acceptSkill(db, pending, actor);
  return subject.agent === undefined
    ? `**${subject.name}** is trusted. Agents whose file lists it under "skills:" can use it now.`
    : `**${subject.name}** is trusted. **${subject.agent}** can use it now.`;
}

async function remove(
  { db, skills }: SkillCommandDeps,
  { name, agent, digest }: Extract<SkillOffer, { kind: 'skill_remove' }>,
  actor: SkillActor,
): Promise<string> {
  const known = await findSkill(skills, name, agent);
  if (known !== undefined) {
    if (known.entry?.digest !== digest) {
      throw new AppError('command.invalid', `The skill ${name} is another one by now.`, {
        mend: 'Look at /skills and send /skill rm again.',
      });
    }
    await takeSkillAway(db, known, actor);
  }
  return `**${name}** is gone.`;
}

/** The skill as it is there now; judged again each time, because where a path or a name leads may have changed. */
async function prepare(
  skills: SkillDesk,
  wanted: { readonly source: string; readonly commit?: string | undefined; readonly agent?: string | undefined },
): Promise<PendingSkill> {
  const { library, keepFolder } = skills;
  const { source, addresses } = await chatSource(skills.sources, wanted.source);
  const fetched = await fetchSkill(source, AbortSignal.timeout(fetchMs), { commit: wanted.commit, addresses });
  const { project, agentsDir } = library.places;
  const folder = wanted.agent === undefined ? project : agentSkillsFolder(agentsDir, wanted.agent);
  return await prepareSkill({ keepFolder }, fetched, folder);
}

async function findSkill(skills: SkillDesk, name: string, agent: string | undefined): Promise<KnownSkill | undefined> {
  const all = await skills.library.list(agent);
  return all.find((item) => item.name === name && (agent === undefined || item.scope === 'agent'));
}

async function requireSkill(skills: SkillDesk, name: string, agent: string | undefined): Promise<KnownSkill> {
  const found = await findSkill(skills, name, agent);
  if (found !== undefined) return found;
  const names = (await skills.library.list(agent)).map((item) => item.name);
  const hint = didYouMean(name, names);
  throw new AppError('skill.unknown', `There is no skill "${plain(name).slice(0, 80)}"${hint || '.'}`, {
    mend: 'Send /skills to see those of this agent; `agent:name` looks among those of one agent alone.',
  });
}

async function requireAgent(skills: SkillDesk, name: string): Promise<SkillOwner> {
  const found = await skills.findAgent(name);
  if (found !== undefined) return found;
  throw new AppError('agent.unknown', `There is no agent "${plain(name).slice(0, 40)}".`, {
    mend: 'Send /agents to see who there is.',
  });
}

function requireAdministrator(known: KnownEvent): void {
  if (isAdministrator(known.person.role)) return;
  throw new AppError('grant.missing', 'Only an owner or admin can change which skills there are.', {
    mend: 'Ask one of them.',
  });
}

interface Wish {
  readonly what: 'add' | 'rm';
  /** The source of what is added, the name of what goes. */
  readonly name: string;
  readonly agent: string | undefined;
}

function readWish(args: string): Wish {
  const words = args.split(/\s+/).filter((word) => word !== '');
  const [first = '', ...rest] = words;
  const what = first.toLowerCase();
  const last = /^agent:(\S+)$/i.exec(rest.at(-1) ?? '')?.[1];
  const name = (last === undefined ? rest : rest.slice(0, -1)).join(' ');
  if ((what === 'add' || what === 'rm') && name !== '') return { what, name, agent: last?.replace(/^@/, '') };
  throw new AppError('command.invalid', 'Which skill, and what about it?', {
    mend: 'Write /skill add and an https:// address or a path in the project, or /skill rm and a name; agent:name behind it means one agent alone.',
  });
}

/** What is wrong with a skill is told without what the folders of this machine are called. */
async function forChat<Value>(work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (err) {
    if (!isAppError(err, 'skill.invalid')) throw err;
    const text = err.message.replaceAll(/(?<=^|[\s"(])\/(?:[^\s/]+\/)+/gm, '');
    const lines = text
      .split('\n')
      .slice(0, 20)
      .map((line) => plain(line).slice(0, 400));
    throw new AppError('command.invalid', lines.join('\n'), { mend: 'Nothing was changed.', cause: err });
  }
}
